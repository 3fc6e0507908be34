//! Random numbers that a seed determines.

use libvcpu::thread::Priority;
use libvcpu::time::Duration;

/// A generator of random numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    /// The generator of one thread.
    pub(crate) fn new(seed: u64, thread: u64) -> Random {
        let mut random = Random((seed << 16 ^ thread).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..10 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time from 1 to `microseconds` µs.
    pub(crate) fn time(&mut self, microseconds: u64) -> Duration {
        Duration::from_micros(1 + self.below(microseconds))
    }

    /// Any priority but the most important one, which is the main thread's.
    pub(crate) fn priority(&mut self) -> Priority {
        Priority::new(self.below(63) as u8)
    }
}
