//! Signals, as far as they mean something in a process that is alone: those that it sends to itself, its timer's,
//! and its own faults.
//!
//! A signal to the calling thread is delivered at once, one to another thread when that thread next makes a call
//! that may wait, or is in such a wait, which it ends. A thread that only computes goes on until then. Nobody
//! stops a process here, so the signals that would are refused.

mod alarm;
mod fault;

use crate::errno::{EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH};
use crate::process::PROCESS;
use crate::thread::{self, Thread};
use crate::time::TimeSpec;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_kernel::thread::{WaitError, interruptible, park};
use vcpu_kernel::{boot, call, clock, event};

/// Signals that there are: 1 to this.
const SIGNALS: usize = 64;

const SIGABRT: i64 = 6;
const SIGBUS: i64 = 7;
const SIGFPE: i64 = 8;
const SIGILL: i64 = 4;
const SIGKILL: i64 = 9;
const SIGSEGV: i64 = 11;
const SIGALRM: i64 = 14;
const SIGTRAP: i64 = 5;
const SIGSTOP: i64 = 19;

const SA_SIGINFO: u64 = 4;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTART: u64 = 0x1000_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;

/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: usize = 0;
const IGNORE: usize = 1;

/// `si_code` of a signal that a program sent.
const SI_USER: c_int = 0;

/// What to do about a signal, as musl's `struct k_sigaction` has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// `siginfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Information {
    signal: c_int,
    error: c_int,
    code: c_int,
    padding: c_int,
    /// For a fault, where; else who sent it, in two halves.
    address: u64,
    rest: [u64; 13],
}

const _: () = assert!(size_of::<Information>() == 128);

impl Information {
    fn new(signal: i64, code: c_int, address: u64) -> Information {
        Information { signal: signal as c_int, error: 0, code, padding: 0, address, rest: [0; 13] }
    }

    fn sent(signal: i64) -> Information {
        Information::new(signal, SI_USER, PROCESS as u64)
    }
}

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct SignalStack {
    start: u64,
    flags: c_int,
    size: u64,
}

const SS_ONSTACK: c_int = 1;
const SS_DISABLE: c_int = 2;

/// What is kept of a thread's signals.
pub(crate) struct State {
    /// Bit 0 is signal 1.
    blocked: Cell<u64>,
    /// Sent to this thread and not delivered; set by others.
    pending: AtomicU64,
    stack: Cell<SignalStack>,
}

impl State {
    /// Nothing is pending; the mask is that of the creating thread.
    pub(crate) const fn new(blocked: u64) -> State {
        State {
            blocked: Cell::new(blocked),
            pending: AtomicU64::new(0),
            stack: Cell::new(SignalStack { start: 0, flags: SS_DISABLE, size: 0 }),
        }
    }

    /// The end of the stack for signals, if a handler with these flags that begins now runs there.
    fn stack_for(&self, flags: u64) -> Option<u64> {
        let stack = self.stack.get();
        (flags & SA_ONSTACK != 0 && stack.flags & SS_DISABLE == 0).then_some((stack.start + stack.size) & !15)
    }

    /// The signals that the thread does not take now.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.get()
    }
}

/// Sent to the process while every thread that was asked blocked it.
static PENDING: AtomicU64 = AtomicU64::new(0);

struct Actions(UnsafeCell<[Action; SIGNALS]>);

// SAFETY: read and written with events off, on the one vCPU.
unsafe impl Sync for Actions {}

static ACTIONS: Actions =
    Actions(UnsafeCell::new([Action { handler: DEFAULT, flags: 0, restorer: 0, mask: 0 }; SIGNALS]));

/// What is to be done about this signal; changed by `change`.
fn action(signal: i64, change: impl FnOnce(&mut Action)) -> Action {
    event::without(|| {
        // SAFETY: with events off, nobody else is here.
        let action = unsafe { &mut (*ACTIONS.0.get())[signal as usize - 1] };
        let before = *action;
        change(action);
        before
    })
}

/// What is to be done about this signal now; a handler that wants to be called once is not called again.
fn action_once(signal: i64) -> Action {
    action(signal, |action| {
        if action.flags & SA_RESETHAND != 0 && action.handler > IGNORE {
            action.handler = DEFAULT;
        }
    })
}

fn bit(signal: i64) -> u64 {
    1 << (signal - 1)
}

fn is_signal(signal: i64) -> bool {
    (1..=SIGNALS as i64).contains(&signal)
}

/// Whether a process that does not say otherwise takes no notice.
fn is_ignored_by_default(signal: i64) -> bool {
    const SIGCHLD: i64 = 17;
    const SIGCONT: i64 = 18;
    const SIGURG: i64 = 23;
    const SIGWINCH: i64 = 28;
    matches!(signal, SIGCHLD | SIGCONT | SIGURG | SIGWINCH)
}

/// Whether the signal stops a process, which cannot be done here.
fn stops(signal: i64) -> bool {
    const SIGTSTP: i64 = 20;
    const SIGTTOU: i64 = 22;
    signal == SIGSTOP || (SIGTSTP..=SIGTTOU).contains(&signal) && action(signal, |_| {}).handler == DEFAULT
}

/// Whether a signal waits for the calling thread that it does not block.
pub(crate) fn is_due() -> bool {
    due(&thread::current().signals) != 0
}

fn due(state: &State) -> u64 {
    (state.pending.load(Relaxed) | PENDING.load(Relaxed)) & !state.blocked.get()
}

/// Takes the lowest of these signals, which are pending, from the thread, or else from the process.
fn withdraw(state: &State, pending: u64) -> i64 {
    let signal = i64::from(pending.trailing_zeros()) + 1;
    if state.pending.fetch_and(!bit(signal), Relaxed) & bit(signal) == 0 {
        PENDING.fetch_and(!bit(signal), Relaxed);
    }
    signal
}

/// Delivers what is due for the calling thread. Whether calls that were interrupted are to be made again: all
/// handlers that ran want that.
pub(crate) fn deliver() -> bool {
    let mut restart = true;
    let state = &thread::current().signals;
    loop {
        let due = due(state);
        if due == 0 {
            return restart;
        }
        let signal = withdraw(state, due);
        restart &= take(signal, Information::sent(signal));
    }
}

/// Waits with another mask of signals, if one is given. Those that it lets in are delivered before the old one is
/// back; the wait is to end by them.
pub(crate) fn with_mask<R>(mask: Option<&u64>, wait: impl FnOnce() -> R) -> R {
    let Some(mask) = mask else { return wait() };
    let state = &thread::current().signals;
    let before = state.blocked.get();
    set_blocked(state, *mask);
    let result = wait();
    deliver();
    set_blocked(state, before);
    result
}

/// Does what is to be done about a signal. Whether interrupted calls are to be made again.
fn take(signal: i64, mut information: Information) -> bool {
    let action = action_once(signal);
    match action.handler {
        IGNORE => true,
        DEFAULT if is_ignored_by_default(signal) => true,
        DEFAULT => end(signal),
        handler => {
            let mut context = [0_u64; CONTEXT_WORDS];
            run(signal, handler, &action, &mut information, context.as_mut_ptr().cast());
            action.flags & SA_RESTART != 0
        }
    }
}

/// Words of `ucontext_t`.
const CONTEXT_WORDS: usize = 117;

/// Runs a handler with its mask, on its stack.
fn run(signal: i64, handler: usize, action: &Action, information: &mut Information, context: *mut c_void) {
    let state = &thread::current().signals;
    let before = state.blocked.get();
    let own = if action.flags & SA_NODEFER == 0 { bit(signal) } else { 0 };
    set_blocked(state, before | action.mask | own);
    let stack = state.stack.get();
    let here = (&raw const before) as u64;
    let is_inside = (stack.start..stack.start + stack.size).contains(&here);
    let top = if is_inside { 0 } else { state.stack_for(action.flags).unwrap_or(0) };
    let (information, context) = if action.flags & SA_SIGINFO != 0 {
        (&raw mut *information, context)
    } else {
        (null_mut(), null_mut())
    };
    // SAFETY: the program's handler, called as C calls it, on the thread's own stack or on the one that the
    // program set aside for it.
    unsafe {
        asm!(
            "mov r12, rsp",
            "test rcx, rcx",
            "cmovnz rsp, rcx",
            "and rsp, -16",
            "call rax",
            "mov rsp, r12",
            out("r12") _,
            in("rcx") top,
            in("rax") handler,
            in("rdi") signal,
            in("rsi") information,
            in("rdx") context,
            clobber_abi("C"),
        );
    }
    set_blocked(state, before);
}

/// Ends the process as a signal does that nobody handles: with a report if it tells of a mistake, else with
/// the status that a shell gives, 128 and the signal's number.
fn end(signal: i64) -> ! {
    match signal {
        SIGABRT => call::panic("aborted"),
        SIGILL => call::panic("ended by signal 4"),
        SIGTRAP => call::panic("ended by signal 5"),
        SIGBUS => call::panic("ended by signal 7"),
        SIGFPE => call::panic("ended by signal 8"),
        SIGSEGV => call::panic("ended by signal 11"),
        _ => boot::finish(128 + signal as u8),
    }
}

/// SIGKILL and SIGSTOP cannot be blocked.
fn set_blocked(state: &State, blocked: u64) {
    state.blocked.set(blocked & !(bit(SIGKILL) | bit(SIGSTOP)));
}

/// Sends a signal to a thread.
fn send(target: &Thread, signal: i64) -> i64 {
    if signal == 0 {
        return 0;
    }
    if !is_signal(signal) {
        return -EINVAL;
    }
    if stops(signal) {
        return -ENOSYS;
    }
    target.signals.pending.fetch_or(bit(signal), Relaxed);
    if core::ptr::eq(target, thread::current()) {
        deliver();
    } else {
        target.interrupt();
    }
    0
}

/// Sends a signal to the calling thread.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_tkill(number: i64, signal: i64) -> i64 {
    if number != i64::from(thread::number()) {
        return -ESRCH;
    }
    send(thread::current(), signal)
}

/// Sends a signal to a thread.
///
/// # Safety
///
/// As `pthread_kill`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_kill(target: *const Thread, signal: c_int) -> c_int {
    // SAFETY: the caller's thread has not been joined.
    -send(unsafe { &*target }, signal.into()) as c_int
}

/// Sends a signal to the process: the calling thread takes it, or else the main thread, or whoever unblocks it.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_kill(process: i64, signal: i64) -> i64 {
    const ALL: i64 = -1;
    if !matches!(process, PROCESS | 0 | ALL) && process != -PROCESS {
        return -ESRCH;
    }
    let current = thread::current();
    if !is_signal(signal) || current.signals.blocked.get() & bit(signal) == 0 {
        return send(current, signal);
    }
    to_process(signal)
}

/// Leaves a signal for whichever thread takes it, the main thread first.
fn to_process(signal: i64) -> i64 {
    if stops(signal) {
        return -ENOSYS;
    }
    PENDING.fetch_or(bit(signal), Relaxed);
    thread::main().interrupt();
    0
}

/// Asks for or changes what is done about a signal.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rt_sigaction(
    signal: i64,
    new: *const Action,
    old: *mut Action,
    size: i64,
) -> i64 {
    if !is_signal(signal) || size != 8 || !new.is_null() && matches!(signal, SIGKILL | SIGSTOP) {
        return -EINVAL;
    }
    // SAFETY: the caller's places, each of which may be null.
    unsafe {
        let before = action(signal, |action| {
            if let Some(new) = new.as_ref() {
                *action = *new;
            }
        });
        if !old.is_null() {
            old.write(before);
        }
    }
    if fault::is_of_processor(signal) {
        fault::watch();
    }
    0
}

/// Asks for or changes which signals the calling thread does not take.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rt_sigprocmask(how: i64, set: *const u64, old: *mut u64, size: i64) -> i64 {
    const BLOCK: i64 = 0;
    const UNBLOCK: i64 = 1;
    const SET: i64 = 2;
    let state = &thread::current().signals;
    let before = state.blocked.get();
    if size != 8 {
        return -EINVAL;
    }
    // SAFETY: the caller's places, each of which may be null.
    unsafe {
        if let Some(&set) = set.as_ref() {
            let blocked = match how {
                BLOCK => before | set,
                UNBLOCK => before & !set,
                SET => set,
                _ => return -EINVAL,
            };
            set_blocked(state, blocked);
        }
        if !old.is_null() {
            old.write(before);
        }
    }
    deliver();
    0
}

/// The signals that were sent and not delivered.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rt_sigpending(set: *mut u64, size: i64) -> i64 {
    if size != 8 {
        return -EINVAL;
    }
    let state = &thread::current().signals;
    let pending = state.pending.load(Relaxed) | PENDING.load(Relaxed);
    // SAFETY: the caller's place.
    unsafe { set.write(pending & state.blocked.get()) };
    0
}

/// Waits for a signal, with another mask meanwhile.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rt_sigsuspend(mask: *const u64, size: i64) -> i64 {
    if size != 8 {
        return -EINVAL;
    }
    // SAFETY: the caller's mask.
    with_mask(Some(unsafe { &*mask }), suspend)
}

/// Waits for a signal.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_pause() -> i64 {
    suspend()
}

/// Waits until a signal was delivered, or something else ended the wait.
fn suspend() -> i64 {
    while !matches!(interruptible(is_due, || park(None)), Err(WaitError::Interrupted)) {}
    deliver();
    -EINTR
}

/// Waits until one of these signals is pending, and takes it without delivering it.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rt_sigtimedwait(
    set: *const u64,
    information: *mut Information,
    time: *const TimeSpec,
    size: i64,
) -> i64 {
    if size != 8 {
        return -EINVAL;
    }
    // SAFETY: the caller's places, of which the last two may be null.
    let (set, time) = unsafe { (*set, time.as_ref()) };
    let deadline = match time.map(|time| time.nanoseconds()).transpose() {
        Ok(time) => time.map(|time| clock::now().saturating_add(time)),
        Err(error) => return -error,
    };
    let state = &thread::current().signals;
    let found = || (state.pending.load(Relaxed) | PENDING.load(Relaxed)) & set;
    loop {
        let pending = found();
        if pending != 0 {
            let signal = withdraw(state, pending);
            if !information.is_null() {
                // SAFETY: the caller's place.
                unsafe { information.write(Information::sent(signal)) };
            }
            return signal;
        }
        match interruptible(|| found() != 0 || is_due(), || park(deadline)) {
            Err(WaitError::TimedOut) => return -EAGAIN,
            Err(WaitError::Interrupted) if is_due() => {
                deliver();
                return -EINTR;
            }
            _ => {}
        }
    }
}

/// Asks for or changes the stack on which handlers run that want it.
///
/// # Safety
///
/// As `sigaltstack`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_sigaltstack(new: *const SignalStack, old: *mut SignalStack) -> i64 {
    const MINIMUM: u64 = 2048;
    let state = &thread::current().signals;
    let mut before = state.stack.get();
    let here = (&raw const before) as u64;
    let is_inside =
        before.flags & SS_DISABLE == 0 && (before.start..before.start + before.size).contains(&here);
    // SAFETY: the caller's places, each of which may be null.
    unsafe {
        if let Some(new) = new.as_ref() {
            if is_inside {
                return -EPERM;
            }
            if new.flags & SS_DISABLE == 0 && new.size < MINIMUM {
                return -ENOMEM;
            }
            if new.flags & !(SS_DISABLE | SS_ONSTACK) != 0 {
                return -EINVAL;
            }
            state.stack.set(SignalStack { flags: new.flags & SS_DISABLE, ..*new });
        }
        if !old.is_null() {
            if is_inside {
                before.flags |= SS_ONSTACK;
            }
            old.write(before);
        }
    }
    0
}
