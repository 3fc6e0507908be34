//! Limits on what a guest uses: bytes of output, calls per second, time of the processor.
//!
//! Without a limit nothing is counted. Output is counted in bytes of both standard streams together; calls are
//! those that the host serves, and those that come too soon are answered later. The processor's time is that of
//! the guest's process: the thread that keeps the time limit asks for it when the limit can have been reached
//! at the earliest, since a process with one thread cannot use more of it than has passed.

use super::Machine;
use crate::Error as HostError;
use rustix::process::Pid;
use std::num::NonZeroU32;
use std::time::Duration;
use vcpu_abi::call::Error;

const SECOND: u64 = 1_000_000_000;

/// What a guest may do at most; each in the words of [`Config`](super::Config).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Most {
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) output: Option<u64>,
    pub(crate) calls_per_second: Option<NonZeroU32>,
}

impl Machine {
    /// Limits what the guest may do from now on.
    pub(super) fn limit(&mut self, most: Most) -> Result<(), HostError> {
        self.limits = Limits::new(most);
        let Some(limit) = most.cpu_time else { return Ok(()) };
        let process = Pid::from_raw(self.backend.pid());
        let time = process.and_then(|process| CpuTime::new(process, limit));
        let set = self.timers.set_cpu_time(time);
        set.map_err(|error| HostError::system("set the limit of the processor's time", error))
    }
}

/// What a guest may still do.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    most: Most,
    /// Bytes that it may still write to its standard streams.
    output: Option<u64>,
    output_refused: bool,
    calls: Option<Pace>,
}

impl Limits {
    /// What a guest may that has not done anything yet. Its processor's time is kept elsewhere.
    pub(crate) fn new(most: Most) -> Limits {
        Limits {
            most,
            output: most.output,
            output_refused: false,
            calls: most.calls_per_second.map(Pace::new),
        }
    }

    /// What it may at most.
    pub(crate) fn most(&self) -> Most {
        self.most
    }

    /// How many of `length` bytes may be written.
    pub(crate) fn output(&mut self, length: u64) -> Result<u64, Error> {
        let Some(left) = self.output else { return Ok(length) };
        if left == 0 && length > 0 {
            if !std::mem::replace(&mut self.output_refused, true) {
                tracing::warn!(
                    "the guest's output is refused from now on: its limit is reached; allow more with --output-limit"
                );
            }
            return Err(Error::Denied);
        }
        Ok(length.min(left))
    }

    /// So many bytes were written.
    pub(crate) fn written(&mut self, count: u64) {
        if let Some(left) = &mut self.output {
            *left = left.saturating_sub(count);
        }
    }

    /// Counts a call. Gives until when it has to wait, in ns of the monotonic clock, if it has to; `now` is asked
    /// only if calls are limited.
    pub(crate) fn call(&mut self, now: impl FnOnce() -> u64) -> Option<u64> {
        self.calls.as_mut()?.take(now())
    }
}

/// A bucket of tokens, one a call, that holds those of a second: so many calls may come at once.
#[derive(Debug)]
struct Pace {
    /// Time in which a token comes, in ns.
    interval: u64,
    /// When all tokens that were taken will have come, in ns.
    until: u64,
}

impl Pace {
    fn new(calls_per_second: NonZeroU32) -> Pace {
        Pace { interval: SECOND.div_ceil(calls_per_second.get().into()), until: 0 }
    }

    /// Takes a token. Gives when it comes, if that is not now.
    fn take(&mut self, now: u64) -> Option<u64> {
        self.until = self.until.max(now).saturating_add(self.interval);
        Some(self.until.saturating_sub(SECOND)).filter(|due| *due > now)
    }
}

/// The time of the processor that a guest's process may use.
#[derive(Debug)]
pub(crate) struct CpuTime {
    clock: libc::clockid_t,
    /// What that clock shows when the time is over, in ns.
    end: u64,
}

impl CpuTime {
    /// Least time between two looks, in ns: a guest that rests right before its limit is not looked at all the
    /// time. So much may be used beyond the limit.
    const REST: u64 = 10_000_000;

    /// From now on so much. `None` if the process is no more.
    pub(crate) fn new(process: Pid, limit: Duration) -> Option<CpuTime> {
        // What `clock_getcpuclockid` gives: the clock of all of a process's threads.
        const SCHEDULED: libc::clockid_t = 2;
        let clock = (!process.as_raw_nonzero().get() << 3) | SCHEDULED;
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Some(CpuTime { clock, end: used(clock)?.saturating_add(limit) })
    }

    /// When to look next, in ns from now; `None` if the time is over. Of a process that is no more it is never
    /// over.
    pub(crate) fn look(&self) -> Option<u64> {
        match used(self.clock) {
            Some(used) if used >= self.end => None,
            Some(used) => Some((self.end - used).max(Self::REST)),
            None => Some(u64::MAX),
        }
    }
}

/// What a process has used, in ns; `None` if it is no more.
fn used(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the time to a place that is ours.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then_some(time.tv_sec as u64 * SECOND + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(calls_per_second: u32) -> Pace {
        Pace::new(NonZeroU32::new(calls_per_second).unwrap())
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let mut limits = Limits::new(Most::default());
        assert_eq!(limits.output(u64::MAX), Ok(u64::MAX));
        limits.written(u64::MAX);
        assert_eq!(limits.output(1), Ok(1));
        assert_eq!(limits.call(|| unreachable!("nobody asks for the time")), None);
    }

    #[test]
    fn output_is_cut_at_its_limit_and_then_refused() {
        let mut limits = Limits::new(Most { output: Some(10), ..Most::default() });
        assert_eq!(limits.output(8), Ok(8));
        // The stream took less.
        limits.written(7);
        assert_eq!(limits.output(8), Ok(3));
        limits.written(3);
        assert_eq!((limits.output(8), limits.output(0)), (Err(Error::Denied), Ok(0)));
        let none = Most { output: Some(0), ..Most::default() };
        assert_eq!(Limits::new(none).output(1), Err(Error::Denied));
    }

    #[test]
    fn a_seconds_calls_may_come_at_once_and_the_next_wait() {
        let mut pace = pace(4);
        let now = 7 * SECOND;
        assert_eq!([(); 5].map(|()| pace.take(now)), [None, None, None, None, Some(now + SECOND / 4)]);
        assert_eq!(pace.take(now + SECOND / 4), Some(now + SECOND / 2));
        assert_eq!(pace.take(now + 10 * SECOND), None, "after a pause there are tokens again");
    }

    #[test]
    fn this_process_has_used_some_time() {
        let this = rustix::process::getpid();
        let begin = CpuTime::new(this, Duration::from_secs(3600)).expect("this process lives");
        assert!(begin.look().is_some_and(|next| next <= 3600 * SECOND));
        assert_eq!(CpuTime::new(this, Duration::ZERO).and_then(|time| time.look()), None);
    }

    proptest! {
        #[test]
        fn never_more_than_two_seconds_calls_are_served_in_a_second(
            rate in 1u32..2000,
            gaps in prop::collection::vec(0u64..20_000_000, 1..4000),
        ) {
            let mut pace = pace(rate);
            let mut now = SECOND;
            let mut served = Vec::new();
            for gap in gaps {
                now += gap;
                // Who waits makes no other call meanwhile.
                now = pace.take(now).unwrap_or(now);
                served.push(now);
            }
            for (index, time) in served.iter().enumerate() {
                let in_second = served[index..].iter().take_while(|other| **other < time + SECOND).count();
                prop_assert!(in_second <= 2 * rate as usize, "{in_second} calls in a second at {rate}");
            }
        }
    }
}
