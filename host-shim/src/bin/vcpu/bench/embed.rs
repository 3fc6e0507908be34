//! `embed`: what a host program pays that calls functions of a guest, and begins again from a snapshot.
//!
//! Guest and host have a core each where there are two, and look for each other's words. A snapshot is that of a
//! guest with 16 MiB of RAM, of which it has touched one. What is measured of it ends with the reply to the first
//! call, which is later than the first instruction.

use super::figure::{Figure, Target, Unit};
use super::place::{all_cores, other_core, stay};
use super::site::{Site, cannot};
use crate::status::Failure;
use rustix::process::Pid;
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use std::time::Instant;
use vcpu_host::embed::{CallError, Snapshot};
use vcpu_host::{Image, Sandbox};

/// The app that is called.
pub(super) const APP: &str = "plugin";
/// Samples of calls, and calls that are one sample.
const SAMPLES: usize = 400;
const CALLS: usize = 200;
/// Samples of restores and resets, and those before that do not count.
const RESETS: usize = 100;
const WARM_UP: usize = 10;
/// Guests that are kept ready.
const READY: usize = 4;
/// Pages that a guest writes before it is reset.
const DIRTY: u32 = 16;
/// Bytes of a large argument and a large result.
const LARGE: usize = 1 << 20;

/// What this thread and its children may run on, until dropped.
struct Cores(rustix::thread::CpuSet);

impl Cores {
    /// All of the system's.
    fn all() -> Result<Cores, Failure> {
        let failed = |error: std::io::Error| cannot("choose a core", error);
        let before = sched_getaffinity(None).map_err(|error| failed(error.into()))?;
        let all = all_cores().map_err(failed)?;
        sched_setaffinity(None, &all).map_err(|error| failed(error.into()))?;
        Ok(Cores(before))
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // As it was before; refused at worst, which only disturbs what is measured next.
        let _ = sched_setaffinity(None, &self.0);
    }
}

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let image = Image::open(site.image(APP)).map_err(Failure::image)?;
    let mut figures = calls(site, &image)?;
    figures.extend(snapshots(site, &image)?);
    Ok(figures)
}

/// An empty call, and one with much data in place.
fn calls(site: &Site, image: &Image) -> Result<Vec<Figure>, Failure> {
    let mut sandbox = {
        let _cores = Cores::all()?;
        Sandbox::builder(image).build()?
    };
    if let Some(other) = other_core() {
        stay(Pid::from_raw(sandbox.pid()), other).map_err(|error| cannot("choose a core", error))?;
    }
    let (input, output) =
        (sandbox.allocate(LARGE).map_err(failed)?, sandbox.allocate(LARGE).map_err(failed)?);
    let slices = (input.slice(), output.slice());
    let (mut empty, mut large) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + SAMPLES {
        site.progress.round("embed.call", round, WARM_UP + SAMPLES);
        empty.push(each(&mut sandbox, |sandbox| sandbox.call("empty", &()))?);
        large.push(each(&mut sandbox, |sandbox| sandbox.call("ends", &slices))?);
    }
    let (empty, large) = (empty.split_off(WARM_UP), large.split_off(WARM_UP));
    Ok(vec![
        Figure::new("embed.call", Unit::Ns, empty.clone()).at_most(Target::Median(1e3)),
        Figure::new("embed.call.1mib", Unit::Ns, large).over(&empty).at_most(Target::Ratio(1.2)),
    ])
}

/// What one of some calls takes, in ns.
fn each(sandbox: &mut Sandbox, call: impl Fn(&mut Sandbox) -> Result<(), CallError>) -> Result<f64, Failure> {
    let begin = Instant::now();
    for _ in 0..CALLS {
        call(sandbox).map_err(failed)?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / CALLS as f64)
}

/// Guests that go on from a snapshot.
fn snapshots(site: &Site, image: &Image) -> Result<Vec<Figure>, Failure> {
    // Threads and processes that are made now inherit this.
    let _cores = Cores::all()?;
    let mut sandbox = Sandbox::builder(image).build()?;
    let snapshot = sandbox.snapshot().map_err(failed)?;

    let cold = sample(site, "snapshot.restore.cold", || Ok(()), || restore(&snapshot))?;
    let begin = Instant::now();
    for _ in 0..RESETS {
        reset(&mut sandbox, &snapshot)?;
    }
    let cold_reset = begin.elapsed().as_nanos() as f64 / RESETS as f64;

    snapshot.keep_ready(READY)?;
    let ready = || Ok(snapshot.wait_until_ready()?);
    let warm = sample(site, "snapshot.restore", ready, || restore(&snapshot))?;
    let mut resets = Vec::new();
    for round in 0..WARM_UP + RESETS {
        site.progress.round("snapshot.reset", round, WARM_UP + RESETS);
        dirty(&mut sandbox)?;
        ready()?;
        let begin = Instant::now();
        sandbox.reset(&snapshot)?;
        sandbox.call::<(), ()>("empty", &()).map_err(failed)?;
        resets.push(begin.elapsed().as_nanos() as f64);
    }
    let begin = Instant::now();
    for _ in 0..RESETS {
        reset(&mut sandbox, &snapshot)?;
    }
    let sustained = begin.elapsed().as_nanos() as f64 / RESETS as f64;
    Ok(vec![
        Figure::new("snapshot.restore", Unit::Ns, warm).at_most(Target::Median(150e3)),
        Figure::new("snapshot.restore.cold", Unit::Ns, cold),
        Figure::new("snapshot.reset", Unit::Ns, resets.split_off(WARM_UP)).at_most(Target::Median(100e3)),
        Figure::new("snapshot.reset.cold", Unit::Ns, vec![cold_reset]),
        Figure::new("snapshot.reset.sustained", Unit::Ns, vec![sustained]),
    ])
}

/// What `action` takes, in ns; before each time `prepare` is called.
fn sample<R>(
    site: &Site,
    name: &str,
    prepare: impl Fn() -> Result<(), Failure>,
    action: impl Fn() -> Result<R, Failure>,
) -> Result<Vec<f64>, Failure> {
    let mut samples = Vec::new();
    for round in 0..WARM_UP + RESETS {
        site.progress.round(name, round, WARM_UP + RESETS);
        prepare()?;
        let begin = Instant::now();
        let result = action()?;
        samples.push(begin.elapsed().as_nanos() as f64);
        drop(result);
    }
    Ok(samples.split_off(WARM_UP))
}

/// A new sandbox, whose first call was answered.
fn restore(snapshot: &Snapshot) -> Result<Sandbox, Failure> {
    let mut sandbox = snapshot.builder().build()?;
    sandbox.call::<(), ()>("empty", &()).map_err(failed)?;
    Ok(sandbox)
}

/// Uses a sandbox and resets it.
fn reset(sandbox: &mut Sandbox, snapshot: &Snapshot) -> Result<(), Failure> {
    dirty(sandbox)?;
    Ok(sandbox.reset(snapshot)?)
}

/// Lets the guest write pages, which must be as they were in the snapshot.
fn dirty(sandbox: &mut Sandbox) -> Result<(), Failure> {
    match sandbox.call::<u32, u32>("dirty", &DIRTY) {
        Ok(DIRTY) => Ok(()),
        Ok(sum) => Err(Failure::runner(format_args!(
            "cannot measure resets: the guest's pages hold {sum} instead of {DIRTY}; please report this"
        ))),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: CallError) -> Failure {
    Failure::runner(format_args!("cannot measure by the app `{APP}`: {error}"))
}
