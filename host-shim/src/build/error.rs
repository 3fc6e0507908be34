//! What can go wrong on the way to an image, each as one sentence that ends with what to do.

use super::carried::UnpackError;
use super::port::PortError;
use std::io;
use std::path::PathBuf;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The files that every build needs cannot be put into the user's cache.
    #[error(transparent)]
    Unpack(#[from] UnpackError),

    /// The current directory is gone or may not be read.
    #[error("cannot tell the current directory: {0}; change to one that exists")]
    CurrentDirectory(#[source] io::Error),

    /// No package around, in which a name could be looked up.
    #[error(
        "there is no app `{name}` because neither {} nor a directory above it has a Cargo.toml; \
         name an image or the directory of a package, or make one with `vcpu new`",
        .directory.display()
    )]
    NoWorkspace {
        /// Name of the app.
        name: String,
        /// Where the search began.
        directory: PathBuf,
    },

    /// The directory holds no package.
    #[error("{} has no Cargo.toml; name the directory of a package, or make one with `vcpu new`", .0.display())]
    NoManifest(PathBuf),

    /// The directory's manifest is one of a workspace, not of a package.
    #[error(
        "{} is a workspace without a package of its own; name one of its packages: {}",
        .directory.display(), list(.packages)
    )]
    OnlyWorkspace {
        /// The directory.
        directory: PathBuf,
        /// Packages of the workspace that have a binary.
        packages: Vec<String>,
    },

    /// The workspace has no package of this name.
    #[error(
        "the workspace {} has no package `{name}`; it can build {}",
        .workspace.display(), list(.packages)
    )]
    NoSuchPackage {
        /// The name that was given.
        name: String,
        /// Root directory of the workspace.
        workspace: PathBuf,
        /// Its packages that have a binary.
        packages: Vec<String>,
    },

    /// The package is a library.
    #[error("the package `{0}` has no binary to run; give it a src/main.rs with `libvcpu::entry!`")]
    NoBinary(String),

    /// The package has several binaries, and none is named like it.
    #[error(
        "the package `{package}` has the binaries {} and says not which is the app; \
         name one in `default-run` of its Cargo.toml",
        list(.binaries)
    )]
    ManyBinaries {
        /// Name of the package.
        package: String,
        /// Names of its binaries.
        binaries: Vec<String>,
    },

    /// `VCPU_TARGET_SPEC` has a value without a meaning.
    #[error("VCPU_TARGET_SPEC is `{0}`; it can be auto, stock or custom")]
    UnknownTargetSpec(String),

    /// The custom target was asked for, and the toolchain has no source of `core`.
    #[error(
        "the custom target needs the source of `core`, and the toolchain in {} has none; \
         run `rustup component add rust-src`, or build for the stock target with `--target-spec stock`",
        .0.display()
    )]
    NoCoreSource(PathBuf),

    /// The custom target was asked for, and the toolchain is too old for its description.
    #[error(
        "the custom target needs Rust {}.{} or newer, and this is {found}; \
         run `rustup update`, or build for the stock target with `--target-spec stock`",
        super::toolchain::CUSTOM_SINCE.0, super::toolchain::CUSTOM_SINCE.1
    )]
    ToolchainTooOld {
        /// Version of the toolchain.
        found: String,
    },

    /// The cache's path cannot be handed to cargo.
    #[error(
        "the cache's path {} is not UTF-8, and cargo cannot pass it on; set VCPU_CACHE to another one",
        .0.display()
    )]
    CachePath(PathBuf),

    /// A program of the toolchain did not start.
    #[error(
        "cannot start `{program}`: {source}; install Rust from https://rustup.rs, or set {variable} to its path"
    )]
    Start {
        /// The program.
        program: String,
        /// The environment variable that names another.
        variable: &'static str,
        /// Why not.
        source: io::Error,
    },

    /// A program of the toolchain failed, and has said why on standard error.
    #[error("`{0}` failed; its message above says why")]
    Tool(String),

    /// cargo answered something that this program does not understand.
    #[error(
        "cannot understand the answer of `{program}`: {problem}; use a stable toolchain of Rust 1.91 or newer"
    )]
    Answer {
        /// The command.
        program: String,
        /// What is wrong with its answer.
        problem: String,
    },

    /// A third-party source cannot be had.
    #[error(transparent)]
    Source(#[from] super::source::SourceError),

    /// A C compiler or one of its companions did not start.
    #[error(
        "cannot start `{program}`: {source}; install gcc and binutils, or set {variable} to another path"
    )]
    Compiler {
        /// The program.
        program: String,
        /// The environment variable that names another.
        variable: &'static str,
        /// Why not.
        source: io::Error,
    },

    /// The C library does not compile.
    #[error("cannot build the C library: {0}")]
    Library(String),

    /// A file of the C library cannot be written or read.
    #[error("cannot build the C library in {}: {source}; set VCPU_CACHE to a directory that you can write", .path.display())]
    LibraryFile {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The app does not compile or link.
    #[error("cannot build {} for the {kind} target; cargo's messages above say why", list(.apps))]
    Failed {
        /// Names of the packages.
        apps: Vec<String>,
        /// The kind of target.
        kind: super::TargetKind,
    },

    /// A port cannot be built.
    #[error(transparent)]
    Port(#[from] PortError),

    /// A folder that is no port.
    #[error("there is no port {}; a port is a folder of `apps` with a port.toml", .0.display())]
    NoPort(PathBuf),
}

impl BuildError {
    /// Whether the user named something that is no app, rather than an app that cannot be built.
    pub fn is_no_app(&self) -> bool {
        use BuildError::*;
        matches!(
            self,
            NoWorkspace { .. }
                | NoManifest(_)
                | OnlyWorkspace { .. }
                | NoSuchPackage { .. }
                | NoBinary(_)
                | ManyBinaries { .. }
                | NoPort(_)
                | Port(PortError::NoSuchImage { .. })
        )
    }
}

/// Names as they stand in a sentence.
fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}
