//! Sources out of crates and out of Python source packages. Neither is built or run.

use super::super::cargo::remove_traces;
use super::{Fetched, Source, SourceError, checksum, written};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Downloads an sdist by pip's own parts, with pip's own settings. `pip download` itself would run the
/// package's build to learn its dependencies.
const SDIST: &str = include_str!("sdist.py");

/// Has cargo fetch a crate below `work`. cargo compares what comes with the checksum of its index, and
/// tells which one that was.
pub(super) fn fetch_crate(source: &Source, work: &Path) -> Result<Fetched, SourceError> {
    let manifest = format!(
        "[package]\nname = \"fetch\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n\
         [dependencies]\n\"{}\" = {{ version = \"={}\", default-features = false }}\n",
        source.name, source.version
    );
    for (name, content) in [("Cargo.toml", manifest.as_str()), ("lib.rs", "")] {
        let path = work.join(name);
        fs::write(&path, content).map_err(written(&path))?;
    }
    let named = std::env::var_os("CARGO").filter(|value| !value.is_empty());
    let mut cargo = Command::new(named.unwrap_or_else(|| "cargo".into()));
    remove_traces(&mut cargo);
    cargo.args(["vendor", "--quiet", "--respect-source-config", "--versioned-dirs", "vendor"]);
    source.run(cargo.current_dir(work), "install Rust from https://rustup.rs, or set CARGO to its path")?;
    let directory = work.join("vendor").join(format!("{}-{}", source.name, source.version));
    let about = directory.join(".cargo-checksum.json");
    let text = fs::read(&about).map_err(written(&about))?;
    let about: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    source.verify(about["package"].as_str().unwrap_or("unknown"))?;
    Ok(Fetched { directory, version: source.version.clone() })
}

/// Downloads a Python source package below `work` and unpacks it.
pub(super) fn fetch_sdist(source: &Source, work: &Path) -> Result<Fetched, SourceError> {
    let archive = work.join("sdist");
    let mut python = Command::new("python3");
    python.args(["-c", SDIST, &source.name, &source.version]).arg(&archive);
    source.run(&mut python, "install Python 3 with pip")?;
    source.verify(&checksum(&archive)?)?;
    Ok(Fetched { directory: source.unpack(&archive, work)?, version: source.version.clone() })
}
