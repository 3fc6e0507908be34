//! The machine: one guest, one virtual CPU, and the loop that runs it and serves its calls.

pub(crate) mod checkpoint;
pub(crate) mod exchange;
pub(crate) mod given;
mod last_words;
pub(crate) mod limits;
mod moment;
pub(crate) mod snapshot;

use crate::backend::ptrace::Ptrace;
use crate::backend::seccomp::Seccomp;
use crate::backend::seccomp::timer::OwnTimer;
use crate::backend::{Backend, BackendKind, Pace, Request, Stop};
use crate::clock::{Clock, ClockMode};
use crate::console::{Stream, Streams};
use crate::device::{Devices, Waits};
use crate::events::Events;
use crate::grant::{self, Grant};
use crate::image::Image;
use crate::information::{self, Strings};
use crate::memory::GuestMemory;
pub(crate) use crate::process::Born;
use crate::process::{self, MachinePages};
use crate::registers::Registers;
use crate::report::{self, Outcome};
use crate::timers::{Action, Timers};
use crate::upcall::{Delivery, Interruption};
use crate::{Error, sys};
use exchange::Exchange;
use limits::{Limits, Most};
use rustix::thread::CpuSet;
pub(crate) use snapshot::Begin;
use snapshot::Saved;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use vcpu_abi::call::{Access, Call, Error as CallError, NEVER, STREAM_ERRORS, STREAM_INPUT, STREAM_OUTPUT};
use vcpu_abi::layout::PAGE_SIZE;
use vcpu_abi::page::{CONSOLE_LINE, EVENT_LINES, State, Sticky};

/// What a guest is given.
#[derive(Debug)]
pub struct Config {
    /// RAM in bytes, or what the image wants.
    pub memory: Option<u64>,
    /// The program's arguments, its own name first.
    pub arguments: Vec<Vec<u8>>,
    /// The program's environment, as names and values.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The time after which it is ended, whatever it does.
    pub time_limit: Option<Duration>,
    /// The processor's time that its process may use before it is ended; what the host does for it does not
    /// count. It may use 10 ms more.
    pub cpu_time: Option<Duration>,
    /// Bytes that it may write to its standard streams together. Then writing answers
    /// [`Denied`](CallError::Denied).
    pub output_limit: Option<u64>,
    /// Calls that the host serves in a second. So many may come at once; those that come sooner are answered
    /// later.
    pub calls_per_second: Option<NonZeroU32>,
    /// Which backend runs it.
    pub backend: BackendKind,
    /// Whether guest and host share the core on which the sandbox is started, for as long as it lives:
    /// waking another core is what costs most. If not, and there are several, the `seccomp` backend lets guest
    /// and host look for each other's words for up to 50 µs before they sleep, which takes a core each.
    pub pin: bool,
    /// How its clock passes.
    pub clock: ClockMode,
    /// Its standard streams; `None` is no input, and output that goes nowhere.
    pub streams: Option<Streams>,
    /// What else it is given, each as a device of its own.
    pub grants: Vec<Grant>,
    /// Names of the functions of the host's that it can call.
    pub functions: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            memory: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            time_limit: None,
            cpu_time: None,
            output_limit: None,
            calls_per_second: None,
            backend: BackendKind::Auto,
            pin: true,
            clock: ClockMode::Real,
            streams: None,
            grants: Vec::new(),
            functions: Vec::new(),
        }
    }
}

/// A running guest. It belongs to the thread that started it, and ends when it is dropped.
///
/// ```no_run
/// use vcpu_host::{Config, Image, Machine};
/// let image = Image::open("hello.elf")?;
/// let outcome = Machine::start(&image, Config::default())?.run()?;
/// println!("it ended with {}", outcome.status());
/// # Ok::<(), vcpu_host::Error>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    image: Image,
    strings: Strings,
    backend: Box<dyn Backend>,
    kind: BackendKind,
    memory: GuestMemory,
    pages: Arc<MachinePages>,
    events: Arc<Events>,
    timers: Timers,
    streams: [Stream; 3],
    devices: Devices,
    exchange: Exchange,
    limits: Limits,
    /// Kicks that were already seen to.
    seen: u32,
    ended: bool,
    lives_on: bool,
    /// Whether its last call was answered already, by a register that can still be changed.
    answered: bool,
    _pinned: Option<Pinned>,
}

/// Raises event lines of a sandbox, from any thread.
#[derive(Clone, Debug)]
pub struct EventLines(Arc<Events>);

impl EventLines {
    /// Raises a line.
    ///
    /// # Panics
    ///
    /// If there is no such line; there are [`EVENT_LINES`].
    pub fn raise(&self, line: u32) {
        self.0.raise(line);
    }
}

/// Whether the guest goes on.
enum Flow {
    Answer(Result<u64, CallError>),
    /// The answer was given, or none is due.
    Continue,
    End(Outcome),
}

impl Machine {
    /// Starts a guest; its first instruction runs when [`run`](Machine::run) is called.
    ///
    /// # Errors
    ///
    /// If the image needs more memory than it is given, or wants what is not granted, if a grant cannot be
    /// served, or the system refuses something.
    pub fn start(image: &Image, config: Config) -> Result<Machine, Error> {
        grant::check(image.wants(), &config.grants, &config.functions)?;
        Self::begin(image, config, Born::Here, Begin::Image)
    }

    /// Starts a guest whose process belongs to a thread as `born` says, at the image's beginning or in the
    /// [state](Saved::config) of another one. Whether it is granted what it wants was looked at.
    ///
    /// # Errors
    ///
    /// As [`start`](Machine::start).
    pub(crate) fn begin(
        image: &Image,
        config: Config,
        born: Born,
        begin: Begin<'_>,
    ) -> Result<Machine, Error> {
        let state = begin.state();
        crate::clock::prepare();
        let size = image.memory(config.memory)?;
        let setup = |what| move |error| Error::system(what, error);
        let memory = match begin {
            Begin::Image => GuestMemory::new(image, size, None),
            Begin::State(state) => GuestMemory::new(image, size, Some(state.ram())),
            Begin::Reused(state, memory) => state.ram().repair(&memory).map(|()| memory.renewed()),
        };
        let memory = memory.map_err(setup("make the guest's memory from the image"))?;
        let streams = given::streams(config.streams)?;
        let pinned = if config.pin { Pinned::here() } else { None };
        let strings = match state {
            Some(state) => state.strings().clone(),
            None => {
                let names = config.grants.iter().map(|grant| grant.name.clone().into_bytes());
                Strings::new(&config.arguments, &config.environment, &names.collect::<Vec<_>>())?
            }
        };
        let (pages, file) = MachinePages::new(&strings.bytes).map_err(setup("make the machine's pages"))?;
        let pages = Arc::new(pages);
        let (process, kind) = match config.backend {
            BackendKind::Ptrace => {
                (process::start_traced(image, &memory, &pages, &file)?, BackendKind::Ptrace)
            }
            BackendKind::Seccomp => {
                (process::start_alone(image, &memory, &pages, &file, born)?, BackendKind::Seccomp)
            }
            BackendKind::Auto => match process::start_alone(image, &memory, &pages, &file, born) {
                Ok(process) => (process, BackendKind::Seccomp),
                // Where neither works, what is missing for the first is what to look after.
                Err(error) => match process::start_traced(image, &memory, &pages, &file) {
                    Ok(process) => (process, BackendKind::Ptrace),
                    Err(_) => return Err(error),
                },
            },
        };
        drop(file);
        let events = Arc::new(Events::new(pages.clone(), process.pidfd()));
        let devices = Devices::new(config.grants, &memory, &events)?;
        let clock = Clock::start(config.clock, state.map_or(0, Saved::now));
        pages.set_information(information::page(size, &clock, &strings));
        let own =
            (kind == BackendKind::Seccomp && !clock.is_virtual()).then(|| OwnTimer::both(&pages, &clock));
        let mut timers = Timers::new(events.clone(), clock, own).map_err(setup("make a timer"))?;
        if let Some(limit) = config.time_limit {
            let now = sys::monotonic();
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            timers.set_limit(now.saturating_add(limit)).map_err(setup("set the time limit"))?;
        }
        let backend: Box<dyn Backend> = if kind == BackendKind::Ptrace {
            Box::new(Ptrace::new(process, image.entry()))
        } else {
            let spins =
                pinned.is_none() && rustix::thread::sched_getaffinity(None).is_ok_and(|set| set.count() > 1);
            Box::new(Seccomp::new(process, pages.clone(), events.clone(), image.entry(), spins)?)
        };
        let mut machine = Machine {
            image: image.clone(),
            strings,
            backend,
            kind,
            memory,
            pages,
            events,
            timers,
            streams,
            devices,
            exchange: Exchange::default(),
            limits: Limits::default(),
            seen: 0,
            ended: false,
            lives_on: false,
            answered: false,
            _pinned: pinned,
        };
        if let Some(state) = state {
            state.apply(&mut machine)?;
        }
        machine.limit(Most {
            cpu_time: config.cpu_time,
            output: config.output_limit,
            calls_per_second: config.calls_per_second,
        })?;
        Ok(machine)
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    ///
    /// If the system refuses something. Whatever the guest does is an [`Outcome`].
    ///
    /// # Panics
    ///
    /// If the guest has ended before.
    pub fn run(&mut self) -> Result<Outcome, Error> {
        loop {
            if let Some(outcome) = self.turn(Pace::Full)? {
                return Ok(outcome);
            }
        }
    }

    /// The guest's registers.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    pub fn registers(&mut self) -> Result<Registers, Error> {
        self.backend.registers()
    }

    /// By which other threads raise its event lines.
    pub fn event_lines(&self) -> EventLines {
        EventLines(self.events.clone())
    }

    /// Its memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The backend that runs it, which is not [`BackendKind::Auto`].
    pub fn backend(&self) -> BackendKind {
        self.kind
    }

    /// The identifier of the guest's process.
    pub fn pid(&self) -> i32 {
        self.backend.pid()
    }

    /// Delivers what is due and lets the guest run until it stops once: for a call, which is served, for
    /// an exception, because an event came, or, at [`Pace::Step`], after one instruction. Gives the
    /// outcome if that was its end.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    ///
    /// # Panics
    ///
    /// If the guest has ended before.
    pub fn turn(&mut self, pace: Pace) -> Result<Option<Outcome>, Error> {
        assert!(!self.ended, "the guest has ended before");
        if self.events.stopped() {
            let report = self.report(self.events.what_is_over().to_owned())?;
            return Ok(self.end(Outcome::TimeLimit(report)));
        }
        if self.events.kicked(&mut self.seen)
            && self.pages.vcpu().pending.load(Relaxed) != 0
            && let Some(outcome) = self.interrupt(Interruption::Event)?
        {
            return Ok(self.end(outcome));
        }
        if !self.events.enter(self.seen) {
            return Ok(None);
        }
        let stop = self.backend.run(pace, &self.memory);
        self.events.leave();
        let outcome = match stop? {
            Stop::Kick | Stop::Stepped => None,
            // It goes on meanwhile, and this comes once.
            Stop::Idle => {
                self.live_on()?;
                return self.turn(pace);
            }
            Stop::Call(request) => match self.serve(request)? {
                Flow::Answer(result) => {
                    self.answer(result)?;
                    None
                }
                Flow::Continue => None,
                Flow::End(outcome) => Some(outcome),
            },
            Stop::Exception(exception) => self.interrupt(Interruption::Exception(exception))?,
            Stop::Killed(signal) => Some(report::killed(signal)),
        };
        Ok(outcome.and_then(|outcome| self.end(outcome)))
    }

    fn end(&mut self, outcome: Outcome) -> Option<Outcome> {
        self.ended = true;
        Some(outcome)
    }

    /// Performs an upcall, if the guest allows it. Gives the outcome if that was its end.
    fn interrupt(&mut self, interruption: Interruption) -> Result<Option<Outcome>, Error> {
        match self.backend.interrupt(self.pages.vcpu(), interruption)? {
            Delivery::Upcall | Delivery::Deferred => Ok(None),
            Delivery::DoubleFault(exception) => {
                let registers = self.backend.registers()?;
                let report = self.report_at(report::double_fault(exception, &registers), registers);
                Ok(Some(Outcome::Faulted(report)))
            }
        }
    }

    fn answer(&mut self, result: Result<u64, CallError>) -> Result<(), Error> {
        let value = match result {
            Ok(value) => value.min(i64::MAX as u64) as i64,
            Err(error) => error as i64,
        };
        if !std::mem::take(&mut self.answered) {
            return self.backend.answer(value);
        }
        let mut registers = self.backend.registers()?;
        registers.raw.rax = value as u64;
        self.backend.set_registers(registers)
    }

    /// Serves a call. Everything in the request is the guest's word.
    fn serve(&mut self, request: Request) -> Result<Flow, Error> {
        if let Some(until) = self.limits.call(sys::monotonic) {
            self.delay(until);
            if self.events.find_over() {
                return Ok(Flow::Continue);
            }
        }
        let [a, b, c, d] = request.arguments;
        let Some(call) = Call::from_number(request.number) else {
            return Ok(Flow::Answer(Err(CallError::NoSuchCall)));
        };
        Ok(Flow::Answer(match call {
            Call::Null => Ok(0),
            Call::Exit => return Ok(Flow::End(Outcome::Exited(a as u8))),
            Call::Panic => match self.message(a, b) {
                Ok(message) => {
                    let mut report = self.report(format!("the guest {message}"))?;
                    report.backtrace = report::without_panic_machinery(report.backtrace);
                    return Ok(Flow::End(Outcome::Panicked(report)));
                }
                Err(error) => Err(error),
            },
            Call::Fault => match self.message(a, b) {
                Ok(message) => {
                    let (sentence, registers) = report::unhandled(&self.pages.vcpu().ssa, &message);
                    return Ok(Flow::End(Outcome::Faulted(self.report_at(sentence, registers))));
                }
                Err(error) => Err(error),
            },
            Call::ConsoleWrite if matches!(a, STREAM_OUTPUT | STREAM_ERRORS) => {
                self.transfer(a, b, c, Access::READ)?
            }
            Call::ConsoleRead if a == STREAM_INPUT => self.transfer(a, b, c, Access::READ | Access::WRITE)?,
            Call::ConsoleWrite | Call::ConsoleRead => Err(CallError::BadArgument),
            Call::Wait => return self.wait((a != NEVER).then_some(a)),
            Call::TimerSet => match u32::try_from(a) {
                Ok(line) if line < EVENT_LINES => {
                    let deadline = (b != NEVER).then_some(b);
                    self.timers.set(line, deadline).map_err(|error| Error::system("set a timer", error))?;
                    Ok(0)
                }
                _ => Err(CallError::BadArgument),
            },
            Call::Protect => self.protect(a, b, c)?,
            Call::Clock => Ok(self.timers.clock().now()),
            Call::DeviceRead => self.devices.read(a, b),
            Call::DeviceWrite => self.devices.write(a, b, c),
            Call::DeviceNotify => match self.devices.notify(a, b) {
                Ok(waits) => {
                    if let Some(Waits { stream, device, queue }) = waits {
                        let watched = self.timers.watch(stream, Action::Serve(device, queue));
                        watched.map_err(|error| Error::system("watch a stream", error))?;
                    }
                    Ok(0)
                }
                Err(error) => Err(error),
            },
            Call::Serve => match self.serve_requests((a, b), (c, d)) {
                Ok(()) => return Ok(Flow::Continue),
                Err(error) => Err(error),
            },
            Call::HostCall => self.call_host((a, b), (c, d)),
            Call::HostReply => self.fetch_reply(a, b),
        }))
    }

    /// Sleeps until the host's monotonic clock has reached `until` in ns, or waiting makes no sense any more.
    fn delay(&mut self, until: u64) {
        // Kicks that come meanwhile are seen to afterwards.
        let mut seen = self.seen;
        let until = self.events.limit().map_or(until, |limit| limit.min(until));
        while sys::monotonic() < until && !self.events.over() {
            self.events.kicked(&mut seen);
            self.events.sleep(seen, Some(until));
        }
    }

    fn transfer(
        &mut self,
        stream: u64,
        address: u64,
        length: u64,
        access: Access,
    ) -> Result<Result<u64, CallError>, Error> {
        let Some(memory) = self.memory.find(address, length, access) else {
            return Ok(Err(CallError::BadAddress));
        };
        if length == 0 {
            return Ok(Ok(0));
        }
        let is_output = stream != STREAM_INPUT;
        let length = match if is_output { self.limits.output(length) } else { Ok(length) } {
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        let stream = &mut self.streams[stream as usize];
        let result = stream.transfer(memory, length);
        if is_output {
            self.limits.written(result.unwrap_or(0));
        }
        if result == Err(CallError::Again) {
            let watched = self.timers.watch(stream.readiness(), Action::Raise(CONSOLE_LINE));
            watched.map_err(|error| Error::system("watch a stream", error))?;
        }
        Ok(result)
    }

    /// Sees to what only a guest needs that does not end at once: it goes first should memory run short, and
    /// somebody notices when its process ends.
    fn live_on(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.lives_on, true) {
            process::put_first(self.backend.pid());
        }
        self.timers.ensure_thread().map_err(|error| Error::system("start a thread", error))
    }

    /// Enables events and sleeps until one is there, the deadline has passed or the guest's time is over.
    fn wait(&mut self, deadline: Option<u64>) -> Result<Flow, Error> {
        let pages = self.pages.clone();
        let page = pages.vcpu();
        page.state.fetch_or(State::IRQ.bits(), Relaxed);
        self.timers.take_back().map_err(|error| Error::system("set a timer", error))?;
        loop {
            if self.events.over() {
                return Ok(Flow::Continue);
            }
            let kicked = self.events.kicked(&mut self.seen) && page.pending.load(Relaxed) != 0;
            if kicked || page.sticky.load(Relaxed) & Sticky::EVENT_PENDING.bits() != 0 {
                self.answer(Ok(0))?;
                let outcome = self.interrupt(Interruption::Event)?;
                return Ok(outcome.map_or(Flow::Continue, Flow::End));
            }
            if deadline.is_some_and(|deadline| deadline <= self.timers.clock().now()) {
                return Ok(Flow::Answer(Err(CallError::TimedOut)));
            }
            if self.timers.pass(deadline) {
                continue;
            }
            self.live_on()?;
            let until = deadline.map(|deadline| self.timers.clock().to_host(deadline));
            let limit = self.events.limit();
            self.events.sleep(self.seen, until.into_iter().chain(limit).min());
            if limit.is_some_and(|limit| limit <= sys::monotonic()) {
                self.events.end_time();
            }
        }
    }

    fn protect(&mut self, address: u64, length: u64, access: u64) -> Result<Result<u64, CallError>, Error> {
        let Some(access) = Access::from_number(access) else { return Ok(Err(CallError::BadArgument)) };
        if !address.is_multiple_of(PAGE_SIZE) || !length.is_multiple_of(PAGE_SIZE) {
            return Ok(Err(CallError::BadArgument));
        }
        if self.memory.offsets(address, length).is_none() {
            return Ok(Err(CallError::BadAddress));
        }
        if length == 0 {
            return Ok(Ok(0));
        }
        let pages = address..address + length;
        if self.memory.is_text(&pages, &self.image) || !self.backend.protect(pages.clone(), access)? {
            return Ok(Err(CallError::Denied));
        }
        self.memory.set_access(pages, access);
        Ok(Ok(0))
    }
}

/// Keeps this thread, and the children it makes, on one core until dropped.
#[derive(Debug)]
struct Pinned {
    before: CpuSet,
    // The affinity is this thread's.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Pinned {
    /// Pins to the core that the thread is on, if there is another; where that is refused, things are slower
    /// but right.
    fn here() -> Option<Pinned> {
        let before = rustix::thread::sched_getaffinity(None).ok().filter(|before| before.count() > 1)?;
        let mut here = CpuSet::new();
        here.set(rustix::thread::sched_getcpu());
        rustix::thread::sched_setaffinity(None, &here).ok()?;
        Some(Pinned { before, _not_send: std::marker::PhantomData })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Refused at worst, which changes speed only.
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}
