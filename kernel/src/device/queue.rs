//! [`Queue`]: requests to a device, one after the other.

use super::Error;
use super::memory::Memory;
use super::transport::Bus;
use crate::event;
use crate::sync::RawMutex;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{Ordering::SeqCst, fence};
use vcpu_abi::device::line;
use virtio_drivers::queue::VirtQueue;

/// Entries of a queue: more than one request needs.
const SIZE: usize = 16;

/// A queue with at most one request in it, so that a device has nothing to do out of order.
pub(super) struct Queue {
    lock: RawMutex,
    ring: UnsafeCell<Ring>,
}

/// A queue for the one thread that has it.
pub(super) struct Ring {
    number: u16,
    entries: VirtQueue<Memory, SIZE>,
}

// SAFETY: who uses `ring` holds `lock`.
unsafe impl Sync for Queue {}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Queue")
    }
}

impl Queue {
    /// Sets a queue of a device up. It must outlive the bus, whose drop resets the device.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`]; [`Error::BadAnswer`] if the device has no such queue.
    pub(super) fn new(bus: &mut Bus, number: u16) -> Result<Queue, Error> {
        let entries = VirtQueue::new(bus, number, false, false).map_err(|error| match error {
            virtio_drivers::Error::DmaError => Error::NoMemory,
            _ => Error::BadAnswer,
        })?;
        let mut ring = Ring { number, entries };
        ring.entries.set_dev_notify(false);
        Ok(Queue { lock: RawMutex::new(), ring: UnsafeCell::new(ring) })
    }

    /// Runs `action` while no other thread has the queue.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off.
    pub(super) fn exclusively<R>(&self, action: impl FnOnce(&mut Ring) -> R) -> R {
        // A thread that dies while it waits for a device does so with the device reset.
        let _ = self.lock.lock();
        // SAFETY: the lock is held, and only here, so there is one reference at a time.
        let result = action(unsafe { &mut *self.ring.get() });
        self.lock.unlock();
        result
    }

    /// [`Ring::request`] for whoever wants nothing else of the queue.
    ///
    /// # Errors
    ///
    /// As that.
    pub(super) fn request<'a>(
        &self,
        bus: &Bus,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&'a mut [u8]],
    ) -> Result<usize, Error> {
        self.exclusively(|ring| ring.request(bus, inputs, outputs))
    }
}

impl Ring {
    /// Has the device read `inputs` and write `outputs`, none of which may be empty, and waits until it has.
    /// Gives how many bytes it wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] and [`Error::BadAnswer`], after which the device is of no use any more.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off.
    pub(super) fn request<'a>(
        &mut self,
        bus: &Bus,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&'a mut [u8]],
    ) -> Result<usize, Error> {
        if !bus.is_alive() {
            return Err(Error::Stopped);
        }
        // SAFETY: this does not return before the device has used the buffers, or was reset.
        let token = unsafe { self.entries.add(inputs, outputs) }.map_err(|_| Error::BadAnswer)?;
        // SAFETY: as above.
        unsafe { bus.ring(self.number) };
        if !self.entries.can_pop() {
            self.wait(bus)?;
        }
        // SAFETY: these are the buffers that were added.
        let count = unsafe { self.entries.pop_used(token, inputs, outputs) };
        count.map(|count| count as usize).map_err(|_| {
            bus.kill();
            Error::BadAnswer
        })
    }

    /// Waits until the device has used something.
    #[cold]
    fn wait(&mut self, bus: &Bus) -> Result<(), Error> {
        let line = line(bus.device());
        if !event::are_on() {
            bus.kill();
            panic!("a device needs time, and with events off nobody can wait for it");
        }
        // What it has used before it sees this raises no event, but is seen below.
        self.entries.set_dev_notify(true);
        fence(SeqCst);
        let entries = &self.entries;
        let result = loop {
            let before = event::count(line);
            if entries.can_pop() {
                break Ok(());
            }
            if !bus.is_alive() || bus.has_stopped() {
                bus.kill();
                break Err(Error::Stopped);
            }
            event::wait_until(None, || entries.can_pop() || event::count(line) != before);
        };
        self.entries.set_dev_notify(false);
        result
    }
}
