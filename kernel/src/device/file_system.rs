//! File systems, as far as their queues: what is said through them is FUSE, which the library above speaks.

use super::Error;
use super::queue::Queue;
use super::transport::{Bus, Features};
use virtio_drivers::transport::Transport;

/// For messages that nobody waits for an answer to.
const HIGH_PRIORITY: u16 = 0;
const REQUESTS: u16 = 1;

/// A file system.
#[derive(Debug)]
pub struct FileSystem {
    // First, so that the device is reset before its queues go.
    bus: Bus,
    messages: Queue,
    requests: Queue,
}

impl FileSystem {
    /// Takes the device with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`], [`Error::NoMemory`], or what is wrong with the device.
    pub fn open(device: u32) -> Result<FileSystem, Error> {
        let (mut bus, _) = Bus::open(device, Features::empty())?;
        let messages = Queue::new(&mut bus, HIGH_PRIORITY)?;
        let requests = Queue::new(&mut bus, REQUESTS)?;
        bus.finish_init();
        Ok(FileSystem { bus, messages, requests })
    }

    /// Sends a request, in pieces none of which is empty, and waits for the reply. Gives its length.
    ///
    /// # Errors
    ///
    /// What is wrong with the device.
    pub fn request<'a>(
        &self,
        request: &'a [&'a [u8]],
        reply: &'a mut [&'a mut [u8]],
    ) -> Result<usize, Error> {
        self.requests.request(&self.bus, request, reply)
    }

    /// Sends a message to which there is no reply, in pieces none of which is empty.
    ///
    /// # Errors
    ///
    /// What is wrong with the device.
    pub fn send(&self, message: &[&[u8]]) -> Result<(), Error> {
        self.messages.request(&self.bus, message, &mut []).map(drop)
    }
}
