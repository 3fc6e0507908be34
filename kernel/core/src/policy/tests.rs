//! The rules of the policy, one by one. Random sequences are in `property_tests`.

mod inheritance;
mod scheduling;
mod waiting;

extern crate std;

use super::{Attempt, BATCH, Capacity, Decision, Policy};
use crate::mutex::MutexId;
use crate::priority::Priority;
use crate::thread::{Outcome, State, ThreadId};
use crate::time_slice::TimeSlice;

/// The slice of all threads in these tests, in ns.
const SLICE: u64 = 100;

fn policy() -> Policy {
    let mut policy = Policy::new(&Capacity::default());
    policy.set_slice(TimeSlice::from_nanoseconds(SLICE));
    policy
}

/// A new thread that is ready at once, or running.
fn spawn(policy: &mut Policy, level: u8, now: u64) -> ThreadId {
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
