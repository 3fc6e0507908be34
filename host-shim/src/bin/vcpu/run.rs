//! `vcpu run`: runs an image, or builds an app and runs it.

use crate::config::Config as File;
use crate::grants;
use crate::output::{self, size};
use crate::program::{self, Program};
use crate::status::{self, Failure, Status};
use crate::values::{self, Backend, Variable};
use clap::builder::{OsStringValueParser, TypedValueParser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::io;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
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
  vcpu run --dir media=./samples --dir out=/tmp/out:rw --entropy ./image
  vcpu run --config sandbox.toml           what is given is in a file

", status::help!()))]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: Program,

    /// Takes what this file, a sandbox.toml, says; other options add to it or replace what it says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How the virtual CPU is supplied [default: auto]
    #[arg(long, value_name = "BACKEND", value_enum)]
    backend: Option<Backend>,

    /// A variable of the guest's environment, which is empty otherwise; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(values::variable))]
    env: Vec<Variable>,

    /// Lets the system move guest and host between cores; by default they share one, which is faster
    #[arg(long)]
    no_pin: bool,

    /// Has the guest's kernel say at its end what threads and event lines it had, and what they used
    /// (sets VCPU_STATS=1 in its environment)
    #[arg(long)]
    stats: bool,

    /// Says on standard error what is built and run, what the guest was refused, and how it ended
    #[arg(long, short)]
    verbose: bool,

    /// Arguments of the guest; any bytes but zero
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,

    #[command(flatten)]
    grants: grants::Options,

    #[command(flatten)]
    limits: Limits,
}

/// The options that limit what a guest uses.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Memory of the guest: 64M or 64MiB, 1G, ... [default: what the image wants]
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    memory: Option<u64>,

    /// Ends the guest after this time: 500ms, 10s, 2m, ... [default: none]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    time_limit: Option<Duration>,

    /// Ends the guest once it has used this much of the processor's time [default: none]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    cpu_time: Option<Duration>,

    /// Bytes that it may write to standard output and errors together; then it is refused [default: none]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    output_limit: Option<u64>,

    /// Calls of the machine in a second; more are answered later [default: none]
    #[arg(long, value_name = "NUMBER", value_parser = values::calls)]
    calls_per_second: Option<NonZeroU32>,
}

/// Lets this process have as many files open as it may: those that a guest has open are this process's.
pub(crate) fn raise_limit_of_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let verbose = arguments.verbose;
    if verbose {
        crate::log::show();
    }
    let file = match &arguments.config {
        Some(path) => File::read(path).map_err(Failure::runner)?,
        None => File::default(),
    };
    let mut program = arguments.program;
    program.program = program.program.or(file.program);
    let found = program::find(&program, verbose)?;
    // If not, the guest can have less files.
    let _ = raise_limit_of_files();
    let image = Image::open(&found.path).map_err(Failure::image)?;
    let streams = Streams::inherit().map_err(|error| {
        Failure::runner(format_args!(
            "cannot give the guest the standard streams: {error}; open all three, to /dev/null if need be"
        ))
    })?;
    let name = found.name;
    let stats = arguments.stats.then(|| (b"VCPU_STATS".to_vec(), b"1".to_vec()));
    let variables = file.environment.into_iter().chain(arguments.env).chain(stats).collect();
    let own = if arguments.arguments.is_empty() { file.arguments } else { arguments.arguments };
    let granted = grants::merge(file.granted, arguments.grants.all());
    let limits = arguments.limits;
    let begin = Instant::now();
    let config = Config {
        memory: limits.memory.or(file.memory),
        arguments: std::iter::once(name.clone()).chain(own).map(OsString::into_vec).collect(),
        environment: values::last_of_each(variables),
        time_limit: limits.time_limit.or(file.time_limit),
        cpu_time: limits.cpu_time.or(file.cpu_time),
        output_limit: limits.output_limit.or(file.output_limit),
        calls_per_second: limits.calls_per_second.or(file.calls_per_second),
        backend: arguments.backend.or(file.backend).unwrap_or(Backend::Auto).into(),
        pin: !arguments.no_pin && file.pin.unwrap_or(true),
        streams: Some(streams),
        grants: granted.iter().map(grants::Granted::open).collect::<Result<_, _>>().map_err(Error::from)?,
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
