//! The rate of the time-stamp counter, as measured in the run.

use std::arch::x86_64::_rdtsc;
use std::time::{Duration, Instant};

/// The least time over which the rate is measured: reading two clocks takes some tens of ns, which is then
/// some millionths of it.
const LEAST: Duration = Duration::from_millis(20);

/// A moment by both clocks; the later the rate is asked for, the better it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    time: Instant,
    cycles: u64,
}

impl Counter {
    pub(super) fn start() -> Counter {
        Counter { time: Instant::now(), cycles: read() }
    }

    /// Cycles of the time-stamp counter for each ns since the start; waits if that was just now.
    pub(super) fn cycles_per_ns(self) -> f64 {
        std::thread::sleep(LEAST.saturating_sub(self.time.elapsed()));
        let Counter { time, cycles } = Counter::start();
        cycles.wrapping_sub(self.cycles) as f64 / time.duration_since(self.time).as_nanos() as f64
    }
}

fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux does not forbid it.
    unsafe { _rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_a_processor_and_the_same_later() {
        let counter = Counter::start();
        let [early, late] = [counter.cycles_per_ns(), counter.cycles_per_ns()];
        assert!((0.1..20.0).contains(&early), "{early} cycles in a ns");
        assert!((early / late - 1.0).abs() < 0.01, "{early} and {late}");
    }
}
