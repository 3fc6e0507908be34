//! `call`: the round trip of a call that does nothing, over a native system call.
//!
//! The guest measures single calls by its counter and reports them all; what reading the counter costs
//! is left in. A native system call is too short for that, so its samples are means of a batch.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot, memory_file};
use crate::status::Failure;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::io::{Read, Seek};
use std::time::Instant;
use vcpu_host::backend::BackendKind;
use vcpu_host::{Config, Image, Outcome, Sandbox, Streams};

/// Turns of gate, trap page and native system call.
const ROUNDS: usize = 30;
/// Calls of one turn.
const CALLS: usize = 2000;
/// Calls at a turn's beginning that do not count.
const WARM_UP: usize = 100;
/// Native batches of one turn.
const BATCHES: usize = 100;
/// System calls of one batch.
const BATCH: u32 = 100;

/// A way to make a call: the backend, the app's word for gate or trap page, and where guest and host are.
struct Way {
    name: &'static str,
    backend: BackendKind,
    word: &'static str,
    cores: Cores,
}

/// Where guest and host run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cores {
    /// Both on one: they sleep while they wait.
    One,
    /// On one each: they spin.
    Two,
}

const fn way(name: &'static str, backend: BackendKind, word: &'static str, cores: Cores) -> Way {
    Way { name, backend, word, cores }
}

/// What is measured, in turns.
const WAYS: [Way; 6] = [
    way("call.null.ptrace", BackendKind::Ptrace, "gate", Cores::One),
    way("call.trap.ptrace", BackendKind::Ptrace, "trap", Cores::One),
    way("call.null.seccomp.sleep", BackendKind::Seccomp, "gate", Cores::One),
    way("call.trap.seccomp.sleep", BackendKind::Seccomp, "trap", Cores::One),
    way("call.null.seccomp.spin", BackendKind::Seccomp, "gate", Cores::Two),
    way("call.trap.seccomp", BackendKind::Seccomp, "trap", Cores::Two),
];

/// What the names that have one must reach, as a ratio to `getpid`.
const TARGETS: [(&str, f64); 3] =
    [("call.null.ptrace", 90.0), ("call.null.seccomp.sleep", 35.0), ("call.null.seccomp.spin", 1.5)];

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let two = other_core().is_some();
    let ways: Vec<&Way> = WAYS.iter().filter(|way| two || way.cores == Cores::One).collect();
    let mut samples = vec![Vec::new(); ways.len()];
    let mut native = Vec::new();
    for round in 0..ROUNDS {
        site.progress.round("call", round, ROUNDS);
        for (way, samples) in ways.iter().zip(&mut samples) {
            samples.extend(guest(site, way)?);
            native.extend(batches());
        }
    }
    let figure = |(way, samples): (&&Way, Vec<f64>)| {
        let figure = Figure::new(way.name, Unit::Ns, samples).over(&native);
        match TARGETS.iter().find(|(name, _)| *name == way.name) {
            Some((_, ratio)) => figure.at_most(Target::Ratio(*ratio)),
            None => figure,
        }
    };
    Ok(ways.iter().zip(samples).map(figure).collect())
}

/// What calls of a guest took, in ns.
fn guest(site: &Site, way: &Way) -> Result<Vec<f64>, Failure> {
    let image = Image::open(site.image("measure")).map_err(Failure::image)?;
    let mut output = memory_file()?;
    let mut streams = Streams::null().map_err(|error| cannot("open the null device", error))?;
    streams.output = output.try_clone().map_err(|error| cannot("copy a descriptor", error))?.into();
    let count = (WARM_UP + CALLS).to_string();
    let arguments = ["measure", way.word, &count].map(|argument| argument.as_bytes().to_vec());
    let config = Config {
        arguments: arguments.to_vec(),
        backend: way.backend,
        pin: way.cores == Cores::One,
        streams: Some(streams),
        ..Config::default()
    };
    let outcome = match way.cores {
        Cores::One => Sandbox::start(&image, config)?.run()?,
        Cores::Two => apart(&image, config)?,
    };
    let mut text = String::new();
    output
        .rewind()
        .and_then(|()| output.read_to_string(&mut text))
        .map_err(|error| cannot("read what a guest has written", error))?;
    let times: Vec<f64> = text.lines().skip(WARM_UP).filter_map(|line| line.parse().ok()).collect();
    if !matches!(outcome, Outcome::Exited(0)) || times.len() != CALLS {
        return Err(Failure::runner("the app `measure` did not report every call; please report this"));
    }
    Ok(times)
}

/// Runs a guest on another core than this thread's.
fn apart(image: &Image, config: Config) -> Result<Outcome, Failure> {
    let failed = |error: Errno| cannot("choose a core", error.into());
    let here = sched_getaffinity(None).map_err(failed)?;
    let other = other_core().expect("the way is measured only where there is one");
    // A sandbox spins only if it starts where there are several.
    let mut both = here;
    both.set(other);
    sched_setaffinity(None, &both).map_err(failed)?;
    let started = Sandbox::start(image, config);
    sched_setaffinity(None, &here).map_err(failed)?;
    let mut sandbox = started?;
    let mut there = CpuSet::new();
    there.set(other);
    sched_setaffinity(Pid::from_raw(sandbox.pid()), &there).map_err(failed)?;
    Ok(sandbox.run()?)
}

/// A core that this thread is not on.
fn other_core() -> Option<usize> {
    let here = sched_getcpu();
    // What this thread may use now says nothing: it is pinned. What the first thread of the system may use
    // says what there is.
    let all = sched_getaffinity(Pid::from_raw(1)).ok()?;
    (0..CpuSet::MAX_CPU).find(|core| *core != here && all.is_set(*core))
}

/// What `getpid` took, in ns: means of batches.
fn batches() -> impl Iterator<Item = f64> {
    let batch = || {
        let begin = Instant::now();
        for _ in 0..BATCH {
            // SAFETY: no pointers. By its number, since a library may remember the answer.
            unsafe { libc::syscall(libc::SYS_getpid) };
        }
        begin.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    batch();
    (0..BATCHES).map(move |_| batch())
}
