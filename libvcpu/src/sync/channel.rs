//! [`Channel`]: a bounded queue that can be a `static`.

use super::mpsc::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, received, sent,
};
use super::queue::Queue;
use crate::time::{self, Duration, Instant};
use core::fmt;
use core::iter;
use heapless::Deque;

/// Hands up to `N` values at a time from any threads to any threads, in order.
///
/// The channel holds its values itself; nothing is allocated. Values are moved with events off: send a box of
/// what is larger than some hundred bytes. An event handler function may use
/// [`try_send`](Channel::try_send) and [`try_recv`](Channel::try_recv).
///
/// ```no_run
/// use libvcpu::sync::Channel;
///
/// static JOBS: Channel<u32, 16> = Channel::new();
///
/// // One thread:
/// JOBS.send(7).unwrap();
/// JOBS.close();
/// // Another:
/// for job in &JOBS {
///     libvcpu::println!("{job}");
/// }
/// ```
pub struct Channel<T, const N: usize> {
    queue: Queue<Deque<T, N>>,
}

impl<T, const N: usize> Channel<T, N> {
    /// An empty, open channel.
    #[must_use]
    pub const fn new() -> Channel<T, N> {
        const { assert!(N > 0 && N < u32::MAX as usize, "a channel has room for 1 to 2^32 - 2 values") };
        Channel { queue: Queue::new(Deque::new(), N as u32) }
    }

    /// Sends a value, and waits for room if need be.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value if the channel is closed.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        sent(self.queue.send(value, None))
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value if there is none, or if the channel is closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(value)
    }

    /// Sends a value, and waits for room no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the value if the deadline came first, or if the channel is closed.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.queue.send(value, time::after(timeout))
    }

    /// Sends a value, and waits for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Channel::send_timeout).
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.queue.send(value, Some(deadline.as_nanos()))
    }

    /// Receives the next value, and waits for one if need be.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is closed and empty.
    pub fn recv(&self) -> Result<T, RecvError> {
        received(self.queue.receive(None))
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if there is none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.queue.try_receive()
    }

    /// Receives the next value, and waits for one no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`] if the deadline came first, or if the channel is closed and empty.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.queue.receive(time::after(timeout))
    }

    /// Receives the next value, and waits for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Channel::recv_timeout).
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.queue.receive(Some(deadline.as_nanos()))
    }

    /// Refuses further values. Those in the channel can still be received; every other wait ends.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether the channel is closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many values are in the channel now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no value is in the channel now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receives values, waiting for each, until the channel is closed and empty.
    pub const fn iter(&self) -> Iter<'_, T, N> {
        Iter { channel: self }
    }

    /// Receives values as long as there are any, without waiting.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        iter::from_fn(|| self.try_recv().ok())
    }
}

/// Receives values from a channel until it is closed and empty.
#[derive(Debug)]
pub struct Iter<'a, T, const N: usize> {
    channel: &'a Channel<T, N>,
}

impl<T, const N: usize> Iterator for Iter<'_, T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.channel.recv().ok()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Channel<T, N> {
    type Item = T;
    type IntoIter = Iter<'a, T, N>;

    fn into_iter(self) -> Iter<'a, T, N> {
        self.iter()
    }
}

impl<T, const N: usize> Default for Channel<T, N> {
    fn default() -> Channel<T, N> {
        Channel::new()
    }
}

impl<T, const N: usize> fmt::Debug for Channel<T, N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Channel");
        debug.field("len", &self.len()).field("capacity", &N).field("closed", &self.is_closed()).finish()
    }
}
