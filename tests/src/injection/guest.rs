//! A guest that is stepped, and set back with what it has written.

use super::{Event, PATIENCE, Scenario};
use crate::BackendKind;
use rustix::fs::{MemfdFlags, SeekFrom};
use std::os::fd::OwnedFd;
use vcpu_abi::call::Call;
use vcpu_abi::layout::{GATE, PAGE_SIZE};
use vcpu_host::backend::Pace;
use vcpu_host::registers::Registers;
use vcpu_host::{Checkpoint, ClockMode, Config, Error, Image, Machine, Outcome, Streams};

/// More steps than there can be in a row that change no register.
const STILL_MAX: usize = 100;

/// A moment to which a guest can be set back, with what it has written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    checkpoint: Checkpoint,
    /// Lengths of output and errors.
    written: [u64; 2],
}

impl Moment {
    pub(super) fn now(guest: &mut Guest) -> Result<Moment, Error> {
        Ok(Moment { checkpoint: Checkpoint::new(&mut guest.sandbox)?, written: guest.written() })
    }

    pub(super) fn renew(&mut self, guest: &mut Guest) -> Result<(), Error> {
        self.written = guest.written();
        self.checkpoint.renew(&mut guest.sandbox)
    }

    pub(super) fn restore(&mut self, guest: &mut Guest) -> Result<(), Error> {
        guest.output.set_length(self.written[0]);
        guest.errors.set_length(self.written[1]);
        self.checkpoint.restore(&mut guest.sandbox)
    }
}

/// A running guest and what it writes.
pub(super) struct Guest {
    pub(super) sandbox: Machine,
    pub(super) output: Captured,
    pub(super) errors: Captured,
}

impl Guest {
    pub(super) fn start(scenario: &Scenario, image: &Image, backend: BackendKind) -> Result<Self, Error> {
        let (output, errors) = (Captured::new(), Captured::new());
        let mut streams = Streams::null().expect("there is a null device");
        (streams.output, streams.errors) = (output.descriptor(), errors.descriptor());
        let config = Config {
            arguments: vec![scenario.package.into(), scenario.name.into()],
            clock: ClockMode::Virtual,
            time_limit: Some(PATIENCE),
            streams: Some(streams),
            backend,
            ..Config::default()
        };
        Ok(Guest { sandbox: Machine::start(image, config)?, output, errors })
    }

    fn written(&self) -> [u64; 2] {
        [self.output.length(), self.errors.length()]
    }

    /// The guest's registers, without what tells by which system call it was stopped.
    pub(super) fn registers(&mut self) -> Result<Registers, Error> {
        let mut registers = self.sandbox.registers()?;
        registers.raw.orig_rax = u64::MAX;
        Ok(registers)
    }

    pub(super) fn inject(&mut self, event: Event) -> bool {
        match event {
            Event::Line(line) => {
                self.sandbox.event_lines().raise(line);
                true
            }
            Event::Timer => self.sandbox.pass_to_next_timer(),
        }
    }

    /// Carries out one instruction. Gives the outcome if that was the guest's end.
    pub(super) fn step(&mut self) -> Result<Option<Outcome>, Error> {
        let before = self.registers()?;
        // To leave a call that has its answer is a step in which nothing happens.
        for _ in 0..STILL_MAX {
            let outcome = self.sandbox.turn(Pace::Step)?;
            if outcome.is_some() || self.registers()? != before {
                return Ok(outcome);
            }
        }
        panic!("the guest jumps on the spot: {before:x?}");
    }
}

/// Whether the last thing that happened was a `null` call.
pub(super) fn is_null_call(registers: &Registers) -> bool {
    let raw = &registers.raw;
    (GATE..GATE + PAGE_SIZE).contains(&raw.rip) && raw.rdi as u32 == Call::Null as u32 && raw.rax == 0
}

/// How a guest ended, in words.
pub(super) fn told(outcome: &Outcome) -> String {
    match outcome.report() {
        Some(report) => format!("it ended by: {report}"),
        None => format!("it exited with status {}", outcome.status()),
    }
}

/// What a guest writes to a stream: a file in memory.
#[derive(Debug)]
pub(super) struct Captured(OwnedFd);

impl Captured {
    fn new() -> Captured {
        Captured(rustix::fs::memfd_create("captured", MemfdFlags::CLOEXEC).expect("files are to be had"))
    }

    /// A descriptor with the same position.
    fn descriptor(&self) -> OwnedFd {
        self.0.try_clone().expect("descriptors are to be had")
    }

    /// How much was written: what lies behind the position was forgotten.
    fn length(&self) -> u64 {
        rustix::fs::seek(&self.0, SeekFrom::Current(0)).expect("a file has positions")
    }

    fn set_length(&self, length: u64) {
        rustix::fs::seek(&self.0, SeekFrom::Start(length)).expect("a file has positions");
    }

    pub(super) fn text(&self) -> String {
        let mut bytes = vec![0; self.length() as usize];
        let length = rustix::io::pread(&self.0, &mut bytes, 0).expect("the file can be read");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}
