//! Carrying out what the policy decides: the one place where the processor changes hands.
//!
//! [`vcpu_kernel_core::policy`] decides who runs and when the machine's timer is to fire. Whatever
//! happens, a call of a thread or an event, ends here in the same way: the decision is noted, and the
//! processor goes to whom it names.
//!
//! ```text
//!   decide, block:  events off ─▶ policy ─▶ decision ─▶ switch, perhaps ─▶ events on
//!   upcall:         (are off)     policy ─▶ decision ─▶ answer of `taken`
//! ```
//!
//! Besides the threads there is the *service* flow, which the policy does not know. It has the
//! processor when nobody else wants it, and then sleeps in `wait`; and it sets the machine's timer. That
//! is a vCPU call and may take thousands of cycles, so it is made with events on, and whoever runs
//! next runs after it.

use crate::context::{self, Flow};
use crate::thread::{self, Thread};
use crate::{call, clock, event, stack};
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use vcpu_abi::call::Error;
use vcpu_abi::page::EVENT_LINES;
use vcpu_kernel_core::policy::{Alarm, Attempt, Decision, Policy};
use vcpu_kernel_core::thread::{Outcome, ThreadId};

/// The event line of the machine's timer that belongs to the scheduler.
pub const ALARM_LINE: u32 = EVENT_LINES - 1;

/// The thread that has the processor, or was interrupted by the upcall that runs. The entry vector
/// reads it: a thread begins with its flow.
pub(crate) static CURRENT: AtomicPtr<Thread> = AtomicPtr::new((&raw const thread::MAIN).cast_mut());

/// Data of the kernel, to be touched with events off only.
pub(crate) struct EventsOff<T>(pub(crate) T);

// SAFETY: there is one vCPU, and whoever reads or writes the value has turned events off, so nobody
// comes in between. The modules that own such values keep that.
unsafe impl<T> Sync for EventsOff<T> {}

impl<T> Deref for EventsOff<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

static POLICY: EventsOff<UnsafeCell<Policy>> = EventsOff(UnsafeCell::new(Policy::new()));

/// What the machine's timer is to be set to, and whether that has still to be done.
struct Timer {
    wanted: Cell<Option<u64>>,
    is_due: Cell<bool>,
    /// Whether it was wanted anew while the machine was being told. The time may be the same: the timer has
    /// fired in between, a little early, and has to be set again.
    is_new: Cell<bool>,
    /// Whether it was to fire at a time that is past: what is due is then served without the machine.
    is_past: Cell<bool>,
}

static TIMER: EventsOff<Timer> = EventsOff(Timer {
    wanted: Cell::new(None),
    is_due: Cell::new(false),
    is_new: Cell::new(false),
    is_past: Cell::new(false),
});

/// When the processor last changed hands, in ns.
static SINCE: EventsOff<Cell<u64>> = EventsOff(Cell::new(0));

/// The deadline of a wait came before what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the deadline has passed")
    }
}

impl core::error::Error for TimedOut {}

/// The policy.
///
/// # Safety
///
/// Events are off for as long as the reference lives, and it is the only one.
#[inline(always)]
pub(crate) unsafe fn policy() -> &'static mut Policy {
    // SAFETY: as the function's contract says.
    unsafe { &mut *POLICY.get() }
}

/// The thread that has the processor.
#[inline(always)]
pub(crate) fn current() -> &'static Thread {
    // SAFETY: the pointer always names a thread, and a thread is not freed before it has exited and
    // left the processor for good.
    unsafe { &*CURRENT.load(Relaxed) }
}

/// Runs an operation of the policy that needs no time and after which nobody else has to run.
#[inline(always)]
pub(crate) fn quick<R>(operation: impl FnOnce(&mut Policy) -> R) -> R {
    stack::probe();
    event::without(|| {
        // SAFETY: events are off, and `operation` gets the only reference.
        operation(unsafe { policy() })
    })
}

/// Runs an operation as [`quick`] does, or, if that gives nothing, `otherwise` with events still off.
#[inline(always)]
pub(crate) fn quick_or<R>(
    operation: impl FnOnce(&mut Policy) -> Option<R>,
    otherwise: impl FnOnce(Off) -> R,
) -> R {
    let off = Off::begin();
    // SAFETY: events are off, and `operation` gets the only reference.
    match operation(unsafe { policy() }) {
        Some(result) => {
            off.end();
            result
        }
        None => otherwise(off),
    }
}

/// Events are off, for an operation that begins or goes on.
#[must_use = "events stay off"]
pub(crate) struct Off {
    were_on: bool,
}

impl Off {
    /// Turns events off, where there is stack enough for an operation.
    #[inline(always)]
    pub(crate) fn begin() -> Off {
        stack::probe();
        Off { were_on: event::disable() }
    }

    /// Lets events be as they were.
    #[inline(always)]
    fn end(self) {
        if self.were_on {
            event::enable_in_thread();
        }
    }

    /// As [`try_decide`](try_decide()).
    #[inline]
    pub(crate) fn try_decide<E>(
        self,
        operation: impl FnOnce(&mut Policy, u64) -> Result<Decision, E>,
    ) -> Result<(), E> {
        let now = clock::now();
        // SAFETY: events are off, and the reference ends with the operation.
        let decision = operation(unsafe { policy() }, now);
        let result = decision.map(|decision| carry_out(decision, now, self.were_on));
        self.end();
        result
    }

    /// As [`block_with`](block_with()).
    #[inline]
    pub(crate) fn block_with<E>(
        self,
        operation: impl FnOnce(&mut Policy, u64) -> Result<Attempt, E>,
    ) -> Result<Result<u32, TimedOut>, E> {
        assert!(self.were_on, "a handler, or a section without events, tried to wait");
        let now = clock::now();
        // SAFETY: events are off, and the reference ends with the operation.
        let result = match operation(unsafe { policy() }, now) {
            // SAFETY: events are off, and the reference ends with the statement.
            Ok(Attempt::Done) => Ok(Ok(unsafe { policy() }.thread(current().id()).value())),
            Ok(Attempt::TimedOut | Attempt::Interrupted) => Ok(Err(TimedOut)),
            Ok(Attempt::Switch(decision)) => {
                carry_out(decision, now, true);
                // SAFETY: events are off again, or still, and the reference ends with the block.
                let record = unsafe { policy() }.thread(current().id());
                Ok(match record.outcome() {
                    Outcome::Done => Ok(record.value()),
                    // Whoever allowed interrupts is told when it forbids them.
                    Outcome::TimedOut | Outcome::Interrupted => Err(TimedOut),
                })
            }
            Err(refusal) => Err(refusal),
        };
        event::enable_in_thread();
        result
    }
}

/// Runs an operation of the policy that does not wait, and carries its decision out.
#[inline]
pub(crate) fn decide(operation: impl FnOnce(&mut Policy, u64) -> Decision) {
    match try_decide::<core::convert::Infallible>(|policy, now| Ok(operation(policy, now))) {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// As [`decide`], for an operation that can be refused.
#[inline]
pub(crate) fn try_decide<E>(
    operation: impl FnOnce(&mut Policy, u64) -> Result<Decision, E>,
) -> Result<(), E> {
    Off::begin().try_decide(operation)
}

/// Runs an operation of the policy that may wait. Gives the number that the wait brought.
///
/// # Panics
///
/// If events are off: in a handler, or in a section without events.
#[inline]
pub(crate) fn block(operation: impl FnOnce(&mut Policy, u64) -> Attempt) -> Result<u32, TimedOut> {
    match block_with::<core::convert::Infallible>(|policy, now| Ok(operation(policy, now))) {
        Ok(result) => result,
        Err(never) => match never {},
    }
}

/// As [`block`], for an operation that can be refused.
#[inline]
pub(crate) fn block_with<E>(
    operation: impl FnOnce(&mut Policy, u64) -> Result<Attempt, E>,
) -> Result<Result<u32, TimedOut>, E> {
    Off::begin().block_with(operation)
}

/// Carries out a decision; events are off. Where nobody may switch now, in a handler or in a section
/// without events, that happens as soon as events are turned on.
#[inline]
fn carry_out(decision: Decision, now: u64, may_switch: bool) {
    note(decision, now);
    if may_switch {
        switch_to(next(decision.run), now);
    } else {
        event::mark_pending();
    }
}

/// Notes what a decision wants of the machine's timer. Events are off.
#[inline]
pub(crate) fn note(decision: Decision, now: u64) {
    let deadline = match decision.alarm {
        Alarm::Keep => return,
        Alarm::Set(deadline) if deadline <= now => {
            TIMER.is_past.set(true);
            event::mark_pending();
            return;
        }
        Alarm::Set(deadline) => Some(deadline),
        Alarm::Clear => None,
    };
    TIMER.wanted.set(deadline);
    TIMER.is_due.set(true);
    TIMER.is_new.set(true);
}

/// The machine's timer has fired. Events are off.
pub(crate) fn alarm(now: u64) {
    // SAFETY: events are off, and the reference ends with the statement.
    note(unsafe { policy() }.alarm(now), now);
}

/// Serves what was due already when the alarm was set. Events are off.
#[inline]
pub(crate) fn serve_past_alarm(now: u64) {
    if TIMER.is_past.replace(false) {
        alarm(now);
    }
}

/// Who gets the processor now that the policy wants `run` to have it. Events are off.
#[inline]
fn next(run: Option<ThreadId>) -> &'static Thread {
    match run {
        Some(thread) if !TIMER.is_due.get() => thread::of(thread),
        _ => &thread::SERVICE,
    }
}

/// Gives the processor from the current thread to another. Returns when the current thread gets it
/// back. Events are off.
#[inline]
fn switch_to(to: &'static Thread, now: u64) {
    let from = current();
    if core::ptr::eq(from, to) {
        return;
    }
    change_hands(from, to, now);
    // SAFETY: events are off. `from` runs, and `to` does not, as the pointers differ. Threads live until
    // they have left for good.
    unsafe { context::switch(from.flow(), to.flow()) };
}

/// Keeps the books when the processor changes hands.
#[inline]
fn change_hands(from: &Thread, to: &'static Thread, now: u64) {
    from.charge(now.saturating_sub(SINCE.replace(now)));
    to.count_switch();
    CURRENT.store((&raw const *to).cast_mut(), Relaxed);
    let base = to.flow().fs_base.get();
    if from.flow().fs_base.get() != base {
        crate::tls::set_fs_base(base);
    }
}

/// The calling thread is over: somebody else gets the processor, for good. Events are off.
pub(crate) fn leave() -> ! {
    let now = clock::now();
    // SAFETY: events are off, and the reference ends with the statement.
    let decision = unsafe { policy() }.exit(now);
    note(decision, now);
    switch_to(next(decision.run), now);
    unreachable!("a thread that is over got the processor")
}

/// Has the processor go to whom the policy wants to have it, from a thread's own flow. Events are off.
#[cold]
pub(crate) fn reschedule() {
    // SAFETY: events are off, and the reference ends with the statement.
    let run = unsafe { policy() }.running();
    switch_to(next(run), clock::now());
}

/// The end of an upcall: who gets the processor. Events are off.
pub(crate) fn end_of_upcall(now: u64) -> &'static Flow {
    // SAFETY: events are off, and the reference ends with the statement.
    let to = next(unsafe { policy() }.running());
    let from = current();
    if !core::ptr::eq(from, to) {
        change_hands(from, to, now);
    }
    to.flow()
}

/// The time for which the current thread has had the processor and was not charged, in ns. Events are off.
pub(crate) fn uncharged() -> u64 {
    clock::now().saturating_sub(SINCE.get())
}

/// Where the service flow begins, with events off.
pub(crate) extern "C" fn service() -> ! {
    loop {
        if TIMER.is_due.get() {
            let wanted = TIMER.wanted.get();
            TIMER.is_new.set(false);
            event::enable_in_thread();
            let result = call::timer_set(ALARM_LINE, wanted);
            event::disable();
            assert!(result.is_ok(), "the machine refused to set its timer");
            // An event may have come meanwhile.
            if !TIMER.is_new.get() {
                TIMER.is_due.set(false);
            }
            continue;
        }
        // SAFETY: events are off, and the reference ends with the statement.
        if let Some(thread) = unsafe { policy() }.running() {
            switch_to(thread::of(thread), clock::now());
            continue;
        }
        if event::is_pending() {
            event::enable_in_thread();
            event::disable();
            continue;
        }
        crate::deadlock::check();
        crate::stretch::end();
        match call::wait(None) {
            Ok(()) | Err(Error::TimedOut) => {}
            Err(error) => panic!("the machine refused to wait: {error}"),
        }
        event::disable();
    }
}
