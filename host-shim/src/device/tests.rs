//! A driver as the tests need it, and what every device must bear: see `tests/` for each.

mod block;
mod console;
mod entropy;
mod filesystem;
mod hostile;

use super::{Devices, State, Waits};
use crate::events::Events;
use crate::grant::{Grant, Resource};
use crate::memory::View;
use crate::process::MachinePages;
use rustix::event::EventfdFlags;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use vcpu_abi::call::Error as CallError;
use vcpu_abi::device::{Register, line};
use vcpu_abi::layout::RAM_BASE;
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::mock::DescriptorTable;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Where the test's RAM has text, which devices do not see.
pub(super) const TEXT: u64 = RAM_BASE + RAM_SIZE;
/// Bytes of RAM below the text, and of that above it.
pub(super) const RAM_SIZE: u64 = 8 << 20;
const TEXT_SIZE: u64 = 0x4000;
/// Where RAM ends.
pub(super) const END: u64 = TEXT + TEXT_SIZE + RAM_SIZE;
/// Where buffers can be, behind the rings.
pub(super) const BUFFERS: u64 = RAM_BASE + 0x10000;
/// Entries of each queue.
pub(super) const SIZE: u16 = 16;

pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const NEEDS_RESET: u64 = 0x40;
pub(super) const WRITE: u16 = VRING_DESC_F_WRITE as u16;
pub(super) const NEXT: u16 = VRING_DESC_F_NEXT as u16;

/// Where a queue's descriptors are; its rings are on the same page.
fn table(queue: u64) -> u64 {
    RAM_BASE + queue * 0x1000
}

/// A sandbox without a guest: its one device, and memory in which the test plays the driver.
pub(super) struct Machine {
    pub(super) devices: Devices,
    pub(super) view: View,
    pub(super) events: Arc<Events>,
    pages: Arc<MachinePages>,
}

impl Machine {
    pub(super) fn new(resource: Resource) -> Machine {
        let pages = Arc::new(MachinePages::new(&[]).unwrap().0);
        let nobody = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let events = Arc::new(Events::new(pages.clone(), Arc::new(nobody)));
        let ranges = [(RAM_BASE, RAM_SIZE as usize), (TEXT + TEXT_SIZE, RAM_SIZE as usize)];
        let view = View::of(&ranges).unwrap();
        let grant = Grant { name: "it".to_owned(), resource };
        let devices = Devices::with(vec![grant], &view, &events).unwrap();
        Machine { devices, view, events, pages }
    }

    /// A machine whose driver is ready.
    pub(super) fn started(resource: Resource) -> Machine {
        let machine = Machine::new(resource);
        machine.start(0);
        machine
    }

    pub(super) fn memory(&self) -> &GuestMemoryMmap {
        self.view.regions()
    }

    pub(super) fn read(&self, register: Register) -> u64 {
        self.devices.read(0, register as u64).unwrap()
    }

    pub(super) fn write(&self, register: Register, value: u64) {
        assert_eq!(self.try_write(register, value), Ok(0));
    }

    pub(super) fn try_write(&self, register: Register, value: u64) -> Result<u64, CallError> {
        self.devices.write(0, register as u64, value)
    }

    pub(super) fn config(&self, at: u64) -> u32 {
        self.devices.read(0, vcpu_abi::device::CONFIG + at).unwrap() as u32
    }

    /// A word of the available ring: flags, index, entries.
    pub(super) fn available(&self, queue: u64, word: u64) -> GuestAddress {
        GuestAddress(table(queue) + 0x400 + word * 2)
    }

    /// A double word of the used ring: flags and index, then entries of two.
    fn used_ring(&self, queue: u64, word: u64) -> GuestAddress {
        GuestAddress(table(queue) + 0x800 + word * 4)
    }

    /// Does what a driver does at first, from an empty ring on.
    pub(super) fn start(&self, features: u64) {
        self.write(Register::Status, 0);
        self.write(Register::Status, 1 | 2);
        self.write(Register::DriverFeatures, features | VERSION_1);
        self.write(Register::Status, 1 | 2 | 8);
        assert_eq!(self.read(Register::Status), 1 | 2 | 8);
        for queue in 0.. {
            self.write(Register::QueueSelect, queue);
            if self.read(Register::QueueSizeMax) == 0 {
                break;
            }
            self.fill(table(queue), &[0; 0x1000]);
            self.set_queue(queue);
            self.write(Register::QueueReady, 1);
        }
        self.write(Register::Status, 1 | 2 | 8 | 4);
    }

    pub(super) fn set_queue(&self, queue: u64) {
        self.write(Register::QueueSelect, queue);
        self.write(Register::QueueSize, SIZE.into());
        self.write(Register::QueueDescriptors, table(queue));
        self.write(Register::QueueDriver, self.available(queue, 0).0);
        self.write(Register::QueueDevice, self.used_ring(queue, 0).0);
    }

    pub(super) fn notify(&self, queue: u64) -> Option<Waits> {
        self.devices.notify(0, queue).unwrap()
    }

    /// Puts a chain of (address, length, flags) into the first entries, and makes it available.
    pub(super) fn put(&self, queue: u64, buffers: &[(u64, u32, u16)]) {
        let last = buffers.len() - 1;
        let chain = buffers.iter().enumerate().map(|(index, (address, length, flags))| {
            let next = if index == last { 0 } else { NEXT };
            (*address, *length, flags | next, index as u16 + 1)
        });
        self.put_raw(queue, &chain.collect::<Vec<_>>());
        self.offer(queue, 0);
    }

    /// Writes entries of the descriptor table: address, length, flags, next.
    pub(super) fn put_raw(&self, queue: u64, entries: &[(u64, u32, u16, u16)]) {
        for (index, entry) in entries.iter().enumerate() {
            self.put_entry(queue, index as u16, *entry);
        }
    }

    /// Writes an entry of the descriptor table.
    pub(super) fn put_entry(&self, queue: u64, index: u16, entry: (u64, u32, u16, u16)) {
        let table = DescriptorTable::new(self.memory(), GuestAddress(table(queue)), SIZE);
        let (address, length, flags, next) = entry;
        table.store(index, RawDescriptor::from(Descriptor::new(address, length, flags, next))).unwrap();
    }

    /// Makes a chain available.
    pub(super) fn offer(&self, queue: u64, head: u16) {
        let index: u16 = self.memory().read_obj(self.available(queue, 1)).unwrap();
        self.memory().write_obj(head, self.available(queue, 2 + u64::from(index % SIZE))).unwrap();
        self.memory().write_obj(index.wrapping_add(1), self.available(queue, 1)).unwrap();
    }

    /// The driver says that it looks for used buffers by itself.
    pub(super) fn needs_no_interrupts(&self, queue: u64) {
        self.memory().write_obj(1u16, self.available(queue, 0)).unwrap();
    }

    /// How many chains were used, and the last as its head and its length.
    pub(super) fn used(&self, queue: u64) -> (u16, Option<(u32, u32)>) {
        let memory = self.memory();
        let index = memory.read_obj::<u32>(self.used_ring(queue, 0)).unwrap() >> 16;
        let last = index.checked_sub(1).map(|last| {
            let at = 1 + u64::from(last % u32::from(SIZE)) * 2;
            let word = |word| memory.read_obj(self.used_ring(queue, word)).unwrap();
            (word(at), word(at + 1))
        });
        (index as u16, last)
    }

    /// Whether the device's line was raised; it is not any more.
    pub(super) fn raised(&self) -> bool {
        self.pages.vcpu().pending.swap(0, SeqCst) == 1 << line(0)
    }

    /// Whether the device has stopped for the driver's fault. It works again after a reset.
    pub(super) fn has_stopped(&self) -> bool {
        let stopped = self.read(Register::Status) & NEEDS_RESET != 0;
        if stopped {
            assert!(!self.devices.reports().is_empty());
            assert!(self.raised());
            assert!(self.notify(0).is_none());
            assert!(!self.raised(), "it is said once");
        }
        stopped
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory().read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    pub(super) fn fill(&self, address: u64, bytes: &[u8]) {
        self.memory().write_slice(bytes, GuestAddress(address)).unwrap();
    }
}
