//! Bytes that host and guest both see, in *buffers*: pieces of the heap that belong to the host until it frees
//! them.
//!
//! A slice is a part of a buffer that one value of this program has for itself. Which parts these are is kept
//! here, so that no second value can have the same bytes, wherever its numbers come from.

use super::export::{Export, result};
use crate::machine;
use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
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
/// It stays in the main thread, where functions are called; making one in another thread panics. Other threads can
/// be given its bytes.
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
    /// The main thread alone keeps the lists.
    stays: PhantomData<*const ()>,
}

/// What belongs to the host.
struct Shared {
    /// Address and layout.
    buffers: Vec<(usize, Layout)>,
    /// The parts that slices have, as addresses: beginning and end. None is empty.
    lent: Vec<(usize, usize)>,
}

/// A list has no room for one more.
struct Full;

struct MainThread(UnsafeCell<Shared>);

// SAFETY: `with`, which alone reaches the value, runs in the main thread only.
unsafe impl Sync for MainThread {}

static SHARED: MainThread = MainThread(UnsafeCell::new(Shared { buffers: Vec::new(), lent: Vec::new() }));

/// Uses the lists, in the main thread: that needs no lock, and it is what a call's cost hangs on. `action` does not
/// allocate.
#[inline]
#[track_caller]
fn with<R>(action: impl FnOnce(&mut Shared) -> R) -> R {
    assert!(is_main_thread(), "slices are for the main thread; others can use their bytes");
    // SAFETY: other threads and event handlers have stacks of their own, so they do not come here. The actions in this
    // module do not nest, and nothing is called in them that could run a handler on this stack.
    action(unsafe { &mut *SHARED.0.get() })
}

/// Whether this runs on the main thread's stack.
#[inline]
pub(super) fn is_main_thread() -> bool {
    let here = 0u8;
    machine::main_stack().contains(&((&raw const here) as u64))
}

/// Does what needs room in a list, and makes room whenever there is none.
fn with_room<T, R>(
    list: impl Fn(&mut Shared) -> &mut Vec<T>,
    mut action: impl FnMut(&mut Shared) -> Result<R, Full>,
) -> R {
    loop {
        match with(&mut action) {
            Ok(result) => return result,
            Err(Full) => {
                let room = with(|shared| list(shared).capacity());
                let mut larger = Vec::with_capacity(2 * room + 4);
                with(|shared| {
                    let list = list(shared);
                    // Others may have come in between, and made more room.
                    if larger.capacity() > list.capacity() {
                        larger.append(list);
                        core::mem::swap(list, &mut larger);
                    }
                });
            }
        }
    }
}

impl Shared {
    /// Lends a range of addresses that is not empty.
    fn lend(&mut self, start: usize, end: usize) -> Result<Result<(), &'static str>, Full> {
        let holds = |(at, layout): &(usize, Layout)| *at <= start && end <= at + layout.size();
        if !self.buffers.iter().any(holds) {
            return Ok(Err(OUTSIDE));
        }
        if self.lent.iter().any(|(from, to)| *from < end && start < *to) {
            return Ok(Err("the slice overlaps another one that is in use"));
        }
        push(&mut self.lent, (start, end)).map(Ok)
    }

    /// Takes a buffer that no slice has a part of out of the list.
    fn take(&mut self, address: u64) -> Result<(usize, Layout), &'static str> {
        let is_it = |(at, _): &(usize, Layout)| *at as u64 == address;
        let index = self.buffers.iter().position(is_it).ok_or("there is no such buffer")?;
        let (at, layout) = self.buffers[index];
        if self.lent.iter().any(|(from, _)| (at..at + layout.size()).contains(from)) {
            return Err("the guest still uses the buffer");
        }
        Ok(self.buffers.swap_remove(index))
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Full> {
    if list.len() == list.capacity() {
        return Err(Full);
    }
    list.push(item);
    Ok(())
}

const OUTSIDE: &str = "the slice lies in no buffer of the host's";

impl Slice {
    fn new(bytes: &'static mut [u8]) -> Slice {
        Slice { bytes, stays: PhantomData }
    }

    /// A part of a buffer.
    fn lent(address: u64, length: u64) -> Result<Slice, &'static str> {
        if length == 0 {
            return Ok(Slice::new(&mut []));
        }
        let start = address as usize;
        let end = start.checked_add(length as usize).ok_or(OUTSIDE)?;
        with_room(|shared| &mut shared.lent, |shared| shared.lend(start, end))?;
        // SAFETY: the range lies in a buffer, which is initialised memory that is not freed while a part of it
        // is lent, and no other slice has a byte of it. The host does not write there, as it promises.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, end - start) };
        Ok(Slice::new(bytes))
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let start = self.bytes.as_ptr() as usize;
        if self.bytes.is_empty() {
            return;
        }
        with(|shared| {
            if let Some(index) = shared.lent.iter().position(|(from, _)| *from == start) {
                shared.lent.swap_remove(index);
            }
        });
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
        if layout.size() > 0 {
            add(address, layout);
            with_room(
                |shared| &mut shared.lent,
                |shared| push(&mut shared.lent, (address, address + layout.size())),
            );
        }
        Slice::new(bytes)
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
        Slice::lent(address, length).map_err(de::Error::custom)
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
    add(address, layout);
    Ok(address as u64)
}

/// Adds a buffer to the list.
fn add(address: usize, layout: Layout) {
    with_room(|shared| &mut shared.buffers, |shared| push(&mut shared.buffers, (address, layout)));
}

/// Frees a buffer.
fn free(address: u64) -> Result<(), &'static str> {
    let (at, layout) = with(|shared| shared.take(address))?;
    // SAFETY: the buffer came from the heap with this layout, was in the list once, and no slice has a part of it.
    unsafe { dealloc(at as *mut u8, layout) };
    Ok(())
}
