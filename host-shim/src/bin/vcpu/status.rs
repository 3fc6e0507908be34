//! The exit statuses, and the failure that carries one.
//!
//! A guest's own status is passed on, so statuses of the runner must be told apart from it by habit:
//! they are those of `timeout` and of container runners, and 101 is what a Rust program that panicked has
//! everywhere.

use std::fmt;
use std::process::ExitCode;
use vcpu_host::build::BuildError;
use vcpu_host::{STATUS_BAD_IMAGE, STATUS_FAILED, STATUS_FAULTED, STATUS_PANICKED, STATUS_TIME_LIMIT};

/// How `vcpu` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The guest ended by itself, or the command is done (0).
    Guest(u8),
    /// What was checked is wrong (1).
    Wrong,
    /// The guest panicked.
    Panicked,
    /// The guest faulted, and nobody in it handled the fault.
    Faulted,
    /// A limit of time was reached.
    TimeLimit,
    /// The runner failed, or was used wrongly.
    Runner,
    /// The image cannot be run.
    Image,
}

/// The text of [`HELP`], for `concat!`.
macro_rules! help {
    () => {
        "\
Exit status:
  0-255  the guest's own, from `vcpu run`; 0 if any other command is done
      1  `vcpu check` found something wrong
    101  the guest panicked
    123  the guest faulted: an exception that it did not handle
    124  the guest ran into its --time-limit or --cpu-time
    125  vcpu itself failed: wrong usage, a grant that is missing or cannot be given, an app that
         cannot be built, no backend that works here
    126  the image cannot be run: missing, damaged, of another interface version, too large"
    };
}
pub(crate) use help;

/// What the help says about exit statuses.
pub(crate) const HELP: &str = help!();

impl Status {
    /// The number the process ends with.
    pub(crate) fn number(self) -> u8 {
        match self {
            Status::Guest(status) => status,
            Status::Wrong => 1,
            Status::Panicked => STATUS_PANICKED,
            Status::Faulted => STATUS_FAULTED,
            Status::TimeLimit => STATUS_TIME_LIMIT,
            Status::Runner => STATUS_FAILED,
            Status::Image => STATUS_BAD_IMAGE,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(status.number())
    }
}

/// Why a command could not be done: the status to end with, and one sentence for the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Failure {
    /// The runner failed.
    pub(crate) fn runner(message: impl fmt::Display) -> Failure {
        Failure { status: Status::Runner, message: message.to_string() }
    }

    /// What was named cannot be run.
    pub(crate) fn image(message: impl fmt::Display) -> Failure {
        Failure { status: Status::Image, message: message.to_string() }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        if error.is_no_app() { Failure::image(error) } else { Failure::runner(error) }
    }
}

/// Makes every panic of this program one sentence and the status of a failed runner; the guest's process
/// dies with this one.
pub(crate) fn turn_panics_into_failures() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
        let payload = panic.payload();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let what = formatted.or_else(|| payload.downcast_ref().copied()).unwrap_or("no message");
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        crate::output::error(&format!(
            "this is a bug of vcpu {}{place}: {what}; please report it with the command you used",
            env!("CARGO_PKG_VERSION")
        ));
        std::process::exit(Status::Runner.number().into());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_status() {
        for status in [Status::Panicked, Status::Faulted, Status::TimeLimit, Status::Runner, Status::Image] {
            assert!(HELP.contains(&format!("    {}  ", status.number())), "{status:?}");
        }
    }
}
