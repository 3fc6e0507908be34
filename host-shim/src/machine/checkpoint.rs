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
use super::moment::Moment;
use crate::Error;
use crate::memory::GuestMemory;
use crate::sys;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use vcpu_abi::layout::PAGE_SIZE;
use vcpu_abi::page::State;

const PAGE: usize = PAGE_SIZE as usize;

/// One moment of a guest's life. Two are equal if the guest cannot tell them apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Checkpoint {
    moment: Moment,
    /// As long as RAM; pages that RAM's file never had are never touched here either.
    ram: Vec<u8>,
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
        assert!(sandbox.timers.clock().is_virtual(), "a checkpoint needs a virtual clock");
        let moment = Moment::of(sandbox)?;
        let mut checkpoint = Checkpoint { moment, ram: vec![0; sandbox.memory.size() as usize] };
        checkpoint.renew_ram(sandbox)?;
        Ok(checkpoint)
    }

    /// Remembers what the same guest is now instead. Cheaper than a new checkpoint: only pages that differ
    /// are copied.
    ///
    /// # Errors
    ///
    /// As [`new`](Checkpoint::new).
    pub fn renew(&mut self, sandbox: &mut Machine) -> Result<(), Error> {
        self.moment.renew(sandbox)?;
        self.renew_ram(sandbox)
    }

    fn renew_ram(&mut self, sandbox: &Machine) -> Result<(), Error> {
        changed(&sandbox.memory, &mut self.ram, |now, then| then.copy_from_slice(now))
    }

    /// Sets the guest back to what it was. It may have ended since then in any way that has left its process
    /// alive and its time limit unused.
    ///
    /// # Errors
    ///
    /// If the system refuses something, or the process was killed.
    pub fn restore(&mut self, sandbox: &mut Machine) -> Result<(), Error> {
        self.moment.apply(sandbox)?;
        changed(&sandbox.memory, &mut self.ram, |now, then| now.copy_from_slice(then))
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
