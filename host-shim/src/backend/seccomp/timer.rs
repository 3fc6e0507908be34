//! The timers of the guest's own process, one for either half of the lines: deadlines pass without the host.
//!
//! The host writes a timer's deadlines into its page, the earliest first, and the guest's side sets the timer
//! to the first of them before it takes its answer. When it fires, the handler of its signal raises the
//! lines of all deadlines that have come and sets the timer to the next one. Host and handler may go for the
//! same deadline at the same time, so there is one word, `armed`, that says which is next: the handler steps
//! on by compare and exchange, the host takes the rest. Each table has a number of its own in that word, so
//! nobody steps on in another one.

use super::slot::{Alarms, CallSlot, Deadline};
use crate::clock::Clock;
use crate::process::MachinePages;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const SECOND: u64 = 1_000_000_000;

/// One of its deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) line: u32,
    /// The host's monotonic clock, in ns.
    pub(crate) at: u64,
    /// The time-stamp counter.
    pub(crate) due: u64,
}

/// One of the timers. It is for the vCPU's thread while the guest waits for an answer.
#[derive(Debug)]
pub(crate) struct OwnTimer {
    pages: Arc<MachinePages>,
    /// 0 or 1.
    half: usize,
    /// The number of the last table, as it stands in `armed`.
    table: u32,
}

impl OwnTimer {
    /// Those of a guest with this clock, which passes by itself.
    pub(crate) fn both(pages: &Arc<MachinePages>, clock: &Clock) -> [OwnTimer; 2] {
        pages.reply().real_time.store(1, Relaxed);
        pages.reply().tick.store(clock.tick(), Relaxed);
        [0, 1].map(|half| OwnTimer { pages: pages.clone(), half, table: 0 })
    }

    /// Takes what has not come yet back. Gives how many of the deadlines have come; more than there are if
    /// all have, or the guest says so.
    pub(crate) fn take(&self) -> usize {
        let armed = self.pages.slot().armed[self.half].swap(0, SeqCst);
        (armed as u8).checked_sub(1).map_or(usize::MAX, usize::from)
    }

    /// Sets it for these deadlines, the earliest first. What it had must have been taken.
    pub(crate) fn set(&mut self, alarms: impl ExactSizeIterator<Item = Alarm>) {
        let CallSlot { armed, .. } = self.pages.slot();
        let Alarms { first: time, count, is_new, deadlines } = &self.pages.reply().alarms[self.half];
        let split = |words: &[std::sync::atomic::AtomicU64], time: u64| {
            words[0].store(time / SECOND, Relaxed);
            words[1].store(time % SECOND, Relaxed);
        };
        count.store(alarms.len() as u32, Relaxed);
        // Zero disarms it.
        let mut first = 0;
        for (entry, alarm) in deadlines.iter().zip(alarms) {
            let Deadline { at, due, line } = entry;
            split(at, alarm.at);
            due.store(alarm.due, Relaxed);
            line.store(1 << alarm.line, Relaxed);
            if first == 0 {
                first = alarm.at.max(1);
                self.table = self.table.wrapping_add(1 << 8);
            }
        }
        split(&time[2..], first);
        is_new.store(1, Relaxed);
        if first != 0 {
            armed[self.half].store(self.table | 1, SeqCst);
        }
    }
}
