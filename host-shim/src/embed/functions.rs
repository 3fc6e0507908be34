//! Functions of the host's that a guest was granted.

use super::memory::SharedMemory;
use super::message::{self, Refusal};
use super::metrics::Counters;
use crate::machine::exchange::Functions;
use crate::memory::GuestMemory;
use crate::report::Harmless;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use vcpu_abi::exchange::MESSAGE_MAX;

/// Most bytes of a name that are logged.
const NAME_MAX: usize = 100;

/// How many refused calls of a guest are worth a warning; a guest can make as many as it likes.
const WARNINGS: u64 = 16;

/// Decodes the argument, carries the function out, and encodes the result behind what is in the vector.
pub(super) type Function =
    Box<dyn FnMut(&SharedMemory<'_>, &[u8], &mut Vec<u8>) -> Result<(), Refusal> + Send>;

/// The functions of one sandbox.
pub(super) struct Registered {
    pub(super) functions: HashMap<String, Function>,
    pub(super) counters: Arc<Counters>,
}

/// A function that has a result or says why not.
pub(super) fn function<A: DeserializeOwned, R: Serialize, E: Display>(
    mut function: impl FnMut(&SharedMemory<'_>, A) -> Result<R, E> + Send + 'static,
) -> Function {
    Box::new(move |memory, argument, reply| {
        let result = function(memory, message::decode_argument(argument)?);
        let result = result.map_err(|error| Refusal::Failed(error.to_string()))?;
        message::encode(&result, reply)
            .map_err(|error| Refusal::Failed(format!("the result has no encoding: {error}")))
    })
}

/// A function whose argument and result are encoded.
pub(super) fn encoded<E: Display>(
    mut function: impl FnMut(&SharedMemory<'_>, &[u8], &mut Vec<u8>) -> Result<(), E> + Send + 'static,
) -> Function {
    Box::new(move |memory, argument, reply| {
        function(memory, argument, reply).map_err(|error| Refusal::Failed(error.to_string()))
    })
}

impl Functions for Registered {
    fn call(&mut self, memory: &GuestMemory, request: &[u8], reply: &mut Vec<u8>) {
        self.counters.host_calls.fetch_add(1, Relaxed);
        message::make_reply(reply, |reply| self.carry_out(memory, request, reply));
    }
}

impl Registered {
    fn carry_out(
        &mut self,
        memory: &GuestMemory,
        request: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let Some((name, argument)) = message::split_request(request) else {
            return Err(Refusal::BadArgument("the request names no function".to_owned()));
        };
        let Some(function) = self.functions.get_mut(name) else { return Err(self.refuse(name)) };
        // What the function has half done is its own affair, as if it had given an error.
        let call = AssertUnwindSafe(|| function(&SharedMemory::new(memory), argument, reply));
        catch_unwind(call)
            .unwrap_or_else(|_| Err(Refusal::Failed(format!("the host's function `{name}` has panicked"))))?;
        if reply.len() as u64 > MESSAGE_MAX {
            let length = reply.len();
            return Err(Refusal::Failed(format!("the result has {length} bytes, more than {MESSAGE_MAX}")));
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self, name: &str) -> Refusal {
        if self.counters.refused.fetch_add(1, Relaxed) < WARNINGS {
            tracing::warn!(
                "the guest has called the function `{0}`, which it was not granted; \
                 `SandboxBuilder::function` would grant it",
                Harmless(&name[..name.floor_char_boundary(NAME_MAX)])
            );
        }
        Refusal::NoSuchFunction(format!("the host has granted no function `{name}`"))
    }
}
