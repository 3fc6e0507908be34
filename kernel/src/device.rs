//! Devices: what the guest was granted of the world, as virtio devices behind calls.
//!
//! The rings of a device's queues are kept by the crate `virtio-drivers`; here is what it stands on, and what
//! the kinds of devices say through them.
//!
//! | module | its subject |
//! |---|---|
//! | `transport` | registers by calls, and who has a device |
//! | `memory` | the memory of rings and buffers: a guest address is what the device knows, too |
//! | `queue` | one request after the other, and waiting for what the device does later |
//! | [`block`] | block devices |
//! | [`console`] | consoles |
//! | [`entropy`] | random bytes |
//! | [`file_system`] | file systems, as far as their queues |
//!
//! That crate's own drivers of these kinds are not used: they spin until a request is done, and do not notice
//! that a device has stopped.
//!
//! A device mostly has done a request when the call that tells of it returns. If not, the thread waits for the
//! device's event line, and other threads run. Threads that use one queue take turns.

pub mod block;
pub mod console;
pub mod entropy;
pub mod file_system;
mod memory;
mod queue;
mod transport;

use crate::{call, machine};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
pub use vcpu_abi::device::Kind;
use vcpu_abi::device::{DEVICES_MAX, Register};

/// Why a device did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A driver has the device already.
    Taken,
    /// There is no memory for its queues.
    NoMemory,
    /// The device has stopped, because of what it found in its queues, and needs a reset.
    Stopped,
    /// The device answered something that makes no sense.
    BadAnswer,
    /// The place is beyond the device's end.
    OutOfRange,
    /// The device was granted to be read only.
    ReadOnly,
    /// The device cannot do that.
    Unsupported,
    /// The other end of the stream is gone.
    Closed,
    /// The device tried, and failed.
    Failed,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Error::Taken => "a driver has the device already",
            Error::NoMemory => "there is no memory for the device's queues",
            Error::Stopped => "the device has stopped and needs a reset",
            Error::BadAnswer => "the device answered something that makes no sense",
            Error::OutOfRange => "the place is beyond the device's end",
            Error::ReadOnly => "the device was granted to be read only",
            Error::Unsupported => "the device cannot do that",
            Error::Closed => "the other end of the stream is gone",
            Error::Failed => "the device tried, and failed",
        })
    }
}

impl core::error::Error for Error {}

/// The names of all devices, in the order of their numbers from 0.
pub fn names() -> impl Iterator<Item = &'static [u8]> {
    machine::devices()
}

/// What a device is; `None` if there is no such device, or it is of a kind that is not known.
#[must_use]
pub fn kind(device: u32) -> Option<Kind> {
    /// What was asked for before: it never changes.
    static KINDS: [AtomicU32; DEVICES_MAX as usize] = [const { AtomicU32::new(0) }; DEVICES_MAX as usize];
    let known = KINDS.get(device as usize)?;
    if let Some(kind) = Kind::from_number(u64::from(known.load(Relaxed))) {
        return Some(kind);
    }
    let kind = call::device_read(device, Register::Kind as u64).ok().and_then(Kind::from_number)?;
    known.store(kind as u32, Relaxed);
    Some(kind)
}

/// The devices of a kind: number and name.
pub fn of_kind(wanted: Kind) -> impl Iterator<Item = (u32, &'static [u8])> {
    (0..).zip(names()).filter(move |(device, _)| kind(*device) == Some(wanted))
}

/// The number of the device that was granted by this name and is of this kind.
#[must_use]
pub fn find(wanted: Kind, name: &[u8]) -> Option<u32> {
    let device = (0..).zip(names()).find(|(_, known)| *known == name)?.0;
    (kind(device) == Some(wanted)).then_some(device)
}
