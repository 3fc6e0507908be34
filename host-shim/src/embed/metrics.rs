//! What is counted of a sandbox.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was counted of a sandbox since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls of the guest's functions, buffers made and freed included.
    pub calls: u64,
    /// Calls without a result.
    pub failed: u64,
    /// Calls that have ended the guest; they are among those without a result.
    pub ended: u64,
    /// Bytes of requests, to the guest.
    pub bytes_in: u64,
    /// Bytes of replies, from the guest.
    pub bytes_out: u64,
    /// Calls of the host's functions by the guest.
    pub host_calls: u64,
    /// Calls of functions that the guest was not granted; they are among those of the host's functions.
    pub refused: u64,
    /// How often it was reset.
    pub resets: u64,
}

/// What is counted where the guest calls.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) host_calls: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Counters {
    /// Adds what was counted here.
    pub(crate) fn add_to(&self, metrics: &mut Metrics) {
        metrics.host_calls += self.host_calls.load(Relaxed);
        metrics.refused += self.refused.load(Relaxed);
    }
}
