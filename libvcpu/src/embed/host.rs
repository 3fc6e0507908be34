//! Calling functions of the host's.

use super::encode;
use crate::sync::{Mutex, PoisonError};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vcpu_kernel::abi::call::Error as CallError;
use vcpu_kernel::abi::exchange::ReplyStatus;

/// Why a function of the host's has given no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The host has not granted a function of this name; with the host's sentence.
    NoSuchFunction(String),
    /// The argument is not what the function takes; with the host's sentence.
    BadArgument(String),
    /// The function could not do it; with its own sentence.
    Failed(String),
    /// The result is not of the type that was asked for.
    BadReply,
    /// The argument is too long, or has no encoding.
    NoRequest,
    /// The machine has no functions at all.
    Denied,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchFunction(sentence) | Error::BadArgument(sentence) | Error::Failed(sentence) => {
                formatter.write_str(sentence)
            }
            Error::BadReply => formatter.write_str("the host's result is not of the type that was asked for"),
            Error::NoRequest => formatter.write_str("the argument is too long, or has no encoding"),
            Error::Denied => formatter.write_str("the host has no functions for this guest"),
        }
    }
}

impl core::error::Error for Error {}

/// A request and its reply. Locked, too, because a reply that had no room is fetched by a second call.
static BUFFERS: Mutex<(Vec<u8>, Vec<u8>)> = Mutex::new((Vec::new(), Vec::new()));

/// Calls a function that the host has registered for this guest. The guest stands still meanwhile, all its
/// threads.
///
/// # Errors
///
/// If there is no such function, or it has given no result of this type.
///
/// # Panics
///
/// In an event handler function, if a thread is just calling.
///
/// ```no_run
/// let today: u32 = libvcpu::embed::call("days_since_1970", &())?;
/// # Ok::<(), libvcpu::embed::Error>(())
/// ```
pub fn call<A: Serialize + ?Sized, R: DeserializeOwned>(name: &str, argument: &A) -> Result<R, Error> {
    let decode = |result: &[u8]| match postcard::take_from_bytes(result) {
        Ok((value, [])) => Ok(value),
        _ => Err(Error::BadReply),
    };
    exchange(name, |request| encode(argument, request), decode)
}

/// As [`call`], with an argument that is encoded already, for whoever does not have the types: other languages, for
/// example. Gives the encoded result. Both are as `postcard` 1.x encodes them.
///
/// # Errors
///
/// As [`call`], but what is in the result is not looked at.
///
/// # Panics
///
/// As [`call`].
pub fn call_encoded(name: &str, argument: &[u8]) -> Result<Vec<u8>, Error> {
    let append = |request: &mut Vec<u8>| {
        request.extend_from_slice(argument);
        Ok(())
    };
    exchange(name, append, |result| Ok(result.to_vec()))
}

/// Makes a request, whose argument `append` writes behind what is there, and uses the result.
fn exchange<R>(
    name: &str,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), postcard::Error>,
    result_of: impl FnOnce(&[u8]) -> Result<R, Error>,
) -> Result<R, Error> {
    // Both are filled anew each time, so whoever died with them leaves nothing wrong behind.
    let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    let (request, reply) = &mut *buffers;
    request.clear();
    encode(name, request).and_then(|()| append(request)).map_err(|_| Error::NoRequest)?;
    let length = vcpu_kernel::call::host_call(request, reply).map_err(|error| match error {
        CallError::Denied => Error::Denied,
        _ => Error::NoRequest,
    })?;
    if length > reply.len() {
        reply.resize(length, 0);
        vcpu_kernel::call::host_reply(reply).map_err(|_| Error::BadReply)?;
    }
    let (status, result) = reply[..length].split_first().ok_or(Error::BadReply)?;
    let sentence = || String::from_utf8_lossy(result).into_owned();
    Err(match ReplyStatus::from_number(*status) {
        Some(ReplyStatus::Done) => return result_of(result),
        Some(ReplyStatus::NoSuchFunction) => Error::NoSuchFunction(sentence()),
        Some(ReplyStatus::BadArgument) => Error::BadArgument(sentence()),
        Some(ReplyStatus::Failed) => Error::Failed(sentence()),
        None => Error::BadReply,
    })
}
