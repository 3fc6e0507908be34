//! Checkpoints: what a stopped guest is at one moment, so that it can be set back to it, in place.
//!
//! They are for tests that let one guest run from the same moment again and again. A new process would
//! have to be started and filled; to set the old one back costs about as much as it has done since.
//!
//! | what belongs to a guest | how it is known what has changed |
//! |---|---|
//! | general registers, extended state, vCPU page | they are small: all is written |
//! | RAM | the pages that its file has at all are compared with a copy |
//! | rights of pages | the machine's own list is compared with a copy; `mprotect` changes them back |
//! | virtual clock, timers, a raised line that was not seen to | they are small: all is written |
//!
//! Not the guest's, and left alone: what went through its streams, and its time limit.

use super::Machine;
use crate::Error;
use crate::clock::Clock;
use crate::memory::{self, GuestMemory};
use crate::registers::Registers;
use crate::sys;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE};
use vcpu_abi::page::{EVENT_LINES, State, VcpuPage};

/// More bytes than any processor's extended state has; tiles alone are 8 KiB.
const EXTENDED_MAX: usize = 64 << 10;

const PAGE: usize = PAGE_SIZE as usize;

/// One moment of a guest's life. Two are equal if the guest cannot tell them apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Checkpoint {
    registers: Registers,
    extended: Vec<u8>,
    extended_length: usize,
    page: Vec<u64>,
    /// A call that the gate has not published yet.
    half_made: [u64; 5],
    /// As long as RAM; pages that RAM's file never had are never touched here either.
    ram: Vec<u8>,
    /// The rights of pages, as [`GuestMemory`] notes them.
    access: Vec<u8>,
    now: u64,
    deadlines: [Option<u64>; EVENT_LINES as usize],
    /// Whether a line was raised that the vCPU's thread has not seen to.
    kicked: bool,
}

impl Checkpoint {
    /// Remembers what the guest is now.
    ///
    /// # Errors
    ///
    /// If the system refuses something.
    ///
    /// # Panics
    ///
    /// If the guest's clock is not virtual: time that passes by itself cannot be set back.
    pub fn new(sandbox: &mut Machine) -> Result<Checkpoint, Error> {
        let mut checkpoint = Checkpoint {
            registers: Registers::start(0),
            extended: vec![0; EXTENDED_MAX],
            extended_length: 0,
            page: Vec::new(),
            half_made: [0; 5],
            ram: vec![0; sandbox.memory.size() as usize],
            access: Vec::new(),
            now: 0,
            deadlines: [None; EVENT_LINES as usize],
            kicked: false,
        };
        checkpoint.renew(sandbox)?;
        Ok(checkpoint)
    }

    /// Remembers what the same guest is now instead. Cheaper than a new checkpoint: only pages that differ
    /// are copied.
    ///
    /// # Errors
    ///
    /// As [`new`](Checkpoint::new).
    ///
    /// # Panics
    ///
    /// As [`new`](Checkpoint::new).
    pub fn renew(&mut self, sandbox: &mut Machine) -> Result<(), Error> {
        assert!(sandbox.timers.clock().is_virtual(), "a checkpoint needs a virtual clock");
        self.registers = sandbox.backend.registers()?;
        // By which system call it was stopped is no concern of the guest's.
        self.registers.raw.orig_rax = u64::MAX;
        self.extended_length = sandbox.backend.extended(&mut self.extended)?;
        self.page.clear();
        self.page.extend(words(sandbox.pages.vcpu()).iter().map(|word| word.load(Relaxed)));
        self.half_made = sandbox.pages.slot().half_made();
        changed(&sandbox.memory, &mut self.ram, |now, then| then.copy_from_slice(now))?;
        self.access.clone_from(&sandbox.memory.access);
        self.now = sandbox.timers.clock().now();
        self.deadlines = sandbox.timers.deadlines();
        self.kicked = sandbox.events.kicked(&mut sandbox.seen.clone());
        Ok(())
    }

    /// Sets the guest back to what it was. It may have ended since then in any way that has left its process
    /// alive and its time limit unused.
    ///
    /// # Errors
    ///
    /// If the system refuses something, or the process was killed.
    pub fn restore(&mut self, sandbox: &mut Machine) -> Result<(), Error> {
        self.restore_access(sandbox)?;
        sandbox.backend.set_extended(&mut self.extended[..self.extended_length])?;
        sandbox.backend.set_registers(self.registers)?;
        for (word, then) in words(sandbox.pages.vcpu()).iter().zip(&self.page) {
            word.store(*then, Relaxed);
        }
        sandbox.pages.slot().set_half_made(self.half_made);
        changed(&sandbox.memory, &mut self.ram, |now, then| now.copy_from_slice(then))?;
        if let Clock::Virtual(now) = sandbox.timers.clock() {
            now.store(self.now, Relaxed);
        }
        sandbox.timers.set_deadlines(self.deadlines);
        sandbox.events.kicked(&mut sandbox.seen);
        sandbox.seen = sandbox.seen.wrapping_sub(self.kicked.into());
        sandbox.ended = false;
        Ok(())
    }

    /// Changes the rights of pages back, a run of equal ones at a time.
    fn restore_access(&self, sandbox: &mut Machine) -> Result<(), Error> {
        let mut from = 0;
        while self.access[from..] != sandbox.memory.access[from..] {
            let now = &sandbox.memory.access;
            let differs = |index: &usize| self.access[*index] != now[*index];
            let first = (from..now.len()).find(differs).expect("the lists differ");
            let run = (first..now.len()).take_while(differs);
            let end = first + run.take_while(|index| self.access[*index] == self.access[first]).count();
            let pages = RAM_BASE + first as u64 * PAGE_SIZE..RAM_BASE + end as u64 * PAGE_SIZE;
            let access = memory::decode(self.access[first]);
            if !sandbox.backend.protect(pages.clone(), access)? {
                let error = io::Error::from(Errno::NOMEM);
                return Err(Error::system("change the access of pages back", error));
            }
            sandbox.memory.set_access(pages, access);
            from = end;
        }
        Ok(())
    }
}

/// What one needs to let a guest run from a checkpoint under control.
impl Machine {
    /// Lets virtual time pass to the next timer, whose line is raised. False if none is set, or time is not
    /// virtual.
    pub fn pass_to_next_timer(&mut self) -> bool {
        self.timers.pass(None)
    }

    /// Gives the guest this much time from now on, instead of what it was given at first.
    ///
    /// # Errors
    ///
    /// If the system refuses something.
    pub fn renew_time_limit(&mut self, limit: Duration) -> Result<(), Error> {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let limit = sys::monotonic().saturating_add(limit);
        self.timers.set_limit(limit).map_err(|error| Error::system("set the time limit", error))
    }

    /// Whether the guest takes events now.
    pub fn takes_events(&self) -> bool {
        self.pages.vcpu().state.load(Relaxed) & State::IRQ.bits() != 0
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

/// Calls `action` with every page of RAM that differs from its copy, and with the copy. Pages that RAM's
/// file does not have are zero, here and there.
fn changed(
    memory: &GuestMemory,
    copy: &mut [u8],
    mut action: impl FnMut(&mut [u8], &mut [u8]),
) -> Result<(), Error> {
    let (file, _) = memory.files();
    let ram = memory.mapping.pointer();
    let seek = |position| match rustix::fs::seek(file, position) {
        Ok(offset) => Ok(Some(offset)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(Error::system("find the pages of the guest's memory", error.into())),
    };
    let mut end = 0;
    while let Some(start) = seek(SeekFrom::Data(end))? {
        end = seek(SeekFrom::Hole(start))?.expect("there is a hole behind the last page");
        for offset in (start as usize..end as usize).step_by(PAGE) {
            // SAFETY: the page lies in the mapping of RAM, since the file is as long as that. The guest is
            // stopped, and the host keeps no other reference into it.
            let page = unsafe { std::slice::from_raw_parts_mut(ram.add(offset), PAGE) };
            let copy = &mut copy[offset..offset + PAGE];
            if page != copy {
                action(page, copy);
            }
        }
    }
    Ok(())
}
