//! `vcpu run`: runs an image, or builds an app and runs it.

use crate::output::{self, size};
use crate::program::{self, Program};
use crate::status::{self, Failure, Status};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};
use vcpu_host::backend::BackendKind;
use vcpu_host::{Config, Error, Image, Machine, Outcome, Streams};

/// Run an image; if an app is named, build it first
#[derive(Debug, clap::Args)]
#[command(after_help = concat!("\
Examples:
  vcpu run                                 the package in the current directory
  vcpu run hello                           a package of the workspace around it
  vcpu run gunzip < file.gz > file         input, output and errors are the caller's
  vcpu run ./image -- one two              an image, with two arguments
  vcpu run --memory 1G --time-limit 10s --env LANG=C hello

", status::help!()))]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: Program,

    /// How the virtual CPU is supplied
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = Backend::Auto)]
    backend: Backend,

    /// Memory of the guest: 64M or 64MiB, 1G, ... [default: what the image wants]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,

    /// Ends the guest after this time: 500ms, 10s, 2m, ... [default: none]
    #[arg(long, value_name = "DURATION", value_parser = time_limit)]
    time_limit: Option<Duration>,

    /// A variable of the guest's environment, which is empty otherwise; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(variable))]
    env: Vec<Variable>,

    /// Lets the system move guest and host between cores; by default they share one, which is faster
    #[arg(long)]
    no_pin: bool,

    /// Has the guest's kernel say at its end what threads and event lines it had, and what they used
    /// (sets VCPU_STATS=1 in its environment)
    #[arg(long)]
    stats: bool,

    /// Says on standard error what is built and run, and how it ended
    #[arg(long, short)]
    verbose: bool,

    /// Arguments of the guest; any bytes but zero
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// The backends that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// The best that this system offers
    Auto,
    /// Linux processes, their own signal handlers and a system call filter: fast
    Seccomp,
    /// Linux processes and ptrace: the reference
    Ptrace,
}

impl From<Backend> for BackendKind {
    fn from(backend: Backend) -> BackendKind {
        match backend {
            Backend::Auto => BackendKind::Auto,
            Backend::Seccomp => BackendKind::Seccomp,
            Backend::Ptrace => BackendKind::Ptrace,
        }
    }
}

/// Name and value of a variable.
type Variable = (Vec<u8>, Vec<u8>);

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let verbose = arguments.verbose;
    let found = program::find(&arguments.program, verbose)?;
    let image = Image::open(&found.path).map_err(Failure::image)?;
    let streams = Streams::inherit().map_err(|error| {
        Failure::runner(format_args!(
            "cannot give the guest the standard streams: {error}; open all three, to /dev/null if need be"
        ))
    })?;
    let name = found.name;
    let stats = arguments.stats.then(|| (b"VCPU_STATS".to_vec(), b"1".to_vec()));
    let begin = Instant::now();
    let config = Config {
        memory: arguments.memory,
        arguments: std::iter::once(name.clone()).chain(arguments.arguments).map(OsString::into_vec).collect(),
        environment: last_of_each(arguments.env.into_iter().chain(stats).collect()),
        time_limit: arguments.time_limit,
        backend: arguments.backend.into(),
        pin: !arguments.no_pin,
        streams: Some(streams),
        ..Config::default()
    };
    let mut sandbox = Machine::start(&image, config)?;
    if verbose {
        output::note(&format_args!(
            "running {} with {} of memory by the backend {}",
            found.path.display(),
            size(sandbox.memory().size()),
            sandbox.backend().name()
        ));
    }
    let outcome = sandbox.run()?;
    let time = begin.elapsed();
    let status = status_of(&outcome);
    if verbose {
        output::note(&format_args!(
            "{} ended with status {} after {}",
            name.display(),
            status.number(),
            humantime::format_duration(Duration::from_micros(time.as_micros() as u64))
        ));
    }
    Ok(status)
}

/// The status for how the guest ended; says on standard error what was wrong with it.
fn status_of(outcome: &Outcome) -> Status {
    let (status, report) = match outcome {
        Outcome::Exited(status) => return Status::Guest(*status),
        Outcome::Panicked(report) => (Status::Panicked, report),
        Outcome::Faulted(report) => (Status::Faulted, report),
        Outcome::TimeLimit(report) => (Status::TimeLimit, report),
        Outcome::Killed(report) => (Status::Runner, report),
    };
    output::error(report);
    status
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Image(_) => Failure::image(error),
            _ => Failure::runner(error),
        }
    }
}

/// A size of memory. As with container runners and emulators, a bare `K`, `M`, `G` or `T` is a power of
/// two; `MB` is a million and `MiB` is exact.
fn memory(text: &str) -> Result<u64, String> {
    let plain = text.trim();
    let explicit = match plain.chars().last() {
        Some('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T') => format!("{plain}iB"),
        _ => plain.to_owned(),
    };
    match explicit.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        Ok(_) => Err("a guest needs some memory; give a size like 64M or 1G".into()),
        Err(_) => Err("this is no size; give one like 64M or 1G".into()),
    }
}

/// A time limit.
fn time_limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a guest needs some time; leave the option out for no limit".into()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("this is no duration; give one like 500ms, 10s or 2m".into()),
    }
}

/// A variable of the environment: any bytes, of which the first `=` ends the name.
fn variable(text: OsString) -> Result<Variable, &'static str> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        None | Some(0) => Err("this is not of the form NAME=VALUE"),
        Some(end) => Ok((bytes[..end].to_vec(), bytes[end + 1..].to_vec())),
    }
}

/// Of several values for one name the last counts, as with `env` and container runners.
fn last_of_each(variables: Vec<Variable>) -> Vec<Variable> {
    let mut kept: Vec<Variable> = Vec::new();
    for (name, value) in variables {
        kept.retain(|(earlier, _)| *earlier != name);
        kept.push((name, value));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_unless_they_say_otherwise() {
        for (text, bytes) in [
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("64MB", 64_000_000),
            ("1G", 1 << 30),
            ("1.5 G", 3 << 29),
            ("4096", 4096),
            ("512K", 512 << 10),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "M", "-1M", "64Q", "1e999G"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn time_limits_have_a_unit_and_are_not_zero() {
        assert_eq!(time_limit("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time_limit("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "0s", "10", "-1s", "soon"] {
            assert!(time_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_is_split_at_its_first_equals_sign() {
        assert_eq!(variable("A=b=c".into()), Ok((b"A".to_vec(), b"b=c".to_vec())));
        assert_eq!(variable("A=".into()), Ok((b"A".to_vec(), Vec::new())));
        let bytes = OsString::from_vec(b"A=\xff".to_vec());
        assert_eq!(variable(bytes), Ok((b"A".to_vec(), b"\xff".to_vec())));
        assert!(variable("A".into()).is_err() && variable("=b".into()).is_err());
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let variables = ["A=1", "B=2", "A=3"].map(|text| variable(text.into()).unwrap());
        let kept = last_of_each(variables.to_vec());
        assert_eq!(kept, ["B=2", "A=3"].map(|text| variable(text.into()).unwrap()));
    }
}
