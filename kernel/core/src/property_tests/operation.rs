//! What can be done to a policy, chosen by numbers.

extern crate std;

use super::Machine;
use crate::barrier::BarrierId;
use crate::condition::ConditionId;
use crate::event_group::EventGroupId;
use crate::inherit;
use crate::mutex::{self, MutexId};
use crate::policy::tests::{make_room, roomy};
use crate::policy::{Attempt, Decision, Kind, Policy};
use crate::priority::Priority;
use crate::read_write_lock::{Access, ReadWriteLockId};
use crate::semaphore::SemaphoreId;
use crate::thread::{State, ThreadId, Waiting, Wanted};
use crate::time_slice::TimeSlice;
use crate::timer::TimerId;
use core::num::NonZeroU64;
use std::vec::Vec;

/// How many threads one operation makes ready.
pub(super) const BATCH: usize = 2;

/// How many threads there are at most.
const MOST_THREADS: usize = 10;

/// What is done. Threads and objects by number, in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Alarm,
    Create(Priority, Option<TimeSlice>),
    Exit,
    Yield,
    Sleep(u64),
    Park(Option<u64>),
    WaitLine(Option<u64>),
    Join(usize, Option<u64>),
    Unpark(usize),
    LineCame(usize),
    Suspend(usize),
    Resume(usize),
    SetPriority(usize, Priority),
    SetThreadSlice(usize, Option<TimeSlice>),
    SetInheritance(bool),
    /// The running thread locks a mutex, and the policy does not know.
    LockUnseen(usize),
    UnlockUnseen(usize),
    /// The policy is told of a mutex that was locked unseen.
    Tell(usize),
    LockUncontended(usize),
    Lock(usize, Option<u64>),
    UnlockUncontended(usize),
    Unlock(usize),
    WaitCondition(usize, Option<u64>),
    NotifyOne,
    NotifyAll,
    Acquire(Option<u64>),
    Release,
    ReleaseUncontended,
    LockReadWrite(Access, Option<u64>),
    UnlockReadWrite,
    WaitBarrier(Option<u64>),
    WaitEvents(Wanted, Option<u64>),
    SetEvents(u32),
    ClearEvents(u32),
    StartTimer(u64, Option<NonZeroU64>),
    StopTimer,
    WaitTimer(Option<u64>),
    AllowInterrupts,
    ForbidInterrupts,
    Interrupt(usize),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    Refused,
    Deadlock,
    Tried(Attempt),
    Decided(Decision),
}

/// The policy with three mutexes and one of everything else.
pub(super) struct World {
    pub(super) policy: Policy,
    /// By number; those that exited stay.
    pub(super) threads: Vec<ThreadId>,
    pub(super) mutexes: Vec<MutexId>,
    /// Who locked the mutex of this number unseen, and may have exited since.
    pub(super) unseen: [Option<ThreadId>; 3],
    pub(super) condition: ConditionId,
    pub(super) semaphore: SemaphoreId,
    pub(super) lock: ReadWriteLockId,
    pub(super) barrier: BarrierId,
    pub(super) events: EventGroupId,
    pub(super) timer: TimerId,
}

impl World {
    pub(super) fn new() -> World {
        let mut policy = roomy();
        policy.set_slice(TimeSlice::from_nanoseconds(40));
        // Few, so that often more are left for later.
        policy.batch = BATCH;
        World {
            threads: Vec::new(),
            mutexes: (0..3).map(|_| policy.create_mutex().unwrap()).collect(),
            unseen: [None; 3],
            condition: policy.create_condition().unwrap(),
            semaphore: policy.create_semaphore(1, 3).unwrap(),
            lock: policy.create_read_write_lock().unwrap(),
            barrier: policy.create_barrier(3).unwrap(),
            events: policy.create_event_group().unwrap(),
            timer: policy.create_timer().unwrap(),
            policy,
        }
    }

    pub(super) fn number(&self, thread: ThreadId) -> usize {
        self.threads.iter().position(|other| *other == thread).unwrap()
    }

    /// Whether a mutex can be locked unseen: it is free and well, and nobody will get it from the policy.
    fn is_nobodys(&self, mutex: usize) -> bool {
        let id = self.mutexes[mutex];
        let record = self.policy.mutex(id);
        let gets = |thread: &ThreadId| match self.policy.thread(*thread).waiting() {
            Waiting::Condition(_, mutex) | Waiting::Released(Some(mutex)) => mutex == id,
            _ => false,
        };
        let is_free = record.owner().is_none() && self.unseen[mutex].is_none();
        is_free && !record.is_poisoned() && !self.threads.iter().any(gets)
    }

    /// Whether a thread exited with a mutex, which is not well again.
    pub(super) fn is_poisoned(&self, mutex: usize) -> bool {
        let has_exited = |owner: ThreadId| self.policy.thread(owner).state() == State::Exited;
        self.policy.mutex(self.mutexes[mutex]).is_poisoned() || self.unseen[mutex].is_some_and(has_exited)
    }

    /// Something for each wait queue that threads in it may wait for.
    pub(super) fn queues(&self) -> Vec<Waiting> {
        let wanted = Wanted { events: 0, all: false, clear: false };
        let mut queues: Vec<_> = self.mutexes.iter().map(|mutex| Waiting::Mutex(*mutex)).collect();
        queues.extend([
            Waiting::Condition(self.condition, self.mutexes[0]),
            Waiting::Semaphore(self.semaphore),
            Waiting::Read(self.lock),
            Waiting::Barrier(self.barrier),
            Waiting::Events(self.events, wanted),
            Waiting::Timer(self.timer),
        ]);
        queues
    }

    pub(super) fn waiters(&self, waiting: Waiting) -> Vec<ThreadId> {
        let (objects, threads) = (&self.policy.objects, &self.policy.scheduler.threads);
        let queue = match waiting {
            Waiting::Mutex(id) => &objects.mutexes[id].waiters,
            Waiting::Semaphore(id) => &objects.semaphores[id].waiters,
            Waiting::Condition(id, _) => &objects.conditions[id].waiters,
            Waiting::Read(id) | Waiting::Write(id) => &objects.read_write_locks[id].waiters,
            Waiting::Barrier(id) => &objects.barriers[id].waiters,
            Waiting::Events(id, _) => &objects.event_groups[id].waiters,
            Waiting::Timer(id) => &objects.timers[id].waiters,
            _ => return Vec::new(),
        };
        queue.iter(threads).collect()
    }
}

fn priority(number: u32) -> Priority {
    Priority::new([0, 20, 21, 63][number as usize % 4])
}

fn slice(number: u32) -> Option<TimeSlice> {
    match number % 4 {
        0 => Some(TimeSlice::from_nanoseconds(15)),
        1 => Some(TimeSlice::UNLIMITED),
        _ => None,
    }
}

/// The legal operation that a number stands for, if there is one. With `is_careful`, none that closes a
/// chain, as the model does not know what importance goes round in a circle, and no change of inheritance
/// that moves several threads, as the model does not know in which order.
pub(super) fn choose(number: u32, world: &World, machine: &Machine, is_careful: bool) -> Option<Operation> {
    let [kind, one, other, _] = number.to_le_bytes().map(u32::from);
    let policy = &world.policy;
    let alive: Vec<usize> = (0..world.threads.len())
        .filter(|it| policy.thread(world.threads[*it]).state() != State::Exited)
        .collect();
    if alive.is_empty() || (kind % 120 < 5 && alive.len() < MOST_THREADS) {
        return Some(Operation::Create(priority(one), slice(other)));
    }
    let someone = alive[one as usize % alive.len()];
    let deadline = (other % 8 != 0).then_some(machine.now + u64::from(other) / 2);
    let mutex = one as usize % 3;
    let from_upcall = match kind % 120 {
        0..15 => Operation::Alarm,
        15..19 => Operation::Unpark(someone),
        19..21 => Operation::Suspend(someone),
        21..26 => Operation::Resume(someone),
        26..33 => Operation::SetPriority(someone, priority(other)),
        33 => Operation::SetThreadSlice(someone, slice(other)),
        34..36 => Operation::NotifyOne,
        36 => Operation::NotifyAll,
        37..40 => Operation::Release,
        40..46 => Operation::SetEvents(1 << (one % 4)),
        46 => Operation::ClearEvents(one % 16),
        47..49 => Operation::StartTimer(
            machine.now + u64::from(other),
            NonZeroU64::new(u64::from(one)).filter(|period| period.get() > 60),
        ),
        49 => Operation::StopTimer,
        100..103 => Operation::LineCame(someone),
        103 => Operation::ReleaseUncontended,
        110..114 => Operation::Interrupt(someone),
        104 => {
            let contended = world.mutexes.iter().filter(|id| !policy.mutex(**id).waiters.is_empty());
            if is_careful && contended.count() > 1 {
                return None;
            }
            Operation::SetInheritance(one % 4 > 0)
        }
        _ => return choose_for_running(kind % 120, one, other, mutex, deadline, world, is_careful),
    };
    Some(from_upcall)
}

/// As [`choose`], for what only the running thread can do.
fn choose_for_running(
    kind: u32,
    one: u32,
    other: u32,
    mutex: usize,
    deadline: Option<u64>,
    world: &World,
    is_careful: bool,
) -> Option<Operation> {
    let policy = &world.policy;
    // While nobody runs, time passes.
    let Some(running) = policy.running() else { return Some(Operation::Alarm) };
    let (threads, mutexes) = (&policy.scheduler.threads, &policy.objects.mutexes);
    let held: Vec<usize> = mutex::held(mutexes, threads, running)
        .map(|held| world.mutexes.iter().position(|mutex| *mutex == held).unwrap())
        .collect();
    let unseen = world.unseen.iter().filter(|owner| **owner == Some(running)).count();
    let some_held = held.get(one as usize % held.len().max(1)).copied();
    // Whether the chain from the mutex comes back to the running thread, with a deadline that opens it.
    let closes_chain_for_a_while = || {
        let mut has_deadline = deadline.is_some();
        let mut next = policy.mutex(world.mutexes[mutex]).owner();
        while let Some(member) = next {
            if member == running {
                return has_deadline;
            }
            has_deadline |= threads[member].timeout.is_some();
            next = inherit::holder(threads, mutexes, member);
        }
        false
    };
    let someone = one as usize % world.threads.len();
    Some(match kind {
        50..52 => Operation::Yield,
        52..54 => Operation::Sleep(deadline.unwrap_or_default()),
        54..56 => Operation::Park(deadline),
        56 => Operation::Exit,
        57..66 if world.unseen[mutex].is_some() => Operation::Tell(mutex),
        57..59 => Operation::LockUncontended(mutex),
        // In a wild run chains may be closed, and this walk might not end.
        59..66 if is_careful && closes_chain_for_a_while() => return None,
        59..66 => Operation::Lock(mutex, deadline),
        66..68 => Operation::UnlockUncontended(some_held?),
        68..76 => Operation::Unlock(some_held?),
        76..80 if is_careful && held.len() + unseen != 1 => return None,
        76..80 => Operation::WaitCondition(some_held?, deadline),
        80..86 => Operation::Acquire(deadline),
        86..89 => {
            Operation::LockReadWrite(if other & 1 == 0 { Access::Read } else { Access::Write }, deadline)
        }
        89..94 => {
            policy.thread(running).hold?;
            Operation::UnlockReadWrite
        }
        94 => Operation::WaitBarrier(deadline),
        95..98 => Operation::WaitEvents(
            Wanted { events: 1 + one % 15, all: other & 1 == 0, clear: other % 5 < 3 },
            deadline,
        ),
        98..100 => Operation::WaitTimer(deadline),
        105..107 => Operation::WaitLine(deadline),
        114..117 => Operation::AllowInterrupts,
        117 => Operation::ForbidInterrupts,
        107..110 => world.is_nobodys(mutex).then_some(Operation::LockUnseen(mutex))?,
        118 => (world.unseen[mutex] == Some(running)).then_some(Operation::UnlockUnseen(mutex))?,
        _ => {
            let is_free = policy.thread(world.threads[someone]).joiner.is_none();
            (is_free && world.threads[someone] != running).then_some(Operation::Join(someone, deadline))?
        }
    })
}

/// The time at which the operation happens: mostly a little later, and an alarm mostly in time.
pub(super) fn time_after(number: u32, operation: &Operation, machine: &Machine) -> u64 {
    let bits = u64::from(number >> 24);
    match (operation, machine.set_to) {
        (Operation::Alarm, Some(set_to)) if bits % 4 != 0 => machine.now.max(set_to + bits % 2),
        (_, Some(set_to)) if bits % 8 != 0 => (machine.now + bits / 16).min(set_to.max(machine.now)),
        _ => machine.now + bits / 16,
    }
}

/// Does an operation.
pub(super) fn apply(operation: &Operation, world: &mut World, now: u64) -> Answer {
    let World { policy, threads, mutexes, unseen, condition, semaphore, lock, barrier, events, timer } =
        world;
    match *operation {
        Operation::Alarm => Answer::Decided(policy.alarm(now)),
        Operation::Create(priority, slice) => {
            make_room(policy, Kind::Thread);
            let thread = policy.create_thread(priority, slice).unwrap();
            threads.push(thread);
            Answer::Decided(policy.resume(thread, now))
        }
        Operation::Exit => Answer::Decided(policy.exit(now)),
        Operation::Yield => Answer::Decided(policy.yield_now(now)),
        Operation::Sleep(deadline) => Answer::Tried(policy.sleep(deadline, now)),
        Operation::Park(deadline) => Answer::Tried(policy.park(deadline, now)),
        Operation::WaitLine(deadline) => Answer::Tried(policy.wait_line(deadline, now)),
        Operation::Join(thread, deadline) => Answer::Tried(policy.join(threads[thread], deadline, now)),
        Operation::Unpark(thread) => Answer::Decided(policy.unpark(threads[thread], now)),
        Operation::LineCame(thread) => Answer::Decided(policy.line_came(threads[thread], now)),
        Operation::Suspend(thread) => Answer::Decided(policy.suspend(threads[thread], now)),
        Operation::Resume(thread) => Answer::Decided(policy.resume(threads[thread], now)),
        Operation::SetPriority(thread, priority) => {
            Answer::Decided(policy.set_priority(threads[thread], priority, now))
        }
        Operation::SetThreadSlice(thread, slice) => {
            policy.set_thread_slice(threads[thread], slice);
            Answer::Nothing
        }
        Operation::SetInheritance(is_on) => Answer::Decided(policy.inheritance(is_on, now)),
        Operation::LockUnseen(mutex) => {
            unseen[mutex] = policy.running();
            Answer::Nothing
        }
        Operation::UnlockUnseen(mutex) => {
            unseen[mutex] = None;
            Answer::Nothing
        }
        Operation::Tell(mutex) => {
            let owner = unseen[mutex].take().unwrap();
            if policy.thread(owner).state() == State::Exited {
                policy.set_mutex_poisoned(mutexes[mutex], true);
            } else {
                policy.note_owner(mutexes[mutex], owner);
            }
            Answer::Nothing
        }
        Operation::LockUncontended(mutex) => succeeded(policy.lock_uncontended(mutexes[mutex])),
        Operation::Lock(mutex, deadline) => {
            policy.lock(mutexes[mutex], deadline, now).map_or(Answer::Deadlock, Answer::Tried)
        }
        Operation::UnlockUncontended(mutex) => succeeded(policy.unlock_uncontended(mutexes[mutex])),
        Operation::Unlock(mutex) => Answer::Decided(policy.unlock(mutexes[mutex], now)),
        Operation::WaitCondition(mutex, deadline) => {
            Answer::Tried(policy.wait_condition(*condition, mutexes[mutex], deadline, now))
        }
        Operation::NotifyOne => Answer::Decided(policy.notify_one(*condition, now)),
        Operation::NotifyAll => Answer::Decided(policy.notify_all(*condition, now)),
        Operation::Acquire(deadline) => Answer::Tried(policy.acquire(*semaphore, deadline, now)),
        Operation::Release => policy.release(*semaphore, now).map_or(Answer::Refused, Answer::Decided),
        Operation::ReleaseUncontended => succeeded(policy.release_uncontended(*semaphore) == Ok(true)),
        Operation::LockReadWrite(access, deadline) => {
            Answer::Tried(policy.lock_read_write(*lock, access, deadline, now).unwrap())
        }
        Operation::UnlockReadWrite => Answer::Decided(policy.unlock_read_write(*lock, now)),
        Operation::WaitBarrier(deadline) => Answer::Tried(policy.wait_barrier(*barrier, deadline, now)),
        Operation::WaitEvents(wanted, deadline) => {
            Answer::Tried(policy.wait_events(*events, wanted, deadline, now))
        }
        Operation::SetEvents(bits) => Answer::Decided(policy.set_events(*events, bits, now)),
        Operation::ClearEvents(bits) => {
            policy.clear_events(*events, bits);
            Answer::Nothing
        }
        Operation::StartTimer(deadline, period) => {
            Answer::Decided(policy.start_timer(*timer, deadline, period, now))
        }
        Operation::StopTimer => {
            policy.stop_timer(*timer);
            Answer::Nothing
        }
        Operation::WaitTimer(deadline) => Answer::Tried(policy.wait_timer(*timer, deadline, now)),
        Operation::AllowInterrupts => {
            policy.allow_interrupts();
            Answer::Nothing
        }
        Operation::ForbidInterrupts => succeeded(policy.forbid_interrupts()),
        Operation::Interrupt(thread) => Answer::Decided(policy.interrupt(threads[thread], now)),
    }
}

fn succeeded(succeeded: bool) -> Answer {
    if succeeded { Answer::Tried(Attempt::Done) } else { Answer::Refused }
}
