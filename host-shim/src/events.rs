//! Raising event lines, and waking who must notice.
//!
//! Anybody may raise a line, at any moment, from any thread: set the bit in the vCPU page, count the
//! doorbell, count the *kick*, and disturb the vCPU's thread if it could miss that. What that thread does
//! is said by its [activity](Activity):
//!
//! ```text
//!            enter() finds no kick            stop of the guest
//!  Serving ────────────────────────▶ Running ───────────────────▶ Serving
//!     ▲                                 a signal, or its doorbell
//!     │      sleep() finds no kick
//!     └──────────── Waiting ◀── Serving
//!        a futex wake ends it
//! ```
//!
//! A thread that goes to `Running` or `Waiting` first says so and then looks for kicks; who raises a
//! line first counts the kick and then looks what the thread does. One of the two sees the other.
//!
//! While it is `Running`, a signal makes the guest's process look: it stops for its tracer, or takes the event itself
//! and nobody stops. One that waits in its own process says so in the call slot, and is woken by the doorbell.

use crate::sys;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::futex;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use vcpu_abi::page::EVENT_LINES;

use crate::process::MachinePages;

/// The signal that interrupts a running guest: a tracer sees it stop, or its own handler runs. It is ignored by
/// default, should there be neither.
const KICK: Signal = Signal::URG;

/// What the vCPU's thread does.
#[repr(u32)]
#[derive(Clone, Copy)]
enum Activity {
    Serving = 0,
    Running = 1,
    Waiting = 2,
}

/// The part of a sandbox by which others reach it: event lines and the time limit.
#[derive(Debug)]
pub(crate) struct Events {
    pages: Arc<MachinePages>,
    pidfd: Arc<OwnedFd>,
    activity: AtomicU32,
    /// Counts kicks; the vCPU's thread sleeps on it. Private to the host, unlike the doorbell.
    kicks: AtomicU32,
    stop: AtomicBool,
    /// Whether the guest has used all the time of the processor that it may.
    cpu_over: AtomicBool,
    /// Whether the guest's process was found to have ended.
    gone: AtomicBool,
    /// When the guest's time is over, in ns of the host's monotonic clock; the maximum is never.
    limit: AtomicU64,
}

impl Events {
    pub(crate) fn new(pages: Arc<MachinePages>, pidfd: Arc<OwnedFd>) -> Events {
        Events {
            pages,
            pidfd,
            activity: AtomicU32::new(Activity::Serving as u32),
            kicks: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            cpu_over: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            limit: AtomicU64::new(u64::MAX),
        }
    }

    /// Raises an event line of the guest.
    pub(crate) fn raise(&self, line: u32) {
        assert!(line < EVENT_LINES, "there is no event line {line}");
        let page = self.pages.vcpu();
        page.pending.fetch_or(1 << line, SeqCst);
        page.doorbell.fetch_add(1, SeqCst);
        self.kick();
    }

    /// Asks the vCPU's thread to end the guest because its time is over.
    pub(crate) fn stop(&self) {
        self.end_time();
        self.kick();
        self.disturb();
    }

    /// Asks the vCPU's thread to end the guest because it has used all the time of the processor that it may.
    pub(crate) fn stop_for_cpu_time(&self) {
        self.cpu_over.store(true, SeqCst);
        self.kick();
        self.disturb();
    }

    /// Says that the guest's time is over; for the vCPU's own thread.
    pub(crate) fn end_time(&self) {
        self.stop.store(true, SeqCst);
    }

    /// Says when the guest's time will be over, for the vCPU's own thread, which calls this.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    /// Takes back when the guest's time will be over, and, if it has come, that it was.
    pub(crate) fn renew_time(&self, has_come: bool) {
        self.set_limit(u64::MAX);
        if has_come {
            self.stop.store(false, SeqCst);
        }
    }

    /// When the guest's time is over, if ever.
    pub(crate) fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Relaxed)).filter(|limit| *limit != u64::MAX)
    }

    /// Whether the guest's process was found to have ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    /// Sends the guest's process the signal that makes it look.
    pub(crate) fn kick_guest(&self) {
        // The process may have died; its vCPU's thread notices that by itself.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, KICK);
    }

    /// Makes a guest that runs look; one that waits in its own process looks, or sleeps on the doorbell.
    fn disturb_guest(&self) {
        // It says so before it looks for events, and the event was there before this question.
        if self.pages.slot().dozes.load(SeqCst) == 0 {
            return self.kick_guest();
        }
        let _ = futex::wake(&self.pages.vcpu().doorbell, futex::Flags::empty(), 1);
    }

    /// Wakes the vCPU's thread where it sleeps for the guest's next request. It cannot miss that: the word
    /// on which it sleeps changes.
    fn disturb(&self) {
        let slot = self.pages.slot();
        slot.request.fetch_or(1, SeqCst);
        let _ = futex::wake(&slot.request, futex::Flags::empty(), 1);
    }

    /// Whether the guest's time is over.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(SeqCst) || self.cpu_over.load(SeqCst)
    }

    /// The sentence about a guest that is stopped.
    pub(crate) fn what_is_over(&self) -> &'static str {
        match self.cpu_over.load(SeqCst) {
            true => "the guest has used all the processor's time that it may use",
            false => "the guest's time was over",
        }
    }

    /// What becomes readable when the guest's process ends.
    pub(crate) fn process(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Tells the vCPU's thread, which may sleep while its guest waits, that the process has ended.
    pub(crate) fn process_ended(&self) {
        self.gone.store(true, SeqCst);
        self.kick();
        self.disturb();
    }

    /// Whether waiting makes no sense any more: the guest's time is over, or its process has ended.
    pub(crate) fn over(&self) -> bool {
        self.stopped() || self.is_gone()
    }

    /// As [`over`](Events::over), for the vCPU's own thread, which finds out itself whether the time is over.
    pub(crate) fn find_over(&self) -> bool {
        if self.limit().is_some_and(|limit| limit <= sys::monotonic()) {
            self.end_time();
        }
        self.over()
    }

    fn kick(&self) {
        self.kicks.fetch_add(1, SeqCst);
        match self.activity.load(SeqCst) {
            running if running == Activity::Running as u32 => self.disturb_guest(),
            waiting if waiting == Activity::Waiting as u32 => {
                let _ = futex::wake(&self.kicks, futex::Flags::PRIVATE, 1);
            }
            _ => {}
        }
    }

    /// Whether there were kicks that are not counted in `seen`, which is brought up to date.
    pub(crate) fn kicked(&self, seen: &mut u32) -> bool {
        let kicks = self.kicks.load(SeqCst);
        std::mem::replace(seen, kicks) != kicks
    }

    /// Says that the guest will run now. False, and nothing said, if there was a kick meanwhile.
    pub(crate) fn enter(&self, seen: u32) -> bool {
        self.activity.store(Activity::Running as u32, SeqCst);
        if self.kicks.load(SeqCst) == seen {
            return true;
        }
        self.leave();
        false
    }

    /// Says that the guest has stopped.
    pub(crate) fn leave(&self) {
        self.activity.store(Activity::Serving as u32, SeqCst);
    }

    /// Sleeps until there is a kick that is not counted in `seen`, or the host's monotonic clock has
    /// reached `deadline` in ns.
    pub(crate) fn sleep(&self, seen: u32, deadline: Option<u64>) {
        self.activity.store(Activity::Waiting as u32, SeqCst);
        let deadline = deadline.map(sys::timespec);
        while self.kicks.load(SeqCst) == seen {
            let (private, any) = (futex::Flags::PRIVATE, NonZeroU32::MAX);
            if futex::wait_bitset(&self.kicks, private, seen, deadline.as_ref(), any) == Err(Errno::TIMEDOUT)
            {
                break;
            }
        }
        self.leave();
    }
}
