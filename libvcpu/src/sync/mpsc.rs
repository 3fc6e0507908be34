//! Bounded channels with ends, as in `std::sync::mpsc`: many senders, one receiver.
//!
//! A channel ends when all senders or the receiver are gone. A thread that dies drops nothing, so an end that
//! it held stays. For many receivers, or a channel without the heap, there is [`Channel`](super::Channel).
//!
//! ```no_run
//! use libvcpu::sync::mpsc::sync_channel;
//!
//! let (sender, receiver) = sync_channel(16);
//! sender.send("hello").unwrap();
//! drop(sender);
//! assert_eq!(receiver.iter().count(), 1);
//! ```

use super::atomic::{AtomicUsize, Ordering::Relaxed};
use super::queue::Queue;
use crate::time::{self, Duration, Instant};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::cell::Cell;
use core::error::Error;
use core::fmt;
use core::iter;
use core::marker::PhantomData;

/// What both ends share.
struct Shared<T> {
    queue: Queue<VecDeque<T>>,
    senders: AtomicUsize,
}

/// The end of a channel that sends; cloned for each sender.
pub struct SyncSender<T> {
    shared: Arc<Shared<T>>,
}

/// The end of a channel that receives.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// There is one receiver: not `Sync`.
    alone: PhantomData<Cell<()>>,
}

/// A channel with room for `bound` values, which is made now. Unlike in `std`, there is no channel of none.
///
/// # Panics
///
/// If `bound` is 0 or more than 2³² - 2.
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let capacity = u32::try_from(bound).ok().filter(|capacity| (1..u32::MAX).contains(capacity));
    let capacity = capacity.expect("a channel has room for 1 to 2^32 - 2 values");
    let queue = Queue::new(VecDeque::with_capacity(bound), capacity);
    let shared = Arc::new(Shared { queue, senders: AtomicUsize::new(1) });
    (SyncSender { shared: shared.clone() }, Receiver { shared, alone: PhantomData })
}

impl<T> SyncSender<T> {
    /// Sends a value, and waits for room if need be.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value if there is no receiver any more.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        sent(self.shared.queue.send(value, None))
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value if there is none, or no receiver any more.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.queue.try_send(value)
    }

    /// Sends a value, and waits for room no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the value if the deadline came first, or if there is no receiver any more.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.shared.queue.send(value, time::after(timeout))
    }

    /// Sends a value, and waits for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](SyncSender::send_timeout).
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.shared.queue.send(value, Some(deadline.as_nanos()))
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> SyncSender<T> {
        self.shared.senders.fetch_add(1, Relaxed);
        SyncSender { shared: self.shared.clone() }
    }
}

impl<T> Drop for SyncSender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Relaxed) == 1 {
            self.shared.queue.close();
        }
    }
}

impl<T> Receiver<T> {
    /// Receives the next value, and waits for one if need be.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is empty and there is no sender any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        received(self.shared.queue.receive(None))
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if there is none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared.queue.try_receive()
    }

    /// Receives the next value, and waits for one no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`] if the deadline came first, or if the channel is empty and there is no sender any
    /// more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.shared.queue.receive(time::after(timeout))
    }

    /// Receives the next value, and waits for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Receiver::recv_timeout).
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.shared.queue.receive(Some(deadline.as_nanos()))
    }

    /// Receives values, waiting for each, until there is no sender any more.
    pub const fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Receives values as long as there are any, without waiting.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        iter::from_fn(|| self.try_recv().ok())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.queue.close();
        // As in `std`, what nobody will receive is dropped now, not with the last sender.
        self.try_iter().for_each(drop);
    }
}

/// Receives values until there is no sender any more.
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// Receives values until there is no sender any more, and owns the receiver.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// The channel is closed; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why a value was not sent without waiting; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// The channel is closed.
    Disconnected(T),
}

/// Why a value was not sent in time; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room.
    Timeout(T),
    /// The channel is closed.
    Disconnected(T),
}

/// The channel is closed and empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// Why no value was received without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is none now.
    Empty,
    /// The channel is closed and empty.
    Disconnected,
}

/// Why no value was received in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// None came.
    Timeout,
    /// The channel is closed and empty.
    Disconnected,
}

/// What came of sending without a deadline.
pub(super) fn sent<T>(result: Result<(), SendTimeoutError<T>>) -> Result<(), SendError<T>> {
    result.map_err(|error| match error {
        SendTimeoutError::Timeout(value) | SendTimeoutError::Disconnected(value) => SendError(value),
    })
}

/// What came of receiving without a deadline.
pub(super) fn received<T>(result: Result<T, RecvTimeoutError>) -> Result<T, RecvError> {
    result.map_err(|_| RecvError)
}

const CLOSED: &str = "the channel is closed";
const CLOSED_AND_EMPTY: &str = "the channel is closed and empty";

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(SendError(value): SendError<T>) -> TrySendError<T> {
        TrySendError::Disconnected(value)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(RecvError: RecvError) -> TryRecvError {
        TryRecvError::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(RecvError: RecvError) -> RecvTimeoutError {
        RecvTimeoutError::Disconnected
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(CLOSED)
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Disconnected(_) => CLOSED,
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SendTimeoutError::Timeout(_) => "the channel was full until the deadline",
            SendTimeoutError::Disconnected(_) => CLOSED,
        })
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(CLOSED_AND_EMPTY)
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            TryRecvError::Empty => "the channel is empty",
            TryRecvError::Disconnected => CLOSED_AND_EMPTY,
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RecvTimeoutError::Timeout => "the channel was empty until the deadline",
            RecvTimeoutError::Disconnected => CLOSED_AND_EMPTY,
        })
    }
}

impl<T> Error for SendError<T> {}
impl<T> Error for TrySendError<T> {}
impl<T> Error for SendTimeoutError<T> {}
impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
