//! The state of a guest that waits for a request, from which others can be made to go on.
//!
//! Of RAM it keeps the pages that the guest has touched, in a file of its own; a new guest gets a copy of them
//! before it runs, in new RAM or in that of one that is dead. Its clock goes on from where it stood.
//!
//! A new guest is a new process. To set an old one back would take less time, and would be no reset: its
//! process has run code that may be hostile, which could have kept from being stopped, and nobody but the kernel
//! could tell. For the same reason the pages that it has changed are found by comparing what it left behind.

use super::exchange::Waiting;
use super::moment::Moment;
use super::{Config, Machine};
use crate::Error;
use crate::backend::BackendKind;
use crate::clock::ClockMode;
use crate::device::State;
use crate::image::Image;
use crate::information::Strings;
use crate::memory::GuestMemory;
use crate::sys::{self, Mapping};
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use vcpu_abi::layout::PAGE_SIZE;

/// Such a state.
#[derive(Debug)]
pub(crate) struct Saved {
    image: Image,
    backend: BackendKind,
    clock: ClockMode,
    /// Arguments, environment and names of devices.
    strings: Strings,
    devices: Vec<State>,
    /// Which standard streams the guest waits for.
    awaited: [bool; 3],
    moment: Moment,
    waiting: Waiting,
    ram: Ram,
}

/// What a guest begins with.
#[derive(Debug)]
pub(crate) enum Begin<'s> {
    /// Its image.
    Image,
    /// The state of another one.
    State(&'s Saved),
    /// As well, in the RAM of one of that image that is dead.
    Reused(&'s Saved, GuestMemory),
}

impl<'s> Begin<'s> {
    /// The state, if it is not the image's.
    pub(super) fn state(&self) -> Option<&'s Saved> {
        match self {
            Begin::Image => None,
            Begin::State(state) | Begin::Reused(state, _) => Some(state),
        }
    }
}

/// The pages of RAM that are not zero for sure.
#[derive(Debug)]
pub(crate) struct Ram {
    copy: Mapping,
    ranges: Vec<Range<u64>>,
}

impl Ram {
    /// Copies what there is of a guest's RAM.
    fn of(memory: &GuestMemory) -> io::Result<Ram> {
        let (file, _) = memory.files();
        let own = sys::memfd(c"vcpu-snapshot", memory.size())?;
        let ranges = data(file)?;
        for range in &ranges {
            copy(memory.mapping.pointer(), own.as_fd(), range)?;
        }
        Ok(Ram { copy: Mapping::new(&own, memory.size() as usize)?, ranges })
    }

    /// Size of RAM in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.copy.length() as u64
    }

    /// Copies it to another guest's RAM, which is zero.
    pub(crate) fn copy_to(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.ranges.iter().try_for_each(|range| copy(self.copy.pointer(), file, range))
    }
}

impl Ram {
    /// Makes RAM what it was here, though a guest has used it since. That guest is dead, and RAM is not used by
    /// anybody.
    pub(crate) fn repair(&self, memory: &GuestMemory) -> io::Result<()> {
        let (file, _) = memory.files();
        // Which may have pages here that the guest never had.
        for range in &self.ranges {
            self.repair_pages(memory, range.clone(), file)?;
        }
        let mut known = self.ranges.iter().peekable();
        for now in data(file)? {
            let mut at = now.start;
            while at < now.end {
                while known.next_if(|range| range.end <= at).is_some() {}
                match known.peek() {
                    Some(range) if range.start <= at => at = range.end.min(now.end),
                    other => {
                        let end = other.map_or(now.end, |range| range.start.min(now.end));
                        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                        rustix::fs::fallocate(file, flags, at, end - at)?;
                        at = end;
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies those pages of a range that differ.
    fn repair_pages(&self, memory: &GuestMemory, range: Range<u64>, file: BorrowedFd<'_>) -> io::Result<()> {
        for at in range.step_by(PAGE_SIZE as usize) {
            let page = |mapping: &Mapping| mapping.pointer().wrapping_add(at as usize);
            // SAFETY: both mappings are longer than that and have a page there; nobody writes either, since the
            // guest is dead and this copy never changes.
            let differs = unsafe {
                let slice = |from| std::slice::from_raw_parts(from, PAGE_SIZE as usize);
                slice(page(&memory.mapping)) != slice(page(&self.copy))
            };
            if differs {
                copy(self.copy.pointer(), file, &(at..at + PAGE_SIZE))?;
            }
        }
        Ok(())
    }
}

/// The ranges of a file that it has pages for.
fn data(file: BorrowedFd<'_>) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut end = 0;
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(start) => {
                end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
                ranges.push(start..end);
            }
            Err(Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Copies a range of a mapping to the same place of a file. By the kernel, which needs no page tables for
/// that and takes pages that are written whole without clearing them first.
fn copy(mapping: *const u8, file: BorrowedFd<'_>, range: &Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let from = mapping.wrapping_add(at as usize).cast();
        let length = (range.end - at) as usize;
        // SAFETY: the caller's mapping is as long as the file; the kernel reads it, and needs no reference.
        let count = unsafe { libc::pwrite(file.as_raw_fd(), from, length, at as libc::off_t) };
        match sys::check(count as libc::c_long) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => at += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Saved {
    /// The state of a guest that waits for a request.
    ///
    /// # Errors
    ///
    /// If a device holds something for the guest, or the system refuses something.
    ///
    /// # Panics
    ///
    /// If the guest does not wait for a request.
    pub(crate) fn of(machine: &mut Machine) -> Result<Saved, Error> {
        let waiting = machine.exchange.waiting.expect("the guest waits");
        // A device that served something between two looks would be in no state that there ever was.
        let devices = machine.devices.clone();
        let held = devices.hold();
        let states = held.states().map_err(Error::DeviceInUse)?;
        // From here on its answer is a register of a stopped guest, here and in those that are made of it.
        if !std::mem::replace(&mut machine.answered, true) {
            machine.backend.answer(0)?;
        }
        // Looked at first: what comes now is in the moment.
        let awaited = machine.timers.awaited(&machine.streams);
        let moment = Moment::of(machine)?;
        let ram =
            Ram::of(&machine.memory).map_err(|error| Error::system("copy the guest's memory", error))?;
        let clock = if machine.timers.clock().is_virtual() { ClockMode::Virtual } else { ClockMode::Real };
        let (image, strings) = (machine.image.clone(), machine.strings.clone());
        let (backend, devices) = (machine.kind, states);
        Ok(Saved { image, backend, clock, strings, devices, awaited, moment, waiting, ram })
    }

    /// The guest's image.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// What a guest that goes on from here must be given, but for streams, grants and functions.
    pub(crate) fn config(&self) -> Config {
        let memory = Some(self.ram.size());
        Config { memory, backend: self.backend, clock: self.clock, ..Config::default() }
    }

    /// What its drivers had set up.
    pub(crate) fn devices(&self) -> &[State] {
        &self.devices
    }

    /// Which standard streams it waited for.
    pub(crate) fn awaited(&self) -> [bool; 3] {
        self.awaited
    }

    /// What RAM was.
    pub(crate) fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Arguments, environment and names of devices.
    pub(super) fn strings(&self) -> &Strings {
        &self.strings
    }

    /// What the clock said, in ns.
    pub(crate) fn now(&self) -> u64 {
        self.moment.now()
    }

    /// Makes a guest that has not run, and has a copy of this RAM, wait for a request as the other did.
    pub(super) fn apply(&self, machine: &mut Machine) -> Result<(), Error> {
        self.moment.apply(machine)?;
        machine.exchange.waiting = Some(self.waiting);
        machine.answered = true;
        Ok(())
    }

    /// Bytes of RAM that a new guest gets a copy of.
    pub(crate) fn touched(&self) -> u64 {
        self.ram.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

impl Machine {
    /// Whether its RAM could be that of a guest in this state.
    pub(crate) fn fits(&self, state: &Saved) -> bool {
        self.image.is(state.image()) && self.memory.size() == state.ram().size()
    }

    /// Ends the guest, and gives its RAM, which nobody uses any more.
    pub(crate) fn into_memory(self) -> GuestMemory {
        // All others end with this statement: process, devices, and threads that raise lines.
        let Machine { memory, .. } = self;
        memory
    }
}
