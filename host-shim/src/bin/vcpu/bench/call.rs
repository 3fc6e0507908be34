//! `call`: the round trip of a call that does nothing, over a native system call.
//!
//! The guest measures single calls by its counter and reports them all; what reading the counter costs
//! is left in. A native system call is too short for that, so its samples are means of a batch.

use super::figure::{Figure, Target, Unit};
use super::site::Site;
use crate::status::Failure;
use std::time::Instant;

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

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let (mut gate, mut trap, mut native) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        site.progress.round("call", round, ROUNDS);
        gate.extend(guest(site, "gate")?);
        native.extend(batches());
        trap.extend(guest(site, "trap")?);
    }
    Ok(vec![
        Figure::new("call.null.ptrace", Unit::Ns, gate).over(&native).at_most(Target::Ratio(90.0)),
        Figure::new("call.trap.ptrace", Unit::Ns, trap).over(&native),
    ])
}

/// What calls of a guest took, in ns.
fn guest(site: &Site, way: &str) -> Result<Vec<f64>, Failure> {
    let output = site.guest("measure", &[way, &(WARM_UP + CALLS).to_string()])?;
    let times: Vec<f64> = output.lines().skip(WARM_UP).filter_map(|line| line.parse().ok()).collect();
    if times.len() != CALLS {
        return Err(Failure::runner("the app `measure` did not report every call; please report this"));
    }
    Ok(times)
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
