//! Building images by cargo, for the command line and for every test and benchmark that needs an image.
//!
//! An image is an ordinary package with a binary, built with a linker script and flags of our own. This
//! module makes that one call, from a checkout as well as from an installed `vcpu`:
//!
//! ```no_run
//! use vcpu_host::build::{Options, build};
//!
//! let built = build(&["hello", "gunzip"], &Options::default())?;
//! println!("{}", built[0].path.display());
//! # Ok::<(), vcpu_host::build::BuildError>(())
//! ```
//!
//! | module | its subject |
//! |---|---|
//! | [`carried`] | linker script, target and guest crates, unpacked into the user's cache |
//! | [`port`] | ports: programs in C with a build of their own |
//! | [`source`] | third-party sources, fetched and verified |
//! | [`toolchain`] | which of the two kinds of target the toolchain at hand can build |
//! | `workspace` | which package and which binary is meant |
//! | [`sysroot`] | headers and libraries for programs in C |
//! | `cargo` | the call itself: environment, flags, messages |

mod cargo;
pub mod carried;
mod error;
pub mod port;
pub mod source;
pub mod sysroot;
pub mod toolchain;
mod workspace;

pub use error::BuildError;
pub use toolchain::{TargetKind, TargetSpec};

use std::path::{Path, PathBuf};

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where names of packages are looked up: a directory with a `Cargo.toml` in it or above it. The
    /// current directory if `None`.
    pub manifest_dir: Option<PathBuf>,
    /// Which kind of target to build for. If `None`, what the environment variable `VCPU_TARGET_SPEC`
    /// says (`auto`, `stock`, `custom`), and [`TargetSpec::Auto`] if it says nothing.
    pub target_spec: Option<TargetSpec>,
    /// Keeps cargo from reporting its progress. Warnings and errors of the compiler are shown all the same.
    pub quiet: bool,
    /// Shows what the builds of ports write while they run; otherwise its end if they fail.
    pub verbose: bool,
    /// The program `vcpu`, which ports are built with. If `None`, what the environment variable `VCPU`
    /// says, else the running program.
    pub tool: Option<PathBuf>,
}

/// An image that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Name of the package.
    pub name: String,
    /// Where the image is.
    pub path: PathBuf,
    /// The kind of target it was built for.
    pub kind: TargetKind,
}

/// Builds apps, and answers their images in the same order.
///
/// A word without a slash names a port or a package of the workspace around [`Options::manifest_dir`], where
/// a port is the folder `apps/WORD` with a `port.toml` ([`port`]), and `WORD:IMAGE` one of its images;
/// everything else (`.`, `./fib`, `/home/me/fib`) is the directory of a package, relative to the current directory.
/// Apps of one workspace are built by one call of cargo, which reports to standard error.
///
/// # Errors
///
/// [`BuildError`] says what is missing, and of what the user can read more above it.
pub fn build<A: AsRef<Path>>(apps: &[A], options: &Options) -> Result<Vec<Built>, BuildError> {
    // A package made by `vcpu new` points to the unpacked crates; they may have been cleaned away.
    carried::unpack_guest()?;
    let mut built = vec![None; apps.len()];
    let mut packages = Vec::new();
    for (index, app) in apps.iter().enumerate() {
        match port::locate(app.as_ref(), options)? {
            Some(port) => built[index] = Some(port.image(options)?),
            None => packages.push(index),
        }
    }
    let names: Vec<_> = packages.iter().map(|index| apps[*index].as_ref()).collect();
    for (index, image) in packages.into_iter().zip(build_packages(&names, options)?) {
        built[index] = Some(image);
    }
    Ok(built.into_iter().flatten().collect())
}

/// Builds packages, those of one workspace by one call of cargo.
fn build_packages(apps: &[&Path], options: &Options) -> Result<Vec<Built>, BuildError> {
    let apps = workspace::locate(apps, options)?;
    let mut built = vec![None; apps.len()];
    for index in 0..apps.len() {
        if built[index].is_none() {
            let together: Vec<_> = (index..apps.len())
                .filter(|other| apps[*other].workspace_root == apps[index].workspace_root)
                .collect();
            let group: Vec<_> = together.iter().map(|other| &apps[*other]).collect();
            for (other, image) in together.into_iter().zip(cargo::build(&group, options)?) {
                built[other] = Some(image);
            }
        }
    }
    Ok(built.into_iter().flatten().collect())
}
