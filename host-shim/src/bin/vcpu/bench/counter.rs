//! The time-stamp counter, by which guests, native processes and this one measure alike.

use super::place;
use super::site::cannot;
use crate::status::Failure;
use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The least time over which the counter is measured.
const MEASURE: Duration = Duration::from_millis(50);
/// Readings of which the best is taken.
const TRIES: u32 = 16;
/// Readings on two cores that are compared.
const COMPARED: usize = 2000;

/// The counter.
pub(super) fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux does not forbid it.
    unsafe { _rdtsc() }
}

/// The counter after everything before it, and before everything after it. The processor may read it earlier
/// otherwise, by some ns.
fn read_in_order() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { _mm_lfence() };
    let counter = read();
    // SAFETY: as above.
    unsafe { _mm_lfence() };
    counter
}

/// How many ticks a nanosecond has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio(f64);

/// A moment from which the ratio is measured; the later it is asked for, the better it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    counter: u64,
    nanoseconds: u64,
}

impl Start {
    /// Now.
    pub(super) fn now() -> Start {
        let (counter, nanoseconds) = both();
        Start { counter, nanoseconds }
    }

    /// The ratio since then; waits if that was just now.
    pub(super) fn ratio(self) -> Ratio {
        let passed = Duration::from_nanos(monotonic() - self.nanoseconds);
        thread::sleep(MEASURE.saturating_sub(passed));
        let (later, then) = both();
        Ratio((later - self.counter) as f64 / (then - self.nanoseconds) as f64)
    }
}

impl Ratio {
    /// Measures it, in [`MEASURE`].
    pub(super) fn measure() -> Ratio {
        Start::now().ratio()
    }

    /// Ticks in a nanosecond.
    pub(super) fn value(self) -> f64 {
        self.0
    }

    /// Ticks as ns.
    pub(super) fn nanoseconds(self, ticks: u64) -> f64 {
        ticks as f64 / self.0
    }

    /// Nanoseconds as ticks.
    pub(super) fn ticks(self, nanoseconds: u64) -> u64 {
        (nanoseconds as f64 * self.0) as u64
    }
}

/// The counter and the monotonic clock in ns at the same moment: the best of a few tries, that in which least
/// time passed between two counter readings.
pub(super) fn both() -> (u64, u64) {
    let attempt = |_| {
        let before = read();
        let nanoseconds = monotonic();
        let width = read().wrapping_sub(before);
        (width, (before.wrapping_add(width / 2), nanoseconds))
    };
    (0..TRIES).map(attempt).min_by_key(|(width, _)| *width).expect("there are tries").1
}

/// The monotonic clock in ns.
pub(super) fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whether the counter is the same on this thread's core and on another one: a reading there between two here
/// always lies between them.
pub(super) fn is_common(other: usize) -> Result<bool, Failure> {
    /// What the other thread is asked for: nothing, a reading, its end. Anything else is a reading.
    const NOTHING: u64 = 0;
    const ASKED: u64 = 1;
    const END: u64 = 2;
    let word = AtomicU64::new(NOTHING);
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            place::stay(None, other)?;
            loop {
                match word.load(SeqCst) {
                    ASKED => word.store(read_in_order(), SeqCst),
                    END => return Ok(()),
                    _ => thread::yield_now(),
                }
            }
        });
        let mut readings = Vec::with_capacity(COMPARED);
        while readings.len() < COMPARED && !there.is_finished() {
            let before = read_in_order();
            word.store(ASKED, SeqCst);
            while word.load(SeqCst) == ASKED && !there.is_finished() {
                thread::yield_now();
            }
            readings.push([before, word.load(SeqCst), read_in_order()]);
        }
        word.store(END, SeqCst);
        let done = there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map_err(|error| cannot("use another core", error))?;
        Ok(readings.iter().all(|readings| readings.is_sorted()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_nanoseconds_are_each_others_inverse() {
        let ratio = Ratio(2.5);
        assert_eq!((ratio.ticks(1000), ratio.nanoseconds(2500)), (2500, 1000.0));
    }

    #[test]
    fn a_core_has_the_counter_that_it_has_itself() {
        // Two threads on one core: whatever the machine is like, their readings are in order.
        thread::scope(|scope| {
            let here = scope.spawn(|| {
                let core = rustix::thread::sched_getcpu();
                place::stay(None, core).unwrap();
                is_common(core).unwrap()
            });
            assert!(here.join().unwrap());
        });
    }

    #[test]
    fn the_measured_ratio_agrees_with_the_monotonic_clock() {
        let ratio = Ratio::measure();
        let (counter, nanoseconds) = both();
        thread::sleep(Duration::from_millis(20));
        let (later, then) = both();
        let passed = (then - nanoseconds) as f64;
        assert!((ratio.nanoseconds(later - counter) - passed).abs() < passed / 1000.0, "{ratio:?}");
    }
}
