//! Deadlock: nothing can ever run again, which is noticed when the last thread has begun to wait.
//!
//! Threads wait for each other, no deadline will end a wait, no thread waits for an event line, and no
//! handler function could wake one. Then the guest ends, with a report of who waits for what and who
//! holds it. (A circle of mutexes alone is noticed earlier, by the thread that would close it.)

use crate::console;
use crate::message::Message;
use crate::thread::{self, Waiting};
use crate::{call, event, scheduler};
use core::fmt::{self, Write};
use vcpu_abi::call::STREAM_ERRORS;
use vcpu_kernel_core::policy::Policy;
use vcpu_kernel_core::thread::{State, ThreadId};

/// Of how many threads a report tells.
const REPORTED: usize = 100;

/// Ends the guest if nothing can ever run again. Events are off, and no thread runs.
pub(crate) fn check() {
    // SAFETY: events are off, and the reference ends with the function.
    let policy = unsafe { scheduler::policy() };
    if !policy.is_stalled() || event::is_listened_to() {
        return;
    }
    let waits_for_event = |waiting| match waiting {
        Waiting::Line => true,
        Waiting::Events(group, _) => event::is_any(group),
        _ => false,
    };
    if policy.threads().any(|id| waits_for_event(policy.thread(id).waiting())) {
        return;
    }
    report(policy)
}

fn report(policy: &Policy) -> ! {
    let mut threads = 0;
    for id in policy.threads().filter(|id| policy.thread(*id).state() != State::Exited) {
        threads += 1;
        if threads > REPORTED {
            continue;
        }
        let mut line = Message::new();
        // What does not fit is cut.
        let _ = write_line(&mut line, policy, id);
        console::write_all(STREAM_ERRORS, line.as_str());
    }
    let mut text = Message::new();
    let _ = write!(text, "hangs in a deadlock: none of {threads} threads can ever run again");
    if threads > REPORTED {
        let _ = write!(text, " (the first {REPORTED} are listed)");
    }
    call::panic(text.as_str())
}

fn write_line(line: &mut Message, policy: &Policy, id: ThreadId) -> fmt::Result {
    let record = policy.thread(id);
    write!(line, "thread {} ", Name(id))?;
    if matches!(record.state(), State::Suspended | State::BlockedSuspended) {
        write!(line, "is suspended, ")?;
    }
    write_waiting(line, policy, record.waiting())?;
    writeln!(line)
}

/// Says what a thread waits for, and who has it.
pub(crate) fn write_waiting(line: &mut impl Write, policy: &Policy, waiting: Waiting) -> fmt::Result {
    match waiting {
        Waiting::Nothing => write!(line, "waits for nothing"),
        Waiting::Sleep => write!(line, "sleeps"),
        Waiting::Unpark => write!(line, "is parked"),
        Waiting::Line => write!(line, "waits for an event line"),
        Waiting::Exit(thread) => write!(line, "waits for the end of thread {}", Name(thread)),
        Waiting::Mutex(mutex) => {
            write!(line, "waits for mutex {mutex:?}")?;
            match policy.mutex(mutex).owner() {
                Some(owner) => write!(line, ", held by thread {}", Name(owner)),
                None => Ok(()),
            }
        }
        Waiting::Semaphore(semaphore) => write!(line, "waits for a permit of semaphore {semaphore:?}"),
        Waiting::Condition(condition, mutex) => {
            write!(line, "waits on condition variable {condition:?} with mutex {mutex:?}")
        }
        Waiting::Read(lock) => {
            write!(line, "waits to read under lock {lock:?}")?;
            write_holders(line, policy, lock)
        }
        Waiting::Write(lock) => {
            write!(line, "waits to write under lock {lock:?}")?;
            write_holders(line, policy, lock)
        }
        Waiting::Barrier(barrier) => write!(line, "waits at barrier {barrier:?}"),
        Waiting::Events(group, wanted) => {
            let which = if wanted.all { "all" } else { "any" };
            write!(line, "waits for {which} of events {:#x} of group {group:?}", wanted.events)
        }
        Waiting::Timer(timer) => write!(line, "waits for timer {timer:?}"),
        Waiting::Released(_) => write!(line, "is about to run"),
    }
}

fn write_holders(
    line: &mut impl Write,
    policy: &Policy,
    lock: vcpu_kernel_core::read_write_lock::ReadWriteLockId,
) -> fmt::Result {
    let mut separator = ", held by thread ";
    for id in policy.threads() {
        if policy.held_read_write_locks(id).any(|held| held == lock) {
            write!(line, "{separator}{}", Name(id))?;
            separator = " and ";
        }
    }
    Ok(())
}

/// A thread's name and number.
pub(crate) struct Name(pub(crate) ThreadId);

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = thread::of(self.0);
        write!(formatter, "'{}' ({})", thread.label(), thread.number())
    }
}
