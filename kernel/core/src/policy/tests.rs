//! The rules of the policy, one by one. Random sequences are in `property_tests`.

mod inheritance;
mod join;
mod room;
mod scheduling;
mod waiting;

extern crate std;

use super::{Attempt, BATCH, Decision, Kind, Policy, Room};
use crate::mutex::MutexId;
use crate::priority::Priority;
use crate::thread::{Outcome, State, ThreadId};
use crate::time_slice::TimeSlice;

/// The slice of all threads in these tests, in ns.
const SLICE: u64 = 100;

/// A policy with room for 64 of each kind.
pub(crate) fn roomy() -> Policy {
    use Kind::{Barrier, Condition, EventGroup, Hold, Mutex, ReadWriteLock, Semaphore, Thread, Timer};
    let mut policy = Policy::new();
    for kind in [Thread, Mutex, Semaphore, Condition, ReadWriteLock, Hold, Barrier, EventGroup, Timer] {
        make_room(&mut policy, kind);
    }
    policy
}

/// Makes room for one more.
pub(crate) fn make_room(policy: &mut Policy, kind: Kind) {
    while let Some(shortage) = policy.shortage(kind) {
        policy.add_room(Room::allocate(shortage).unwrap()).unwrap();
    }
}

fn policy() -> Policy {
    let mut policy = roomy();
    policy.set_slice(TimeSlice::from_nanoseconds(SLICE));
    policy
}

/// A new thread that is ready at once, or running.
fn spawn(policy: &mut Policy, level: u8, now: u64) -> ThreadId {
    make_room(policy, Kind::Thread);
    let thread = policy.create_thread(Priority::new(level), None).unwrap();
    let _ = policy.resume(thread, now);
    thread
}

/// Lets the running thread block until its number is called.
fn park(policy: &mut Policy, now: u64) -> Decision {
    switch(policy.park(None, now))
}

fn switch(attempt: Attempt) -> Decision {
    match attempt {
        Attempt::Switch(decision) => decision,
        other => panic!("the thread should wait, but {other:?}"),
    }
}

/// The running thread must wait for the mutex.
fn lock_contended(policy: &mut Policy, mutex: MutexId, deadline: Option<u64>, now: u64) -> Decision {
    switch(policy.lock(mutex, deadline, now).unwrap())
}

fn level(policy: &Policy, thread: ThreadId) -> u8 {
    policy.thread(thread).effective_priority().level()
}

fn outcome(policy: &Policy, thread: ThreadId) -> (State, Outcome) {
    let thread = policy.thread(thread);
    (thread.state(), thread.outcome())
}
