//! Block devices: images of disks that the guest was granted, each by a name.

use crate::device::Drivers;
use crate::io::{Error, ErrorKind, Result};
use alloc::sync::Arc;
use vcpu_kernel::device::block::Block;
use vcpu_kernel::device::{self, Kind};

/// Bytes of a block: all offsets and lengths are multiples of it.
pub const BLOCK_SIZE: usize = vcpu_kernel::device::block::BLOCK_SIZE;

static DRIVERS: Drivers<Block> = Drivers::new();

/// A block device. Threads may share it; their requests take turns.
///
/// ```no_run
/// use libvcpu::block::Device;
///
/// let disk = Device::open("disk").unwrap();
/// let mut sector = [0; 512];
/// disk.read_at(0, &mut sector).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Device(Arc<Block>);

impl Device {
    /// The block device that was granted by this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, and what is wrong with the device.
    pub fn open(name: impl AsRef<[u8]>) -> Result<Device> {
        let device = device::find(Kind::Block, name.as_ref())
            .ok_or(Error::new(ErrorKind::NotFound, "no block device was granted by this name"))?;
        Ok(Device(DRIVERS.get(device, Block::open)?))
    }

    /// Its size in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.0.blocks().saturating_mul(BLOCK_SIZE as u64)
    }

    /// Bytes of a block, 512.
    #[must_use]
    pub const fn block_size(&self) -> usize {
        BLOCK_SIZE
    }

    /// Whether it was granted to be read only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    /// Fills the buffer with what is there from `offset` (bytes) on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is beyond the end, or offset or length is no multiple of a block; and
    /// what the device says. The buffer may hold anything then.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Ok(self.0.read(block(offset)?, buffer)?)
    }

    /// Writes all bytes from `offset` (bytes) on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ReadOnlyFilesystem`], and as [`read_at`](Device::read_at). Any part may be written then.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write(block(offset)?, bytes)?)
    }

    /// Waits until everything that was written is kept by the host's disk.
    ///
    /// # Errors
    ///
    /// What the device says.
    pub fn flush(&self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

/// The block at an offset.
fn block(offset: u64) -> Result<u64> {
    if !offset.is_multiple_of(BLOCK_SIZE as u64) {
        return Err(Error::new(ErrorKind::InvalidInput, "the offset is no multiple of a block, 512 bytes"));
    }
    Ok(offset / BLOCK_SIZE as u64)
}
