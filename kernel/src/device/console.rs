//! Consoles: a stream of bytes in each direction.

use super::Error;
use super::queue::Queue;
use super::transport::{Bus, Features};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use vcpu_abi::device::{CONSOLE_CLOSED, CONSOLE_OUTPUT_CLOSED};
use virtio_drivers::transport::Transport;

/// Most bytes of one request.
const PIECE: usize = 64 << 10;

const INPUT: u16 = 0;
const OUTPUT: u16 = 1;

/// A console. One thread may read while another writes.
#[derive(Debug)]
pub struct Console {
    // First, so that the device is reset before its queues go.
    bus: Bus,
    input: Queue,
    output: Queue,
    /// Whether the device has said that the input has ended; it says so once.
    has_ended: AtomicBool,
}

impl Console {
    /// Takes the device with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`], [`Error::NoMemory`], or what is wrong with the device.
    pub fn open(device: u32) -> Result<Console, Error> {
        let (mut bus, _) = Bus::open(device, Features::empty())?;
        let input = Queue::new(&mut bus, INPUT)?;
        let output = Queue::new(&mut bus, OUTPUT)?;
        bus.finish_init();
        Ok(Console { bus, input, output, has_ended: AtomicBool::new(false) })
    }

    /// Reads some bytes, waiting until there are any, and gives how many; 0 is the end, if the buffer has room.
    ///
    /// # Errors
    ///
    /// What is wrong with the device.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let room = buffer.len().min(PIECE);
        if room == 0 {
            return Ok(0);
        }
        self.input.exclusively(|ring| {
            if self.has_ended.load(Relaxed) {
                return Ok(0);
            }
            let count = ring.request(&self.bus, &[], &mut [&mut buffer[..room]])?;
            self.has_ended.store(count == 0, Relaxed);
            if count > room { Err(Error::BadAnswer) } else { Ok(count) }
        })
    }

    /// Writes some bytes, waiting until they are taken, and gives how many.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if nobody reads them any more, and what is wrong with the device.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        if !piece.is_empty() {
            self.output.request(&self.bus, &[piece], &mut [])?;
            let closed = self.bus.read_config_space(CONSOLE_CLOSED as usize).unwrap_or(0_u32);
            if closed & CONSOLE_OUTPUT_CLOSED != 0 {
                return Err(Error::Closed);
            }
        }
        Ok(piece.len())
    }
}
