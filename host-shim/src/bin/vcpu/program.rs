//! Which image or app is meant, and how it becomes an image.

use crate::output;
use crate::status::Failure;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use vcpu_host::build::{self, BuildError, Options, TargetSpec};

/// What a command works on, and how it is built if it is an app.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// An image, an app by its package's name, or the directory of its package
    ///
    /// A file is an image. A directory with a Cargo.toml or a port.toml is an app, which is built first.
    /// Any other word without a slash is the name of a package in the workspace around the current
    /// directory, or of a port, a folder of its `apps`; PORT:IMAGE is one of several images of a port.
    #[arg(value_name = "IMAGE|APP")]
    pub(crate) program: Option<OsString>,

    #[command(flatten)]
    pub(crate) build: BuildArguments,
}

impl Program {
    /// What is meant if nothing is named: the current directory.
    fn program(&self) -> &OsStr {
        self.program.as_deref().unwrap_or(OsStr::new("."))
    }
}

/// How an app is built.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArguments {
    /// Which kind of target to build the app for [default: $VCPU_TARGET_SPEC, or auto]
    #[arg(long, value_name = "KIND")]
    pub(crate) target_spec: Option<TargetSpec>,
}

/// An image that is there.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the guest is told as its own name.
    pub(crate) name: OsString,
    /// Where the image is.
    pub(crate) path: PathBuf,
}

/// What a word on the command line means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// This file is an image.
    Image(PathBuf),
    /// An app: the name of its package, or a path that cannot be taken for a name.
    App(PathBuf),
}

/// Finds the image that is meant; builds it if it is an app's.
pub(crate) fn find(arguments: &Program, verbose: bool) -> Result<Found, Failure> {
    match meaning(arguments.program())? {
        Meaning::Image(path) => Ok(Found { name: arguments.program().to_owned(), path }),
        Meaning::App(app) => {
            // What a guest writes must not be mixed with cargo's progress where nobody watches it.
            let quiet = !verbose && !std::io::stderr().is_terminal();
            make(&app, &arguments.build, quiet, verbose)
        }
    }
}

/// Builds the app that is meant.
pub(crate) fn build(arguments: &Program, verbose: bool) -> Result<Found, Failure> {
    match meaning(arguments.program())? {
        Meaning::App(app) => make(&app, &arguments.build, false, verbose),
        Meaning::Image(path) => Err(Failure::image(format_args!(
            "{} is a file, not an app; name a package or its directory",
            path.display()
        ))),
    }
}

fn make(app: &Path, arguments: &BuildArguments, quiet: bool, verbose: bool) -> Result<Found, Failure> {
    if verbose {
        output::note(&format_args!("building {}", app.display()));
    }
    let options = Options { target_spec: arguments.target_spec, quiet, verbose, ..Options::default() };
    let built = build::build(&[app], &options).map_err(|error| explain(app, error))?;
    let built = built.into_iter().next();
    let built = built.ok_or_else(|| Failure::runner("cargo built nothing; please report this"))?;
    if verbose {
        output::note(&format_args!("built {} for the {} target", built.path.display(), built.kind));
    }
    Ok(Found { name: built.name.into(), path: built.path })
}

/// Tells images from apps by what is there, without looking into it.
fn meaning(program: &OsStr) -> Result<Meaning, Failure> {
    let path = Path::new(program);
    let shown = path.display();
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Meaning::Image(path.into())),
        Ok(metadata) if metadata.is_dir() && is_app(path) => {
            // The dot in front keeps a directory beside us from being taken for a name.
            Ok(Meaning::App(if is_word(program) { Path::new(".").join(path) } else { path.into() }))
        }
        Ok(metadata) if metadata.is_dir() && is_word(program) => Ok(Meaning::App(path.into())),
        Ok(metadata) if metadata.is_dir() => Err(Failure::image(format_args!(
            "{shown} is a directory without a Cargo.toml; name an image or the directory of a package"
        ))),
        Ok(_) => Err(Failure::image(format_args!("{shown} is not a regular file; copy the image to one"))),
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && (is_word(program) || is_image_of_port(path)) =>
        {
            Ok(Meaning::App(path.into()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::image(format_args!(
            "{shown:?} does not exist; name an image or the directory of a package"
        ))),
        Err(error) => Err(Failure::image(format_args!("cannot look at {shown}: {error}; check its path"))),
    }
}

/// Whether the directory holds a package or a port.
fn is_app(directory: &Path) -> bool {
    directory.join("Cargo.toml").is_file() || build::port::is_port(directory)
}

/// Whether this is `FOLDER:IMAGE` with the folder of a port.
fn is_image_of_port(path: &Path) -> bool {
    let folder = path.to_str().and_then(|path| path.rsplit_once(':'));
    folder.is_some_and(|(folder, _)| build::port::is_port(Path::new(folder)))
}

/// Whether this can be a package's name.
fn is_word(program: &OsStr) -> bool {
    let bytes = program.as_encoded_bytes();
    !bytes.is_empty() && !bytes.contains(&b'/') && bytes != b"." && bytes != b".."
}

/// Adds to an error of the build what only this module knows: that the word might have been a file.
fn explain(app: &Path, error: BuildError) -> Failure {
    match &error {
        BuildError::NoSuchPackage { .. } | BuildError::NoWorkspace { .. } if app.is_dir() => {
            Failure::image(format_args!("{} is a directory without a Cargo.toml, and {error}", app.display()))
        }
        BuildError::NoSuchPackage { .. } => {
            Failure::image(format_args!("there is no image {} here, and {error}", app.display()))
        }
        _ => error.into(),
    }
}
