//! Sandboxes whose functions a host program calls.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use vcpu_host::{Image, Sandbox};
//!
//! #[derive(Serialize)]
//! struct Request<'a> {
//!     width: u32,
//!     jpeg: &'a [u8],
//! }
//!
//! #[derive(Deserialize)]
//! struct Reply {
//!     png: Vec<u8>,
//! }
//!
//! # let bytes = [];
//! let image = Image::open("thumbnail.elf")?;
//! let mut sandbox = Sandbox::builder(&image)
//!     .memory(64 << 20)
//!     .call_deadline(Duration::from_millis(200))
//!     .build()?;
//! let reply: Reply = sandbox.call("thumbnail", &Request { width: 320, jpeg: &bytes })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The guest is an image that says which functions it has, by `libvcpu::embed::serve`. It runs while one of them is
//! called, and stands still between two calls; one that is hostile may go on computing, with what it has, until it is
//! called, reset or dropped. Whatever it does, the host goes on: a function that panics, faults,
//! takes too long or too much memory is a [`CallError`] with the report inside.
//!
//! **What moves.** Arguments and results are values that `serde` knows, encoded by `postcard` 1.x. A result is
//! copied out of the guest's memory once, is never longer than [the limit](SandboxBuilder::reply_limit), and is
//! decoded from the copy; only what is a whole value of the type that was asked for is given. That it *means*
//! something is the caller's to check, as with anything that a stranger says. What is nested more than 128 levels
//! deep is refused (a structure, an enumeration, an option, or a list in another is a level), and so is a list that
//! has more elements than the result has bytes, and a few.
//!
//! **Much data** lies in memory that both see and nobody copies: [`Sandbox::allocate`] makes a [`Buffer`], whose
//! [`Slice`] can be a part of any argument.
//!
//! **Functions of the host** are granted one by one, by [`SandboxBuilder::function`]. What was not granted the
//! guest cannot call.
//!
//! | module | its subject |
//! |---|---|
//! | `asynchronous` | sandboxes for programs that use `tokio` (feature `tokio`) |
//! | `bounded` | decoding with bounds |
//! | `builder` | what a sandbox is given |
//! | `error` | why a call has no result |
//! | `functions` | functions of the host |
//! | `memory` | buffers that both see |
//! | `message` | requests and replies as bytes |
//! | `metrics` | what is counted |
//! | `place` | where the machine is |
//! | `pool` | guests that wait, restored from a snapshot |
//! | `snapshot` | snapshots, and reset |

#[cfg(feature = "tokio")]
mod asynchronous;
pub(crate) mod bounded;
mod builder;
mod error;
mod functions;
mod memory;
pub(crate) mod message;
mod metrics;
mod place;
mod pool;
mod snapshot;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncSandbox;
pub use builder::SandboxBuilder;
pub use error::CallError;
pub use memory::{Buffer, NotInMemory, SharedMemory, Slice};
pub use metrics::Metrics;
pub use snapshot::Snapshot;
pub use vm_memory::VolatileSlice;

use crate::backend::BackendKind;
use crate::image::Image;
use crate::machine::exchange::{Answered, Limits};
use metrics::Counters;
use place::Place;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use vcpu_abi::exchange::MESSAGE_MAX;

/// A guest whose functions are called; see the [module](self). It ends when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    place: Place,
    image: Image,
    limits: Limits,
    /// The last request and the last reply, whose memory is used again.
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Whether the guest still waits for calls.
    lives: bool,
    metrics: Metrics,
    counters: Arc<Counters>,
}

impl Sandbox {
    /// What a new sandbox of this image is given is said to a builder.
    pub fn builder(image: &Image) -> SandboxBuilder {
        SandboxBuilder::new(image)
    }

    /// Calls a function of the guest's.
    ///
    /// # Errors
    ///
    /// [`CallError`] says why there is no result. After [`CallError::Ended`] and [`CallError::System`] the guest is
    /// gone, and every other call is [`CallError::Dead`]; otherwise it can be called again.
    pub fn call<A, R>(&mut self, name: &str, argument: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let result = self.prepare(name, argument).and_then(|()| self.exchange(name));
        self.conclude(name, result)
    }

    /// As [`call`](Sandbox::call), with an argument that is encoded already, for whoever does not have the types:
    /// other languages, for example. Gives the encoded result. Both are as `postcard` 1.x encodes them.
    ///
    /// # Errors
    ///
    /// As [`call`](Sandbox::call), but what is in the result is not looked at.
    pub fn call_encoded(&mut self, name: &str, argument: &[u8]) -> Result<&[u8], CallError> {
        let result = self.prepare(name, &()).and_then(|()| {
            self.request.extend_from_slice(argument);
            self.exchange(name)
        });
        let result = result.and_then(|()| self.result_of(name).map(drop));
        if let Err(error) = result {
            self.failed(name, &error);
            return Err(error);
        }
        self.result_of(name)
    }

    /// Makes the request.
    fn prepare<A: Serialize + ?Sized>(&mut self, name: &str, argument: &A) -> Result<(), CallError> {
        self.metrics.calls += 1;
        message::encode_request(name, argument, &mut self.request)
    }

    /// The encoded result.
    fn result_of(&self, name: &str) -> Result<&[u8], CallError> {
        message::result_of(name, &self.reply, || self.image.exports().to_vec())
    }

    /// Makes a value of the reply, if there is one.
    fn conclude<R: DeserializeOwned>(
        &mut self,
        name: &str,
        result: Result<(), CallError>,
    ) -> Result<R, CallError> {
        let result = result.and_then(|()| self.result_of(name)).and_then(message::decode_result);
        if let Err(error) = &result {
            self.failed(name, error);
        }
        result
    }

    /// Gives the guest the request and takes its reply.
    fn exchange(&mut self, name: &str) -> Result<(), CallError> {
        let span = tracing::debug_span!("call", function = name);
        let _inside = span.enter();
        if !self.lives {
            return Err(CallError::Dead);
        }
        if self.request.len() as u64 > MESSAGE_MAX {
            return Err(CallError::TooLong(self.request.len()));
        }
        let Sandbox { place, request, reply, limits, .. } = self;
        let answered = place.with(|machine| machine.request(request, *limits, reply));
        self.metrics.bytes_in += self.request.len() as u64;
        match answered {
            Ok(Answered::Reply) => {
                self.metrics.bytes_out += self.reply.len() as u64;
                Ok(())
            }
            Ok(Answered::BadReply(length)) => Err(CallError::BadReply(format!(
                "it says that it has {length} bytes, of which at most {} are taken, or that it lies where none can",
                self.limits.reply
            ))),
            Ok(Answered::NoRoom) => {
                Err(CallError::BadReply("it does not take a request that is longer than its room".to_owned()))
            }
            Ok(Answered::Ended(outcome)) => {
                self.lives = false;
                Err(CallError::Ended(outcome))
            }
            Err(error) => {
                self.lives = false;
                Err(CallError::System(error))
            }
        }
    }

    #[cold]
    fn failed(&mut self, name: &str, error: &CallError) {
        self.metrics.failed += 1;
        if let CallError::Ended(outcome) = error {
            self.metrics.ended += 1;
            tracing::warn!(
                function = name,
                status = outcome.status(),
                "a call has ended its sandbox: {error}"
            );
        } else {
            tracing::debug!(function = name, "a call has failed: {error}");
        }
    }

    /// Whether its functions can still be called: no call has ended the guest.
    pub fn is_alive(&self) -> bool {
        self.lives
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What was counted since it was built.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        self.counters.add_to(&mut metrics);
        metrics
    }

    /// The identifier of the guest's process.
    pub fn pid(&mut self) -> i32 {
        self.place.with(|machine| machine.pid())
    }

    /// The backend that runs it, which is not [`BackendKind::Auto`].
    pub fn backend(&mut self) -> BackendKind {
        self.place.with(|machine| machine.backend())
    }

    /// Makes a buffer of zeros in the guest's memory, of `length` bytes, at least one; it begins at a multiple
    /// of 64. It is there until it is [freed](Sandbox::free) or the guest ends.
    ///
    /// # Errors
    ///
    /// As [`call`](Sandbox::call); [`CallError::Failed`] if the guest has no room.
    pub fn allocate(&mut self, length: usize) -> Result<Buffer, CallError> {
        let address: u64 = self.call("vcpu.allocate", &(length as u64))?;
        let slice = Slice::new(address, length as u64);
        let holds = self.place.with(|machine| SharedMemory::new(machine.memory()).check(slice));
        holds.map_err(|error| CallError::BadReply(error.to_string()))?;
        Ok(Buffer::new(slice))
    }

    /// Frees a buffer.
    ///
    /// # Errors
    ///
    /// As [`call`](Sandbox::call); [`CallError::Failed`] if the guest still uses it, or it is another guest's.
    pub fn free(&mut self, buffer: Buffer) -> Result<(), CallError> {
        self.call("vcpu.free", &buffer.slice().address())
    }

    /// Copies bytes out of a slice, from `offset` on, until `bytes` is full.
    ///
    /// # Errors
    ///
    /// If the slice is shorter, or does not lie in the guest's memory.
    pub fn read(&mut self, slice: Slice, offset: u64, bytes: &mut [u8]) -> Result<(), NotInMemory> {
        self.place.with(|machine| SharedMemory::new(machine.memory()).read(slice, offset, bytes))
    }

    /// Copies bytes into a slice, from `offset` on.
    ///
    /// # Errors
    ///
    /// If the slice is shorter, or does not lie in the guest's memory, or where nobody may write.
    pub fn write(&mut self, slice: Slice, offset: u64, bytes: &[u8]) -> Result<(), NotInMemory> {
        self.place.with(|machine| SharedMemory::new(machine.memory()).write(slice, offset, bytes))
    }

    /// A copy of a slice's bytes.
    ///
    /// # Errors
    ///
    /// If the slice does not lie in the guest's memory.
    pub fn to_vec(&mut self, slice: Slice) -> Result<Vec<u8>, NotInMemory> {
        self.place.with(|machine| SharedMemory::new(machine.memory()).to_vec(slice))
    }

    /// Lets `action` see a slice's bytes where they are. The guest may change them at any moment, so they are
    /// no `&[u8]`.
    ///
    /// # Errors
    ///
    /// If the slice does not lie in one piece of the guest's memory.
    pub fn view<R: Send>(
        &mut self,
        slice: Slice,
        action: impl FnOnce(VolatileSlice<'_>) -> R + Send,
    ) -> Result<R, NotInMemory> {
        self.place.with(|machine| SharedMemory::new(machine.memory()).view(slice, action))
    }
}
