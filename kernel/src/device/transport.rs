//! [`Bus`]: a device's registers by calls, for `virtio-drivers`, and who has the device.

use super::Error;
use crate::scheduler::EventsOff;
use crate::{call, event};
use bitflags::bitflags;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use vcpu_abi::device::{CONFIG, Register};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

bitflags! {
    /// What a device offers and a driver takes. The first two are those of block devices.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Features: u64 {
        /// It cannot be written.
        const READ_ONLY = 1 << 5;
        /// It can be told to keep what was written.
        const FLUSH = 1 << 9;
        /// It is a device of virtio 1.
        const VERSION_1 = 1 << 32;
    }
}

/// The devices that have a driver, a bit each.
static TAKEN: EventsOff<Cell<u32>> = EventsOff(Cell::new(0));

/// A device for its one driver. Dropping it resets the device, so it is dropped before its queues.
#[derive(Debug)]
pub(super) struct Bus {
    device: u32,
    /// Whether the device was reset because something is wrong.
    is_dead: AtomicBool,
}

impl Bus {
    /// Takes a device, and negotiates features.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`]; [`Error::Stopped`] if the device is none, or wants what the driver has not.
    pub(super) fn open(device: u32, supported: Features) -> core::result::Result<(Bus, Features), Error> {
        if device >= vcpu_abi::device::DEVICES_MAX {
            return Err(Error::Stopped);
        }
        let before = event::without(|| TAKEN.replace(TAKEN.get() | 1 << device));
        if before >> device & 1 != 0 {
            return Err(Error::Taken);
        }
        let mut bus = Bus { device, is_dead: AtomicBool::new(false) };
        let features = bus.begin_init(supported | Features::VERSION_1);
        if !bus.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(Error::Stopped);
        }
        Ok((bus, features))
    }

    /// The device's number.
    pub(super) fn device(&self) -> u32 {
        self.device
    }

    /// Whether the device works, as far as its driver knows.
    pub(super) fn is_alive(&self) -> bool {
        !self.is_dead.load(Relaxed)
    }

    /// Whether the device says that it needs a reset.
    pub(super) fn has_stopped(&self) -> bool {
        let status = self.get_status();
        status.is_empty() || status.contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Resets the device for good: it touches no queue and no buffer from here on.
    pub(super) fn kill(&self) {
        self.is_dead.store(true, Relaxed);
        self.write(Register::Status, 0);
    }

    /// Tells the device of new buffers in a queue.
    ///
    /// # Safety
    ///
    /// As for [`call::device_notify`].
    pub(super) unsafe fn ring(&self, queue: u16) {
        // SAFETY: the caller answers for it.
        if unsafe { call::device_notify(self.device, queue) }.is_err() {
            self.is_dead.store(true, Relaxed);
        }
    }

    fn read(&self, register: Register) -> u64 {
        call::device_read(self.device, register as u64).unwrap_or(0)
    }

    fn write(&self, register: Register, value: u64) {
        // SAFETY: queues are set by `queue_set`, whose caller keeps their memory until the device is reset.
        // A write that is refused leaves a status without what it was to say.
        let _ = unsafe { call::device_write(self.device, register as u64, value) };
    }

    fn select(&self, queue: u16) {
        self.write(Register::QueueSelect, u64::from(queue));
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.write(Register::Status, 0);
        event::without(|| TAKEN.set(TAKEN.get() & !(1 << self.device)));
    }
}

impl Transport for Bus {
    fn device_type(&self) -> DeviceType {
        let kind = self.read(Register::Kind) as u32;
        DeviceType::try_from(kind).expect("only drivers of that crate ask, which knows their kinds")
    }

    fn read_device_features(&mut self) -> u64 {
        self.read(Register::Features)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.write(Register::DriverFeatures, features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.read(Register::QueueSizeMax) as u32
    }

    fn notify(&mut self, queue: u16) {
        // SAFETY: that crate's queues hold buffers that their callers keep.
        unsafe { self.ring(queue) };
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.read(Register::Status) as u32)
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.write(Register::Status, u64::from(status.bits()));
    }

    fn set_guest_page_size(&mut self, _size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.select(queue);
        self.write(Register::QueueSize, u64::from(size));
        self.write(Register::QueueDescriptors, descriptors);
        self.write(Register::QueueDriver, driver_area);
        self.write(Register::QueueDevice, device_area);
        self.write(Register::QueueReady, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.select(queue);
        self.write(Register::QueueReady, 0);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.read(Register::QueueReady) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // The event line was cleared when the event was taken.
        InterruptStatus::QUEUE_INTERRUPT
    }

    fn read_config_generation(&self) -> u32 {
        self.read(Register::ConfigGeneration) as u32
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        for (index, piece) in value.as_mut_bytes().chunks_mut(4).enumerate() {
            let register = CONFIG + (offset + 4 * index) as u64;
            let word = call::device_read(self.device, register);
            let word = word.map_err(|_| virtio_drivers::Error::ConfigSpaceTooSmall)?;
            piece.copy_from_slice(&(word as u32).to_le_bytes()[..piece.len()]);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _offset: usize, _value: T) -> Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}
