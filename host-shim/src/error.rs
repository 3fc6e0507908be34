//! Why a sandbox could not be run. What a guest does wrong is no error but an [`Outcome`].

use crate::grant::{self, GrantError, Missing};
use crate::image::ImageError;
use crate::report::Outcome;
use std::io;

/// Why a sandbox could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be run.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image wants what was not granted. Nothing was started.
    #[error("{}", grant::sentence(.0))]
    NotGranted(Vec<Missing>),
    /// Something cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Arguments and environment take more room than there is.
    #[error("arguments and environment take {size} bytes, and there is room for {room}; pass less")]
    ArgumentsTooLong {
        /// What they take.
        size: usize,
        /// What there is.
        room: usize,
    },
    /// An argument or a variable holds a zero byte, or a variable's name is empty or holds `=`.
    #[error(
        "{0:?} cannot be an argument or a variable: zero bytes, empty names and `=` in names are not possible"
    )]
    BadArgument(String),
    /// The system does not let this process trace its child.
    #[error("the ptrace backend may not trace its own child here ({error}){hint}", error = .0, hint = ptrace_hint())]
    NoPtrace(io::Error),
    /// A guest of which a snapshot was to be taken holds something of the device of this name.
    #[error(
        "a snapshot cannot be taken while the guest has files open in {0:?}; let it close them before it waits for calls"
    )]
    DeviceInUse(String),
    /// The guest does not let itself be stopped to be looked at.
    #[error("the guest does not stop for its machine")]
    Unresponsive,
    /// The guest's process could not be started.
    #[error("the guest could not be started: {0}")]
    Start(String),
    /// The image ended before it waited for a call: it is no library, or its initialisation has failed.
    #[error("{}", ended_early(.0))]
    EndedEarly(Outcome),
    /// A system call failed.
    #[error("could not {what}: {error}{hint}", hint = limit_hint(error))]
    System {
        /// Completes "could not ...".
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: &'static str, error: io::Error) -> Error {
        Error::System { what, error }
    }
}

/// How an image ended that was to be a library.
fn ended_early(outcome: &Outcome) -> String {
    match outcome.report() {
        None => format!(
            "the image ended with status {} before it waited for calls: a library calls `libvcpu::embed::serve`",
            outcome.status()
        ),
        Some(report) => format!("the image ended before it waited for calls: {report}"),
    }
}

/// What to do where a process may not open more files.
fn limit_hint(error: &io::Error) -> String {
    if error.raw_os_error() != Some(libc::EMFILE) {
        return String::new();
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = limit.current.map_or("none".to_owned(), |limit| limit.to_string());
    format!(
        "; a sandbox takes 4 files and those of its streams: raise the limit, which is {limit} (`ulimit -n`)"
    )
}

/// What probably forbids ptrace, and what to do about it.
fn ptrace_hint() -> &'static str {
    match std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").as_deref().map(str::trim) {
        Ok("2") => "; kernel.yama.ptrace_scope is 2: run it with CAP_SYS_PTRACE, or set it to 1",
        Ok("3") => "; kernel.yama.ptrace_scope is 3, which forbids it until the next boot",
        _ => {
            "; a container or a seccomp filter forbids it: allow ptrace there (docker: --cap-add SYS_PTRACE)"
        }
    }
}
