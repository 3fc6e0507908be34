//! The scheduler: who runs, and until when.
//!
//! Priorities are fixed, threads of equal priority take turns. The rules, each with a test:
//!
//! - The running thread is a most important one of those that could run.
//! - **At the tail with a whole slice** goes a thread whose turn is over or only begins: it yielded, its
//!   slice ended, it was woken or resumed.
//! - **At the head with the rest of its slice** goes a thread that was preempted. Giving it a new slice
//!   there starves its level when it is preempted once a slice (NuttX 4989, CMSIS_5 228).
//! - A thread whose priority is raised goes to the tail of its new level, one whose priority is lowered
//!   to the head of its new level, as in POSIX; it keeps the rest of its slice. A running thread runs on
//!   unless somebody is more important now.
//! - A slice is timed exactly while somebody shares the level. There are many ways for that to begin: a
//!   wake, a change of priority, an inheritance, a resume, a turn, a more important thread that waits
//!   again. Kernels forget one of them (NuttX 20047, Zephyr 7193), so here none arms anything: each ends
//!   in the one function that decides, which looks.
//!
//! The transitions of a thread are drawn in [`thread`](crate::thread).

use crate::priority::Priority;
use crate::ready::ReadyQueues;
use crate::thread::{State, ThreadId, Threads};
use crate::time_slice::{Rest, TimeSlice};

/// Who runs next, and when its slice is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the thread must be switched to, and its slice timed"]
pub(crate) struct Choice {
    /// The thread to run; none if nobody could.
    pub(crate) run: Option<ThreadId>,
    /// When to decide again because its slice is over; none if nobody shares its level.
    pub(crate) slice_end: Option<u64>,
}

/// The threads, and which of them are ready or running.
///
/// Between operations, the running thread is the first of the ready queues.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) threads: Threads,
    ready: ReadyQueues,
    running: Option<ThreadId>,
    /// Since when the running thread's slice is timed and not charged; none if it is not timed.
    timed_since: Option<u64>,
    /// The slice of threads that have none of their own.
    slice: TimeSlice,
}

impl Scheduler {
    pub(crate) const fn new(slice: TimeSlice) -> Scheduler {
        Scheduler {
            threads: Threads::new(),
            ready: ReadyQueues::new(),
            running: None,
            timed_since: None,
            slice,
        }
    }

    pub(crate) const fn running(&self) -> Option<ThreadId> {
        self.running
    }

    #[cfg(test)]
    pub(crate) const fn ready(&self) -> &ReadyQueues {
        &self.ready
    }

    /// Sets the system's slice. It counts from each thread's next whole slice.
    pub(crate) const fn set_slice(&mut self, slice: TimeSlice) {
        self.slice = slice;
    }

    /// Sets the slice of one thread. It counts from its next whole slice.
    pub(crate) fn set_thread_slice(&mut self, thread: ThreadId, slice: Option<TimeSlice>) {
        self.threads[thread].slice = slice;
    }

    /// The turn of the running thread is over.
    #[inline]
    pub(crate) fn yield_turn(&mut self) {
        if let Some(thread) = self.running {
            self.timed_since = None;
            // It is the head of its level.
            let record = &mut self.threads[thread];
            record.rest = Rest::whole(record.slice.unwrap_or(self.slice));
            self.ready.rotate(record);
        }
    }

    /// The running thread stops and waits. Gives which one that is.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    #[inline(always)]
    pub(crate) fn block(&mut self) -> ThreadId {
        let thread = self.take_running().expect("only a running thread can wait");
        self.threads[thread].state = State::Blocked;
        thread
    }

    /// The wait of a thread is over.
    #[inline(always)]
    pub(crate) fn unblock(&mut self, thread: ThreadId) {
        let record = &mut self.threads[thread];
        match record.state {
            State::Blocked => self.make_ready(thread),
            State::BlockedSuspended => record.state = State::Suspended,
            state => panic!("thread {thread:?} is {state:?}, it does not wait"),
        }
    }

    /// A thread stops until it is resumed. One that is suspended already, or over, does not change.
    pub(crate) fn suspend(&mut self, thread: ThreadId) {
        self.threads[thread].state = match self.threads[thread].state {
            State::Running => {
                self.take_running();
                State::Suspended
            }
            State::Ready => {
                self.ready.remove(&mut self.threads, thread);
                State::Suspended
            }
            State::Blocked => State::BlockedSuspended,
            state @ (State::Suspended | State::BlockedSuspended | State::Exited) => state,
        };
    }

    /// A suspended or new thread goes on. One that is not suspended does not change.
    pub(crate) fn resume(&mut self, thread: ThreadId) {
        match self.threads[thread].state {
            State::Suspended => self.make_ready(thread),
            State::BlockedSuspended => self.threads[thread].state = State::Blocked,
            State::Ready | State::Running | State::Blocked | State::Exited => {}
        }
    }

    /// The running thread is over. Gives which one that is.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub(crate) fn exit(&mut self) -> ThreadId {
        let thread = self.take_running().expect("only a running thread can exit");
        self.threads[thread].state = State::Exited;
        thread
    }

    /// Changes the effective priority of a thread that is in no wait queue.
    pub(crate) fn set_priority(&mut self, thread: ThreadId, priority: Priority) {
        let record = &mut self.threads[thread];
        let is_raised = priority.is_more_important_than(record.effective);
        if !matches!(record.state, State::Ready | State::Running) {
            record.effective = priority;
            return;
        }
        self.ready.remove(&mut self.threads, thread);
        self.threads[thread].effective = priority;
        let is_running_there = |running: ThreadId| self.threads[running].effective == priority;
        if self.running == Some(thread) {
            self.ready.push_front(&mut self.threads, thread);
        } else if is_raised {
            self.ready.push_back(&mut self.threads, thread);
        } else if self.running.is_some_and(is_running_there) {
            self.ready.push_second(&mut self.threads, thread);
        } else {
            self.ready.push_front(&mut self.threads, thread);
        }
    }

    /// Looks at how things stand and says who runs, and until when. Ends every operation.
    #[inline]
    pub(crate) fn decide(&mut self, now: u64) -> Choice {
        if let Some(since) = self.timed_since {
            self.charge(now.saturating_sub(since));
        }
        let run = self.ready.first();
        if let Some(preempted) = self.running
            && self.running != run
        {
            self.threads[preempted].state = State::Ready;
        }
        self.running = run;
        let slice_end = run.and_then(|thread| {
            let record = &mut self.threads[thread];
            record.state = State::Running;
            if ReadyQueues::is_shared(record, thread) { record.rest.end(now) } else { None }
        });
        self.timed_since = slice_end.map(|_| now);
        Choice { run, slice_end }
    }

    /// Takes time from the slice of the running thread. If that was the rest of it, its turn is over.
    fn charge(&mut self, elapsed: u64) {
        let Some(thread) = self.running else { return };
        let rest = &mut self.threads[thread].rest;
        *rest = rest.after(elapsed);
        if rest.is_over() {
            self.yield_turn();
        }
    }

    /// Puts a thread at the tail with a whole slice.
    #[inline(always)]
    fn make_ready(&mut self, thread: ThreadId) {
        let record = &mut self.threads[thread];
        record.rest = Rest::whole(record.slice.unwrap_or(self.slice));
        record.state = State::Ready;
        self.ready.push_back(&mut self.threads, thread);
    }

    /// Takes the running thread out. Nobody runs from here on until the next decision.
    #[inline(always)]
    fn take_running(&mut self) -> Option<ThreadId> {
        self.timed_since = None;
        let thread = self.running.take()?;
        self.ready.remove(&mut self.threads, thread);
        Some(thread)
    }
}
