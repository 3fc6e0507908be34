//! Barriers: a number of threads wait until all of them have arrived.
//!
//! The last one to arrive does not wait. It releases the others, and with that the barrier begins anew, so a
//! thread that is quick may wait at it again before the others have run. A thread whose deadline comes goes
//! away as if it had never arrived: one more must come.

use crate::table::Id;
use crate::thread::Threads;
use crate::wait::{Released, WaitQueue};

/// The number of a barrier.
pub type BarrierId = Id<Barrier>;

/// The policy's record of a barrier. Fewer than `parties` wait.
#[derive(Debug)]
pub struct Barrier {
    parties: u32,
    arrived: u32,
    pub(crate) waiters: WaitQueue,
}

impl Barrier {
    /// A barrier of none is one of one, as in `std`: nobody waits at it.
    pub(crate) fn new(parties: u32) -> Barrier {
        Barrier { parties: parties.max(1), arrived: 0, waiters: WaitQueue::default() }
    }

    /// How many threads wait at the barrier.
    #[must_use]
    pub const fn arrived(&self) -> u32 {
        self.arrived
    }

    /// A thread arrives. If it is the last, gives the others; the barrier begins anew. Otherwise the
    /// thread must wait.
    #[must_use = "the thread must wait, or the others must be woken"]
    pub(crate) fn arrive(&mut self, threads: &mut Threads) -> Option<Released> {
        self.arrived += 1;
        (self.arrived == self.parties).then(|| {
            self.arrived = 0;
            self.waiters.release_all(threads)
        })
    }

    /// A thread whose deadline came goes away: one more must arrive.
    pub(crate) const fn leave(&mut self) {
        self.arrived -= 1;
    }
}
