//! `start`: a whole run of the smallest app, from the start of a process to its end, and in a process that
//! has sandboxes already.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot};
use crate::status::Failure;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Turns of a run in the sandbox and a native one.
const RUNS: usize = 200;
/// Turns that do not count.
const WARM_UP: usize = 20;
/// The native program that does nothing.
const NOTHING: &str = "true";

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let copy = Copy::of(&site.program);
    // Where an installed program lies, few may write: it is a copy itself.
    let mut hello = Command::new(copy.as_ref().map_or(&site.program, |copy| &copy.0));
    hello.arg("run").arg(site.image("hello"));
    let mut nothing = Command::new(NOTHING);
    // Started by cargo, this program has an environment in which everything starts more slowly.
    for command in [&mut hello, &mut nothing] {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    }
    let (mut inside, mut native) = (Vec::new(), Vec::new());
    for run in 0..WARM_UP + RUNS {
        site.progress.round("start", run, WARM_UP + RUNS);
        inside.push(time(&mut hello, "vcpu run hello")?);
        native.push(time(&mut nothing, NOTHING)?);
    }
    let figure = Figure::new("start.hello", Unit::Ns, inside.split_off(WARM_UP));
    let mut figures = vec![figure.over(&native[WARM_UP..]).at_most(Target::Median(1e6))];
    figures.extend(super::sandboxes::start(site)?);
    Ok(figures)
}

/// A copy of a program, as an installation makes one: what a linker has just written lies in the system's
/// memory page by page, and it takes longer to map that. It is removed when this is dropped.
struct Copy(PathBuf);

impl Copy {
    /// Copies it to beside the original, if it is possible to write there.
    fn of(program: &Path) -> Option<Copy> {
        let copy = Copy(program.with_extension(format!("bench-{}", std::process::id())));
        std::fs::copy(program, &copy.0).is_ok().then_some(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It is not there if it could not be made.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a command takes from its start to its end, in ns.
fn time(command: &mut Command, name: &str) -> Result<f64, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status().map_err(|error| cannot(&format!("run `{name}`"), error))?;
    let time = begin.elapsed();
    if !status.success() {
        return Err(Failure::runner(format_args!("cannot measure `{name}`: it failed, {status}")));
    }
    Ok(time.as_nanos() as f64)
}
