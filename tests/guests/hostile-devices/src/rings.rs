//! Rings that are written by hand.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
use libvcpu::abi::call::Error;
use libvcpu::abi::device::Register;
use libvcpu::call;
use libvcpu::prelude::*;

/// Entries of the queue.
pub(crate) const SIZE: u16 = 64;

/// The descriptor goes on.
pub(crate) const NEXT: u16 = 1;
/// The device writes it.
pub(crate) const WRITE: u16 = 2;
/// It is a table of descriptors.
pub(crate) const INDIRECT: u16 = 4;

/// A page on which a ring begins.
#[repr(C, align(4096))]
pub(crate) struct Page(pub(crate) [AtomicU64; 512]);

/// The three parts of a queue, each on a page of its own, and buffers. They stay where they are for ever, so that
/// whatever a device is told to do with them does no harm.
pub(crate) struct Rings {
    descriptors: &'static Page,
    available: &'static Page,
    used: &'static Page,
    pub(crate) buffers: &'static [Page; 4],
}

fn page() -> Page {
    Page([const { AtomicU64::new(0) }; 512])
}

impl Page {
    pub(crate) fn address(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// A 16-bit number at an offset in bytes.
    fn half_word(&self, offset: usize) -> &AtomicU16 {
        assert!(offset.is_multiple_of(2) && offset < 4096);
        // SAFETY: it lies in the page, which nobody here uses but by atomics.
        unsafe { AtomicU16::from_ptr((self.address() as usize + offset) as *mut u16) }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < 4096);
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr((self.address() as usize + offset) as *mut u32) }
    }
}

impl Rings {
    pub(crate) fn new() -> Rings {
        let pages = || &*Box::leak(Box::new(page()));
        Rings {
            descriptors: pages(),
            available: pages(),
            used: pages(),
            buffers: Box::leak(Box::new([page(), page(), page(), page()])),
        }
    }

    pub(crate) fn clear(&self) {
        for page in [self.descriptors, self.available, self.used].into_iter().chain(self.buffers) {
            page.0.iter().for_each(|word| word.store(0, SeqCst));
        }
    }

    pub(crate) fn addresses(&self) -> [u64; 3] {
        [self.descriptors.address(), self.available.address(), self.used.address()]
    }

    pub(crate) fn buffer(&self, number: usize) -> u64 {
        self.buffers[number].address()
    }

    /// Writes a descriptor.
    pub(crate) fn describe(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = usize::from(index) * 2;
        self.descriptors.0[at].store(address, SeqCst);
        let rest = u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.descriptors.0[at + 1].store(rest, SeqCst);
    }

    /// Writes an entry of the available ring.
    pub(crate) fn offer(&self, slot: u16, head: u16) {
        self.available.half_word(4 + 2 * usize::from(slot % SIZE)).store(head, SeqCst);
    }

    /// Writes the available ring's index.
    pub(crate) fn set_index(&self, index: u16) {
        self.available.half_word(2).store(index, SeqCst);
    }

    /// How many requests the device has used.
    pub(crate) fn used(&self) -> u16 {
        self.used.half_word(2).load(SeqCst)
    }

    /// How many bytes the device has written for the request in this slot.
    pub(crate) fn used_length(&self, slot: u16) -> u32 {
        self.used.word(8 + 8 * usize::from(slot % SIZE)).load(SeqCst)
    }

    /// Offers the chain that begins at descriptor 0, and tells the device.
    pub(crate) fn submit(&self, device: u32, queue: u16) -> Result<(), Error> {
        self.offer(0, 0);
        self.set_index(1);
        notify(device, u64::from(queue))
    }
}

pub(crate) fn write(device: u32, register: Register, value: u64) -> Result<(), Error> {
    // SAFETY: whatever the device is told to write to is memory of `Rings`, or is not to be written by a device,
    // which is what this guest tries.
    unsafe { call::device_write(device, register as u64, value) }
}

pub(crate) fn notify(device: u32, queue: u64) -> Result<(), Error> {
    // SAFETY: as above.
    let answer = unsafe { call::raw(12, u64::from(device), queue, 0, 0) };
    Error::check(answer).map(drop)
}

/// Resets a device and negotiates features.
pub(crate) fn negotiate(device: u32) -> Result<(), Error> {
    write(device, Register::Status, 0)?;
    write(device, Register::Status, 1 | 2)?;
    write(device, Register::DriverFeatures, 1 << 32)?;
    write(device, Register::Status, 1 | 2 | 8)
}

/// Tells a device where a queue is.
pub(crate) fn set_queue(device: u32, queue: u64, size: u64, addresses: [u64; 3]) -> Result<(), Error> {
    write(device, Register::QueueSelect, queue)?;
    write(device, Register::QueueSize, size)?;
    write(device, Register::QueueDescriptors, addresses[0])?;
    write(device, Register::QueueDriver, addresses[1])?;
    write(device, Register::QueueDevice, addresses[2])?;
    write(device, Register::QueueReady, 1)
}

/// Says that the driver is there.
pub(crate) fn finish(device: u32) -> Result<(), Error> {
    write(device, Register::Status, 1 | 2 | 8 | 4)
}

/// All of that, as it is to be.
pub(crate) fn set_up(device: u32, queue: u16, rings: &Rings) -> Result<(), Error> {
    negotiate(device)?;
    set_queue(device, u64::from(queue), u64::from(SIZE), rings.addresses())?;
    finish(device)
}
