//! What a sandbox is given.

use super::functions::{self, Function, Registered};
use super::memory::SharedMemory;
use super::metrics::Counters;
use super::place::Place;
use super::{Metrics, Sandbox, Snapshot};
use crate::Error;
use crate::backend::BackendKind;
use crate::clock::ClockMode;
use crate::console::Streams;
use crate::device;
use crate::grant::{self, Grant};
use crate::image::Image;
use crate::machine::Config;
use crate::machine::exchange::{Functions, Limits};
use crate::machine::given::{self, Given};
use crate::machine::limits::Most;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use vcpu_abi::exchange::MESSAGE_MAX;

/// How long a guest may take until it waits for its first call, unless it is told otherwise.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Says what a new sandbox is given: nothing but its memory and the clock, unless it is said here.
#[must_use = "a sandbox is made by `build`"]
pub struct SandboxBuilder {
    image: Image,
    config: Config,
    start_deadline: Option<Duration>,
    limits: Limits,
    functions: HashMap<String, Function>,
    snapshot: Option<Snapshot>,
}

impl fmt::Debug for SandboxBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions: Vec<_> = self.functions.keys().collect();
        formatter
            .debug_struct("SandboxBuilder")
            .field("image", &self.image)
            .field("config", &self.config)
            .field("start_deadline", &self.start_deadline)
            .field("limits", &self.limits)
            .field("functions", &functions)
            .finish()
    }
}

impl SandboxBuilder {
    pub(super) fn new(image: &Image) -> SandboxBuilder {
        SandboxBuilder {
            image: image.clone(),
            config: Config::default(),
            start_deadline: Some(START_DEADLINE),
            limits: Limits { time: None, reply: MESSAGE_MAX },
            functions: HashMap::new(),
            snapshot: None,
        }
    }

    pub(super) fn of_snapshot(snapshot: Snapshot) -> SandboxBuilder {
        let builder = SandboxBuilder::new(snapshot.image());
        SandboxBuilder { limits: snapshot.limits(), snapshot: Some(snapshot), ..builder }
    }

    /// RAM of the guest in bytes; otherwise it gets what the image wants.
    pub fn memory(mut self, bytes: u64) -> SandboxBuilder {
        self.config.memory = Some(bytes);
        self
    }

    /// How long a call may take; then it is [`CallError::Ended`](super::CallError::Ended) and the guest is gone.
    /// Without this, or with `None`, a guest can keep its caller for ever.
    pub fn call_deadline(mut self, deadline: impl Into<Option<Duration>>) -> SandboxBuilder {
        self.limits.time = deadline.into();
        self
    }

    /// How long the guest may take until it waits for its first call: 10 s, unless it is said. `None` is without end.
    pub fn start_deadline(mut self, deadline: impl Into<Option<Duration>>) -> SandboxBuilder {
        self.start_deadline = deadline.into();
        self
    }

    /// Most bytes of a reply, 16 MiB unless it is said. The host may need a multiple of that, for the copy and
    /// for the value.
    pub fn reply_limit(mut self, bytes: u64) -> SandboxBuilder {
        self.limits.reply = bytes;
        self
    }

    /// The processor's time that its process may use, until it is reset; then the guest is gone.
    pub fn cpu_time(mut self, limit: Duration) -> SandboxBuilder {
        self.config.cpu_time = Some(limit);
        self
    }

    /// Bytes that it may write to its standard streams together, until it is reset; then its writes fail.
    pub fn output_limit(mut self, bytes: u64) -> SandboxBuilder {
        self.config.output_limit = Some(bytes);
        self
    }

    /// Calls of its machine that are served in a second. So many may come at once; those that come sooner are
    /// answered later.
    pub fn calls_per_second(mut self, calls: NonZeroU32) -> SandboxBuilder {
        self.config.calls_per_second = Some(calls);
        self
    }

    /// Which backend runs it; the fastest that works here, unless it is said.
    pub fn backend(mut self, backend: BackendKind) -> SandboxBuilder {
        self.config.backend = backend;
        self
    }

    /// How its clock passes.
    pub fn clock(mut self, clock: ClockMode) -> SandboxBuilder {
        self.config.clock = clock;
        self
    }

    /// Adds an argument of the program. The first is the program's own name.
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> SandboxBuilder {
        self.config.arguments.push(argument.into());
        self
    }

    /// Adds a variable to the program's environment.
    pub fn env(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> SandboxBuilder {
        self.config.environment.push((name.into(), value.into()));
        self
    }

    /// Its standard streams; without this it has no input, and what it writes goes nowhere.
    pub fn streams(mut self, streams: Streams) -> SandboxBuilder {
        self.config.streams = Some(streams);
        self
    }

    /// Grants it something that it finds as a device.
    pub fn grant(mut self, grant: Grant) -> SandboxBuilder {
        self.config.grants.push(grant);
        self
    }

    /// Grants it a function of the host's, which takes one value and gives one. A function of the same name is
    /// replaced.
    ///
    /// The argument is the guest's word: it is a value of its type, and otherwise anything. The function is called on
    /// the thread that the guest runs on, and the guest's time passes meanwhile. If it panics, that is an
    /// error for the guest.
    pub fn function<A, R>(
        self,
        name: impl Into<String>,
        mut function: impl FnMut(A) -> R + Send + 'static,
    ) -> SandboxBuilder
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        self.shared_function(name, move |_, argument| Ok::<R, Infallible>(function(argument)))
    }

    /// As [`function`](SandboxBuilder::function), for a function that may fail: the guest gets the error as a
    /// sentence.
    pub fn try_function<A, R, E>(
        self,
        name: impl Into<String>,
        mut function: impl FnMut(A) -> Result<R, E> + Send + 'static,
    ) -> SandboxBuilder
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        self.shared_function(name, move |_, argument| function(argument))
    }

    /// As [`try_function`](SandboxBuilder::try_function), for a function that reads or writes the guest's memory:
    /// an argument may hold a [`Slice`](super::Slice).
    pub fn shared_function<A, R, E>(
        mut self,
        name: impl Into<String>,
        function: impl FnMut(&SharedMemory<'_>, A) -> Result<R, E> + Send + 'static,
    ) -> SandboxBuilder
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        self.functions.insert(name.into(), functions::function(function));
        self
    }

    /// As [`shared_function`](SandboxBuilder::shared_function), for a function that gets its argument encoded and
    /// writes its encoded result behind what is in the vector, both as `postcard` 1.x encodes them.
    pub fn encoded_function<E: Display>(
        mut self,
        name: impl Into<String>,
        function: impl FnMut(&SharedMemory<'_>, &[u8], &mut Vec<u8>) -> Result<(), E> + Send + 'static,
    ) -> SandboxBuilder {
        self.functions.insert(name.into(), functions::encoded(function));
        self
    }

    /// Starts the guest, and lets it run until it waits for its first call.
    ///
    /// # Errors
    ///
    /// If the image needs more memory than it is given, the system refuses something, or the guest ends
    /// ([`Error::EndedEarly`]).
    pub fn build(self) -> Result<Sandbox, Error> {
        let SandboxBuilder { image, config, start_deadline, limits, functions, snapshot } = self;
        let names = functions.keys().cloned().collect();
        let config = Config { functions: names, ..config };
        grant::check(image.wants(), &config.grants, &config.functions)?;
        let counters = Arc::new(Counters::default());
        let functions = Registered { functions, counters: counters.clone() };
        let place = match snapshot {
            None => start(&image, config, Box::new(functions), start_deadline)?,
            Some(snapshot) => {
                let streams = given::streams(config.streams)?;
                let functions: Option<Box<dyn Functions>> = Some(Box::new(functions));
                let limits = Most {
                    cpu_time: config.cpu_time,
                    output: config.output_limit,
                    calls_per_second: config.calls_per_second,
                };
                let devices = device::models(config.grants)?;
                let given = Given { streams, devices, functions, limits };
                let mut place = snapshot.pool().take()?;
                place.with(|machine| machine.take_over(given, snapshot.pool().saved()))?;
                place
            }
        };
        tracing::debug!(image = %image.path().display(), "a sandbox waits for calls");
        let (request, reply) = (Vec::new(), Vec::new());
        let metrics = Metrics::default();
        Ok(Sandbox { place, image, limits, request, reply, lives: true, metrics, counters })
    }
}

/// Starts a guest, and lets it run until it waits for its first call.
fn start(
    image: &Image,
    config: Config,
    functions: Box<dyn Functions>,
    deadline: Option<Duration>,
) -> Result<Place, Error> {
    let mut place = Place::start(image, config)?;
    let outcome = place.with(|machine| {
        machine.embed(functions);
        machine.run_to_first_request(deadline)
    })?;
    match outcome {
        None => Ok(place),
        Some(outcome) => Err(Error::EndedEarly(outcome)),
    }
}
