//! Bytes that host and guest both see, in *buffers*: pieces of the heap that belong to the host until it frees
//! them.
//!
//! A slice is a part of a buffer that one value of this program has for itself. Which parts these are is kept
//! here, so that no second value can have the same bytes, wherever its numbers come from.

use super::export::{Export, result};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;
use core::ops::{Deref, DerefMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Alignment of buffers in bytes: that of the widest vector register, and of a cache line.
const ALIGN: usize = 64;

/// What the host calls to have buffers. See [`vcpu_kernel::abi::exchange`].
pub(super) const EXPORTS: [Export; 2] = [
    Export::new("vcpu.allocate", |argument, reply| result(allocate, argument, reply)),
    Export::new("vcpu.free", |argument, reply| result(free, argument, reply)),
];

/// Bytes that the host sees, too, and that nobody copies: a part of a buffer, as long as the value lives.
///
/// In an argument it is what the host wants to be read or filled. In a result it tells the host where to look: the
/// same slice, or one that was made of a `Vec`, which belongs to the host from then on.
///
/// While a function has a slice the host does not write there; that is the host's promise, as everything is that
/// concerns its guest's memory. What the host promises nobody else can break: bytes that another slice has, or that
/// lie outside of all buffers, are a bad argument.
///
/// ```no_run
/// use libvcpu::embed::Slice;
///
/// fn invert(mut pixels: Slice) {
///     pixels.iter_mut().for_each(|byte| *byte = !*byte);
/// }
/// ```
pub struct Slice {
    /// Part of a buffer, which lives as long as this is in `lent`; or empty.
    bytes: &'static mut [u8],
}

/// What belongs to the host.
struct Shared {
    /// Address and layout.
    buffers: Vec<(usize, Layout)>,
    /// The parts that slices have, as addresses: beginning and end. None is empty.
    lent: Vec<(usize, usize)>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared { buffers: Vec::new(), lent: Vec::new() });

fn shared() -> MutexGuard<'static, Shared> {
    // Each list is right after every single change.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Lends a part of a buffer.
    fn lend(&mut self, address: u64, length: u64) -> Result<Slice, &'static str> {
        if length == 0 {
            return Ok(Slice { bytes: &mut [] });
        }
        let outside = "the slice lies in no buffer of the host's";
        let start = usize::try_from(address).map_err(|_| outside)?;
        let end = start.checked_add(length as usize).ok_or(outside)?;
        let holds = |(at, layout): &&(usize, Layout)| *at <= start && end <= at + layout.size();
        self.buffers.iter().find(holds).ok_or(outside)?;
        if self.lent.iter().any(|(from, to)| *from < end && start < *to) {
            return Err("the slice overlaps another one that is in use");
        }
        self.lent.push((start, end));
        // SAFETY: the range lies in a buffer, which is initialised memory that is not freed while a part of it
        // is lent, and no other slice has a byte of it. The host does not write there, as it promises.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, end - start) };
        Ok(Slice { bytes })
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let start = self.bytes.as_ptr() as usize;
        let lent = &mut shared().lent;
        if let Some(index) = lent.iter().position(|(from, _)| *from == start) {
            lent.swap_remove(index);
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Slice {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Slice({:p}, {})", self.bytes.as_ptr(), self.bytes.len())
    }
}

/// The bytes become a buffer of the host's.
impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        let bytes = Box::leak(bytes.into_boxed_slice());
        let layout = Layout::for_value(bytes);
        let address = bytes.as_mut_ptr() as usize;
        let mut shared = shared();
        if layout.size() > 0 {
            shared.buffers.push((address, layout));
            shared.lent.push((address, address + layout.size()));
        }
        Slice { bytes }
    }
}

impl Serialize for Slice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.bytes.as_ptr() as u64, self.bytes.len() as u64).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Slice, D::Error> {
        let (address, length) = <(u64, u64)>::deserialize(deserializer)?;
        shared().lend(address, length).map_err(de::Error::custom)
    }
}

/// Makes a buffer of zeros.
fn allocate(length: u64) -> Result<u64, String> {
    let layout = usize::try_from(length).ok().and_then(|length| Layout::from_size_align(length, ALIGN).ok());
    let Some(layout) = layout.filter(|layout| layout.size() > 0) else {
        return Err(format!("a buffer of {length} bytes is not possible"));
    };
    // SAFETY: the size is not zero.
    let address = unsafe { alloc_zeroed(layout) } as usize;
    if address == 0 {
        return Err(format!("the guest has no memory for a buffer of {length} bytes"));
    }
    shared().buffers.push((address, layout));
    Ok(address as u64)
}

/// Frees a buffer.
fn free(address: u64) -> Result<(), &'static str> {
    let mut shared = shared();
    let is_it = |(at, _): &(usize, Layout)| *at as u64 == address;
    let index = shared.buffers.iter().position(is_it).ok_or("there is no such buffer")?;
    let (at, layout) = shared.buffers[index];
    if shared.lent.iter().any(|(from, _)| (at..at + layout.size()).contains(from)) {
        return Err("the guest still uses the buffer");
    }
    shared.buffers.swap_remove(index);
    // SAFETY: the buffer came from the heap with this layout, was in the list once, and no slice has a part of it.
    unsafe { dealloc(at as *mut u8, layout) };
    Ok(())
}
