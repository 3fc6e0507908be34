//! Native counterparts: a process that has no virtual CPU takes the same faults, timers and signals.
//!
//! It is a fork of this one, kept on a core as the guest is, and measures by the same counter.

use super::counter::{self, Ratio};
use super::place;
use super::random::Random;
use super::site::cannot;
use crate::status::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use rustix::thread::futex;
use std::arch::asm;
use std::hint::{black_box, spin_loop};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use vcpu_abi::layout::{PAGE_SIZE, TRAP_INSTRUCTION, TRAP_PAGE};

/// The signal that is the event.
const EVENT: Signal = Signal::URG;
/// Bytes of the stack for a signal handler.
const STACK: usize = 64 << 10;

/// A process that measures.
pub(super) struct Native {
    pid: Pid,
    pidfd: OwnedFd,
    samples: Samples,
    ended: bool,
}

/// Memory that is shared with the process.
#[derive(Clone, Copy)]
struct Samples {
    words: *const AtomicU64,
    count: usize,
}

impl Samples {
    fn map(count: usize) -> io::Result<Samples> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping where there is none disturbs nothing.
        let words = unsafe { libc::mmap(null_mut(), count * size_of::<u64>(), access, flags, -1, 0) };
        if words == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Samples { words: words.cast(), count })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words were mapped, and are until `Native` is dropped, whose field this is; zeros are
        // valid, and whoever shares them uses atomics.
        unsafe { std::slice::from_raw_parts(self.words, self.count) }
    }
}

impl Native {
    /// Starts a process that stays on `core` and takes `count` samples, each by one call of what `prepare`
    /// gave.
    fn start<S: FnMut() -> u64>(
        core: usize,
        count: usize,
        prepare: impl FnOnce() -> io::Result<S>,
    ) -> Result<Native, Failure> {
        let failed = |error| cannot("start a native process", error);
        let samples = Samples::map(count).map_err(failed)?;
        let work = || {
            place::stay(None, core)?;
            let mut sample = prepare()?;
            samples.words().iter().for_each(|word| word.store(sample(), Relaxed));
            io::Result::Ok(())
        };
        // SAFETY: the child only computes and makes system calls; it never returns from here.
        match unsafe { libc::fork() } {
            -1 => Err(failed(io::Error::last_os_error())),
            0 => {
                // SAFETY: no pointers. It is not to live longer than who reads what it measures.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let done = matches!(catch_unwind(AssertUnwindSafe(work)), Ok(Ok(())));
                // SAFETY: nothing is to be cleaned up, as all of it belongs to the parent.
                unsafe { libc::_exit(i32::from(!done)) }
            }
            pid => {
                let pid = Pid::from_raw(pid).expect("a process has a number");
                let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
                Ok(Native { pid, pidfd, samples, ended: false })
            }
        }
    }

    /// A process that stores to a page that is not mapped, by the instruction that is a call in a guest. Its
    /// handler does nothing but skip it. The samples are ticks.
    pub(super) fn faults(core: usize, count: usize) -> Result<Native, Failure> {
        Native::start(core, count, || {
            if is_mapped(TRAP_PAGE) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
            let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
            // SAFETY: the memory was leaked, so it is the handler's for ever.
            check(unsafe { libc::sigaltstack(&raw const stack, null_mut()) })?;
            handle(libc::SIGSEGV, skip, libc::SA_ONSTACK)?;
            Ok(|| {
                let begin = counter::read();
                fault();
                counter::read() - begin
            })
        })
    }

    /// A process that computes until its timer fires, at random distances in ns, again and again. The samples
    /// are the ns from deadline to handler.
    pub(super) fn timers(
        core: usize,
        count: usize,
        distance: [u64; 2],
        seed: u64,
        ratio: Ratio,
    ) -> Result<Native, Failure> {
        let mut random = Random(seed);
        Native::start(core, count, move || {
            handle(EVENT.as_raw(), note, 0)?;
            let timer = timer()?;
            Ok(move || {
                let deadline = counter::monotonic() + random.between(distance);
                arm(timer, deadline);
                let taken = compute();
                // The handler read the counter only, as a guest does. What passed since then is short.
                let (now, nanoseconds) = counter::both();
                let since = ratio.nanoseconds(now - taken) as u64;
                nanoseconds.saturating_sub(deadline + since)
            })
        })
    }

    /// A process that computes and takes signals. The samples are the counter in the handler.
    pub(super) fn signals(core: usize, count: usize) -> Result<Native, Failure> {
        Native::start(core, count, || {
            handle(EVENT.as_raw(), note, 0)?;
            Ok(compute)
        })
    }

    /// The least that a call can be: a process on `core` changes a word, this thread changes another one, and
    /// each waits for that, asleep on it or looking at it. No filter, no code in between. Gives ticks.
    pub(super) fn exchanges(core: usize, count: usize, asleep: bool) -> Result<Vec<u64>, Failure> {
        let pair = Pair::map(asleep).map_err(|error| cannot("share memory", error))?;
        let native = Native::start(core, count, || {
            let mut turn = 0;
            Ok(move || {
                let begin = counter::read();
                turn += 1;
                pair.change(Pair::REQUEST, turn);
                pair.wait(Pair::REPLY, turn, || false);
                counter::read() - begin
            })
        })?;
        for turn in 1..=count as u32 {
            pair.wait(Pair::REQUEST, turn, || native.has_ended());
            pair.change(Pair::REPLY, turn);
        }
        native.samples()
    }

    /// Sends it the signal.
    pub(super) fn signal(&self) {
        // It may have ended.
        let _ = pidfd_send_signal(&self.pidfd, EVENT);
    }

    /// Whether it has ended, as it does when it has all samples.
    pub(super) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())) == Ok(1)
    }

    /// Waits until it has ended, and gives its samples.
    pub(super) fn samples(mut self) -> Result<Vec<u64>, Failure> {
        let status = waitpid(Some(self.pid), WaitOptions::empty());
        self.ended = true;
        match status {
            Ok(Some((_, status))) if status.exit_status() == Some(0) => {
                Ok(self.samples.words().iter().map(|word| word.load(Relaxed)).collect())
            }
            _ => Err(Failure::runner("a native process that measures ended early; please report this")),
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself; then there is nothing to do.
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
        let length = self.samples.count * size_of::<u64>();
        // SAFETY: the mapping is ours, and nobody reads it any more.
        unsafe { libc::munmap(self.samples.words.cast_mut().cast(), length) };
    }
}

/// Two words, a cache line each, by which two processes take turns. It is never unmapped: there are few.
#[derive(Clone, Copy)]
struct Pair {
    words: *const AtomicU32,
    asleep: bool,
}

impl Pair {
    const REQUEST: usize = 0;
    const REPLY: usize = 16;
    /// How often to look before it is asked whether there is still somebody.
    const LOOKS: u32 = 1 << 20;

    fn map(asleep: bool) -> io::Result<Pair> {
        Samples::map(PAGE_SIZE as usize / size_of::<u64>())
            .map(|page| Pair { words: page.words.cast(), asleep })
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: both indices are inside the page that was mapped and stays; whoever shares it uses atomics.
        unsafe { &*self.words.add(index) }
    }

    fn change(&self, index: usize, turn: u32) {
        self.word(index).store(turn, SeqCst);
        if self.asleep {
            // Fails for no word that is mapped.
            let _ = futex::wake(self.word(index), futex::Flags::empty(), 1);
        }
    }

    /// Waits for a turn, or until `is_over` says so, which is asked seldom.
    fn wait(&self, index: usize, turn: u32, is_over: impl Fn() -> bool) {
        let mut looks = 0;
        while self.word(index).load(SeqCst) != turn {
            if self.asleep {
                // A time costs time. Who comes as far as the second turn comes to the last.
                let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                let time = Some(&second).filter(|_| turn == 1);
                let waited = futex::wait(self.word(index), futex::Flags::empty(), turn - 1, time);
                if waited == Err(rustix::io::Errno::TIMEDOUT) && is_over() {
                    return;
                }
            } else {
                spin_loop();
                looks += 1;
                if looks % Pair::LOOKS == 0 && is_over() {
                    return;
                }
            }
        }
    }
}

/// The counter when the last signal was taken; 0 if none was since somebody looked.
static TAKEN: AtomicU64 = AtomicU64::new(0);

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

extern "C" fn note(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    TAKEN.store(counter::read(), Relaxed);
}

/// Continues behind the instruction of [`fault`].
extern "C" fn skip(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: Linux gives the handler of `SA_SIGINFO` the context, and nobody else uses it meanwhile.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] += TRAP_INSTRUCTION.len() as i64;
}

/// Computes until there was a signal, and gives when that was.
fn compute() -> u64 {
    let mut value = 0u64;
    loop {
        let taken = TAKEN.swap(0, Relaxed);
        if taken != 0 {
            return taken;
        }
        for _ in 0..100 {
            value = black_box(value.wrapping_mul(3) + 1);
        }
    }
}

/// Stores to the trap page, which is not mapped.
fn fault() {
    // SAFETY: the caller has seen that nothing is mapped there, so nothing is written; and has installed
    // `skip`.
    unsafe {
        asm!(
            ".byte {}, {}, {}, {}, {}, {}, {}",
            const TRAP_INSTRUCTION[0],
            const TRAP_INSTRUCTION[1],
            const TRAP_INSTRUCTION[2],
            const TRAP_INSTRUCTION[3],
            const TRAP_INSTRUCTION[4],
            const TRAP_INSTRUCTION[5],
            const TRAP_INSTRUCTION[6],
            options(nostack, preserves_flags),
        );
    }
}

/// Whether there is something at a page's address.
fn is_mapped(address: u64) -> bool {
    let mut resident = 0;
    // SAFETY: one byte for one page; a page that is not mapped is an error.
    unsafe { libc::mincore(address as *mut libc::c_void, PAGE_SIZE as usize, &raw mut resident) == 0 }
}

fn handle(signal: i32, handler: Handler, flags: i32) -> io::Result<()> {
    // SAFETY: all-zero is a valid action, with an empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | flags;
    // SAFETY: the handlers here touch what is theirs only, at any moment.
    check(unsafe { libc::sigaction(signal, &raw const action, null_mut()) })
}

fn timer() -> io::Result<libc::timer_t> {
    // SAFETY: all-zero is a valid event.
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = EVENT.as_raw();
    let mut timer = MaybeUninit::uninit();
    // SAFETY: both are valid for the call, which fills the second if it succeeds.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded.
    Ok(unsafe { timer.assume_init() })
}

/// Sets a timer to this moment of the monotonic clock, in ns.
fn arm(timer: libc::timer_t, deadline: u64) {
    let time = |nanoseconds: u64| libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    };
    let setting = libc::itimerspec { it_interval: time(0), it_value: time(deadline) };
    // SAFETY: the timer is ours, and the setting is valid for the call.
    let set = unsafe { libc::timer_settime(timer, libc::TIMER_ABSTIME, &raw const setting, null_mut()) };
    assert!(set == 0, "a timer of one's own can be set");
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_take_turns_asleep_and_looking() {
        for asleep in [true, false] {
            let core = rustix::thread::sched_getcpu();
            let core = if asleep { core } else { place::other_core().unwrap_or(core) };
            let ticks = Native::exchanges(core, 50, asleep).unwrap();
            assert!(ticks.len() == 50 && ticks.iter().all(|ticks| *ticks > 0), "{ticks:?}");
        }
    }

    #[test]
    fn each_counterpart_takes_its_samples() {
        let core = rustix::thread::sched_getcpu();
        let begin = counter::read();
        let faults = Native::faults(core, 50).unwrap().samples().unwrap();
        assert!(faults.len() == 50 && faults.iter().all(|ticks| *ticks > 0), "{faults:?}");
        let ratio = Ratio::measure();
        let late = Native::timers(core, 20, [1000, 100_000], 1, ratio).unwrap().samples().unwrap();
        assert_eq!(late.len(), 20);
        let native = Native::signals(core, 20).unwrap();
        while !native.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            native.signal();
        }
        let taken = native.samples().unwrap();
        assert!(taken.len() == 20 && taken.is_sorted() && taken[0] > begin, "{taken:?}");
    }

    #[test]
    fn a_counterpart_that_fails_is_one_sentence() {
        let refuses = || Err::<fn() -> u64, _>(io::ErrorKind::Unsupported.into());
        let native = Native::start(rustix::thread::sched_getcpu(), 1, refuses).unwrap();
        assert_eq!(
            native.samples().unwrap_err().message,
            "a native process that measures ended early; please report this"
        );
    }
}
