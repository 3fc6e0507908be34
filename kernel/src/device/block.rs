//! Block devices.

use super::Error;
use super::queue::Queue;
use super::transport::{Bus, Features};
use virtio_drivers::transport::Transport;

/// Bytes of a block, in which all places and lengths are counted.
pub const BLOCK_SIZE: usize = 512;

/// Most bytes of one request, so that a call does not take too long.
const PIECE: usize = 1 << 20;

const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;

const QUEUE: u16 = 0;

/// A block device.
#[derive(Debug)]
pub struct Block {
    // First, so that the device is reset before its queue goes.
    bus: Bus,
    queue: Queue,
    blocks: u64,
    features: Features,
}

impl Block {
    /// Takes the device with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`], [`Error::NoMemory`], or what is wrong with the device.
    pub fn open(device: u32) -> Result<Block, Error> {
        let (mut bus, features) = Bus::open(device, Features::READ_ONLY | Features::FLUSH)?;
        let blocks = bus.read_consistent(|| bus.read_config_space(0)).map_err(|_| Error::BadAnswer)?;
        let queue = Queue::new(&mut bus, QUEUE)?;
        bus.finish_init();
        Ok(Block { bus, queue, blocks, features })
    }

    /// How many blocks it has.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether it was granted to be read only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.features.contains(Features::READ_ONLY)
    }

    /// Reads from a block on. The buffer's length is a multiple of [`BLOCK_SIZE`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], also for such a length; [`Error::Failed`]; [`Error::Stopped`]. The buffer may hold
    /// anything then.
    pub fn read(&self, mut block: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.check(block, buffer.len())?;
        for piece in buffer.chunks_mut(PIECE) {
            let count = (piece.len() / BLOCK_SIZE) as u64;
            let mut status = [NOT_DONE];
            self.queue.request(&self.bus, &[&header(READ, block)], &mut [piece, &mut status])?;
            self::check(status)?;
            block += count;
        }
        Ok(())
    }

    /// Writes from a block on. The buffer's length is a multiple of [`BLOCK_SIZE`].
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], and as [`read`](Block::read). Any part may be written then.
    pub fn write(&self, mut block: u64, bytes: &[u8]) -> Result<(), Error> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        self.check(block, bytes.len())?;
        for piece in bytes.chunks(PIECE) {
            let mut status = [NOT_DONE];
            self.queue.request(&self.bus, &[&header(WRITE, block), piece], &mut [&mut status])?;
            self::check(status)?;
            block += (piece.len() / BLOCK_SIZE) as u64;
        }
        Ok(())
    }

    /// Waits until everything that was written is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::Stopped`].
    pub fn flush(&self) -> Result<(), Error> {
        if !self.features.contains(Features::FLUSH) {
            return Ok(());
        }
        let mut status = [NOT_DONE];
        self.queue.request(&self.bus, &[&header(FLUSH, 0)], &mut [&mut status])?;
        self::check(status)
    }

    fn check(&self, block: u64, length: usize) -> Result<(), Error> {
        let end = block.checked_add((length / BLOCK_SIZE) as u64);
        if length.is_multiple_of(BLOCK_SIZE) && end.is_some_and(|end| end <= self.blocks) {
            return Ok(());
        }
        Err(Error::OutOfRange)
    }
}

/// What no device answers.
const NOT_DONE: u8 = 0xff;

/// What stands before the data of a request.
fn header(operation: u32, block: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&operation.to_le_bytes());
    header[8..].copy_from_slice(&block.to_le_bytes());
    header
}

/// What a request's status means.
fn check([status]: [u8; 1]) -> Result<(), Error> {
    match status {
        0 => Ok(()),
        1 => Err(Error::Failed),
        2 => Err(Error::Unsupported),
        _ => Err(Error::BadAnswer),
    }
}
