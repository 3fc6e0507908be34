//! The guest's clock: the time-stamp counter times a ratio that is fixed when the guest starts, or a
//! clock under the host's control.

use crate::sys;
use std::arch::x86_64::{__cpuid, _rdtsc};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_abi::info::ClockParameters;

/// How a sandbox's time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// As the world's does.
    #[default]
    Real,
    /// Only while the guest waits: then at once to the next timer or deadline. The same program sees the
    /// same times in every run.
    Virtual,
}

/// Bits behind the binary point of the counter's ratio. The guest's handler of signals relies on the number.
const SHIFT: u32 = 32;

/// The least time in ns over which the counter is measured. With the best of [`TRIES`] readings at either
/// end the ratio is then within 55 millionths of the truth (worst of 2,000 measurements; median 1.4).
const MEASURE: u64 = 200_000;

/// Readings of which the best is taken.
const TRIES: u32 = 32;

/// A sandbox's clock.
#[derive(Debug)]
pub(crate) enum Clock {
    Counter(ClockParameters),
    Monotonic { base: u64 },
    Virtual(AtomicU64),
}

/// A reading of the counter and of the host's monotonic clock at the same moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    counter: u64,
    nanoseconds: u64,
}

/// Takes the first reading, from which the counter's ratio is measured. The earlier it is called, the
/// less a sandbox's start has to wait.
pub(crate) fn prepare() {
    first();
}

fn first() -> Reading {
    static FIRST: OnceLock<Reading> = OnceLock::new();
    *FIRST.get_or_init(read)
}

/// The best of a few tries: the one in which least time passed between two counter readings.
fn read() -> Reading {
    let attempt = |_| {
        let before = counter();
        let nanoseconds = sys::monotonic();
        let after = counter();
        let width = after.wrapping_sub(before);
        (width, Reading { counter: before.wrapping_add(width / 2), nanoseconds })
    };
    (0..TRIES).map(attempt).min_by_key(|(width, _)| *width).expect("there are tries").1
}

pub(crate) fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux does not forbid it.
    unsafe { _rdtsc() }
}

/// Whether the processor's counter runs at one rate in every state. Asked once: in a virtual machine the
/// instruction is a slow one.
fn counter_is_invariant() -> bool {
    // Every processor with 64-bit mode has the leaves up to 0x8000_0008.
    const POWER: u32 = 0x8000_0007;
    static RESULT: OnceLock<bool> = OnceLock::new();
    *RESULT.get_or_init(|| __cpuid(POWER).edx & 1 << 8 != 0)
}

impl Clock {
    /// A clock that stands at `now` in ns now.
    pub(crate) fn start(mode: ClockMode, now: u64) -> Clock {
        match mode {
            ClockMode::Virtual => Clock::Virtual(AtomicU64::new(now)),
            ClockMode::Real if counter_is_invariant() => {
                let multiplier = ratio();
                let ticks = (u128::from(now) << SHIFT) / u128::from(multiplier.max(1));
                let counter_base = counter().saturating_sub(u64::try_from(ticks).unwrap_or(u64::MAX));
                Clock::Counter(ClockParameters { counter_base, multiplier, shift: SHIFT, reserved: 0 })
            }
            ClockMode::Real => Clock::Monotonic { base: sys::monotonic().saturating_sub(now) },
        }
    }

    /// The parameters with which the guest reads it, if it can.
    pub(crate) fn parameters(&self) -> Option<ClockParameters> {
        match self {
            Clock::Counter(parameters) => Some(*parameters),
            _ => None,
        }
    }

    /// The time in ns.
    pub(crate) fn now(&self) -> u64 {
        match self {
            Clock::Counter(parameters) => {
                let ticks = counter().saturating_sub(parameters.counter_base);
                let product = (u128::from(ticks) * u128::from(parameters.multiplier)) >> parameters.shift;
                u64::try_from(product).unwrap_or(u64::MAX)
            }
            Clock::Monotonic { base } => sys::monotonic().saturating_sub(*base),
            Clock::Virtual(now) => now.load(Relaxed),
        }
    }

    /// The moment of the host's monotonic clock at which this one reaches `deadline`.
    pub(crate) fn to_host(&self, deadline: u64) -> u64 {
        sys::monotonic().saturating_add(deadline.saturating_sub(self.now()))
    }

    /// The time-stamp counter at which this clock reaches `deadline`; 0 if it does not follow the counter.
    pub(crate) fn due(&self, deadline: u64) -> u64 {
        let Clock::Counter(parameters) = self else { return 0 };
        let ticks = (u128::from(deadline) << parameters.shift).div_ceil(parameters.multiplier.max(1).into());
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(parameters.counter_base)
    }

    /// Nanoseconds a tick of the time-stamp counter, times two to the power of 32; 0 if the clock does not
    /// follow the counter.
    pub(crate) fn tick(&self) -> u64 {
        self.parameters().map_or(0, |parameters| parameters.multiplier)
    }

    /// Lets virtual time pass up to `deadline`; other clocks pass by themselves.
    pub(crate) fn advance(&self, deadline: u64) {
        if let Clock::Virtual(now) = self {
            now.fetch_max(deadline, Relaxed);
        }
    }

    /// Whether time passes only when it is told to.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }
}

/// Nanoseconds a tick, times two to the power of [`SHIFT`]. Measured once a process.
fn ratio() -> u64 {
    static RATIO: OnceLock<u64> = OnceLock::new();
    *RATIO.get_or_init(|| {
        let first = first();
        let mut last = read();
        while last.nanoseconds - first.nanoseconds < MEASURE {
            std::hint::spin_loop();
            last = read();
        }
        let ticks = last.counter.saturating_sub(first.counter).max(1);
        let scaled = u128::from(last.nanoseconds - first.nanoseconds) << SHIFT;
        u64::try_from(scaled / u128::from(ticks)).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn the_clock_agrees_with_the_hosts_to_one_part_in_a_thousand() {
        let clock = Clock::start(ClockMode::Real, 0);
        let (start, host) = (clock.now(), Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        let (passed, expected) = (clock.now() - start, host.elapsed().as_nanos() as u64);
        assert!(passed.abs_diff(expected) < expected / 1000, "{passed} ns instead of {expected} ns");
    }

    #[test]
    fn virtual_time_stands_until_it_is_advanced_and_never_goes_back() {
        let clock = Clock::start(ClockMode::Virtual, 0);
        assert_eq!(clock.now(), 0);
        clock.advance(50);
        clock.advance(20);
        assert_eq!(clock.now(), 50);
    }
}
