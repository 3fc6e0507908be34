//! `call`: the round trip of a call that does nothing, over a native system call.
//!
//! | by the gate | by the trap page | guest and host |
//! |---|---|---|
//! | `call.null.ptrace` | `call.trap.ptrace` | on one core |
//! | `call.null.ptrace.two` | `call.trap.ptrace.two` | on a core each |
//! | `call.null.seccomp.sleep` | `call.trap.seccomp.sleep` | on one core, sleeping |
//! | `call.null.seccomp.sleep.two` | `call.trap.seccomp.sleep.two` | on a core each, sleeping |
//! | `call.null.seccomp.spin` | `call.trap.seccomp` | on a core each, spinning |
//!
//! `call.floor.sleep` and `call.floor.spin` are the same between two native processes that do nothing but change
//! a word each in shared memory: a call cannot cost less in this run.
//!
//! The guest measures single calls by its counter and reports them all; what reading the counter costs
//! is left in. A native system call is too short for that, so its samples are means of a batch. A call by
//! the trap page is a fault first of all: where nobody sleeps its counterpart is a native process, on the
//! guest's core, whose handler does nothing but skip the instruction.

use super::counter::Ratio;
use super::figure::{Figure, Target, Unit};
use super::native::Native;
use super::place::{self, Guest, Place};
use super::site::Site;
use crate::output;
use crate::status::Failure;
use std::time::Instant;
use vcpu_host::backend::BackendKind;

/// Turns of gate, trap page and native system call.
const ROUNDS: usize = 30;
/// Calls of one turn.
const CALLS: usize = 2000;
/// Calls of one turn where each wakes somebody on another core, which takes long.
const SLOW_CALLS: usize = 300;
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
    place: Place,
}

const fn way(name: &'static str, backend: BackendKind, word: &'static str, place: Place) -> Way {
    Way { name, backend, word, place }
}

/// What is measured, in turns.
const WAYS: [Way; 10] = [
    way("call.null.ptrace", BackendKind::Ptrace, "gate", Place::Together),
    way("call.trap.ptrace", BackendKind::Ptrace, "trap", Place::Together),
    way("call.null.ptrace.two", BackendKind::Ptrace, "gate", Place::Apart),
    way("call.trap.ptrace.two", BackendKind::Ptrace, "trap", Place::Apart),
    way("call.null.seccomp.sleep", BackendKind::Seccomp, "gate", Place::Together),
    way("call.trap.seccomp.sleep", BackendKind::Seccomp, "trap", Place::Together),
    way("call.null.seccomp.sleep.two", BackendKind::Seccomp, "gate", Place::Apart),
    way("call.trap.seccomp.sleep.two", BackendKind::Seccomp, "trap", Place::Apart),
    way("call.null.seccomp.spin", BackendKind::Seccomp, "gate", Place::Spinning),
    way(SPINNING_TRAP, BackendKind::Seccomp, "trap", Place::Spinning),
];

/// The way that is compared with a native fault.
const SPINNING_TRAP: &str = "call.trap.seccomp";

/// What the names that have one must reach, as a ratio to their counterpart.
const TARGETS: [(&str, f64); 4] = [
    ("call.null.ptrace", 90.0),
    ("call.null.seccomp.sleep", 35.0),
    ("call.null.seccomp.spin", 1.5),
    (SPINNING_TRAP, 1.15),
];

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let other = place::other_core();
    if other.is_none() {
        output::note(&"calls between two cores are left out, since there is only one core");
    }
    let ratio = Ratio::measure();
    let ways: Vec<&Way> = WAYS.iter().filter(|way| other.is_some() || way.place == Place::Together).collect();
    let mut samples = vec![Vec::new(); ways.len()];
    let (mut native, mut faults) = (Vec::new(), Vec::new());
    let (mut asleep, mut looking) = (Vec::new(), Vec::new());
    let exchanges = |core, sleeps| {
        let ticks = Native::exchanges(core, WARM_UP + CALLS, sleeps)?;
        Ok::<_, Failure>(ticks.into_iter().skip(WARM_UP).map(|ticks| ratio.nanoseconds(ticks)))
    };
    for round in 0..ROUNDS {
        site.progress.round("call", round, ROUNDS);
        for (way, samples) in ways.iter().zip(&mut samples) {
            samples.extend(guest(site, way)?);
            native.extend(batches());
        }
        asleep.extend(exchanges(rustix::thread::sched_getcpu(), true)?);
        if let Some(other) = other {
            looking.extend(exchanges(other, false)?);
            let ticks = Native::faults(other, WARM_UP + CALLS)?.samples()?;
            faults.extend(ticks[WARM_UP..].iter().map(|ticks| ratio.nanoseconds(*ticks)));
        }
    }
    let figure = |(way, samples): (&&Way, Vec<f64>)| {
        let counterpart = if way.name == SPINNING_TRAP { &faults } else { &native };
        let figure = Figure::new(way.name, Unit::Ns, samples).over(counterpart);
        match TARGETS.iter().find(|(name, _)| *name == way.name) {
            Some((_, ratio)) => figure.at_most(Target::Ratio(*ratio)),
            None => figure,
        }
    };
    let mut figures: Vec<_> = ways.iter().zip(samples).map(figure).collect();
    let floors = [("call.floor.sleep", asleep), ("call.floor.spin", looking)];
    let floors = floors.into_iter().filter(|(_, samples)| !samples.is_empty());
    figures.extend(floors.map(|(name, samples)| Figure::new(name, Unit::Ns, samples).over(&native)));
    Ok(figures)
}

/// What calls of a guest took, in ns.
fn guest(site: &Site, way: &Way) -> Result<Vec<f64>, Failure> {
    let calls = if way.place == Place::Apart { SLOW_CALLS } else { CALLS };
    let count = WARM_UP + calls;
    let arguments = [way.word, &count.to_string()];
    let guest = Guest { app: "measure", arguments: &arguments, backend: way.backend, place: way.place };
    let (output, ()) = guest.run(site, |sandbox| Ok((sandbox.run()?, ())))?;
    let times = place::numbers(&output, count)?;
    Ok(times[WARM_UP..].iter().map(|time| *time as f64).collect())
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
