//! The policy again, as naively as it can be said.
//!
//! No queues: there is one vector of everyone who is ready and one of everyone who waits, in order of
//! arrival, and each question is answered by searching. No chains: after each change everybody's importance
//! is computed from scratch. It knows the same rules, and nothing of how they are kept.

mod objects;

extern crate std;

use super::invariants::is_same_queue;
use super::operation::{BATCH, Operation, World};
use crate::barrier::BarrierId;
use crate::condition::ConditionId;
use crate::event_group::EventGroupId;
use crate::mutex::MutexId;
use crate::priority::Priority;
use crate::read_write_lock::{Access, ReadWriteLockId};
use crate::semaphore::SemaphoreId;
use crate::thread::{Interrupts, Outcome, State, ThreadId, Waiting};
use crate::time_slice::{Rest, TimeSlice};
use crate::timer::TimerId;
use core::cmp::Reverse;
use core::num::NonZeroU64;
use std::vec::Vec;

/// The model's view of a thread.
pub(super) struct Thread {
    pub(super) base: Priority,
    pub(super) effective: Priority,
    pub(super) state: State,
    pub(super) waiting: Waiting,
    pub(super) outcome: Outcome,
    pub(super) value: u32,
    pub(super) rest: Rest,
    slice: Option<TimeSlice>,
    unparked: bool,
    interrupts: Interrupts,
}

/// The model's view of a mutex.
pub(super) struct Mutex {
    pub(super) is_poisoned: bool,
    owner: Option<usize>,
    /// Counts lockings: a later one is greater.
    locked: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Thread(usize),
    Timer,
}

/// What came of an operation; whoever runs then is in [`Model::running`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Refused,
    Deadlock,
    Done,
    TimedOut,
    Interrupted,
    Decided,
}

pub(super) struct Model {
    pub(super) threads: Vec<Thread>,
    pub(super) mutexes: Vec<Mutex>,
    pub(super) running: Option<usize>,
    ready: Vec<usize>,
    waiters: Vec<usize>,
    /// Those whose wait has succeeded and is not over yet.
    released: Vec<usize>,
    /// In order of insertion.
    deadlines: Vec<(u64, Due)>,
    timed_since: Option<u64>,
    inherits: bool,
    locked: usize,
    permits: u32,
    /// Who has the lock, the newest last.
    holders: Vec<(usize, Access)>,
    events: u32,
    period: Option<NonZeroU64>,
    expiries: u32,
    ids: Ids,
}

/// The policy's names for things.
struct Ids {
    threads: Vec<ThreadId>,
    mutexes: Vec<MutexId>,
    condition: ConditionId,
    semaphore: SemaphoreId,
    lock: ReadWriteLockId,
    barrier: BarrierId,
    events: EventGroupId,
    timer: TimerId,
}

impl Model {
    pub(super) fn new(world: &World) -> Model {
        let new = |_| Mutex { is_poisoned: false, owner: None, locked: 0 };
        Model {
            threads: Vec::new(),
            mutexes: (0..3).map(new).collect(),
            running: None,
            ready: Vec::new(),
            waiters: Vec::new(),
            released: Vec::new(),
            deadlines: Vec::new(),
            timed_since: None,
            inherits: true,
            locked: 0,
            permits: 1,
            holders: Vec::new(),
            events: 0,
            period: None,
            expiries: 0,
            ids: Ids {
                threads: Vec::new(),
                mutexes: world.mutexes.clone(),
                condition: world.condition,
                semaphore: world.semaphore,
                lock: world.lock,
                barrier: world.barrier,
                events: world.events,
                timer: world.timer,
            },
        }
    }

    pub(super) fn ready_in_order(&self) -> Vec<usize> {
        self.by_importance(self.ready.clone())
    }

    pub(super) fn waiters_in_order(&self, waiting: Waiting) -> Vec<usize> {
        let is_here = |thread: &&usize| is_same_queue(self.threads[**thread].waiting, waiting);
        self.by_importance(self.waiters.iter().filter(is_here).copied().collect())
    }

    /// When the timer must fire: at the end of a slice that is shared, or at a deadline.
    pub(super) fn wanted_alarm(&self, now: u64) -> Option<u64> {
        let slice_end = self.running.filter(|running| self.is_shared(*running));
        let slice_end = slice_end.and_then(|running| self.threads[running].rest.end(now));
        let left = (!self.released.is_empty()).then_some(now);
        self.deadlines.iter().map(|(deadline, _)| *deadline).chain(slice_end).chain(left).min()
    }

    /// Does an operation that was done in the world already, where threads may have got names by it.
    pub(super) fn apply(&mut self, operation: &Operation, world: &World, now: u64) -> Answer {
        self.ids.threads.clone_from(&world.threads);
        let answer = match *operation {
            Operation::Alarm => {
                for _ in 0..BATCH {
                    let Some(at) = self.first_due(now) else { break };
                    let (deadline, due) = self.deadlines.remove(at);
                    match due {
                        Due::Thread(thread) => self.time_out(thread),
                        Due::Timer => self.expire(deadline, now),
                    }
                }
                Answer::Decided
            }
            Operation::Create(priority, slice) => {
                self.create(priority, slice);
                Answer::Decided
            }
            Operation::Yield => {
                if let Some(thread) = self.stop() {
                    self.put_at_tail(thread);
                }
                Answer::Decided
            }
            Operation::Sleep(deadline) => self.wait(Waiting::Sleep, Some(deadline), now),
            Operation::Park(deadline) => {
                let unparked = &mut self.threads[self.running.unwrap()].unparked;
                if core::mem::take(unparked) {
                    Answer::Done
                } else {
                    self.wait(Waiting::Unpark, deadline, now)
                }
            }
            Operation::WaitLine(deadline) => self.wait(Waiting::Line, deadline, now),
            Operation::LineCame(thread) => {
                if self.threads[thread].waiting == Waiting::Line {
                    self.finish(thread);
                }
                Answer::Decided
            }
            Operation::Join(thread, deadline) => {
                if self.threads[thread].state == State::Exited {
                    return Answer::Done;
                }
                self.wait(Waiting::Exit(self.ids.threads[thread]), deadline, now)
            }
            Operation::Unpark(thread) => {
                if self.threads[thread].waiting == Waiting::Unpark {
                    self.finish(thread);
                } else {
                    self.threads[thread].unparked = true;
                }
                Answer::Decided
            }
            Operation::Suspend(thread) => self.suspend(thread),
            Operation::Resume(thread) => self.resume(thread),
            Operation::SetPriority(thread, priority) => {
                self.threads[thread].base = priority;
                self.inherit();
                Answer::Decided
            }
            Operation::SetThreadSlice(thread, slice) => {
                self.threads[thread].slice = slice;
                Answer::Nothing
            }
            Operation::SetInheritance(is_on) => {
                self.inherits = is_on;
                self.inherit();
                Answer::Decided
            }
            Operation::LockUnseen(mutex) => {
                self.own(mutex, self.running.unwrap());
                Answer::Nothing
            }
            Operation::UnlockUnseen(mutex) => {
                self.mutexes[mutex].owner = None;
                Answer::Nothing
            }
            Operation::Tell(mutex) => {
                // Of several that a thread exits with, those told of last go first.
                if let Some(owner) = self.mutexes[mutex].owner {
                    self.own(mutex, owner);
                }
                Answer::Nothing
            }
            Operation::LockUncontended(mutex) => self.lock_uncontended(mutex),
            Operation::Lock(mutex, deadline) => self.lock(mutex, deadline, now),
            Operation::UnlockUncontended(mutex) => {
                if !self.waiters_in_order(self.mutex(mutex)).is_empty() {
                    return Answer::Refused;
                }
                self.mutexes[mutex].owner = None;
                Answer::Done
            }
            Operation::Unlock(mutex) => {
                self.hand_over(mutex);
                Answer::Decided
            }
            Operation::WaitCondition(mutex, deadline) => {
                let waiting = Waiting::Condition(self.ids.condition, self.ids.mutexes[mutex]);
                if let Some(answer) = self.refuse_wait(waiting, deadline, now) {
                    return answer;
                }
                self.hand_over(mutex);
                self.wait(waiting, deadline, now)
            }
            Operation::NotifyOne => {
                if let Some(first) = self.waiters_in_order(self.condition()).first() {
                    self.finish(*first);
                }
                Answer::Decided
            }
            Operation::NotifyAll => {
                for thread in self.waiters_in_order(self.condition()) {
                    self.release_later(thread);
                }
                Answer::Decided
            }
            Operation::Acquire(deadline) => {
                if self.permits == 0 {
                    self.wait(Waiting::Semaphore(self.ids.semaphore), deadline, now)
                } else {
                    self.permits -= 1;
                    Answer::Done
                }
            }
            Operation::Release => self.release(),
            Operation::ReleaseUncontended => {
                let is_wanted = !self.waiters_in_order(Waiting::Semaphore(self.ids.semaphore)).is_empty();
                if is_wanted || self.release() == Answer::Refused {
                    return Answer::Refused;
                }
                Answer::Done
            }
            Operation::LockReadWrite(access, deadline) => self.lock_read_write(access, deadline, now),
            Operation::UnlockReadWrite => {
                self.give_back(self.running.unwrap());
                self.admit();
                Answer::Decided
            }
            Operation::WaitBarrier(deadline) => self.wait_barrier(deadline, now),
            Operation::WaitEvents(wanted, deadline) => self.wait_events(wanted, deadline, now),
            Operation::SetEvents(events) => self.set_events(events),
            Operation::ClearEvents(events) => {
                self.events &= !events;
                Answer::Nothing
            }
            Operation::StartTimer(deadline, period) => {
                self.deadlines.retain(|(_, due)| *due != Due::Timer);
                self.deadlines.push((deadline, Due::Timer));
                self.period = period;
                self.expiries = 0;
                Answer::Decided
            }
            Operation::StopTimer => {
                self.deadlines.retain(|(_, due)| *due != Due::Timer);
                Answer::Nothing
            }
            Operation::WaitTimer(deadline) => {
                if self.expiries == 0 {
                    self.wait(Waiting::Timer(self.ids.timer), deadline, now)
                } else {
                    self.threads[self.running.unwrap()].value = core::mem::take(&mut self.expiries);
                    Answer::Done
                }
            }
            Operation::AllowInterrupts => {
                self.threads[self.running.unwrap()].interrupts = Interrupts::Allowed;
                Answer::Nothing
            }
            Operation::ForbidInterrupts => {
                let interrupts = &mut self.threads[self.running.unwrap()].interrupts;
                let came = *interrupts == Interrupts::Came;
                *interrupts = Interrupts::Forbidden;
                if came { Answer::Done } else { Answer::Refused }
            }
            Operation::Interrupt(thread) => {
                if self.threads[thread].interrupts != Interrupts::Forbidden {
                    self.threads[thread].interrupts = Interrupts::Came;
                    if can_be_interrupted(self.threads[thread].waiting) {
                        self.end_early(thread, Outcome::Interrupted);
                    }
                }
                Answer::Decided
            }
            Operation::Exit => self.exit(),
        };
        if answer == Answer::Decided {
            self.decide(now);
        }
        answer
    }

    fn decide(&mut self, now: u64) {
        for _ in 0..BATCH {
            if self.released.is_empty() {
                break;
            }
            // This may admit somebody to the lock, who is then in the same batch.
            let first = self.released.remove(0);
            self.finish(first);
        }
        if let Some(running) = self.running {
            if let Some(since) = self.timed_since {
                self.threads[running].rest = self.threads[running].rest.after(now - since);
            }
            let effective = self.threads[running].effective;
            let is_preempted = (self.ready.iter())
                .any(|thread| self.threads[*thread].effective.is_more_important_than(effective));
            let is_over = self.threads[running].rest.is_over();
            if is_over && !is_preempted && !self.is_shared(running) {
                self.threads[running].rest = self.whole(running);
            } else if is_over {
                self.stop();
                self.put_at_tail(running);
            } else if is_preempted {
                self.stop();
                self.threads[running].state = State::Ready;
                self.ready.insert(0, running);
            }
        }
        if self.running.is_none()
            && let Some(first) = self.ready_in_order().first().copied()
        {
            self.ready.retain(|thread| *thread != first);
            self.threads[first].state = State::Running;
            self.running = Some(first);
            self.timed_since = None;
        }
        let is_timed = self
            .running
            .is_some_and(|running| self.is_shared(running) && self.threads[running].rest.end(0).is_some());
        self.timed_since = is_timed.then_some(now);
    }

    fn is_shared(&self, running: usize) -> bool {
        self.ready.iter().any(|thread| self.threads[*thread].effective == self.threads[running].effective)
    }

    fn whole(&self, thread: usize) -> Rest {
        Rest::whole(self.threads[thread].slice.unwrap_or(TimeSlice::from_nanoseconds(40)))
    }

    fn put_at_tail(&mut self, thread: usize) {
        self.threads[thread].rest = self.whole(thread);
        self.threads[thread].state = State::Ready;
        self.ready.push(thread);
    }

    fn stop(&mut self) -> Option<usize> {
        self.timed_since = None;
        self.running.take()
    }

    fn create(&mut self, priority: Priority, slice: Option<TimeSlice>) {
        self.threads.push(Thread {
            base: priority,
            effective: priority,
            state: State::Suspended,
            waiting: Waiting::Nothing,
            outcome: Outcome::Done,
            value: 0,
            rest: Rest::OVER,
            slice,
            unparked: false,
            interrupts: Interrupts::Forbidden,
        });
        self.put_at_tail(self.threads.len() - 1);
    }

    fn exit(&mut self) -> Answer {
        let thread = self.stop().unwrap();
        self.threads[thread].state = State::Exited;
        let owned = |mutex: &usize| self.mutexes[*mutex].owner == Some(thread);
        let mut held: Vec<usize> = (0..3).filter(owned).collect();
        held.sort_by_key(|mutex| Reverse(self.mutexes[*mutex].locked));
        for mutex in held {
            self.mutexes[mutex].is_poisoned = true;
            self.hand_over(mutex);
        }
        while self.holders.iter().any(|(holder, _)| *holder == thread) {
            self.give_back(thread);
            self.admit();
        }
        let is_joiner =
            |other: &usize| self.threads[*other].waiting == Waiting::Exit(self.ids.threads[thread]);
        if let Some(joiner) = self.waiters.iter().find(|other| is_joiner(other)).copied() {
            self.finish(joiner);
        }
        Answer::Decided
    }

    fn suspend(&mut self, thread: usize) -> Answer {
        let state = &mut self.threads[thread].state;
        match *state {
            State::Running => {
                *state = State::Suspended;
                self.stop();
            }
            State::Ready => {
                *state = State::Suspended;
                self.ready.retain(|other| *other != thread);
            }
            State::Blocked => *state = State::BlockedSuspended,
            _ => {}
        }
        Answer::Decided
    }

    fn resume(&mut self, thread: usize) -> Answer {
        match self.threads[thread].state {
            State::Suspended => self.put_at_tail(thread),
            State::BlockedSuspended => self.threads[thread].state = State::Blocked,
            _ => {}
        }
        Answer::Decided
    }

    /// Everyone's importance from scratch; who is raised goes behind all, who is lowered before all.
    fn inherit(&mut self) {
        for thread in 0..self.threads.len() {
            let held_up =
                (0..self.threads.len()).filter(|other| self.inherits && self.is_held_up_by(*other, thread));
            let priority = held_up
                .map(|other| self.threads[other].base)
                .fold(self.threads[thread].base, Priority::or_more_important);
            let effective = core::mem::replace(&mut self.threads[thread].effective, priority);
            if priority == effective {
                continue;
            }
            for queue in [&mut self.ready, &mut self.waiters] {
                if let Some(at) = queue.iter().position(|other| *other == thread) {
                    queue.remove(at);
                    let end = if priority.is_more_important_than(effective) { queue.len() } else { 0 };
                    queue.insert(end, thread);
                }
            }
        }
        self.admit();
    }

    fn is_held_up_by(&self, waiter: usize, holder: usize) -> bool {
        match self.owner_waited_for(waiter) {
            Some(owner) => owner == holder || self.is_held_up_by(owner, holder),
            None => false,
        }
    }

    fn owner_waited_for(&self, waiter: usize) -> Option<usize> {
        let Waiting::Mutex(mutex) = self.threads[waiter].waiting else { return None };
        let number = self.ids.mutexes.iter().position(|other| *other == mutex)?;
        self.mutexes[number].owner
    }

    fn by_importance(&self, mut threads: Vec<usize>) -> Vec<usize> {
        threads.sort_by_key(|thread| Reverse(self.threads[*thread].effective.level()));
        threads
    }

    /// Why the running thread does not begin to wait for this.
    fn refuse_wait(&self, waiting: Waiting, deadline: Option<u64>, now: u64) -> Option<Answer> {
        let interrupts = self.threads[self.running.unwrap()].interrupts;
        if interrupts == Interrupts::Came && can_be_interrupted(waiting) {
            return Some(Answer::Interrupted);
        }
        deadline.is_some_and(|deadline| deadline <= now).then_some(Answer::TimedOut)
    }

    fn wait(&mut self, waiting: Waiting, deadline: Option<u64>, now: u64) -> Answer {
        if let Some(answer) = self.refuse_wait(waiting, deadline, now) {
            return answer;
        }
        let thread = self.stop().unwrap();
        let record = &mut self.threads[thread];
        record.state = State::Blocked;
        record.waiting = waiting;
        record.outcome = Outcome::Done;
        record.value = 0;
        self.waiters.push(thread);
        self.deadlines.extend(deadline.map(|deadline| (deadline, Due::Thread(thread))));
        self.inherit();
        Answer::Decided
    }

    /// A wait is over; one on a condition goes over into one for the mutex if that is not free.
    fn finish(&mut self, thread: usize) {
        self.deadlines.retain(|(_, due)| *due != Due::Thread(thread));
        self.waiters.retain(|other| *other != thread);
        if let Waiting::Condition(_, mutex) | Waiting::Released(Some(mutex)) = self.threads[thread].waiting {
            let number = self.ids.mutexes.iter().position(|other| *other == mutex).unwrap();
            if self.mutexes[number].owner.is_some() {
                self.threads[thread].waiting = Waiting::Mutex(mutex);
                self.waiters.push(thread);
                self.inherit();
                return;
            }
            self.own(number, thread);
        }
        self.threads[thread].waiting = Waiting::Nothing;
        match self.threads[thread].state {
            State::Blocked => self.put_at_tail(thread),
            _ => self.threads[thread].state = State::Suspended,
        }
        self.inherit();
    }

    fn first_due(&self, now: u64) -> Option<usize> {
        // Of equal deadlines, the first one in the vector.
        let due = self.deadlines.iter().enumerate().filter(|(_, (deadline, _))| *deadline <= now);
        due.min_by_key(|(_, (deadline, _))| *deadline).map(|(at, _)| at)
    }

    fn time_out(&mut self, thread: usize) {
        if self.released.contains(&thread) {
            // What it waited for came first.
            return;
        }
        self.end_early(thread, Outcome::TimedOut);
    }

    fn end_early(&mut self, thread: usize, outcome: Outcome) {
        self.threads[thread].outcome = outcome;
        self.waiters.retain(|other| *other != thread);
        self.admit();
        self.finish(thread);
    }

    /// The wait of a thread has succeeded; it is over at the next decision.
    fn release_later(&mut self, thread: usize) {
        self.waiters.retain(|other| *other != thread);
        self.released.push(thread);
        self.threads[thread].waiting = match self.threads[thread].waiting {
            Waiting::Condition(_, mutex) => Waiting::Released(Some(mutex)),
            _ => Waiting::Released(None),
        };
    }
}

fn can_be_interrupted(waiting: Waiting) -> bool {
    use Waiting::{Barrier, Mutex, Nothing, Read, Released, Write};
    !matches!(waiting, Nothing | Mutex(_) | Read(_) | Write(_) | Barrier(_) | Released(_))
}
