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
//!   in [`Scheduler::decide`], which looks.
//!
//! The transitions of a thread are drawn in [`thread`](crate::thread).

use crate::priority::Priority;
use crate::ready::ReadyQueues;
use crate::thread::{State, Thread, ThreadId, Threads};
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
    pub(crate) fn new(threads: usize, slice: TimeSlice) -> Scheduler {
        Scheduler {
            threads: Threads::with_capacity(threads),
            ready: ReadyQueues::new(),
            running: None,
            timed_since: None,
            slice,
        }
    }

    pub(crate) const fn running(&self) -> Option<ThreadId> {
        self.running
    }

    pub(crate) const fn ready(&self) -> &ReadyQueues {
        &self.ready
    }

    /// Sets the system's slice. It counts from each thread's next turn.
    pub(crate) const fn set_slice(&mut self, slice: TimeSlice) {
        self.slice = slice;
    }

    /// Sets the slice of one thread. It counts from its next turn.
    pub(crate) fn set_thread_slice(&mut self, thread: ThreadId, slice: Option<TimeSlice>) {
        self.threads[thread].slice = slice;
    }

    /// The turn of the running thread is over.
    pub(crate) fn yield_turn(&mut self) {
        if let Some(thread) = self.take_running() {
            self.make_ready(thread);
        }
    }

    /// The running thread stops and waits. Gives which one that is.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub(crate) fn block(&mut self) -> ThreadId {
        let thread = self.take_running().expect("only a running thread can wait");
        self.threads[thread].state = State::Blocked;
        thread
    }

    /// The wait of a thread is over.
    pub(crate) fn unblock(&mut self, thread: ThreadId) {
        match self.threads[thread].state {
            State::Blocked => self.make_ready(thread),
            State::BlockedSuspended => self.threads[thread].state = State::Suspended,
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
        if record.state != State::Ready {
            record.effective = priority;
            return;
        }
        self.ready.remove(&mut self.threads, thread);
        self.threads[thread].effective = priority;
        if is_raised {
            self.ready.push_back(&mut self.threads, thread);
        } else {
            self.ready.push_front(&mut self.threads, thread);
        }
    }

    /// Looks at how things stand and says who runs, and until when. Ends every operation.
    pub(crate) fn decide(&mut self, now: u64) -> Choice {
        if let Some(thread) = self.running {
            self.charge(thread, now);
            self.rotate_or_preempt(thread);
        }
        if self.running.is_none()
            && let Some(first) = self.ready.first()
        {
            self.ready.remove(&mut self.threads, first);
            self.threads[first].state = State::Running;
            self.running = Some(first);
        }
        let slice_end = self.running.and_then(|thread| {
            let record = &self.threads[thread];
            self.ready.is_occupied(record.effective).then(|| record.rest.end(now))?
        });
        self.timed_since = slice_end.map(|_| now);
        Choice { run: self.running, slice_end }
    }

    /// Takes the time since it was last looked at from the slice of the running thread.
    fn charge(&mut self, thread: ThreadId, now: u64) {
        if let Some(since) = self.timed_since {
            let record = &mut self.threads[thread];
            record.rest = record.rest.after(now.saturating_sub(since));
        }
    }

    /// Puts the running thread back among the ready if it is another one's turn.
    fn rotate_or_preempt(&mut self, thread: ThreadId) {
        let Thread { effective, rest, .. } = self.threads[thread];
        let is_preempted = self
            .ready
            .first()
            .is_some_and(|first| self.threads[first].effective.is_more_important_than(effective));
        if rest.is_over() {
            if is_preempted || self.ready.is_occupied(effective) {
                self.yield_turn();
            } else {
                // Whoever shared the level has gone: the next turn follows at once.
                self.threads[thread].rest = self.whole_slice(thread);
            }
        } else if is_preempted {
            self.take_running();
            self.threads[thread].state = State::Ready;
            self.ready.push_front(&mut self.threads, thread);
        }
    }

    /// Puts a thread at the tail with a whole slice.
    fn make_ready(&mut self, thread: ThreadId) {
        self.threads[thread].rest = self.whole_slice(thread);
        self.threads[thread].state = State::Ready;
        self.ready.push_back(&mut self.threads, thread);
    }

    fn whole_slice(&self, thread: ThreadId) -> Rest {
        Rest::whole(self.threads[thread].slice.unwrap_or(self.slice))
    }

    /// Nobody runs from here on until the next decision.
    fn take_running(&mut self) -> Option<ThreadId> {
        self.timed_since = None;
        self.running.take()
    }
}
