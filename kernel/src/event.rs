//! Event lines: handlers, listeners, enabling and disabling, waiting.
//!
//! Events are off while IRQ in the state indicator is clear. The machine then only sets a sticky flag,
//! at which [`enable`] looks after it has set IRQ. Both are written on the vCPU's own thread only, so
//! plain loads and stores are enough: an event before IRQ was set has left the flag, an event after it
//! makes an upcall.
//!
//! What becomes of an event on a line:
//!
//! | the line has | then |
//! |---|---|
//! | been [masked](mask) | it is kept until the line is unmasked |
//! | a [`Listener`] | it is noted there, and a thread that waits for it becomes ready |
//! | a [handler function](set_handler) | that is called, inside the upcall |
//! | neither | it is kept until somebody [takes](take) it |
//!
//! In all cases it is counted, and whoever waits in [`wait_until`] looks again.

pub use crate::scheduler::ALARM_LINE;
use crate::scheduler::{self, EventsOff, TimedOut};
use crate::{clock, machine, stretch};
use alloc::boxed::Box;
use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use vcpu_abi::layout::VCPU_PAGE;
use vcpu_abi::page::{EVENT_LINES, State, Sticky, VcpuPage};
use vcpu_kernel_core::event_group::EventGroupId;
use vcpu_kernel_core::policy::Attempt;
use vcpu_kernel_core::thread::{ThreadId, Wanted};

/// A function that is called, with events off, when its line was raised.
pub type Handler = fn();

const LINES: usize = EVENT_LINES as usize;

/// Whether a handler runs, of an event or of an exception. It must not turn events on: an upcall would
/// begin on the stack that the handler stands on.
static HANDLING: AtomicBool = AtomicBool::new(false);

/// What is known of the lines.
struct Lines {
    /// Lines whose events are kept for later.
    masked: Cell<u64>,
    /// Masked lines that were raised.
    kept: Cell<u64>,
    /// Lines that were raised, have neither handler nor listener and were not asked for yet.
    raised: Cell<u64>,
    handlers: [Cell<Option<Handler>>; LINES],
    listeners: [Cell<Option<&'static Binding>>; LINES],
    counts: [Cell<u64>; LINES],
    worst_latencies: [Cell<u64>; LINES],
    /// What a thread in [`wait_until`] waits for, and how many do.
    any: Cell<Option<EventGroupId>>,
    waiters: Cell<usize>,
}

static TABLE: EventsOff<Lines> = EventsOff(Lines {
    masked: Cell::new(0),
    kept: Cell::new(0),
    raised: Cell::new(0),
    handlers: [const { Cell::new(None) }; LINES],
    listeners: [const { Cell::new(None) }; LINES],
    counts: [const { Cell::new(0) }; LINES],
    worst_latencies: [const { Cell::new(0) }; LINES],
    any: Cell::new(None),
    waiters: Cell::new(0),
});

/// The time-stamp counter at the beginning of the last upcall.
static LAST_UPCALL: AtomicU64 = AtomicU64::new(0);

/// The one event of the group [`Lines::any`].
const SOMETHING: u32 = 1;

/// A listener's side that the upcall sees. Touched with events off only.
struct Binding {
    pending: Cell<u64>,
    waiting: Cell<Option<ThreadId>>,
    /// The time-stamp counter at the upcall that brought what is pending.
    since: Cell<u64>,
}

/// Event lines bound to a thread: an event handler thread waits here for its next event.
///
/// Several lines may share a listener, a line has at most one. While nobody waits, events are noted;
/// several on one line become one, as in a level of an interrupt controller ([`count`] counts them all).
pub struct Listener {
    lines: u64,
    binding: &'static Binding,
}

// SAFETY: the binding is touched with events off only, from whichever thread.
unsafe impl Send for Listener {}

/// A line cannot be bound: it has a listener already, or belongs to the kernel, or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTaken(pub u32);

impl fmt::Display for LineTaken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "event line {} has a listener already, or is none that can have one", self.0)
    }
}

impl core::error::Error for LineTaken {}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Listener({:#x})", self.lines)
    }
}

impl Listener {
    /// Binds lines. What was raised on them and not taken yet is pending at once.
    ///
    /// # Errors
    ///
    /// [`LineTaken`] with the first line that cannot be bound. Nothing is bound then.
    pub fn bind(lines: &[u32]) -> Result<Listener, LineTaken> {
        let binding: &'static Binding = Box::leak(Box::new(Binding {
            pending: Cell::new(0),
            waiting: Cell::new(None),
            since: Cell::new(clock::stamp()),
        }));
        let mut listener = Listener { lines: 0, binding };
        without(|| {
            for &line in lines {
                let is_free = line < ALARM_LINE && TABLE.listeners[line as usize].get().is_none();
                if !is_free && listener.lines >> line.min(ALARM_LINE) & 1 == 0 {
                    return Err(LineTaken(line));
                }
                TABLE.listeners[line as usize].set(Some(binding));
                listener.lines |= 1 << line;
            }
            binding.pending.set(take_raised(listener.lines));
            Ok(())
        })?;
        Ok(listener)
    }

    /// Waits until at least one of the lines was raised since the last call. Gives which, a bit each.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the clock reaches `deadline` (ns) first.
    ///
    /// # Panics
    ///
    /// In a handler function.
    pub fn wait(&mut self, deadline: Option<u64>) -> Result<u64, TimedOut> {
        let binding = self.binding;
        loop {
            let mut taken = 0;
            let result = scheduler::block(|policy, now| {
                taken = binding.pending.take();
                if taken != 0 {
                    return Attempt::Done;
                }
                binding.waiting.set(Some(scheduler::current().id()));
                policy.wait_line(deadline, now)
            });
            if taken != 0 {
                self.account(taken);
                return Ok(taken);
            }
            if result.is_err() && without(|| binding.waiting.take()).is_some() {
                return Err(TimedOut);
            }
        }
    }

    /// Notes how long it took from the upcall to here.
    fn account(&self, mut lines: u64) {
        let latency = clock::stamp().saturating_sub(self.binding.since.get());
        while lines != 0 {
            note_latency(lines.trailing_zeros(), latency);
            lines &= lines - 1;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        without(|| {
            for line in &TABLE.listeners {
                if line.get().is_some_and(|binding| core::ptr::eq(binding, self.binding)) {
                    line.set(None);
                }
            }
        });
        // SAFETY: made by `Box::leak`, and no line names it any more.
        drop(unsafe { Box::from_raw((&raw const *self.binding).cast_mut()) });
    }
}

/// Takes a line away from its listener, whatever became of that: a thread that dies keeps its listener, and
/// so its lines. Whoever still has it waits for that line for ever.
///
/// # Panics
///
/// If there is no such line.
pub fn unbind(line: u32) {
    let listener = &TABLE.listeners[line as usize];
    without(|| listener.set(None));
}

/// Keeps events on a line until it is [unmasked](unmask): they are pending then, as one.
///
/// # Panics
///
/// If there is no such line, or it is the kernel's own.
pub fn mask(line: u32) {
    assert!(line < ALARM_LINE, "event line {line} does not exist or cannot be masked");
    without(|| TABLE.masked.set(TABLE.masked.get() | 1 << line));
}

/// Ends [`mask`]. What was kept is delivered before this returns.
///
/// # Panics
///
/// If there is no such line, or it is the kernel's own.
pub fn unmask(line: u32) {
    assert!(line < ALARM_LINE, "event line {line} does not exist or cannot be masked");
    without(|| {
        TABLE.masked.set(TABLE.masked.get() & !(1 << line));
        let kept = TABLE.kept.get();
        if kept & 1 << line != 0 {
            TABLE.kept.set(kept & !(1 << line));
            machine::page().pending.fetch_or(1 << line, Relaxed);
            mark_pending();
        }
    });
}

/// How often a line was raised, as far as the vCPU saw it: raising a line that is pending still does not
/// count twice.
///
/// # Panics
///
/// If there is no such line.
#[must_use]
pub fn count(line: u32) -> u64 {
    let count = &TABLE.counts[line as usize];
    without(|| count.get())
}

/// The longest time from an upcall to the beginning of the handler (a function, or a thread that
/// listens), in cycles of the time-stamp counter.
///
/// # Panics
///
/// If there is no such line.
#[must_use]
pub fn worst_latency(line: u32) -> u64 {
    let latency = &TABLE.worst_latencies[line as usize];
    without(|| latency.get())
}

/// The time-stamp counter at the first instruction of the last upcall; 0 if there was none.
#[must_use]
#[inline]
pub fn last_upcall() -> u64 {
    LAST_UPCALL.load(Relaxed)
}

/// Notes that an upcall has begun.
#[inline(always)]
pub(crate) fn note_upcall(counter: u64) {
    LAST_UPCALL.store(counter, Relaxed);
}

fn note_latency(line: u32, latency: u64) {
    let worst = &TABLE.worst_latencies[line as usize];
    worst.set(worst.get().max(latency));
}

/// Sets the handler of a line, or removes it. Gives what was there before.
///
/// The handler runs on the upcall stack (32 KiB) with events off, between two instructions of the
/// program; what it shares with the program must bear that. It cannot wait, and so not print to a full
/// pipe: that panics, and a panic or a fault in a handler ends the guest. It may wake threads.
///
/// # Panics
///
/// If there is no such line.
pub fn set_handler(line: u32, handler: Option<Handler>) -> Option<Handler> {
    let place = &TABLE.handlers[line as usize];
    without(|| place.replace(handler))
}

/// Whether a line without handler and listener was raised since this was last asked.
///
/// # Panics
///
/// If there is no such line.
pub fn take(line: u32) -> bool {
    assert!(line < EVENT_LINES, "there is no event line {line}");
    without(|| take_raised(1 << line)) != 0
}

/// Takes those of some lines that were raised and kept. Events are off.
fn take_raised(lines: u64) -> u64 {
    let raised = TABLE.raised.get();
    TABLE.raised.set(raised & !lines);
    raised & lines
}

/// Turns events on, and takes those that came while they were off.
///
/// # Panics
///
/// In a handler.
#[inline]
pub fn enable() {
    assert!(!is_handling(), "a handler tried to turn events on, or to wait");
    enable_in_thread();
}

/// Turns events on where no handler can run, because they were on before.
#[inline(always)]
pub(crate) fn enable_in_thread() {
    let page = machine::page();
    stretch::end();
    page.state.store((State::EXCEPTIONS | State::IRQ).bits(), Relaxed);
    compiler_fence();
    if is_pending() {
        enable_and_take();
    }
}

#[cold]
#[inline(never)]
fn enable_and_take() {
    let page = machine::page();
    while is_pending() {
        page.state.store(State::EXCEPTIONS.bits(), Relaxed);
        compiler_fence();
        stretch::begin();
        // SAFETY: events are off, and a handler does not get here.
        unsafe { take_on_upcall_stack() };
        scheduler::reschedule();
        stretch::end();
        page.state.store((State::EXCEPTIONS | State::IRQ).bits(), Relaxed);
        compiler_fence();
    }
}

/// Takes what is pending on the stack of upcalls, so that handlers need not fit on the thread's own.
///
/// # Safety
///
/// Events are off and no handler runs, so nobody uses that stack.
#[unsafe(naked)]
unsafe extern "C" fn take_on_upcall_stack() {
    extern "C" fn take() {
        take_pending(clock::now(), clock::stamp());
    }
    core::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rsp, [{entry_sp}]",
        "call {take}",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
        entry_sp = const VCPU_PAGE as usize + core::mem::offset_of!(VcpuPage, entry_sp),
        take = sym take,
    )
}

/// Turns events off. Gives whether they were on.
#[inline(always)]
pub fn disable() -> bool {
    let page = machine::page();
    let state = State::from_bits_truncate(page.state.load(Relaxed));
    page.state.store((state - State::IRQ).bits(), Relaxed);
    compiler_fence();
    let were_on = state.contains(State::IRQ);
    if were_on {
        stretch::begin();
    }
    were_on
}

/// Whether events are on.
#[inline]
pub fn are_on() -> bool {
    State::from_bits_truncate(machine::page().state.load(Relaxed)).contains(State::IRQ)
}

/// Runs `action` with events off, and leaves them as they were.
#[inline(always)]
pub fn without<R>(action: impl FnOnce() -> R) -> R {
    let were_on = disable();
    let result = action();
    if were_on {
        compiler_fence();
        enable_in_thread();
    }
    result
}

/// Whether the machine, or [`mark_pending`], wants the kernel to look at what is pending.
#[inline(always)]
pub(crate) fn is_pending() -> bool {
    machine::page().sticky.load(Relaxed) & Sticky::EVENT_PENDING.bits() != 0
}

/// Has [`enable`] look at what is pending, and at who is to run. Events are off.
#[cold]
pub(crate) fn mark_pending() {
    let page = machine::page();
    // The machine writes the flag on this same thread, so nothing comes between load and store but an
    // interruption that sets the same bit.
    page.sticky.store(page.sticky.load(Relaxed) | Sticky::EVENT_PENDING.bits(), Relaxed);
}

/// Sleeps until `condition` holds or the clock has reached `deadline` (ns). Gives whether it holds.
///
/// `condition` is asked with events off, again after each event. Events are on afterwards. Other threads
/// run meanwhile.
///
/// # Panics
///
/// With events off: in a handler, or in a section without events.
pub fn wait_until(deadline: Option<u64>, mut condition: impl FnMut() -> bool) -> bool {
    let Some(any) = without(|| TABLE.any.get()) else { unreachable!("set at boot") };
    let wanted = Wanted { events: SOMETHING, all: false, clear: false };
    loop {
        let mut holds = false;
        let result = scheduler::block(|policy, now| {
            holds = condition();
            if holds {
                return Attempt::Done;
            }
            let attempt = policy.wait_events(any, wanted, deadline, now);
            if attempt != Attempt::TimedOut {
                TABLE.waiters.set(TABLE.waiters.get() + 1);
            }
            attempt
        });
        if holds || result.is_err() {
            return holds || without(&mut condition);
        }
    }
}

/// Has all who are in [`wait_until`] look again, as after an event: something that a thread has changed may be what
/// they wait for.
pub fn look_again() {
    if without(|| TABLE.waiters.get()) == 0 {
        return;
    }
    let Some(any) = without(|| TABLE.any.get()) else { unreachable!("set at boot") };
    scheduler::decide(|policy, now| {
        TABLE.waiters.set(0);
        let decision = policy.set_events(any, SOMETHING, now);
        policy.clear_events(any, SOMETHING);
        decision
    });
}

/// Creates what [`wait_until`] waits for. Called once, at boot, with events off.
pub(crate) fn init(any: EventGroupId) {
    TABLE.any.set(Some(any));
}

/// Whether something that is bound to an event line could make a thread ready.
pub(crate) fn is_listened_to() -> bool {
    TABLE.handlers.iter().any(|handler| handler.get().is_some())
}

/// Whether a thread that waits for this group waits for any event.
pub(crate) fn is_any(group: EventGroupId) -> bool {
    TABLE.any.get() == Some(group)
}

/// Takes every pending event to where it belongs. Events are off. `now` is the time in ns, `since` the
/// time-stamp counter when the upcall began.
pub(crate) fn take_pending(now: u64, since: u64) {
    let page = machine::page();
    // First the flag, then the lines: a line that is raised in between sets the flag again.
    let sticky = page.sticky.load(Relaxed) & !Sticky::EVENT_PENDING.bits();
    page.sticky.store(sticky, Relaxed);
    compiler_fence();
    scheduler::serve_past_alarm(now);
    let raised = page.pending.swap(0, Relaxed);
    let masked = TABLE.masked.get();
    TABLE.kept.set(TABLE.kept.get() | raised & masked);
    let mut lines = raised & !masked;
    if lines == 0 {
        return;
    }
    // SAFETY (here and below): events are off, and each reference ends with its statement.
    while lines != 0 {
        let line = lines.trailing_zeros();
        lines &= lines - 1;
        let count = &TABLE.counts[line as usize];
        count.set(count.get() + 1);
        if line == ALARM_LINE {
            scheduler::alarm(now);
            note_latency(line, clock::stamp().saturating_sub(since));
        } else if let Some(binding) = TABLE.listeners[line as usize].get() {
            if binding.pending.get() == 0 {
                binding.since.set(since);
            }
            binding.pending.set(binding.pending.get() | 1 << line);
            if let Some(thread) = binding.waiting.take() {
                // SAFETY: as said above.
                scheduler::note(unsafe { scheduler::policy() }.line_came(thread, now), now);
            }
        } else if let Some(handler) = TABLE.handlers[line as usize].get() {
            note_latency(line, clock::stamp().saturating_sub(since));
            handling(handler);
        } else {
            TABLE.raised.set(TABLE.raised.get() | 1 << line);
        }
    }
    if TABLE.waiters.get() != 0
        && let Some(any) = TABLE.any.get()
    {
        TABLE.waiters.set(0);
        // SAFETY: as said above.
        let policy = unsafe { scheduler::policy() };
        scheduler::note(policy.set_events(any, SOMETHING, now), now);
        policy.clear_events(any, SOMETHING);
    }
}

/// Whether a handler runs, of an event or of an exception. What it interrupted may be in the middle of
/// anything.
#[inline]
pub fn is_handling() -> bool {
    HANDLING.load(Relaxed)
}

/// Runs a handler, of which one runs at a time.
pub(crate) fn handling<R>(handler: impl FnOnce() -> R) -> R {
    HANDLING.store(true, Relaxed);
    let result = handler();
    HANDLING.store(false, Relaxed);
    result
}

/// Keeps the compiler from moving memory accesses across. An upcall runs on the same processor, so it
/// sees this thread's accesses in program order and needs no fence of the processor.
#[inline(always)]
fn compiler_fence() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}
