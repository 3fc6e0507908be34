//! Mutexes: who owns which, and who waits.
//!
//! A mutex knows its owner and its waiters; a thread knows the mutexes it owns, by a list through the
//! mutexes themselves. Both directions are needed: from the mutex to the owner, to hand on importance
//! ([`inherit`](crate::inherit)), and from the owner to its mutexes, to find out what importance is left
//! when one is released, and to release all of them when the thread dies.
//!
//! Handing over is direct: a released mutex belongs to the most important waiter, the one that waits
//! longest if there are several, before that one runs. Nobody can overtake it. So a mutex without owner
//! has no waiters.
//!
//! A mutex that nobody waits for may be owned by a thread without the policy's knowledge, if it is told before
//! anything is asked of it about that mutex ([`Policy::note_owner`](crate::policy::Policy::note_owner)).
//!
//! A mutex whose owner died is *poisoned*, as in `std`: what it guards may be half changed. It is handed
//! over all the same, and stays poisoned until somebody says that all is well again.

use crate::table::{Id, Table};
use crate::thread::{ThreadId, Threads};
use crate::wait::WaitQueue;

/// The number of a mutex.
pub type MutexId = Id<Mutex>;

/// All mutexes.
pub(crate) type Mutexes = Table<Mutex>;

/// The policy's record of a mutex.
///
/// `owner` is a thread exactly if the mutex is in the list that begins at that thread's `held`.
#[derive(Debug, Default)]
pub struct Mutex {
    owner: Option<ThreadId>,
    pub(crate) waiters: WaitQueue,
    pub(crate) is_poisoned: bool,
    next_held: Option<MutexId>,
    previous_held: Option<MutexId>,
}

impl Mutex {
    /// The thread that owns the mutex.
    #[must_use]
    #[inline]
    pub const fn owner(&self) -> Option<ThreadId> {
        self.owner
    }

    /// Whether an owner died with it and nobody has said since that all is well.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }
}

/// Gives a mutex without owner to a thread.
#[inline]
pub(crate) fn take(mutexes: &mut Mutexes, threads: &mut Threads, mutex: MutexId, thread: ThreadId) {
    let next = threads[thread].held.replace(mutex);
    if let Some(next) = next {
        mutexes[next].previous_held = Some(mutex);
    }
    let record = &mut mutexes[mutex];
    record.owner = Some(thread);
    record.next_held = next;
}

/// Takes a mutex from its owner.
#[inline]
pub(crate) fn leave(mutexes: &mut Mutexes, threads: &mut Threads, mutex: MutexId) {
    let record = &mut mutexes[mutex];
    let Some(owner) = record.owner.take() else { return };
    let (previous, next) = (record.previous_held.take(), record.next_held.take());
    match previous {
        Some(previous) => mutexes[previous].next_held = next,
        None => threads[owner].held = next,
    }
    if let Some(next) = next {
        mutexes[next].previous_held = previous;
    }
}

/// The mutexes that a thread owns, the one taken last first.
pub(crate) fn held<'a>(
    mutexes: &'a Mutexes,
    threads: &Threads,
    thread: ThreadId,
) -> impl Iterator<Item = MutexId> + use<'a> {
    core::iter::successors(threads[thread].held, |mutex| mutexes[*mutex].next_held)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::priority::Priority;
    use crate::thread::Thread;
    use std::vec::Vec;

    #[test]
    fn mutexes_can_be_left_in_any_order() {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            let mut threads = Threads::with_room_for(1);
            let owner = threads.insert(Thread::new(Priority::NORMAL, None)).unwrap();
            let mut mutexes = Mutexes::with_room_for(3);
            let ids: Vec<_> = (0..3).map(|_| mutexes.insert(Mutex::default()).unwrap()).collect();
            for mutex in &ids {
                take(&mut mutexes, &mut threads, *mutex, owner);
            }
            let mut expected: Vec<_> = ids.iter().rev().copied().collect();
            for left in order {
                assert_eq!(held(&mutexes, &threads, owner).collect::<Vec<_>>(), expected);
                leave(&mut mutexes, &mut threads, ids[left]);
                assert_eq!(mutexes[ids[left]].owner(), None);
                expected.retain(|mutex| *mutex != ids[left]);
            }
            assert_eq!(threads[owner].held, None);
        }
    }
}
