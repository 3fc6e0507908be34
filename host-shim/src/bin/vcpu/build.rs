//! `vcpu build`: builds an app, and says where its image is.

use crate::output;
use crate::program::{self, Program};
use crate::status::{Failure, Status};
use std::os::unix::ffi::OsStrExt;

/// Build an app, and print the path of its image
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// An app by its package's name, a port by its folder's, or the directory of either
    #[arg(value_name = "APP", default_value = ".", hide_default_value = true)]
    app: std::ffi::OsString,

    /// Says on standard error what is built, and shows what the build of a port writes
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    build: program::BuildArguments,
}

const HELP: &str = "\
Examples:
  vcpu build                             the package in the current directory
  vcpu build hello                       a package of the workspace around it
  vcpu build zlib:minigzip               one of the images of the port apps/zlib
  vcpu build ./hello --target-spec stock
  vcpu run $(vcpu build hello)           the image is the only thing on standard output";

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let app = Program { program: Some(arguments.app), build: arguments.build };
    let found = program::build(&app, arguments.verbose)?;
    let mut line = found.path.as_os_str().as_bytes().to_vec();
    line.push(b'\n');
    output::answer(&line)?;
    Ok(Status::Guest(0))
}
