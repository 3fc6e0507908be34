//! Building what tests need, by the same module that `vcpu build` uses.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use vcpu_host::build::{Options, build};

/// Every package that a test runs. They are built by one call of cargo.
const PACKAGES: &[&str] = &[
    "compute",
    "faults",
    "gunzip",
    "guest-arguments",
    "guest-devices",
    "guest-ecosystem",
    "guest-embed",
    "guest-embed-hostile",
    "guest-events",
    "guest-files",
    "guest-heap",
    "guest-hostile",
    "guest-hostile-devices",
    "guest-instructions",
    "guest-kernel",
    "guest-limits",
    "guest-preempt",
    "guest-random",
    "guest-registers",
    "guest-reports",
    "guest-snapshot",
    "guest-soak",
    "guest-sync",
    "guest-thread-local",
    "guest-threads",
    "guest-wants",
    "hello",
    "latency",
    "measure",
    "notes",
    "philosophers",
    "priority-inversion",
    "producer-consumer",
    "ring",
    "stream",
    "thumbnail",
    "ticker",
];

/// The image of a package.
///
/// # Panics
///
/// If the package is not in the list above, or cannot be built.
pub fn image(package: &str) -> &'static Path {
    static IMAGES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        let options = Options {
            manifest_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
            quiet: true,
            ..Options::default()
        };
        let built = build(PACKAGES, &options).unwrap_or_else(|error| panic!("no images: {error}"));
        built.into_iter().map(|image| image.path).collect()
    });
    let index = PACKAGES.iter().position(|known| *known == package);
    &images[index.unwrap_or_else(|| panic!("`{package}` is not in the list of packages in src/images.rs"))]
}
