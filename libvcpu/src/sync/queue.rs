//! The queue behind all channels: bounded, for many senders and many receivers.
//!
//! Two semaphores count its places, the free ones and the filled ones. A sender acquires a free place, puts
//! its item in, and releases a filled place; a receiver does the reverse. So who waits is served in the
//! semaphores' order, a place given to a thread cannot be taken by another, and neither side of an exchange
//! without waiting needs more than three short stretches with events off. Items are moved in and out with
//! events off, so an event handler function finds the queue whole and may use it too.
//!
//! Closing adds one permit to each semaphore. Whoever gets it finds the queue closed, or empty and closed,
//! and gives it back; so nobody waits any more, and it reaches everyone who did.

use super::mpsc::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use alloc::collections::VecDeque;
use core::cell::UnsafeCell;
use heapless::Deque;
use vcpu_kernel::event;
use vcpu_kernel::sync::RawSemaphore;

/// Where the items are: room for a number of them, made beforehand.
pub(super) trait Storage {
    type Item;

    /// Adds an item behind all others. There is room.
    fn put(&mut self, item: Self::Item);

    /// Takes the first.
    fn take(&mut self) -> Option<Self::Item>;

    /// How many there are.
    fn count(&self) -> usize;
}

impl<T, const N: usize> Storage for Deque<T, N> {
    type Item = T;

    fn put(&mut self, item: T) {
        assert!(self.push_back(item).is_ok(), "a queue's free places are counted");
    }

    fn take(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

impl<T> Storage for VecDeque<T> {
    type Item = T;

    fn put(&mut self, item: T) {
        assert!(self.len() < self.capacity(), "a queue's free places are counted");
        self.push_back(item);
    }

    fn take(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// What the semaphores guard; touched with events off only.
struct Inner<S> {
    storage: S,
    is_closed: bool,
}

/// The queue.
///
/// While it is open: free permits, and those of senders that have still to put their item in, are never more
/// than the places without an item; filled permits, and those of receivers that have still to take theirs,
/// never more than the items.
pub(super) struct Queue<S> {
    free: RawSemaphore,
    filled: RawSemaphore,
    inner: UnsafeCell<Inner<S>>,
}

// SAFETY: `inner` is reached through `with` only, which lets one thread at a time in and hands nothing out
// but whole items; so items are handed over and never shared.
unsafe impl<S: Storage<Item: Send> + Send> Sync for Queue<S> {}

impl<S> Queue<S> {
    /// An empty queue with room for `capacity` items, for which `storage` has room.
    pub(super) const fn new(storage: S, capacity: u32) -> Queue<S> {
        Queue {
            free: RawSemaphore::new(capacity, u32::MAX),
            filled: RawSemaphore::new(0, u32::MAX),
            inner: UnsafeCell::new(Inner { storage, is_closed: false }),
        }
    }

    /// Runs `action` on the inside. It is short, and neither waits nor runs anything of the program's.
    #[inline]
    fn with<R>(&self, action: impl FnOnce(&mut Inner<S>) -> R) -> R {
        // SAFETY: with events off nobody else runs on the one processor, and `action` does not come back here.
        event::without(|| action(unsafe { &mut *self.inner.get() }))
    }

    /// Refuses further items; those in the queue can still be received. Ends all waits.
    pub(super) fn close(&self) {
        if !self.with(|inner| core::mem::replace(&mut inner.is_closed, true)) {
            release(&self.free);
            release(&self.filled);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.with(|inner| inner.is_closed)
    }
}

impl<S: Storage> Queue<S> {
    pub(super) fn len(&self) -> usize {
        self.with(|inner| inner.storage.count())
    }

    pub(super) fn send(&self, item: S::Item, deadline: Option<u64>) -> Result<(), SendTimeoutError<S::Item>> {
        match self.free.acquire(deadline) {
            Ok(()) => self.put(item).map_err(SendTimeoutError::Disconnected),
            Err(_) => Err(SendTimeoutError::Timeout(item)),
        }
    }

    pub(super) fn try_send(&self, item: S::Item) -> Result<(), TrySendError<S::Item>> {
        if self.free.try_acquire() {
            self.put(item).map_err(TrySendError::Disconnected)
        } else if self.is_closed() {
            Err(TrySendError::Disconnected(item))
        } else {
            Err(TrySendError::Full(item))
        }
    }

    pub(super) fn receive(&self, deadline: Option<u64>) -> Result<S::Item, RecvTimeoutError> {
        match self.filled.acquire(deadline) {
            Ok(()) => self.take().ok_or(RecvTimeoutError::Disconnected),
            Err(_) => Err(RecvTimeoutError::Timeout),
        }
    }

    pub(super) fn try_receive(&self) -> Result<S::Item, TryRecvError> {
        if self.filled.try_acquire() {
            self.take().ok_or(TryRecvError::Disconnected)
        } else if self.is_closed() && self.len() == 0 {
            Err(TryRecvError::Disconnected)
        } else {
            Err(TryRecvError::Empty)
        }
    }

    /// Puts an item into a free place that was acquired. Gives it back if the queue is closed.
    fn put(&self, item: S::Item) -> Result<(), S::Item> {
        let result = self.with(|inner| {
            if inner.is_closed {
                return Err(item);
            }
            inner.storage.put(item);
            Ok(())
        });
        release(if result.is_ok() { &self.filled } else { &self.free });
        result
    }

    /// Takes the first item, for a filled place that was acquired. There is none only if the queue is closed.
    fn take(&self) -> Option<S::Item> {
        let item = self.with(|inner| inner.storage.take());
        release(if item.is_some() { &self.free } else { &self.filled });
        item
    }
}

/// There are never more permits than places and the one of closing.
fn release(semaphore: &RawSemaphore) {
    semaphore.release().expect("a queue has fewer than 2^32 - 1 places");
}
