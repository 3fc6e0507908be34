//! Tells packages that build C where `vcpu.h` is: their build scripts find it in `DEP_VCPU_ABI_INCLUDE`.

fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo::metadata=include={manifest}/include");
    println!("cargo::rerun-if-changed=include");
}
