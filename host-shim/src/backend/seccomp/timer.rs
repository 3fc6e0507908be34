//! The timer of the guest's own process: its deadlines pass without the host.
//!
//! The host writes all deadlines into its page, the earliest first, and the guest's side sets the timer to
//! the first of them before it takes its answer. When it fires, the handler of its signal raises the line and
//! sets the timer to the next one. Host and handler may go for the same deadline at the same time, so there
//! is one word, `armed`, that says which is next: the handler steps on by compare and exchange, the host takes
//! the rest. Each table has a number of its own in that word, so nobody steps on in another one.

use super::slot::Deadline;
use crate::process::MachinePages;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How much of the time that was left, in parts of it, the timer is set for again if it was early: about
/// what the guest's clock and Linux's can differ by.
const AGAIN_PART: u64 = 40_000;
/// The least time in ns for which it is set again.
const AGAIN_LEAST: u64 = 10_000;

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

/// The timer. All but [`take`](OwnTimer::take) is for the vCPU's thread while the guest waits for an answer.
#[derive(Debug)]
pub(crate) struct OwnTimer {
    pages: Arc<MachinePages>,
    /// The number of the last table, as it stands in `armed`.
    table: u32,
}

impl OwnTimer {
    /// That of a guest whose time passes by itself.
    pub(crate) fn new(pages: Arc<MachinePages>) -> OwnTimer {
        pages.reply().real_time.store(1, Relaxed);
        OwnTimer { pages, table: 0 }
    }

    /// Takes what has not come yet back. Gives how many of the deadlines have come; more than there are if
    /// all have, or the guest says so.
    pub(crate) fn take(&self) -> usize {
        let armed = self.pages.slot().armed.swap(0, SeqCst);
        (armed as u8).checked_sub(1).map_or(usize::MAX, usize::from)
    }

    /// Sets it for these deadlines, the earliest first, at the time `now`. What it had must have been taken.
    pub(crate) fn set(&mut self, alarms: impl ExactSizeIterator<Item = Alarm>, now: u64) {
        let (slot, reply) = (self.pages.slot(), self.pages.reply());
        let split = |words: &[std::sync::atomic::AtomicU64], time: u64| {
            words[0].store(time / SECOND, Relaxed);
            words[1].store(time % SECOND, Relaxed);
        };
        reply.count.store(alarms.len() as u32, Relaxed);
        // Zero disarms it.
        let mut first = 0;
        for (entry, alarm) in reply.deadlines.iter().zip(alarms) {
            let Deadline { at, due, line } = entry;
            split(at, alarm.at);
            due.store(alarm.due, Relaxed);
            line.store(1 << alarm.line, Relaxed);
            if first == 0 {
                first = alarm.at.max(1);
                self.table = self.table.wrapping_add(1 << 8);
                split(&reply.again[2..], AGAIN_LEAST + alarm.at.saturating_sub(now) / AGAIN_PART);
            }
        }
        split(&slot.timer[..2], 0);
        split(&slot.timer[2..], first);
        reply.is_new.store(1, Relaxed);
        if first != 0 {
            slot.armed.store(self.table | 1, SeqCst);
        }
    }
}
