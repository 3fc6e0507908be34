//! The `seccomp` backend: a process that nobody traces, its own signal handlers, and shared memory.
//!
//! | what the guest does | what happens in its process | what the host hears |
//! |---|---|---|
//! | calls the gate | the gate publishes the request and waits | call |
//! | stores to the trap page | `SIGSEGV`: the handler does the same | call |
//! | anything not permitted | a signal of the kernel's own: the handler performs the upcall | nothing |
//! | the same while it takes no exceptions | the handler publishes that | exception |
//! | is kicked | `SIGURG`: the handler performs the upcall, or leaves the event pending | nothing |
//! | has a deadline come | `SIGALRM` or `SIGVTALRM`: the handler raises all lines that are due and sets the timer anew; then as above | nothing |
//! | waits without a deadline, by the gate | the gate looks, then sleeps on the doorbell, and whoever raises a line wakes it | nothing |
//! | waits in another way, or in virtual time | as any call | call |
//!
//! `code` is what runs in that process, `slot` the memory through which both speak, `timer` that process's timers,
//! of which lines 0 to 31 have one and the others another. A guest that does not
//! answer costs its host nothing but a deadline: nothing here waits for one without end, but for its next
//! request, which the time limit ends.

pub(crate) mod code;
pub(crate) mod slot;
pub(crate) mod timer;

use super::{Backend, Exception, Pace, Request, Stop};
use crate::events::Events;
use crate::memory::GuestMemory;
use crate::process::{self, MachinePages, Process};
use crate::registers::{GeneralFrame, Registers};
use crate::upcall::{Delivery, Interruption};
use crate::{Error, clock, sys};
use rustix::io::Errno;
use rustix::thread::futex;
use slot::{Answer, CPU_MASK, DOUBLE_FAULT, GATE_CALL, PROTECTED, SPIN_SHIFT, STOPPED, TRAP_CALL, TRAP_FLAG};
use std::arch::x86_64::__cpuid;
use std::hint;
use std::io;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use vcpu_abi::call::Access;
use vcpu_abi::cause::Cause;
use vcpu_abi::page::{Sticky, VcpuPage};

/// How long, in ns, a guest may take to do what its machine asks of it. It is long: on a busy machine a
/// process waits for its turn.
const PATIENCE: u64 = 500_000_000;

/// How long either side spins at most: about what it costs to wake somebody on another core, so that at
/// worst twice the time is spent that sleeping would have cost.
const SPIN_TIME: Duration = Duration::from_micros(50);

/// A guest counts as one that lives on after so many requests, or so many ns without one. What ends before that
/// costs less.
const TRIAL: u32 = 16;
const TRIAL_TIME: u64 = 2_000_000;

/// A guest that runs without a tracer.
#[derive(Debug)]
pub struct Seccomp {
    process: Process,
    pages: Arc<MachinePages>,
    events: Arc<Events>,
    at: At,
    /// The last request that was seen.
    seen: u32,
    /// Whether an event is due when it goes on.
    kick: bool,
    /// The answer to its last call, once it was given.
    answer: Option<i64>,
    /// What it wanted when it was stopped to be looked at: it is still due.
    came: Option<Stop>,
    budget: Budget,
    /// How many requests it still makes before it counts as one that lives on.
    trial: Option<u32>,
}

/// What a frame must have at least: the registers, and a pointer to the extended state behind them.
type Frame = [u64; size_of::<GeneralFrame>() / 8 + 1];

/// Where the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It runs.
    Running,
    /// In the gate, waiting for its answer.
    Gate,
    /// In its handler, waiting for the answer to a call by the trap page. Its registers lie here.
    TrapPage(*mut GeneralFrame),
    /// In its handler. Its registers lie here, and may be changed. Whether it is in a call by the gate that
    /// waits for its answer.
    Stopped(*mut GeneralFrame, bool),
}

/// What came of waiting for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// There is a request of this kind.
    Request(u32),
    /// None: the guest's time is over, or its process has ended.
    Over,
    /// None in the time there was.
    TimedOut,
}

/// How long to spin, which depends on whether it would have paid the last time.
///
/// The host spins after an answer if the last request came soon after the answer before it. The guest spins
/// if its last call was answered soon. Where both are kept on one core nobody ever spins; where they meet on one,
/// who notices does not.
#[derive(Debug)]
struct Budget {
    /// Most looks at a word; 0 where spinning cannot pay.
    most: u32,
    now: u32,
    /// The time-stamp counter when the last request was seen.
    began: u64,
    /// The time-stamp counter when the last answer was given.
    answered: u64,
    /// Ticks of the counter that are spun at most.
    ticks: u64,
}

impl Budget {
    fn new(pays: bool) -> Budget {
        let (most, ticks) = if pays { calibrate() } else { (0, 0) };
        Budget { most, now: most, began: 0, answered: 0, ticks }
    }

    /// A request was seen. Who slept for it may have been woken late.
    fn seen(&mut self) {
        if self.most != 0 {
            self.began = clock::counter();
            let soon = self.began.saturating_sub(self.answered) <= self.pays();
            self.now = if soon { self.most } else { self.most >> SPIN_SHIFT };
        }
    }

    /// The ticks within which it must come so that to spin pays: sleeping would have taken as long again.
    fn pays(&self) -> u64 {
        2 * self.ticks
    }
}

/// Looks and ticks in [`SPIN_TIME`], or none where nobody can tell on which processor it is; measured once.
fn calibrate() -> (u32, u64) {
    static RESULT: OnceLock<(u32, u64)> = OnceLock::new();
    const LOOKS: u32 = 500;
    *RESULT.get_or_init(|| {
        if !knows_its_processor() {
            return (0, 0);
        }
        let (begin, counter) = (Instant::now(), clock::counter());
        (0..LOOKS).for_each(|_| hint::spin_loop());
        let time = begin.elapsed().as_nanos().max(1) as u64;
        let ticks = clock::counter().saturating_sub(counter);
        let wanted = SPIN_TIME.as_nanos() as u64;
        let looks = (wanted * u64::from(LOOKS) / time).clamp(1, 1_000_000);
        (looks as u32, ticks * wanted / time)
    })
}

/// Whether there is `rdtscp`, with which Linux lets a program see the number of its processor.
fn knows_its_processor() -> bool {
    const FEATURES: u32 = 0x8000_0001;
    __cpuid(0x8000_0000).eax >= FEATURES && __cpuid(FEATURES).edx & 1 << 27 != 0
}

impl Seccomp {
    /// Takes over a process that has just been started, and points it at `entry`. `spins` says whether
    /// guest and host may run at the same time. Both must be able to tell on which processor they are, or
    /// nobody spins.
    pub(crate) fn new(
        process: Process,
        pages: Arc<MachinePages>,
        events: Arc<Events>,
        entry: u64,
        spins: bool,
    ) -> Result<Seccomp, Error> {
        let seen = pages.slot().request.load(SeqCst) & !1;
        pages.slot().special.kind.store(0, Relaxed);
        let frame = pages.on_stack::<Frame>(pages.slot().registers.load(Relaxed));
        let frame = frame.map(<*mut Frame>::cast).ok_or(Error::Unresponsive)?;
        let budget = Budget::new(spins);
        pages.reply().spin.store(budget.most, Relaxed);
        pages.reply().spin_most.store(budget.most, Relaxed);
        pages.reply().spin_pays.store(budget.pays().try_into().unwrap_or(u32::MAX), Relaxed);
        pages.slot().special.doze_spin.store(budget.most, Relaxed);
        let at = At::Stopped(frame, false);
        let mut this = Seccomp {
            process,
            pages,
            events,
            at,
            seen,
            kick: false,
            answer: None,
            came: None,
            budget,
            trial: Some(TRIAL),
        };
        this.set_registers(Registers::start(entry))?;
        Ok(this)
    }

    /// Answers the last request, and lets the guest continue.
    fn reply(&mut self, value: i64, answer: Answer) {
        let reply = self.pages.reply();
        reply.value.store(value as u64, Relaxed);
        let mut answer = answer;
        for (alarms, arm) in reply.alarms.iter().zip([Answer::ARM_LOW, Answer::ARM_HIGH]) {
            if alarms.is_new.load(Relaxed) != 0 {
                alarms.is_new.store(0, Relaxed);
                answer |= arm;
            }
        }
        reply.flags.store(answer.bits(), Relaxed);
        if self.budget.most != 0 {
            self.budget.answered = clock::counter();
            let quick = self.budget.answered.saturating_sub(self.budget.began) < self.budget.ticks;
            let spin = if quick { self.budget.most } else { 0 };
            // Seldom changes, and the guest reads it.
            if reply.spin.load(Relaxed) != spin {
                reply.spin.store(spin, Relaxed);
            }
        }
        // Published before the question whether somebody sleeps.
        reply.reply.swap(self.seen, SeqCst);
        let slot = self.pages.slot();
        if slot.guest_waits.load(SeqCst) != 0 {
            let _ = futex::wake(&reply.reply, futex::Flags::empty(), 1);
            if slot.special.cpu.load(Relaxed) == reply.host_cpu.load(Relaxed) {
                self.budget.now = 0;
            }
        }
    }

    /// The kind of the next request, if it has come.
    fn look(&mut self) -> Option<u32> {
        let slot = self.pages.slot();
        let request = slot.request.load(SeqCst) & !1;
        if request == self.seen {
            return None;
        }
        self.seen = request;
        let special = slot.special.kind.load(Relaxed);
        if special == 0 {
            return Some(slot.kind.load(Relaxed));
        }
        slot.special.kind.store(0, Relaxed);
        // It goes on with the segment bases that it has, unless somebody sets others.
        if special == STOPPED {
            for (new, old) in self.pages.reply().bases.iter().zip(&slot.special.bases) {
                new.store(old.load(Relaxed), Relaxed);
            }
        }
        Some(special)
    }

    /// Spins for a request.
    fn spin(&mut self) -> Option<u32> {
        for _ in 0..self.budget.now {
            if let Some(kind) = self.look() {
                self.budget.seen();
                return Some(kind);
            }
            hint::spin_loop();
        }
        None
    }

    /// Sleeps until there is a request, or the monotonic clock has reached `deadline` in ns, or there will
    /// be none.
    fn sleep(&mut self, deadline: Option<u64>) -> Waited {
        let pages = self.pages.clone();
        let (word, waits) = (&pages.slot().request, &pages.reply().host_waits.0);
        let deadline = deadline.map(sys::timespec);
        waits.store(1, SeqCst);
        let waited = loop {
            // The lowest bit is the host's own: it was disturbed. From here on it can be again.
            word.fetch_and(!1, SeqCst);
            if let Some(kind) = self.look() {
                self.budget.seen();
                break Waited::Request(kind);
            }
            if self.events.over() {
                break Waited::Over;
            }
            let (shared, any) = (futex::Flags::empty(), NonZeroU32::MAX);
            if futex::wait_bitset(word, shared, self.seen, deadline.as_ref(), any) == Err(Errno::TIMEDOUT) {
                break Waited::TimedOut;
            }
        };
        waits.store(0, SeqCst);
        if self.budget.most != 0 {
            pages.reply().host_cpu.store(rustix::thread::sched_getcpu() as u32 & CPU_MASK, Relaxed);
        }
        waited
    }

    /// Waits for what the guest was asked to do.
    fn wait_for(&mut self, kind: u32) -> Result<(), Error> {
        let deadline = sys::monotonic().saturating_add(PATIENCE);
        while self.next_request(deadline)? != kind {
            if sys::monotonic() >= deadline {
                return Err(Error::Unresponsive);
            }
        }
        Ok(())
    }

    /// Waits for any request.
    fn next_request(&mut self, deadline: u64) -> Result<u32, Error> {
        if let Some(kind) = self.spin() {
            return Ok(kind);
        }
        match self.sleep_on(deadline) {
            Waited::Request(kind) => Ok(kind),
            _ => Err(Error::Unresponsive),
        }
    }

    /// Sleeps for a request, though the guest's time may be over: it is asked for its last words.
    fn sleep_on(&mut self, deadline: u64) -> Waited {
        const SLICE: u64 = 1_000_000;
        loop {
            let now = sys::monotonic();
            match self.sleep(Some(deadline.min(now + SLICE))) {
                Waited::Over if self.events.is_gone() => return Waited::Over,
                Waited::Over => std::thread::yield_now(),
                Waited::TimedOut if now < deadline => {}
                waited => return waited,
            }
            if now >= deadline {
                return Waited::TimedOut;
            }
        }
    }

    /// Makes of a request what it means.
    fn classify(&mut self, kind: u32, pace: Pace) -> Option<Stop> {
        let slot = self.pages.slot();
        let number = slot.number.load(Relaxed);
        let arguments = slot.arguments.each_ref().map(|word| word.load(Relaxed));
        let call = Stop::Call(Request { number, arguments });
        let frame = self.pages.on_stack::<Frame>(slot.registers.load(Relaxed)).map(<*mut Frame>::cast);
        Some(match (kind, frame) {
            // When it is stepped it stops behind the instruction, too.
            (GATE_CALL, _) if pace == Pace::Step => return None,
            (TRAP_CALL, Some(frame)) => {
                self.at = At::TrapPage(frame);
                call
            }
            (STOPPED, Some(frame)) => {
                let mut registers = Registers::of_frame(frame);
                registers.raw.eflags &= !u64::from(TRAP_FLAG);
                registers.write_frame(frame);
                let calls = code::unanswered().contains(&registers.raw.rip);
                self.at = At::Stopped(frame, calls);
                match pace {
                    _ if calls => call,
                    Pace::Step => Stop::Stepped,
                    Pace::Full => Stop::Kick,
                }
            }
            (DOUBLE_FAULT, Some(frame)) => {
                self.at = At::Stopped(frame, false);
                let cause = Cause::from_number(number).unwrap_or(Cause::GeneralProtection);
                let [address, error_code, ..] = arguments;
                Stop::Exception(Exception { cause, address, error_code: error_code as u32 })
            }
            // A call, or the guest has written something there itself: then it is no call that exists.
            _ => {
                self.at = At::Gate;
                if kind == GATE_CALL { call } else { Stop::Call(Request { number: u32::MAX, arguments }) }
            }
        })
    }

    /// Where the registers lie, once the guest has stopped so that they lie somewhere.
    fn frame(&mut self) -> Result<*mut GeneralFrame, Error> {
        match self.at {
            At::Stopped(frame, _) | At::TrapPage(frame) => return Ok(frame),
            At::Gate => {
                self.reply(0, Answer::STOP);
                self.wait_for(STOPPED)?;
                let frame = self.stopped_frame()?;
                let mut registers = Registers::of_frame(frame);
                // Behind its wait: what it has left to do is to take the answer.
                registers.raw.rip = code::look();
                registers.raw.rax = self.answer.unwrap_or_default() as u64;
                registers.write_frame(frame);
                self.at = At::Stopped(frame, self.answer.is_none());
            }
            At::Running => {
                self.pages.reply().stop_wanted.store(1, SeqCst);
                self.events.kick_guest();
                let kind = self.next_request(sys::monotonic().saturating_add(PATIENCE));
                self.pages.reply().stop_wanted.store(0, SeqCst);
                // It may have been about to make a call, and then waits all the same.
                self.came = self.classify(kind?, Pace::Full).filter(|stop| *stop != Stop::Kick);
            }
        }
        self.frame()
    }

    fn stopped_frame(&self) -> Result<*mut GeneralFrame, Error> {
        let frame = self.pages.on_stack::<Frame>(self.pages.slot().registers.load(Relaxed));
        frame.map(<*mut Frame>::cast).ok_or(Error::Unresponsive)
    }

    /// Where the frame has the extended state, and its length in bytes.
    fn extended_state(&mut self) -> Result<(*mut u8, usize), Error> {
        /// Bytes from the state's beginning to what Linux says of it: two numbers and its components, and
        /// then its size.
        const SIZE_AT: u64 = 464 + 16;
        // Behind the registers lies a pointer to it.
        let pointer = self.frame()?.wrapping_add(1).cast::<u64>();
        // SAFETY: the frame lies on the handlers' stack with the pointer behind it, as [`Frame`] says.
        let at = unsafe { pointer.read_volatile() };
        let size = self.pages.on_stack::<u32>(at.wrapping_add(SIZE_AT)).ok_or(Error::Unresponsive)?;
        // SAFETY: as above.
        let size = u64::from(unsafe { size.read_volatile() });
        let last = at.wrapping_add(size).wrapping_sub(1);
        let ends = size > 0 && last >= at && self.pages.on_stack::<u8>(last).is_some();
        let state = self.pages.on_stack::<u8>(at).filter(|_| ends).ok_or(Error::Unresponsive)?;
        Ok((state, size as usize))
    }

    /// Lets the guest go on from where it is.
    fn resume(&mut self, pace: Pace) -> Result<(), Error> {
        if self.at == At::Running {
            return Ok(());
        }
        let step = if pace == Pace::Step { TRAP_FLAG } else { 0 };
        if step != 0 || self.pages.reply().step.load(Relaxed) != 0 {
            let frame = self.frame()?;
            self.pages.reply().step.store(step, SeqCst);
            let mut registers = Registers::of_frame(frame);
            registers.raw.eflags |= u64::from(step);
            registers.write_frame(frame);
        }
        if std::mem::take(&mut self.kick) {
            self.events.kick_guest();
        }
        self.reply(self.answer.unwrap_or_default(), Answer::empty());
        self.at = At::Running;
        self.answer = None;
        Ok(())
    }

    /// How the process ended.
    fn killed(&self) -> Result<Stop, Error> {
        let status =
            self.process.wait().map_err(|error| Error::system("wait for the guest's process", error))?;
        if libc::WIFSIGNALED(status) {
            return Ok(Stop::Killed(libc::WTERMSIG(status)));
        }
        let error = io::Error::other(format!("it ended by itself with status {status:#x}"));
        Err(Error::system("keep the guest's process", error))
    }
}

impl Backend for Seccomp {
    fn pid(&self) -> i32 {
        self.process.pid
    }

    fn run(&mut self, pace: Pace, _memory: &GuestMemory) -> Result<Stop, Error> {
        if let Some(stop) = self.came.take() {
            return Ok(stop);
        }
        self.resume(pace)?;
        loop {
            self.trial = match self.trial {
                Some(0) => {
                    self.trial = None;
                    return Ok(Stop::Idle);
                }
                trial => trial.map(|requests| requests - 1),
            };
            let waited = match self.spin() {
                Some(kind) => Waited::Request(kind),
                None if self.trial.is_some() => {
                    let soon = sys::monotonic() + TRIAL_TIME;
                    match self.sleep(Some(soon.min(self.events.limit().unwrap_or(u64::MAX)))) {
                        Waited::TimedOut if self.events.limit().is_none_or(|limit| soon < limit) => {
                            self.trial = Some(0);
                            continue;
                        }
                        waited => waited,
                    }
                }
                None => self.sleep(self.events.limit()),
            };
            match waited {
                Waited::Request(kind) => {
                    if let Some(stop) = self.classify(kind, pace) {
                        return Ok(stop);
                    }
                }
                Waited::Over if self.events.is_gone() => return self.killed(),
                Waited::Over => return Ok(Stop::Kick),
                Waited::TimedOut => {
                    self.events.end_time();
                    return Ok(Stop::Kick);
                }
            }
        }
    }

    fn answer(&mut self, value: i64) -> Result<(), Error> {
        self.answer = Some(value);
        if let At::Stopped(frame, true) = self.at {
            let mut registers = Registers::of_frame(frame);
            (registers.raw.rax, registers.raw.rip) = (value as u64, code::look());
            registers.write_frame(frame);
            self.at = At::Stopped(frame, false);
        }
        Ok(())
    }

    fn interrupt(&mut self, page: &VcpuPage, interruption: Interruption) -> Result<Delivery, Error> {
        Ok(match interruption {
            // Its process knows by itself whether it is ready.
            Interruption::Event => {
                match self.at {
                    At::Running => self.events.kick_guest(),
                    // It comes as soon as the handler has returned, as it would have come without the stop.
                    At::Stopped(frame, false) if Registers::of_frame(frame).raw.rip != code::look() => {
                        self.kick = true;
                    }
                    // It is in the gate or the like, and looks before it returns. Until then its thread
                    // waits for us, so we may write what only that thread writes.
                    _ => drop(page.sticky.fetch_or(Sticky::EVENT_PENDING.bits(), SeqCst)),
                }
                Delivery::Deferred
            }
            // It was not.
            Interruption::Exception(exception) => Delivery::DoubleFault(exception),
        })
    }

    fn registers(&mut self) -> Result<Registers, Error> {
        let mut registers = Registers::of_frame(self.frame()?);
        let [fs, gs] = self.pages.reply().bases.each_ref().map(|base| base.load(Relaxed));
        (registers.raw.fs_base, registers.raw.gs_base) = (fs, gs);
        Ok(registers)
    }

    fn set_registers(&mut self, registers: Registers) -> Result<(), Error> {
        let frame = self.frame()?;
        registers.write_frame(frame);
        let bases = [registers.raw.fs_base, registers.raw.gs_base];
        for (word, base) in self.pages.reply().bases.iter().zip(bases) {
            word.store(base, Relaxed);
        }
        if let At::Stopped(..) = self.at {
            // Wherever it was, it is no more.
            self.came = None;
            self.at = At::Stopped(frame, false);
        }
        Ok(())
    }

    fn extended(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let (state, length) = self.extended_state()?;
        let length = length.min(buffer.len());
        // SAFETY: so many bytes lie on the handlers' stack, which stays mapped; the guest waits.
        unsafe { std::ptr::copy_nonoverlapping(state, buffer.as_mut_ptr(), length) };
        Ok(length)
    }

    fn set_extended(&mut self, buffer: &[u8]) -> Result<(), Error> {
        let (state, length) = self.extended_state()?;
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(buffer.as_ptr(), state, length.min(buffer.len())) };
        Ok(())
    }

    fn protect(&mut self, pages: Range<u64>, access: Access) -> Result<bool, Error> {
        if self.at == At::Running {
            self.frame()?;
        }
        let arguments = [pages.start, pages.end - pages.start, process::protection(access)];
        for (word, argument) in self.pages.reply().protect.iter().zip(arguments) {
            word.store(argument, Relaxed);
        }
        self.reply(0, Answer::PROTECT);
        // A guest that does something else instead has not had its pages changed.
        match self.wait_for(PROTECTED) {
            Ok(()) => Ok(self.pages.slot().special.result.load(Relaxed) == 0),
            Err(Error::Unresponsive) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
