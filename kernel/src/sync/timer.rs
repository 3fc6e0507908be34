//! [`RawTimer`]: something that is due once, or again and again.

use super::registration::{Record, Registration};
use crate::scheduler::{self, TimedOut};
use core::num::NonZeroU64;
use vcpu_kernel_core::policy::{Attempt, Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};
use vcpu_kernel_core::timer::Timer;

/// A timer that threads wait for. What it means is said in [`vcpu_kernel_core::timer`].
#[derive(Debug)]
pub struct RawTimer {
    record: Registration<Timer>,
}

impl Record for Timer {
    const KIND: Kind = Kind::Timer;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<Timer>, Full> {
        policy.create_timer()
    }

    fn remove(policy: &mut Policy, id: Id<Timer>) -> Result<(), Busy> {
        policy.remove_timer(id)
    }
}

impl RawTimer {
    /// A timer that is not started.
    #[must_use]
    pub const fn new() -> RawTimer {
        RawTimer { record: Registration::new(()) }
    }

    /// Starts it, anew if it was started: it expires at `deadline` (ns) and then once each `period` (ns), if
    /// it has one. Expiries that nobody has taken are forgotten.
    pub fn start(&self, deadline: u64, period: Option<NonZeroU64>) {
        let id = self.record.ensure();
        scheduler::decide(|policy, now| policy.start_timer(id, deadline, period, now));
    }

    /// Stops it. Expiries that have happened can still be taken; who waits for more waits on.
    pub fn stop(&self) {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.stop_timer(id));
    }

    /// Whether it is started and has an expiry to come.
    pub fn is_started(&self) -> bool {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.timer(id).is_started())
    }

    /// Waits for an expiry that nobody has taken, until `deadline` (ns) if need be, and takes all there are.
    /// Gives how many.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    ///
    /// # Panics
    ///
    /// With events off.
    pub fn wait(&self, deadline: Option<u64>) -> Result<u32, TimedOut> {
        let id = self.record.ensure();
        scheduler::block(|policy, now| policy.wait_timer(id, deadline, now))
    }

    /// As [`wait`](RawTimer::wait), if there was an expiry. In a handler function that interrupted nobody
    /// there is none to be had.
    pub fn try_wait(&self) -> Option<u32> {
        let id = self.record.ensure();
        scheduler::quick(|policy| {
            let thread = policy.running()?;
            // A deadline that is past: it does not wait.
            let attempt = policy.wait_timer(id, Some(0), 0);
            (attempt == Attempt::Done).then(|| policy.thread(thread).value())
        })
    }
}

impl Default for RawTimer {
    fn default() -> RawTimer {
        RawTimer::new()
    }
}
