//! A moment of a guest's life, but for its RAM: what its virtual CPU is, what its pages may be used for, and what
//! its clock and timers say.

use super::Machine;
use crate::Error;
use crate::clock::Clock;
use crate::memory;
use crate::registers::Registers;
use rustix::io::Errno;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE};
use vcpu_abi::page::{EVENT_LINES, VcpuPage};

/// More bytes than any processor's extended state has; tiles alone are 8 KiB.
const EXTENDED_MAX: usize = 64 << 10;

/// Such a moment. Two are equal if the guest cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    registers: Registers,
    extended: Vec<u8>,
    page: Vec<u64>,
    /// A call that the gate has not published yet.
    half_made: [u64; 5],
    /// The rights of pages, as [`GuestMemory`](crate::GuestMemory) notes them.
    access: Vec<u8>,
    /// The clock, in ns.
    now: u64,
    deadlines: [Option<u64>; EVENT_LINES as usize],
    /// Whether a line was raised that the vCPU's thread has not seen to.
    kicked: bool,
}

impl Moment {
    /// What the guest is now.
    ///
    /// # Errors
    ///
    /// If the system refuses something.
    pub(crate) fn of(machine: &mut Machine) -> Result<Moment, Error> {
        let mut moment = Moment {
            registers: Registers::start(0),
            extended: Vec::new(),
            page: Vec::new(),
            half_made: [0; 5],
            access: Vec::new(),
            now: 0,
            deadlines: [None; EVENT_LINES as usize],
            kicked: false,
        };
        moment.renew(machine)?;
        Ok(moment)
    }

    /// Becomes what the guest is now.
    ///
    /// # Errors
    ///
    /// As [`of`](Moment::of).
    pub(crate) fn renew(&mut self, machine: &mut Machine) -> Result<(), Error> {
        self.registers = machine.backend.registers()?;
        // By which system call it was stopped is no concern of the guest's.
        self.registers.raw.orig_rax = u64::MAX;
        self.extended.resize(EXTENDED_MAX, 0);
        let length = machine.backend.extended(&mut self.extended)?;
        self.extended.truncate(length);
        self.half_made = machine.pages.slot().half_made();
        self.access.clone_from(&machine.memory.access);
        machine.timers.take_back().map_err(|error| Error::system("set a timer", error))?;
        self.now = machine.timers.clock().now();
        // A deadline that comes between the two looks would be in neither, and its line never raised.
        machine.timers.hold(|deadlines| {
            self.deadlines = deadlines;
            self.page.clear();
            self.page.extend(words(machine.pages.vcpu()).iter().map(|word| word.load(Relaxed)));
            self.kicked = machine.events.kicked(&mut machine.seen.clone());
        });
        Ok(())
    }

    /// The clock, in ns.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Makes the guest what it was then, or another one that has the same RAM. Its clock stands or goes on from
    /// where it is, if it is not virtual.
    ///
    /// # Errors
    ///
    /// If the system refuses something, or the guest's process was killed.
    pub(crate) fn apply(&self, machine: &mut Machine) -> Result<(), Error> {
        self.apply_access(machine)?;
        machine.backend.set_extended(&self.extended)?;
        machine.backend.set_registers(self.registers)?;
        for (word, then) in words(machine.pages.vcpu()).iter().zip(&self.page) {
            word.store(*then, Relaxed);
        }
        machine.pages.slot().set_half_made(self.half_made);
        if let Clock::Virtual(now) = machine.timers.clock() {
            now.store(self.now, Relaxed);
        }
        machine.events.kicked(&mut machine.seen);
        machine.seen = machine.seen.wrapping_sub(self.kicked.into());
        machine.ended = false;
        // Last: one that has come by now raises its line at once, and that kick is not seen yet.
        let set = machine.timers.set_deadlines(self.deadlines);
        set.map_err(|error| Error::system("set a timer", error))
    }

    /// Changes the rights of pages, a run of equal ones at a time.
    fn apply_access(&self, machine: &mut Machine) -> Result<(), Error> {
        let mut from = 0;
        while self.access[from..] != machine.memory.access[from..] {
            let now = &machine.memory.access;
            let differs = |index: &usize| self.access[*index] != now[*index];
            let first = (from..now.len()).find(differs).expect("the lists differ");
            let run = (first..now.len()).take_while(differs);
            let end = first + run.take_while(|index| self.access[*index] == self.access[first]).count();
            let pages = RAM_BASE + first as u64 * PAGE_SIZE..RAM_BASE + end as u64 * PAGE_SIZE;
            let access = memory::decode(self.access[first]);
            if !machine.backend.protect(pages.clone(), access)? {
                let error = io::Error::from(Errno::NOMEM);
                return Err(Error::system("change the access of pages back", error));
            }
            machine.memory.set_access(pages, access);
            from = end;
        }
        Ok(())
    }
}

/// The vCPU page as words.
fn words(page: &VcpuPage) -> &[AtomicU64] {
    // SAFETY: the page consists of atomic integers and is aligned to more than a word; its size is a
    // multiple of its alignment.
    unsafe {
        std::slice::from_raw_parts(
            std::ptr::from_ref(page).cast(),
            size_of::<VcpuPage>() / size_of::<AtomicU64>(),
        )
    }
}
