//! Threads: their life, their turns, their priorities.

use super::{Attempt, Decision, Policy};
use crate::inherit;
use crate::mutex;
use crate::priority::Priority;
use crate::read_write_lock::{Access, Hold, ReadWriteLockId};
use crate::table::Full;
use crate::thread::{Interrupts, Outcome, State, Thread, ThreadId, Waiting};
use crate::time_slice::TimeSlice;

impl Policy {
    /// Creates a thread. It is suspended until it is [resumed](Policy::resume) for the first time.
    /// `slice` is its own time slice, if it does not take the system's.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_thread(&mut self, priority: Priority, slice: Option<TimeSlice>) -> Result<ThreadId, Full> {
        if self.timeout_shortage().is_some() {
            return Err(Full);
        }
        self.scheduler.threads.insert(Thread::new(priority, slice))
    }

    /// The running thread is over, as planned or by a fault. Every lock it holds is released and, unless
    /// it only read, poisoned; the next who waits gets it. Who waits for the thread's end goes on. The number
    /// stays taken until [`remove_thread`](Policy::remove_thread).
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn exit(&mut self, now: u64) -> Decision {
        let thread = self.scheduler.exit();
        while let Some(mutex) = self.scheduler.threads[thread].held {
            self.objects.mutexes[mutex].is_poisoned = true;
            self.hand_over(mutex);
        }
        while let Some(hold) = self.scheduler.threads[thread].hold {
            let lock = self.objects.holds[hold].lock;
            if self.objects.holds[hold].access == Access::Write {
                self.objects.read_write_locks[lock].is_poisoned = true;
            }
            self.give_back(thread, lock);
        }
        let base = self.scheduler.threads[thread].base;
        self.scheduler.set_priority(thread, base);
        if let Some(joiner) = self.scheduler.threads[thread].joiner.take() {
            self.finish(joiner);
        }
        self.decide(now)
    }

    /// Gives the number of a thread free that is over, or is suspended and will not be resumed.
    ///
    /// # Panics
    ///
    /// If the thread could still run, waits, owns something, or somebody waits for its end.
    pub fn remove_thread(&mut self, thread: ThreadId) {
        let Thread { state, held, hold, joiner, .. } = self.scheduler.threads[thread];
        let is_free = held.is_none() && hold.is_none() && joiner.is_none();
        let is_idle = matches!(state, State::Exited | State::Suspended) && is_free;
        assert!(is_idle, "thread {thread:?} is {state:?} and cannot be removed");
        self.scheduler.threads.remove(thread);
    }

    /// The running thread lets the next one of its level run. If there is none, it goes on.
    #[inline]
    pub fn yield_now(&mut self, now: u64) -> Decision {
        self.scheduler.yield_turn();
        self.decide_here(now)
    }

    /// The running thread waits until `deadline` (ns). The outcome is
    /// [`Outcome::TimedOut`].
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn sleep(&mut self, deadline: u64, now: u64) -> Attempt {
        self.wait(Waiting::Sleep, Some(deadline), now)
    }

    /// The running thread waits until it is unparked. If that happened since it last parked, it does not
    /// wait.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn park(&mut self, deadline: Option<u64>, now: u64) -> Attempt {
        let thread = self.current();
        if core::mem::take(&mut self.scheduler.threads[thread].unparked) {
            return Attempt::Done;
        }
        self.wait(Waiting::Unpark, deadline, now)
    }

    /// Ends the wait of a parked thread, or lets its next park end at once. A thread that is over does not
    /// mind.
    pub fn unpark(&mut self, thread: ThreadId, now: u64) -> Decision {
        if self.scheduler.threads[thread].waiting == Waiting::Unpark {
            self.finish(thread);
        } else {
            self.scheduler.threads[thread].unparked = true;
        }
        self.decide(now)
    }

    /// The running thread waits until another one is over. If it is already, it does not wait.
    ///
    /// # Panics
    ///
    /// If no thread runs, the thread is the running one, or somebody else waits for its end.
    pub fn join(&mut self, thread: ThreadId, deadline: Option<u64>, now: u64) -> Attempt {
        let joiner = self.current();
        let Thread { state, joiner: other, .. } = self.scheduler.threads[thread];
        assert!(thread != joiner, "thread {thread:?} cannot wait for its own end");
        assert!(other.is_none(), "somebody waits for the end of thread {thread:?} already");
        if state == State::Exited {
            return Attempt::Done;
        }
        if self.is_interrupted(Waiting::Exit(thread)) {
            return Attempt::Interrupted;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Attempt::TimedOut;
        }
        self.block(Waiting::Exit(thread), deadline);
        self.scheduler.threads[thread].joiner = Some(joiner);
        Attempt::Switch(self.decide(now))
    }

    /// The running thread waits until one of its event lines comes. It waits always: whoever calls looks
    /// first whether one is pending.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn wait_line(&mut self, deadline: Option<u64>, now: u64) -> Attempt {
        self.wait(Waiting::Line, deadline, now)
    }

    /// An event line came that a thread serves: its wait for one ends. If it does something else, nothing
    /// happens.
    pub fn line_came(&mut self, thread: ThreadId, now: u64) -> Decision {
        if self.scheduler.threads[thread].waiting == Waiting::Line {
            self.finish(thread);
        }
        self.decide(now)
    }

    /// From now on the running thread's waits can be interrupted: all but those for locks and at barriers. Whoever
    /// wants to interrupt it leaves a message and then calls [`interrupt`](Policy::interrupt); the thread
    /// allows interrupts, looks for messages, and then waits. So none is missed in between.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn allow_interrupts(&mut self) {
        let thread = self.current();
        self.scheduler.threads[thread].interrupts = Interrupts::Allowed;
    }

    /// From now on the running thread's waits cannot be interrupted. Gives whether it was interrupted since they
    /// could be.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn forbid_interrupts(&mut self) -> bool {
        let thread = self.current();
        let interrupts = &mut self.scheduler.threads[thread].interrupts;
        core::mem::replace(interrupts, Interrupts::Forbidden) == Interrupts::Came
    }

    /// Interrupts a thread, if it [allows](Policy::allow_interrupts) that: ends its wait as its deadline would, with
    /// [`Outcome::Interrupted`], and lets it begin no other.
    /// Else nothing happens.
    pub fn interrupt(&mut self, thread: ThreadId, now: u64) -> Decision {
        let record = &mut self.scheduler.threads[thread];
        if record.interrupts != Interrupts::Forbidden {
            record.interrupts = Interrupts::Came;
            if record.waiting.is_interruptible() {
                self.end_early(thread, Outcome::Interrupted);
            }
        }
        self.decide(now)
    }

    /// Stops a thread until it is resumed, wherever it stands. A wait goes on and may end, and what the
    /// thread gets by it belongs to it; but it does not run. What it holds it keeps.
    pub fn suspend(&mut self, thread: ThreadId, now: u64) -> Decision {
        self.scheduler.suspend(thread);
        self.decide(now)
    }

    /// Lets a thread go on that is new or was suspended. Others do not mind.
    pub fn resume(&mut self, thread: ThreadId, now: u64) -> Decision {
        self.scheduler.resume(thread);
        self.decide(now)
    }

    /// Changes the base priority of a thread. What it inherits it keeps, and what it hands on changes
    /// with it. A thread that is raised goes to the tail of its new level, one that is lowered to the head.
    pub fn set_priority(&mut self, thread: ThreadId, priority: Priority, now: u64) -> Decision {
        self.scheduler.threads[thread].base = priority;
        self.inherit(thread);
        self.decide(now)
    }

    /// Switches priority inheritance on or off, for all threads; it is on from the start. The rule holds at
    /// once, for those that wait already as well. Looks at each thread.
    pub fn inheritance(&mut self, is_on: bool, now: u64) -> Decision {
        self.inherits = is_on;
        let mut last = None;
        while let Some(thread) = self.scheduler.threads.next(last) {
            self.inherit(thread);
            last = Some(thread);
        }
        self.decide(now)
    }

    /// Changes the system's time slice. It counts from each thread's next whole slice.
    pub const fn set_slice(&mut self, slice: TimeSlice) {
        self.scheduler.set_slice(slice);
    }

    /// Gives a thread a time slice of its own, or takes it away. It counts from the thread's next whole slice.
    pub fn set_thread_slice(&mut self, thread: ThreadId, slice: Option<TimeSlice>) {
        self.scheduler.set_thread_slice(thread, slice);
    }

    /// The record of a thread.
    ///
    /// # Panics
    ///
    /// If there is no such thread.
    #[must_use]
    #[inline]
    pub fn thread(&self, thread: ThreadId) -> &Thread {
        &self.scheduler.threads[thread]
    }

    /// All threads that have not been removed.
    pub fn threads(&self) -> impl Iterator<Item = ThreadId> {
        self.scheduler.threads.ids()
    }

    /// The thread that has the processor, by the last decision.
    #[must_use]
    #[inline]
    pub const fn running(&self) -> Option<ThreadId> {
        self.scheduler.running()
    }

    /// The chain that begins with a thread: itself, the owner of the mutex it waits for, the owner of the
    /// mutex that one waits for, and so on. Without end if the chain closes.
    pub fn chain(&self, thread: ThreadId) -> impl Iterator<Item = ThreadId> {
        let (threads, mutexes) = (&self.scheduler.threads, &self.objects.mutexes);
        core::iter::successors(Some(thread), |thread| inherit::holder(threads, mutexes, *thread))
    }

    /// The mutexes that a thread owns, the one taken last first.
    pub fn held_mutexes(&self, thread: ThreadId) -> impl Iterator<Item = mutex::MutexId> {
        mutex::held(&self.objects.mutexes, &self.scheduler.threads, thread)
    }

    /// The reader-writer locks that a thread has, the one taken last first; not the one it waits for.
    pub fn held_read_write_locks(&self, thread: ThreadId) -> impl Iterator<Item = ReadWriteLockId> {
        self.held(thread).map(|hold| hold.lock)
    }

    pub(super) fn held(&self, thread: ThreadId) -> impl Iterator<Item = &Hold> {
        let Thread { hold, waiting, .. } = self.scheduler.threads[thread];
        let holds = &self.objects.holds;
        // What it waits for it asked for last.
        let is_asked_for = matches!(waiting, Waiting::Read(_) | Waiting::Write(_));
        core::iter::successors(hold, |hold| holds[*hold].next)
            .skip(usize::from(is_asked_for))
            .map(|hold| &holds[hold])
    }

    /// Whether nobody runs and no time that could pass changes that: only an event from outside, or a
    /// resume, could. If none can come, the guest hangs, and [`Thread::waiting`] tells for what.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let Policy { scheduler, timeouts, released, .. } = self;
        scheduler.running().is_none() && timeouts.is_empty() && released.is_empty()
    }
}
