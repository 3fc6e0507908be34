//! The policy as a whole: everything the kernel decides, behind one interface.
//!
//! The kernel proper tells the [`Policy`] what happened (the running thread wants a mutex, an event line
//! woke a handler, the alarm fired) and what time it is, and gets a [`Decision`]: which thread has the
//! processor now, and what to do with the machine's timer. It carries that out and decides nothing.
//!
//! ```
//! use vcpu_kernel_core::policy::{Alarm, Attempt, Decision, Kind, Policy, Room};
//! use vcpu_kernel_core::priority::Priority;
//!
//! let mut policy = Policy::new();
//! while let Some(shortage) = policy.shortage(Kind::Thread) {
//!     let _ = policy.add_room(Room::allocate(shortage)?);
//! }
//! let worker = policy.create_thread(Priority::new(10), None)?;
//! let helper = policy.create_thread(Priority::new(20), None)?;
//! // New threads wait to be resumed. The more important one runs first.
//! let _ = policy.resume(worker, 0);
//! let decision = policy.resume(helper, 0);
//! assert_eq!(decision.run, Some(helper));
//! // It sleeps until 500 ns: the other runs, and the timer is set.
//! let Attempt::Switch(decision) = policy.sleep(500, 100) else { unreachable!() };
//! assert_eq!(decision, Decision { run: Some(worker), alarm: Alarm::Set(500) });
//! // The timer fires: the sleeper is more important and preempts.
//! assert_eq!(policy.alarm(500).run, Some(helper));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # How to drive it
//!
//! - One operation at a time, with events off. Each is short: constant, or bounded by the number of
//!   levels, of mutexes in a chain or held by a thread, or logarithmic in the number of deadlines.
//!   [`Policy::set_events`], [`Policy::notify_all`] and the end of a barrier look at each waiter once,
//!   [`Policy::inheritance`] at each thread. However many threads an operation wakes, it makes at most 2 of
//!   them ready; the rest follow when the alarm fires, which it then does at once.
//! - Operations that block act for the running thread; the others may also come from an upcall.
//! - A decision replaces the one before. Of several operations in one upcall, carry out the last one's
//!   `run`, and the last `alarm` that is not [`Alarm::Keep`].
//! - The time, in ns, does not go back. A deadline is a moment of the same clock; none (`None`) never comes.
//!   What succeeds without waiting succeeds after its deadline too.
//! - A number ([`Id`](crate::table::Id)) names its thread or object until that is removed. Every operation that
//!   is given one that names nothing panics.
//! - When [`Attempt::Switch`] was carried out and the thread runs again, its record tells how the wait
//!   ended: [`Thread::outcome`](crate::thread::Thread::outcome) and
//!   [`Thread::value`](crate::thread::Thread::value).
//! - [`Policy::new`] is constant and allocates nothing, so a policy can be a `static`; it has room for
//!   nothing at first. What says [`Full`](crate::table::Full) finds none: [`Policy::shortage`] tells what is
//!   missing, [`Room::allocate`] gets it, with events on and without the policy, and
//!   [`Policy::add_room`] hands it in, in constant time. Repeat until there is no shortage, then try
//!   again. Nothing else allocates, and nothing that is there ever moves.
//! - What usually need not be decided needs no time and gives no [`Decision`]:
//!   [`Policy::lock_uncontended`], [`Policy::unlock_uncontended`], [`Policy::try_acquire`] and
//!   [`Policy::release_uncontended`] do it, or tell that the operation without that name has to.
//! - A thread that serves event lines waits by [`Policy::wait_line`], and [`Policy::line_came`] ends that
//!   wait. The policy does not count lines: the kernel keeps those that are pending, and looks before the
//!   thread waits.

mod locks;
mod room;
mod signals;
mod threads;
mod time;

pub use crate::alarm::Alarm;
use crate::alarm::{AlarmState, NEVER};
use crate::barrier::Barrier;
use crate::condition::Condition;
use crate::event_group::EventGroup;
use crate::inherit;
use crate::mutex::{self, MutexId, Mutexes};
use crate::priority::Priority;
use crate::read_write_lock::{Hold, ReadWriteLock};
use crate::scheduler::{Choice, Scheduler};
use crate::semaphore::Semaphore;
use crate::table::Table;
use crate::thread::{Interrupts, Outcome, ThreadId, Waiting};
use crate::time_slice::TimeSlice;
use crate::timeout::TimeoutQueue;
use crate::timer::{Timer, TimerId};
use crate::wait::{Released, WaitQueue};
use core::fmt;
pub use room::{Kind, Room, Shortage};

/// So many at once that no operation takes much longer than a switch; measured, not derived.
const BATCH: usize = 2;

/// What the kernel has to do after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the thread must get the processor, and the timer be set"]
pub struct Decision {
    /// The thread that has the processor now; it may be the one that had it before. If none, nobody can
    /// run, and the kernel waits for an event.
    pub run: Option<ThreadId>,
    /// What to do with the machine's timer. When it fires, [`Policy::alarm`] is to be called.
    pub alarm: Alarm,
}

/// What came of an operation that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the thread may have to wait, or not have got what it wanted"]
pub enum Attempt {
    /// It succeeded at once, and the thread goes on.
    Done,
    /// It would have had to wait, and the deadline is past. Nothing changed.
    TimedOut,
    /// It would have had to wait, and was interrupted before. Nothing changed.
    Interrupted,
    /// Carry out the decision. When the thread runs again, its record tells the outcome.
    Switch(Decision),
}

/// Waiting for this mutex would never end: its owner waits, directly or through others, for the running
/// thread, or in a circle of its own. Nothing changed. [`Policy::chain`] tells who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// The mutex that was not locked.
    pub mutex: MutexId,
    /// Who owns it.
    pub owner: ThreadId,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deadlock { mutex, owner } = self;
        write!(formatter, "waiting for mutex {mutex:?} of thread {owner:?} would never end")
    }
}

impl core::error::Error for Deadlock {}

/// Something is still owned or waited for and cannot be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("it is still owned or waited for")
    }
}

impl core::error::Error for Busy {}

/// Whose deadline an entry of the timeout queue is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    Thread(ThreadId),
    Timer(TimerId),
}

/// Everything that threads can wait for.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) mutexes: Mutexes,
    pub(crate) semaphores: Table<Semaphore>,
    pub(crate) conditions: Table<Condition>,
    pub(crate) read_write_locks: Table<ReadWriteLock>,
    pub(crate) holds: Table<Hold>,
    pub(crate) barriers: Table<Barrier>,
    pub(crate) event_groups: Table<EventGroup>,
    pub(crate) timers: Table<Timer>,
}

impl Objects {
    /// The queue in which a thread stands that waits for this.
    pub(crate) fn queue(&mut self, waiting: Waiting) -> Option<&mut WaitQueue> {
        match waiting {
            Waiting::Mutex(id) => Some(&mut self.mutexes[id].waiters),
            Waiting::Semaphore(id) => Some(&mut self.semaphores[id].waiters),
            Waiting::Condition(id, _) => Some(&mut self.conditions[id].waiters),
            Waiting::Read(id) | Waiting::Write(id) => Some(&mut self.read_write_locks[id].waiters),
            Waiting::Barrier(id) => Some(&mut self.barriers[id].waiters),
            Waiting::Events(id, _) => Some(&mut self.event_groups[id].waiters),
            Waiting::Timer(id) => Some(&mut self.timers[id].waiters),
            Waiting::Nothing
            | Waiting::Sleep
            | Waiting::Unpark
            | Waiting::Line
            | Waiting::Exit(_)
            | Waiting::Released(_) => None,
        }
    }
}

/// All that the kernel decides; the module's documentation tells how to drive it.
#[derive(Debug)]
pub struct Policy {
    pub(crate) scheduler: Scheduler,
    pub(crate) objects: Objects,
    pub(crate) timeouts: TimeoutQueue<Due>,
    pub(crate) alarm: AlarmState,
    /// Threads whose wait has succeeded and that are not ready yet.
    pub(crate) released: Released,
    /// How many of those one operation makes ready, and how many deadlines one alarm serves.
    pub(crate) batch: usize,
    /// Whether threads inherit importance from those they hold up.
    pub(crate) inherits: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::new()
    }
}

impl Policy {
    /// A policy without threads, and without room for any. Allocates nothing.
    #[must_use]
    pub const fn new() -> Policy {
        Policy {
            scheduler: Scheduler::new(TimeSlice::NORMAL),
            objects: Objects {
                mutexes: Table::new(),
                semaphores: Table::new(),
                conditions: Table::new(),
                read_write_locks: Table::new(),
                holds: Table::new(),
                barriers: Table::new(),
                event_groups: Table::new(),
                timers: Table::new(),
            },
            timeouts: TimeoutQueue::new(),
            alarm: AlarmState::new(),
            released: Released::new(),
            batch: BATCH,
            inherits: true,
        }
    }

    // Of three functions there is a variant `_here` that becomes part of the operation itself, for those that
    // have to be quick above all.

    /// Ends every operation: makes ready whose wait is over, and decides.
    fn decide(&mut self, now: u64) -> Decision {
        self.decide_here(now)
    }

    #[inline(always)]
    fn decide_here(&mut self, now: u64) -> Decision {
        let mut wanted = NEVER;
        if !self.released.is_empty() {
            self.finish_released();
            if !self.released.is_empty() {
                wanted = now;
            }
        }
        let Choice { run, slice_end } = self.scheduler.decide(now);
        wanted = wanted.min(slice_end.unwrap_or(NEVER)).min(self.timeouts.earliest().unwrap_or(NEVER));
        Decision { run, alarm: self.alarm.want(wanted, run.is_none()) }
    }

    /// Makes the first of those ready whose wait is over.
    #[inline(never)]
    fn finish_released(&mut self) {
        for _ in 0..self.batch {
            let Some(thread) = self.released.pop(&mut self.scheduler.threads) else { break };
            self.finish(thread);
        }
    }

    /// The thread for which a blocking operation acts.
    #[inline]
    fn current(&self) -> ThreadId {
        self.scheduler.running().expect("no thread runs that could do this")
    }

    /// The running thread stops to wait for something.
    #[inline(always)]
    fn block(&mut self, waiting: Waiting, deadline: Option<u64>) {
        let thread = self.scheduler.block();
        let timeout = deadline.map(|deadline| {
            let inserted = self.timeouts.insert(deadline, Due::Thread(thread));
            inserted.expect("there is room for a deadline of each thread")
        });
        let threads = &mut self.scheduler.threads;
        let record = &mut threads[thread];
        record.waiting = waiting;
        record.timeout = timeout;
        record.outcome = Outcome::Done;
        record.value = 0;
        if let Some(queue) = self.objects.queue(waiting) {
            queue.push_back(threads, thread);
        }
    }

    /// The running thread waits, unless it is too late for that.
    fn wait(&mut self, waiting: Waiting, deadline: Option<u64>, now: u64) -> Attempt {
        self.wait_here(waiting, deadline, now)
    }

    #[inline(always)]
    fn wait_here(&mut self, waiting: Waiting, deadline: Option<u64>, now: u64) -> Attempt {
        if self.is_interrupted(waiting) {
            return Attempt::Interrupted;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Attempt::TimedOut;
        }
        self.block(waiting, deadline);
        Attempt::Switch(self.decide_here(now))
    }

    /// Whether the running thread must not begin to wait for this, because it was interrupted.
    #[inline(always)]
    fn is_interrupted(&self, waiting: Waiting) -> bool {
        let thread = self.current();
        self.scheduler.threads[thread].interrupts == Interrupts::Came && waiting.is_interruptible()
    }

    /// The wait of a thread that is in no wait queue any more is over: it becomes ready, or, if it waited
    /// on a condition variable, first waits for the mutex.
    fn finish(&mut self, thread: ThreadId) {
        self.finish_here(thread);
    }

    #[inline(always)]
    fn finish_here(&mut self, thread: ThreadId) {
        let record = &mut self.scheduler.threads[thread];
        if let Some(timeout) = record.timeout.take() {
            self.timeouts.remove(timeout);
        }
        let waiting = core::mem::replace(&mut record.waiting, Waiting::Nothing);
        if let Waiting::Condition(_, mutex) | Waiting::Released(Some(mutex)) = waiting
            && !self.take_or_wait(thread, mutex)
        {
            return;
        }
        self.scheduler.unblock(thread);
    }

    /// Gives a thread whose wait on a condition variable is over the mutex, if nobody owns that. Otherwise
    /// the thread waits for it from now on.
    fn take_or_wait(&mut self, thread: ThreadId, mutex: MutexId) -> bool {
        let threads = &mut self.scheduler.threads;
        let mutexes = &mut self.objects.mutexes;
        let Some(owner) = mutexes[mutex].owner() else {
            mutex::take(mutexes, threads, mutex, thread);
            return true;
        };
        threads[thread].waiting = Waiting::Mutex(mutex);
        mutexes[mutex].waiters.push_back(threads, thread);
        self.inherit(owner);
        false
    }

    /// Takes a mutex from its owner and gives it to the first who waits for it.
    fn hand_over(&mut self, mutex: MutexId) {
        let threads = &mut self.scheduler.threads;
        let mutexes = &mut self.objects.mutexes;
        mutex::leave(mutexes, threads, mutex);
        if let Some(next) = mutexes[mutex].waiters.pop(threads) {
            // It is at least as important as those that wait on, so it inherits nothing from them.
            mutex::take(mutexes, threads, mutex, next);
            self.finish(next);
        }
    }

    /// Makes the rule of inheritance true again for a thread and those it waits for.
    fn inherit(&mut self, thread: ThreadId) {
        let mut next = Some(thread);
        while let Some(thread) = next {
            let threads = &self.scheduler.threads;
            let priority = if self.inherits {
                inherit::effective(threads, &self.objects.mutexes, thread)
            } else {
                threads[thread].base
            };
            if priority == threads[thread].effective {
                return;
            }
            self.set_effective(thread, priority);
            next = inherit::holder(&self.scheduler.threads, &self.objects.mutexes, thread);
        }
    }

    /// Changes the effective priority of a thread, and its place in the queue that it is in: to the tail
    /// of the new level if it is raised, to the head if it is lowered.
    fn set_effective(&mut self, thread: ThreadId, priority: Priority) {
        let waiting = self.scheduler.threads[thread].waiting;
        let Some(queue) = self.objects.queue(waiting) else {
            self.scheduler.set_priority(thread, priority);
            return;
        };
        let threads = &mut self.scheduler.threads;
        let is_raised = priority.is_more_important_than(threads[thread].effective);
        queue.remove(threads, thread);
        threads[thread].effective = priority;
        if is_raised {
            queue.push_back(threads, thread);
        } else {
            queue.push_front(threads, thread);
        }
        if let Waiting::Read(lock) | Waiting::Write(lock) = waiting {
            // Somebody else may be first now, who may have the lock.
            let released = self.objects.read_write_locks[lock].admit(threads);
            self.released.append(threads, released);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
