//! Bytes in the guest's memory that host and guest both see.
//!
//! The guest can write them at any moment: one that is hostile does so also where it pretends to wait. So there is no
//! reference to them; they are copied, or seen through [`VolatileSlice`]. Where a slice lies is a guest's word as
//! well: it is looked at whenever the slice is used.

use crate::memory::GuestMemory;
use serde::{Deserialize, Serialize};
use vm_memory::{GuestAddress, GuestMemory as _, VolatileSlice};

/// A range of the guest's memory, as it goes in arguments and results. It says where to look, and nothing about
/// what is there: any numbers can be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slice {
    address: u64,
    length: u64,
}

impl Slice {
    /// A range of the guest's addresses.
    pub const fn new(address: u64, length: u64) -> Slice {
        Slice { address, length }
    }

    /// Address of the first byte, as the guest sees it.
    pub const fn address(self) -> u64 {
        self.address
    }

    /// How many bytes it has.
    pub const fn length(self) -> u64 {
        self.length
    }

    /// A part of it: `length` bytes from `offset` on, or `None` if there are not so many.
    ///
    /// ```
    /// use vcpu_host::embed::Slice;
    /// let slice = Slice::new(0x1000, 100);
    /// assert_eq!(slice.part(90, 10), Some(Slice::new(0x105a, 10)));
    /// assert_eq!(slice.part(91, 10), None);
    /// ```
    pub const fn part(self, offset: u64, length: u64) -> Option<Slice> {
        match (offset.checked_add(length), self.address.checked_add(offset)) {
            (Some(end), Some(address)) if end <= self.length => Some(Slice { address, length }),
            _ => None,
        }
    }
}

/// A slice does not lie where it could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at the guest's address {address:#x} are not in its memory, or not in the slice")]
pub struct NotInMemory {
    /// The address.
    pub address: u64,
    /// The number of bytes.
    pub length: u64,
}

/// A piece of the guest's heap that belongs to the host, until it is freed or the guest ends.
///
/// Dropping it does nothing, since only the guest can free it: [`Sandbox::free`](super::Sandbox::free).
#[derive(Debug)]
pub struct Buffer {
    slice: Slice,
}

impl Buffer {
    pub(super) fn new(slice: Slice) -> Buffer {
        Buffer { slice }
    }

    /// All of it.
    pub fn slice(&self) -> Slice {
        self.slice
    }
}

/// A buffer that the guest has made and handed over in a result, to be freed by the host.
impl From<Slice> for Buffer {
    fn from(slice: Slice) -> Buffer {
        Buffer { slice }
    }
}

/// The memory of a guest that calls a function of the host's.
#[derive(Debug)]
pub struct SharedMemory<'a> {
    memory: &'a GuestMemory,
}

impl<'a> SharedMemory<'a> {
    pub(super) fn new(memory: &'a GuestMemory) -> SharedMemory<'a> {
        SharedMemory { memory }
    }

    /// Copies bytes out of a slice, from `offset` on, until `bytes` is full.
    ///
    /// # Errors
    ///
    /// If the slice is shorter, or does not lie in the guest's memory.
    pub fn read(&self, slice: Slice, offset: u64, bytes: &mut [u8]) -> Result<(), NotInMemory> {
        let part = part(slice, offset, bytes.len())?;
        self.memory.read_to(part.address, bytes).ok_or(part.missing())
    }

    /// Copies bytes into a slice, from `offset` on.
    ///
    /// # Errors
    ///
    /// If the slice is shorter, or does not lie in the guest's memory, or where nobody may write.
    pub fn write(&self, slice: Slice, offset: u64, bytes: &[u8]) -> Result<(), NotInMemory> {
        let part = part(slice, offset, bytes.len())?;
        self.memory.write(part.address, bytes).ok_or(part.missing())
    }

    /// A copy of a slice's bytes.
    ///
    /// # Errors
    ///
    /// If the slice does not lie in the guest's memory.
    pub fn to_vec(&self, slice: Slice) -> Result<Vec<u8>, NotInMemory> {
        self.check(slice)?;
        let mut bytes = vec![0; slice.length as usize];
        self.read(slice, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Lets `action` see a slice's bytes where they are. The guest may change them at any moment, so they are
    /// no `&[u8]`.
    ///
    /// # Errors
    ///
    /// If the slice does not lie in one piece of the guest's memory.
    pub fn view<R>(
        &self,
        slice: Slice,
        action: impl FnOnce(VolatileSlice<'_>) -> R,
    ) -> Result<R, NotInMemory> {
        let length = usize::try_from(slice.length).map_err(|_| slice.missing())?;
        let view = self.memory.view().map_err(|_| slice.missing())?;
        let bytes = view.regions().get_slice(GuestAddress(slice.address), length);
        Ok(action(bytes.map_err(|_| slice.missing())?))
    }

    /// Whether all of a slice is memory.
    pub(super) fn check(&self, slice: Slice) -> Result<(), NotInMemory> {
        self.memory.offsets(slice.address, slice.length).map(drop).ok_or(slice.missing())
    }
}

impl Slice {
    fn missing(self) -> NotInMemory {
        NotInMemory { address: self.address, length: self.length }
    }
}

fn part(slice: Slice, offset: u64, length: usize) -> Result<Slice, NotInMemory> {
    let length = length as u64;
    let missing = NotInMemory { address: slice.address.wrapping_add(offset), length };
    slice.part(offset, length).ok_or(missing)
}
