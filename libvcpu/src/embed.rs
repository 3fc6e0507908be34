//! Being a library of a host program that embeds this image (feature `embed`).
//!
//! ```no_run
//! # #![no_std]
//! # #![no_main]
//! use libvcpu::embed::{export, serve};
//! use libvcpu::prelude::*;
//!
//! entry!(main);
//!
//! fn main() {
//!     // What takes long is done here, once.
//!     serve(&[export!(add), export!(try divide)]);
//! }
//!
//! fn add((a, b): (u32, u32)) -> u32 {
//!     a + b
//! }
//!
//! fn divide((a, b): (u32, u32)) -> Result<u32, &'static str> {
//!     a.checked_div(b).ok_or("nothing can be divided by zero")
//! }
//! ```
//!
//! The host calls the functions that [`serve`] is given, one at a time; they run in the main thread. Between two
//! calls the guest stands still: **other threads run only while a call is under way**, and timers that come due
//! meanwhile are seen to when the next call begins.
//!
//! Argument and result are one value each, of any type that `serde` can move; who needs several arguments
//! takes a tuple. An argument may borrow: a `&[u8]` or a `&str` lies in the request. The same types on both
//! sides are the caller's business: what does not decode is an error, but what decodes as something else is not
//! noticed.
//!
//! Much data goes as a [`Slice`], which both sides see and nobody copies. In the other direction, [`call`]
//! calls functions that the host has registered.
//!
//! A function that panics, faults, or runs out of memory or time ends the guest, and the host's call is an
//! error with the report.

mod export;
mod host;
mod slice;

pub use crate::export;
pub use export::{EncodedFunction, Export, Refusal};
pub use host::{Error, call, call_encoded};
pub use slice::Slice;
pub use vcpu_kernel::abi::exchange::MESSAGE_MAX;

use crate::{eprintln, process};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use serde::Serialize;
use vcpu_kernel::abi::call::Error as CallError;
use vcpu_kernel::abi::exchange::ReplyStatus;

/// For `export!` alone.
#[doc(hidden)]
pub mod __private {
    pub use super::export::{Refusal, last_segment, result, value};
    pub use vcpu_kernel::abi::note::{NOTE_EXPORT, TextNote};
}

/// Bytes of requests for which there is room at first.
const ROOM: usize = 4096;

/// The status of a library that is run as a program.
const STATUS_NO_PROGRAM: u8 = 1;

/// Carries out the host's calls of these functions, until the host ends the guest. Where nobody calls, as in
/// `vcpu run`, it says so and ends the guest with status 1.
///
/// # Panics
///
/// In any other than the main thread.
pub fn serve(exports: &[Export]) -> ! {
    assert!(slice::is_main_thread(), "functions are served in the main thread");
    let (mut request, mut reply) = (vec![0; ROOM], Vec::new());
    loop {
        let length = match vcpu_kernel::call::serve(&reply, &mut request) {
            Ok(length) => length,
            Err(CallError::Denied) => {
                eprintln!(
                    "this image is a library: it does nothing by itself, but has functions that a host \
                     program calls ({})",
                    names(exports)
                );
                process::exit(STATUS_NO_PROGRAM)
            }
            Err(error) => panic!("the machine takes no replies: {error}"),
        };
        reply.clear();
        match request.get(..length) {
            Some(request) => answer(exports, request, &mut reply),
            None => {
                // Not both at once.
                drop(core::mem::take(&mut request));
                request = vec![0; length.next_multiple_of(ROOM)];
            }
        }
    }
}

/// Carries out a request.
fn answer(exports: &[Export], request: &[u8], reply: &mut Vec<u8>) {
    let Ok((name, argument)) = postcard::take_from_bytes::<&str>(request) else {
        return refuse(reply, ReplyStatus::BadArgument, "the request names no function");
    };
    let built_in = slice::EXPORTS.iter();
    let Some(export) = exports.iter().chain(built_in).find(|export| export.name() == name) else {
        let sentence = format!("there is no function `{name}`, but {}", names(exports));
        return refuse(reply, ReplyStatus::NoSuchFunction, &sentence);
    };
    reply.push(ReplyStatus::Done as u8);
    match export.carry_out(argument, reply) {
        Ok(()) => {}
        Err(export::Refusal::BadArgument(sentence)) => refuse(reply, ReplyStatus::BadArgument, &sentence),
        Err(export::Refusal::Failed(sentence)) => refuse(reply, ReplyStatus::Failed, &sentence),
    }
}

fn refuse(reply: &mut Vec<u8>, status: ReplyStatus, sentence: &str) {
    reply.clear();
    reply.push(status as u8);
    reply.extend_from_slice(sentence.as_bytes());
}

/// The names of functions, for a sentence.
fn names(exports: &[Export]) -> alloc::string::String {
    let names: Vec<_> = exports.iter().map(|export| format!("`{}`", export.name())).collect();
    names.join(", ")
}

/// Encodes a value behind what is there.
fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), postcard::Error> {
    postcard::serialize_with_flavor(value, Behind(bytes))
}

/// Most bytes of an encoded number of 64 bits.
const NUMBER_MAX: usize = 10;

/// Where a value is encoded to.
struct Behind<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // A number is a few bytes, for which calling a copy costs more than the copy.
        if bytes.len() <= NUMBER_MAX {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
