//! Where a guest runs, and with which backend: experiments that need more than one core, or choose.

use super::site::{Site, cannot, memory_file, text};
use crate::status::Failure;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use vcpu_host::backend::BackendKind;
use vcpu_host::{Config, Image, Machine, Outcome, Streams};

/// Where guest and host run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Both on one core: they sleep while they wait.
    Together,
    /// On a core each; they sleep.
    Apart,
    /// On a core each; they spin for a while if their backend can.
    Spinning,
}

/// A guest to be run.
pub(super) struct Guest<'a> {
    pub(super) app: &'static str,
    pub(super) arguments: &'a [&'a str],
    pub(super) backend: BackendKind,
    pub(super) place: Place,
}

impl Guest<'_> {
    /// Runs it to its end. `action` lets it run. Gives its output, and what else `action` gives.
    pub(super) fn run<R>(
        &self,
        site: &Site,
        action: impl FnOnce(&mut Machine) -> Result<(Outcome, R), vcpu_host::Error>,
    ) -> Result<(String, R), Failure> {
        let image = Image::open(site.image(self.app)).map_err(Failure::image)?;
        let (mut output, mut errors) = (memory_file()?, memory_file()?);
        let arguments = std::iter::once(&self.app).chain(self.arguments);
        let config = Config {
            arguments: arguments.map(|argument| argument.as_bytes().to_vec()).collect(),
            backend: self.backend,
            pin: self.place == Place::Together,
            streams: Some(streams(&output, &errors)?),
            ..Config::default()
        };
        let mut sandbox = self.place.start(&image, config)?;
        match action(&mut sandbox)? {
            (Outcome::Exited(0), result) => Ok((text(&mut output)?, result)),
            (outcome, _) => Err(Failure::runner(format_args!(
                "cannot measure by the app `{}`: it ended with status {}; {}",
                self.app,
                outcome.status(),
                text(&mut errors)?.trim_end()
            ))),
        }
    }
}

impl Place {
    /// Starts a guest here. This thread stays on its core.
    pub(super) fn start(self, image: &Image, config: Config) -> Result<Machine, Failure> {
        if self == Place::Together {
            return Ok(Machine::start(image, config)?);
        }
        let failed = |error| cannot("choose a core", error);
        let other = other_core().expect("it is measured only where there is one");
        let here = sched_getaffinity(None).map_err(|error| failed(error.into()))?;
        if self == Place::Spinning {
            // A sandbox spins only if it starts where there are several.
            let mut both = here;
            both.set(other);
            sched_setaffinity(None, &both).map_err(|error| failed(error.into()))?;
        }
        let started = Machine::start(image, config);
        sched_setaffinity(None, &here).map_err(|error| failed(error.into()))?;
        let sandbox = started?;
        stay(Pid::from_raw(sandbox.pid()), other).map_err(failed)?;
        Ok(sandbox)
    }
}

/// Keeps a process of one thread, or this thread, on a core.
pub(super) fn stay(process: Option<Pid>, core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(process, &set)?)
}

/// The cores of this system, as far as its first thread may use them: what this thread may use says nothing,
/// since it is pinned.
pub(super) fn all_cores() -> io::Result<CpuSet> {
    Ok(sched_getaffinity(Pid::from_raw(1))?)
}

/// A core that this thread is not on.
pub(super) fn other_core() -> Option<usize> {
    let here = sched_getcpu();
    let all = all_cores().ok()?;
    (0..CpuSet::MAX_CPU).find(|core| *core != here && all.is_set(*core))
}

/// No input, and these files for output and errors.
pub(super) fn streams(output: &File, errors: &File) -> Result<Streams, Failure> {
    let copy = |file: &File| -> Result<OwnedFd, Failure> {
        Ok(file.try_clone().map_err(|error| cannot("copy a descriptor", error))?.into())
    };
    Ok(Streams { input: memory_file()?.into(), output: copy(output)?, errors: copy(errors)? })
}

/// What the app `measure` told: a number a line, as many as it was asked for.
pub(super) fn numbers(output: &str, count: usize) -> Result<Vec<u64>, Failure> {
    let numbers: Option<Vec<u64>> = output.lines().map(|line| line.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() == count).ok_or_else(|| {
        Failure::runner(format_args!(
            "the app `measure` did not tell {count} numbers, one a line; please report this"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_tells_as_many_numbers_as_it_was_asked_for() {
        assert_eq!(numbers("5\n18446744073709551615\n", 2).unwrap(), [5, u64::MAX]);
        for (output, count) in [("5\n6\n", 3), ("5\n6\n7\n", 2), ("5\nsix\n", 2), ("5\n-6\n", 2), ("", 1)] {
            let failure = numbers(output, count).unwrap_err();
            assert!(failure.message.contains(&format!(" {count} numbers")), "{output}: {}", failure.message);
        }
    }
}
