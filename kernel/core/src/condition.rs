//! Condition variables: waiting, with a mutex given up, until somebody says that something changed.
//!
//! A notified thread goes on only when it owns its mutex again. It is not woken to find the mutex taken:
//! it moves to the queue of the mutex and inherits to its owner from there. A thread whose deadline comes
//! moves in the same way, and then waits for the mutex without a deadline.
//!
//! There are no spurious wakes, but what was true when a thread was notified may be false when it owns
//! the mutex; so it looks again.

use crate::table::Id;
use crate::wait::WaitQueue;

/// The number of a condition variable.
pub type ConditionId = Id<Condition>;

/// The policy's record of a condition variable: just who waits.
#[derive(Debug, Default)]
pub struct Condition {
    pub(crate) waiters: WaitQueue,
}
