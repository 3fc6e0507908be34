//! Reader-writer locks: many readers or one writer.
//!
//! Readers and writers stand in one queue, most important first, in order of arrival within a level, and
//! the lock is given from the front of that queue: to a writer when the lock is free, to a reader when no
//! writer has it, and on to the next as long as that is possible. Who comes gets the lock at once only if
//! nobody as important waits.
//!
//! So neither side is preferred and neither starves: readers that come after a writer of their level
//! wait for it, writers that come after a reader wait for that one. Only a more important thread comes
//! first, as everywhere. The price is that a thread must say so if it takes a lock for reading twice
//! ([`Policy::read_again`](crate::policy::Policy::read_again)): a writer may wait in between. A reader-writer lock hands on no importance; who needs that takes a mutex.
//!
//! Whoever has or wants the lock is noted in a *hold*, so that what a dead thread held can be released:
//! its readings just end, its writing also poisons the lock, as in `std`.

use crate::table::{Id, Table};
use crate::thread::{ThreadId, Threads, Waiting};
use crate::wait::{Released, WaitQueue};

/// The number of a reader-writer lock.
pub type ReadWriteLockId = Id<ReadWriteLock>;

/// The number of a hold.
pub type HoldId = Id<Hold>;

/// The policy's record of a reader-writer lock.
///
/// While there is a writer, there are no readers; the first waiter could not have the lock now.
#[derive(Debug, Default)]
pub struct ReadWriteLock {
    readers: u32,
    has_writer: bool,
    pub(crate) is_poisoned: bool,
    pub(crate) waiters: WaitQueue,
}

/// How a thread has a reader-writer lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Together with other readers.
    Read,
    /// Alone.
    Write,
}

/// That a thread has a lock, or waits for it. One in a list that begins at the thread's `hold`.
#[derive(Debug)]
pub struct Hold {
    pub(crate) lock: ReadWriteLockId,
    pub(crate) access: Access,
    pub(crate) next: Option<HoldId>,
}

impl ReadWriteLock {
    /// How many readers have the lock.
    #[must_use]
    pub const fn readers(&self) -> u32 {
        self.readers
    }

    /// Whether a writer has the lock.
    #[must_use]
    pub const fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Whether a writer died with it and nobody has said since that all is well.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Gives the lock to a thread that just comes, if it may have it.
    #[must_use = "without the lock the thread must wait"]
    pub(crate) fn try_lock(&mut self, threads: &Threads, thread: ThreadId, access: Access) -> bool {
        let comes_first = self
            .waiters
            .priority(threads)
            .is_none_or(|waiting| threads[thread].effective.is_more_important_than(waiting));
        let may = comes_first && self.admits(access);
        if may {
            self.enter(access);
        }
        may
    }

    /// A thread gives the lock back. Answers who gets it.
    pub(crate) fn unlock(&mut self, threads: &mut Threads, access: Access) -> Released {
        match access {
            Access::Read => self.readers -= 1,
            Access::Write => self.has_writer = false,
        }
        self.admit(threads)
    }

    /// Gives the lock to the first in the queue for as long as they may have it. Needed after each change
    /// of the lock and of the queue: if a writer at the front gives up, the readers behind it may enter.
    pub(crate) fn admit(&mut self, threads: &mut Threads) -> Released {
        let mut released = Released::default();
        while let Some(first) = self.waiters.first() {
            let access = match threads[first].waiting {
                Waiting::Write(_) => Access::Write,
                _ => Access::Read,
            };
            if !self.admits(access) {
                break;
            }
            self.enter(access);
            self.waiters.remove(threads, first);
            released.push(threads, first);
        }
        released
    }

    const fn admits(&self, access: Access) -> bool {
        match access {
            Access::Read => !self.has_writer,
            Access::Write => !self.has_writer && self.readers == 0,
        }
    }

    /// One of the readers reads once more.
    pub(crate) const fn enter_again(&mut self) {
        self.enter(Access::Read);
    }

    const fn enter(&mut self, access: Access) {
        match access {
            Access::Read => self.readers += 1,
            Access::Write => self.has_writer = true,
        }
    }
}

/// Forgets the newest hold of a thread on a lock. Gives which access it was, if there was one.
pub(crate) fn forget(
    holds: &mut Table<Hold>,
    threads: &mut Threads,
    thread: ThreadId,
    lock: ReadWriteLockId,
) -> Option<Access> {
    let mut previous: Option<HoldId> = None;
    let mut at = threads[thread].hold;
    while let Some(id) = at {
        let next = holds[id].next;
        if holds[id].lock == lock {
            match previous {
                Some(previous) => holds[previous].next = next,
                None => threads[thread].hold = next,
            }
            return Some(holds.remove(id).access);
        }
        previous = at;
        at = next;
    }
    None
}
