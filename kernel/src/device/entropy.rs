//! Random bytes.

use super::Error;
use super::queue::Queue;
use super::transport::{Bus, Features};
use virtio_drivers::transport::Transport;

/// Most bytes of one request.
const PIECE: usize = 64 << 10;

const QUEUE: u16 = 0;

/// A source of entropy.
#[derive(Debug)]
pub struct Entropy {
    // First, so that the device is reset before its queue goes.
    bus: Bus,
    queue: Queue,
}

impl Entropy {
    /// Takes the device with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`], [`Error::NoMemory`], or what is wrong with the device.
    pub fn open(device: u32) -> Result<Entropy, Error> {
        let (mut bus, _) = Bus::open(device, Features::empty())?;
        let queue = Queue::new(&mut bus, QUEUE)?;
        bus.finish_init();
        Ok(Entropy { bus, queue })
    }

    /// Fills the buffer with random bytes. None are kept back for later, so that guests that go on from one
    /// snapshot draw different ones.
    ///
    /// # Errors
    ///
    /// What is wrong with the device.
    pub fn fill(&self, buffer: &mut [u8]) -> Result<(), Error> {
        for piece in buffer.chunks_mut(PIECE) {
            let mut filled = 0;
            while filled < piece.len() {
                let rest = &mut piece[filled..];
                let room = rest.len();
                match self.queue.request(&self.bus, &[], &mut [rest])? {
                    count if count > 0 && count <= room => filled += count,
                    _ => return Err(Error::BadAnswer),
                }
            }
        }
        Ok(())
    }
}
