//! The timer of the guest's own process: its next deadline passes without the host.
//!
//! The host writes what the timer is to be set to into its page, and the guest's side sets it before it
//! takes its answer. When it fires, the handler of its signal raises the line. Both may find at the same
//! time that it is over: the flag `armed` is taken down by one of them, and that one has the line.

use crate::process::MachinePages;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How much of the time that was left, in parts of it, the timer is set for again if it was early: about
/// what the guest's clock and Linux's can differ by.
const AGAIN_PART: u64 = 40_000;
/// The least time in ns for which it is set again.
const AGAIN_LEAST: u64 = 10_000;

const SECOND: u64 = 1_000_000_000;

/// The timer. All but [`claim`](OwnTimer::claim) is for the vCPU's thread while the guest waits for an answer.
#[derive(Debug)]
pub(crate) struct OwnTimer(Arc<MachinePages>);

impl OwnTimer {
    /// That of a guest whose time passes by itself.
    pub(crate) fn new(pages: Arc<MachinePages>) -> OwnTimer {
        pages.reply().real_time.store(1, Relaxed);
        OwnTimer(pages)
    }

    /// Takes it back. Whether it had not fired: then the line is the caller's.
    pub(crate) fn claim(&self) -> bool {
        self.0.slot().armed.swap(0, SeqCst) != 0
    }

    /// Sets it for a line: when the host's monotonic clock has reached `at` (ns), which is `left` ns from now,
    /// and the counter `due`. It must have been claimed.
    pub(crate) fn set(&self, line: u32, at: u64, left: u64, due: u64) {
        let reply = self.0.reply();
        reply.line.store(1 << line, Relaxed);
        reply.due.store(due, Relaxed);
        // Zero would disarm it.
        self.write(at.max(1), AGAIN_LEAST + left / AGAIN_PART);
        self.0.slot().armed.store(1, SeqCst);
    }

    /// Disarms it. It must have been claimed.
    pub(crate) fn unset(&self) {
        self.write(0, 0);
    }

    fn write(&self, at: u64, again: u64) {
        let reply = self.0.reply();
        for (words, time) in [(&reply.timer, at), (&reply.again, again)] {
            words[2].store(time / SECOND, Relaxed);
            words[3].store(time % SECOND, Relaxed);
        }
        reply.is_new.store(1, Relaxed);
    }
}
