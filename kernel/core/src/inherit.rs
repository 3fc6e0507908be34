//! Priority inheritance: a thread is as important as the most important thread it holds up.
//!
//! Without it, a thread that owns a mutex can be kept from running by threads less important than the
//! one that waits for the mutex, for any length of time. So:
//!
//! > The effective priority of a thread is the most important of its own and the effective priorities of
//! > all threads that wait for a mutex it owns.
//!
//! That is a rule about neighbours, and it carries importance through chains: A waits for B's mutex, B
//! for C's, so C is at least as important as A.
//!
//! ```text
//!     A ──waits──▶ mutex 1 ──owned by──▶ B ──waits──▶ mutex 2 ──owned by──▶ C
//!    60                                 20 → 60                            5 → 60
//! ```
//!
//! Each wait queue is sorted by effective priority, so a thread's share of one mutex is the priority of
//! the queue's first, and computing it takes a step per mutex that the thread owns. Whenever the rule may
//! have been broken for one thread, because somebody began or ended waiting for it, or it gave up a
//! mutex, or its own priority was changed, it is computed anew for that thread, and, as long as
//! something changes, for the next in the chain. What was inherited through a mutex is therefore gone
//! the moment that mutex is released or that wait times out, not with the last mutex (FreeRTOS 261).
//!
//! A chain that closes is a **deadlock**, unless one of its members waits with a deadline, which will
//! open it again. Until then all of its members wait, and may be taken for more important than they are:
//! each is held up by the others. That decides nothing, because a mutex inside a closed chain is not
//! handed over, and when the chain opens, the rule is true again for everybody in it.

use crate::mutex::{self, MutexId, Mutexes};
use crate::priority::Priority;
use crate::thread::{ThreadId, Threads, Waiting};

/// The effective priority that the rule gives a thread.
pub(crate) fn effective(threads: &Threads, mutexes: &Mutexes, thread: ThreadId) -> Priority {
    mutex::held(mutexes, threads, thread)
        .filter_map(|mutex| mutexes[mutex].waiters.priority(threads))
        .fold(threads[thread].base, Priority::or_more_important)
}

/// The next in the chain: who owns the mutex that a thread waits for.
pub(crate) fn holder(threads: &Threads, mutexes: &Mutexes, thread: ThreadId) -> Option<ThreadId> {
    match threads[thread].waiting {
        Waiting::Mutex(mutex) => mutexes[mutex].owner(),
        _ => None,
    }
}

/// Whether `thread` would wait for ever if it now waited for `mutex` without a deadline.
///
/// It would if the chain from the mutex comes back to the thread, or runs into a circle, with no deadline
/// on the way.
pub(crate) fn is_deadlock(threads: &Threads, mutexes: &Mutexes, thread: ThreadId, mutex: MutexId) -> bool {
    let mut next = mutexes[mutex].owner();
    // No chain without a circle has more members than there are threads.
    for _ in 0..=threads.len() {
        match next {
            None => return false,
            Some(member) if member == thread => return true,
            Some(member) if threads[member].timeout.is_some() => return false,
            Some(member) => next = holder(threads, mutexes, member),
        }
    }
    true
}
