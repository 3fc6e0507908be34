//! Keeps `include/vcpu.h` and the sources equal. `VCPU_UPDATE_HEADER=1 cargo test -p vcpu-capi` makes it anew.

use std::path::Path;

#[test]
fn the_header_is_made_of_the_sources() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in ["error.rs", "values.rs", "image.rs", "builder.rs", "grants.rs", "sandbox.rs", "snapshot.rs"]
    {
        builder = builder.with_src(here.join("src").join(file));
    }
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = here.join("include/vcpu.h");
    if std::env::var_os("VCPU_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let header = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(header == made, "it is not: VCPU_UPDATE_HEADER=1 cargo test -p vcpu-capi");
}
