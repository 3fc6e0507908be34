//! What the policy knows of a thread.
//!
//! ```text
//!      created
//!         │
//!         ▼        resume             chosen              exit
//!     Suspended ──────────▶  Ready  ──────────▶  Running ──────▶ Exited ──▶ removed
//!       ▲   ▲   ◀──────────   ▲     ◀──────────   │   │
//!       │   │      suspend    │      preempted,   │   │
//!       │   │                 │      turn over    │   │
//!       │   └─────────────────┼───────────────────┘   │
//!       │            suspend  │                       │ wait
//!       │                     │  wait over            ▼
//!       │                     └─────────────────── Blocked
//!       │                                           │   ▲
//!       │   wait over                       suspend ▼   │ resume
//!       └────────────────────────────── BlockedSuspended
//! ```
//!
//! There are no other transitions. A thread is in a ready queue exactly when it is `Ready` or `Running`,
//! in a wait queue only when it is `Blocked` or `BlockedSuspended`, and never in two queues: both kinds
//! use the same links. One record is one cache line, so that scheduling among ten thousand threads misses
//! the cache once a thread.

use crate::barrier::BarrierId;
use crate::condition::ConditionId;
use crate::event_group::EventGroupId;
use crate::mutex::MutexId;
use crate::priority::Priority;
use crate::read_write_lock::{HoldId, ReadWriteLockId};
use crate::semaphore::SemaphoreId;
use crate::table::{Id, Table};
use crate::time_slice::{Rest, TimeSlice};
use crate::timeout::TimeoutId;
use crate::timer::TimerId;

/// The number of a thread. It names the thread until the thread is removed, also after its exit.
pub type ThreadId = Id<Thread>;

/// The records of all threads.
pub(crate) type Threads = Table<Thread>;

/// Where a thread stands; the module's header draws what may follow what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Could run and waits for its turn.
    Ready,
    /// Has the processor.
    Running,
    /// Waits for something, see [`Thread::waiting`].
    Blocked,
    /// Would be ready if it had not been suspended, or was created and never resumed.
    Suspended,
    /// Waits for something, and will be suspended when it comes.
    BlockedSuspended,
    /// Is over. Only its number is still taken.
    Exited,
}

/// What a blocked thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it is not blocked.
    Nothing,
    /// Its deadline.
    Sleep,
    /// Somebody's unpark.
    Unpark,
    /// An event line.
    Line,
    /// The end of another thread.
    Exit(ThreadId),
    /// A mutex.
    Mutex(MutexId),
    /// A permit of a semaphore.
    Semaphore(SemaphoreId),
    /// A notification of a condition variable, and then the mutex.
    Condition(ConditionId, MutexId),
    /// A reader-writer lock, for reading.
    Read(ReadWriteLockId),
    /// A reader-writer lock, for writing.
    Write(ReadWriteLockId),
    /// The other threads at a barrier.
    Barrier(BarrierId),
    /// Events of an event group.
    Events(EventGroupId, Wanted),
    /// The next expiry of a timer.
    Timer(TimerId),
    /// Nothing any more: the wait succeeded together with so many others that the thread is still to be
    /// made ready (after it has got the mutex, if it waited on a condition variable).
    Released(Option<MutexId>),
}

impl Waiting {
    /// Whether a wait for this can be interrupted. Who waits for a lock or at a barrier cannot go on without.
    pub(crate) const fn is_interruptible(self) -> bool {
        match self {
            Waiting::Sleep
            | Waiting::Unpark
            | Waiting::Line
            | Waiting::Exit(_)
            | Waiting::Semaphore(_)
            | Waiting::Condition(..)
            | Waiting::Events(..)
            | Waiting::Timer(_) => true,
            Waiting::Nothing
            | Waiting::Mutex(_)
            | Waiting::Read(_)
            | Waiting::Write(_)
            | Waiting::Barrier(_)
            | Waiting::Released(_) => false,
        }
    }
}

/// Which events of a group a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The events, a bit each.
    pub events: u32,
    /// Whether all of them must have happened, or any one.
    pub all: bool,
    /// Whether those that happened are cleared when the wait succeeds.
    pub clear: bool,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was waited for has happened, and belongs to the thread if it can be owned.
    Done,
    /// The deadline came first. A sleep ends this way.
    TimedOut,
    /// Somebody [interrupted](crate::policy::Policy::interrupt) it.
    Interrupted,
}

/// Whether a thread's waits can be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// No.
    Forbidden,
    /// Yes.
    Allowed,
    /// Yes, and it was interrupted since.
    Came,
}

/// The policy's record of a thread.
///
/// `effective` is the priority by which queues are sorted. It changes only together with the thread's
/// place in the queue that it is in.
#[derive(Debug)]
#[repr(align(64))]
pub struct Thread {
    pub(crate) waiting: Waiting,
    pub(crate) base: Priority,
    pub(crate) effective: Priority,
    pub(crate) state: State,
    pub(crate) outcome: Outcome,
    /// Whether an unpark came that no park has taken.
    pub(crate) unparked: bool,
    pub(crate) interrupts: Interrupts,
    pub(crate) links: Links,
    /// The thread's own slice, if it differs from the system's.
    pub(crate) slice: Option<TimeSlice>,
    /// What is left of the current slice; something, if the thread is ready.
    pub(crate) rest: Rest,
    /// Number that the wait brought: events, expiries, or 1 for the last to arrive at a barrier.
    pub(crate) value: u32,
    pub(crate) timeout: Option<TimeoutId>,
    /// The mutex taken last of those it holds.
    pub(crate) held: Option<MutexId>,
    /// The reader-writer lock asked for last of those it holds or waits for.
    pub(crate) hold: Option<HoldId>,
    /// Who waits for the end of this thread.
    pub(crate) joiner: Option<ThreadId>,
}

/// Neighbours in the one queue that a thread is in; none if it is in no queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) next: Option<ThreadId>,
    pub(crate) previous: Option<ThreadId>,
    /// In a wait queue, if this is the first thread of its level: the first threads of the neighbouring
    /// levels in use.
    pub(crate) next_level: Option<ThreadId>,
    pub(crate) previous_level: Option<ThreadId>,
}

impl Thread {
    /// A thread as it is created: suspended.
    pub(crate) fn new(priority: Priority, slice: Option<TimeSlice>) -> Thread {
        Thread {
            waiting: Waiting::Nothing,
            base: priority,
            effective: priority,
            state: State::Suspended,
            outcome: Outcome::Done,
            unparked: false,
            interrupts: Interrupts::Forbidden,
            links: Links::default(),
            slice,
            rest: Rest::OVER,
            value: 0,
            timeout: None,
            held: None,
            hold: None,
            joiner: None,
        }
    }

    /// The priority that was asked for.
    #[must_use]
    pub const fn base_priority(&self) -> Priority {
        self.base
    }

    /// The priority by which the thread is scheduled: its own, or that of a more important thread that
    /// waits for a mutex it holds.
    #[must_use]
    pub const fn effective_priority(&self) -> Priority {
        self.effective
    }

    /// Where the thread stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What the thread waits for.
    #[must_use]
    pub const fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// How the thread's last wait ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The number that the thread's last wait brought: the events of a group, the expiries of a timer,
    /// or 1 for the last to arrive at a barrier.
    #[must_use]
    pub const fn value(&self) -> u32 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Slot;

    #[test]
    fn a_record_is_one_cache_line() {
        assert_eq!(size_of::<Slot<Thread>>(), 64);
    }
}
