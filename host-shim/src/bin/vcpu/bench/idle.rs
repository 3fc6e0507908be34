//! `idle.cpu`: what a sandbox costs whose guest waits, in percent of a core: the guest's process, and of
//! this one the thread that runs the guest and the one that keeps its time.

use super::event::LINE;
use super::figure::{Figure, Target, Unit};
use super::place;
use super::site::{Site, cannot, memory_file};
use crate::status::Failure;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use vcpu_host::{Config, EventLines, Image, Machine, Outcome};

/// For how long each sandbox is looked at.
const TIME: Duration = Duration::from_secs(10);
/// For how long a guest that has said that it waits is left alone before.
const SETTLE: Duration = Duration::from_millis(100);
/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// In percent of a core.
const MOST: f64 = 0.1;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let figure = |name, pin| {
        site.progress.show(&format!("measuring {name}, for {} s", TIME.as_secs()));
        let used = sample(site, pin)?;
        Ok::<_, Failure>(Figure::new(name, Unit::Percent, vec![used / 1e7]).at_most(Target::Median(MOST)))
    };
    Ok(vec![figure("idle.cpu", true)?, figure("idle.cpu.unpinned", false)?])
}

/// Processor time in ns that an idle sandbox takes in a second.
fn sample(site: &Site, pin: bool) -> Result<f64, Failure> {
    let image = Image::open(site.image("measure")).map_err(Failure::image)?;
    let (output, errors) = (memory_file()?, memory_file()?);
    let arguments = ["measure", "wait"].map(|argument| argument.as_bytes().to_vec());
    let streams = place::streams(&output, &errors)?;
    let config = Config { arguments: arguments.into(), pin, streams: Some(streams), ..Config::default() };
    let (tell, told) = mpsc::channel();
    let run = move || -> Result<Outcome, Failure> {
        if !pin {
            let everywhere = place::all_cores().map_err(|error| cannot("choose a core", error))?;
            rustix::thread::sched_setaffinity(None, &everywhere)
                .map_err(|error| cannot("choose a core", error.into()))?;
        }
        let mut sandbox = Machine::start(&image, config)?;
        // Nobody listens who has given up.
        let _ = tell.send((sandbox.pid(), sandbox.event_lines()));
        Ok(sandbox.run()?)
    };
    thread::scope(|scope| {
        let runner = scope.spawn(run);
        let used = told.recv().ok().map(|(pid, lines): (i32, EventLines)| {
            let begin = Instant::now();
            while output.metadata().is_ok_and(|file| file.len() == 0) && begin.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(SETTLE);
            let (begin, before) = (Instant::now(), processor_time(pid));
            thread::sleep(TIME);
            let (after, time) = (processor_time(pid), begin.elapsed());
            lines.raise(LINE);
            Ok::<_, io::Error>((after? - before?) as f64 / time.as_secs_f64())
        });
        let outcome = runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        match (outcome, used) {
            (Outcome::Exited(0), Some(used)) => {
                used.map_err(|error| cannot("read what processes use", error))
            }
            _ => Err(Failure::runner("the app `measure` does not wait; please report this")),
        }
    })
}

/// Processor time in ns that a process and this one have used.
fn processor_time(pid: i32) -> io::Result<u64> {
    let mut theirs = MaybeUninit::uninit();
    // SAFETY: the call fills it if it succeeds.
    match unsafe { libc::clock_getcpuclockid(pid, theirs.as_mut_ptr()) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call above succeeded, and the time is valid for the call.
    if unsafe { libc::clock_gettime(theirs.assume_init(), &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = |seconds: i64, rest: i64| seconds as u64 * 1_000_000_000 + rest as u64;
    Ok(nanoseconds(time.tv_sec, time.tv_nsec) + nanoseconds(own.tv_sec, own.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_and_of_this_one_is_that_of_both() {
        let pid = std::process::id() as i32;
        let before = processor_time(pid).unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(10) {
            std::hint::spin_loop();
        }
        // It is this process both times, which has computed for a while.
        let passed = processor_time(pid).unwrap() - before;
        assert!(passed > 1_000_000, "{passed} ns");
    }
}
