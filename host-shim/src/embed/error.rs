//! Why a call has no result.

use crate::Error;
use crate::report::{Harmless, Outcome};
use vcpu_abi::exchange::MESSAGE_MAX;

/// Why a call of a guest's function has no result. Sentences may be the guest's; they are shown in a way that
/// cannot control a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The guest has ended instead of replying: it has panicked, faulted, ended itself, taken too long, or its
    /// process was killed. The outcome has the report.
    #[error("{}", ended(.0))]
    Ended(Outcome),
    /// The guest has no function of this name; these are those that its image names.
    #[error("the guest has no function {name:?}; its image names {}", names(exports))]
    NoSuchFunction {
        /// The name that was called.
        name: String,
        /// What the image names.
        exports: Vec<String>,
    },
    /// The argument has no encoding, or it is not what the function takes; the guest's sentence says more.
    #[error("{}", Harmless(.0))]
    BadArgument(String),
    /// Name and argument take more bytes than a request may have; pass a slice of a buffer.
    #[error("the request has {0} bytes, more than {MESSAGE_MAX}; pass much data in a buffer")]
    TooLong(usize),
    /// The function could not do it, and says why.
    #[error("{}", Harmless(.0))]
    Failed(String),
    /// The guest's reply is not a value of the type that was asked for, or no reply at all.
    #[error("the guest's reply cannot be taken: {0}")]
    BadReply(String),
    /// An earlier call has ended the guest.
    #[error("an earlier call has ended the guest; reset the sandbox, or build another")]
    Dead,
    /// The system has refused something; the guest was given up.
    #[error(transparent)]
    System(#[from] Error),
}

fn ended(outcome: &Outcome) -> String {
    match outcome.report() {
        Some(report) => report.to_string(),
        None => format!("the guest has ended itself with status {} instead of replying", outcome.status()),
    }
}

fn names(exports: &[String]) -> String {
    if exports.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = exports.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}
