//! One guest: what it is given, its streams, and its end.

use crate::BackendKind;
use std::fmt;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vcpu_host::{Config, Error, EventLines, Image, Machine, Outcome, Report, Streams};

/// The time after which a guest is ended that nobody expects to hang; the test fails then.
const PATIENCE: Duration = Duration::from_secs(120);

/// A guest to be run.
#[derive(Debug)]
pub struct Guest {
    image: &'static std::path::Path,
    config: Config,
    input: Vec<u8>,
}

/// How a guest ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to standard output.
    pub output: Vec<u8>,
    /// What it wrote to standard errors.
    pub errors: Vec<u8>,
}

/// A guest that runs in a thread of its own. Its streams are pipes whose other ends are here.
#[derive(Debug)]
pub struct Live {
    /// The guest's process.
    pub pid: i32,
    /// Raises its event lines.
    pub lines: EventLines,
    /// Its standard input.
    pub input: PipeWriter,
    /// Its standard output.
    pub output: PipeReader,
    /// Its standard errors.
    pub errors: PipeReader,
    /// The thread.
    pub outcome: JoinHandle<Outcome>,
}

impl Guest {
    /// A guest made of a package's image. Its first argument is the package's name; it has no input.
    pub fn new(package: &str, backend: BackendKind) -> Guest {
        let arguments = vec![package.as_bytes().to_vec()];
        let config = Config { arguments, backend, time_limit: Some(PATIENCE), ..Config::default() };
        Guest { image: crate::image(package), config, input: Vec::new() }
    }

    /// Adds arguments.
    pub fn arguments<A: AsRef<[u8]>>(mut self, arguments: impl IntoIterator<Item = A>) -> Guest {
        self.config.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_vec()));
        self
    }

    /// Sets its whole input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Guest {
        self.input = bytes.into();
        self
    }

    /// Changes anything else that it is given; its streams are set later.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Guest {
        change(&mut self.config);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If the machine fails.
    pub fn run(mut self) -> Ended {
        let input = std::mem::take(&mut self.input);
        self.start().end(&input)
    }

    /// Starts it, and leaves its streams to the caller.
    ///
    /// # Panics
    ///
    /// If the machine fails.
    pub fn start(self) -> Live {
        assert!(self.input.is_empty(), "the input of a guest that is started is written by the caller");
        let ((stdin, input), (output, stdout), (errors, stderr)) = (self::pair(), self::pair(), self::pair());
        let streams = Streams { input: stdin.into(), output: stdout.into(), errors: stderr.into() };
        let (tell, told) = mpsc::channel();
        let outcome = thread::spawn(move || {
            self.inside(Some(streams), |mut sandbox| {
                let _ = tell.send((sandbox.pid(), sandbox.event_lines()));
                sandbox.run()
            })
            .unwrap_or_else(|error| panic!("the machine failed: {error}"))
        });
        let (pid, lines) = told.recv().expect("the guest is started");
        Live { pid, lines, input, output, errors, outcome }
    }

    /// Starts it in this thread, without streams unless `with` has set them, for `action`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or `action` fails.
    pub fn here<R>(mut self, action: impl FnOnce(Machine) -> Result<R, Error>) -> Result<R, Error> {
        let streams = self.config.streams.take();
        self.inside(streams, action)
    }

    fn inside<R>(
        self,
        streams: Option<Streams>,
        action: impl FnOnce(Machine) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let image = Image::open(self.image)?;
        action(Machine::start(&image, Config { streams, ..self.config })?)
    }
}

fn pair() -> (PipeReader, PipeWriter) {
    pipe().expect("pipes are to be had")
}

impl Live {
    /// Gives the guest its whole input, and waits until it ends.
    ///
    /// # Panics
    ///
    /// If the machine fails.
    pub fn end(self, input: &[u8]) -> Ended {
        let Live { input: mut stdin, mut output, mut errors, outcome, .. } = self;
        let drain = |stream: &mut PipeReader| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        };
        thread::scope(|scope| {
            // A guest need not read its input; then this write fails, which is as good.
            scope.spawn(move || stdin.write_all(input));
            let errors = scope.spawn(move || drain(&mut errors));
            let output = drain(&mut output);
            let errors = errors.join().expect("the pipe was drained");
            Ended { outcome: outcome_of(outcome), output, errors }
        })
    }
}

/// What the guest's thread gave, or its panic.
fn outcome_of(thread: JoinHandle<Outcome>) -> Outcome {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Ended {
    /// The status of a guest that ended itself.
    ///
    /// # Panics
    ///
    /// If it ended otherwise.
    #[track_caller]
    pub fn status(&self) -> u8 {
        match self.outcome {
            Outcome::Exited(status) => status,
            _ => panic!("the guest did not end itself: {self}"),
        }
    }

    /// The report of a guest that did not end itself.
    ///
    /// # Panics
    ///
    /// If it did.
    #[track_caller]
    pub fn report(&self) -> &Report {
        self.outcome.report().unwrap_or_else(|| panic!("the guest ended itself: {self}"))
    }

    /// The output as text.
    #[track_caller]
    pub fn output_text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap_or_else(|_| panic!("the output is no text: {self}"))
    }

    /// The errors as text.
    #[track_caller]
    pub fn errors_text(&self) -> &str {
        std::str::from_utf8(&self.errors).unwrap_or_else(|_| panic!("the errors are no text: {self}"))
    }

    /// Asserts that the guest ended itself well and wrote exactly this.
    ///
    /// # Panics
    ///
    /// If it did anything else.
    #[track_caller]
    pub fn assert_output(&self, expected: &str) {
        assert!(matches!(self.outcome, Outcome::Exited(0)), "{self}");
        assert_eq!(self.output_text(), expected, "{self}");
    }
}

/// For the messages of assertions.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Exited(status) => writeln!(f, "exited with status {status}")?,
            other => writeln!(f, "ended by: {}", other.report().expect("only an exit has no report"))?,
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(10_000)]).into_owned();
        writeln!(f, "--- output ---\n{}", text(&self.output))?;
        write!(f, "--- errors ---\n{}", text(&self.errors))
    }
}
