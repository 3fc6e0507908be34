//! Where a machine lives, so that whoever owns it may use it from any thread.
//!
//! A guest that nobody traces may be served by any thread, once its process was made by one that outlives it.
//! One that is traced is served by the thread that traces it, which it has to itself.

use crate::backend::BackendKind;
use crate::machine::snapshot::Saved;
use crate::machine::{Begin, Born, Config, Machine};
use crate::memory::GuestMemory;
use crate::worker::Worker;
use crate::{Error, Image};
use std::sync::OnceLock;

/// A machine that may be used from any thread, one at a time.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is used by whoever wants something of it. Taken only when this is dropped.
    Here(Option<Movable>),
    /// It is used by a thread of its own. Taken only when this is dropped.
    There { machine: Option<Movable>, worker: Worker },
}

/// A machine that may change its thread.
#[derive(Debug)]
pub(crate) struct Movable(Machine);

// SAFETY: `Place::start` makes two kinds. A machine of the `seccomp` backend whose process was born by a thread
// that lives for ever, and which is not pinned, has nothing that belongs to a thread: its pointers go into
// mappings that it owns. Any other is touched on its worker's thread only, from its start to its end.
unsafe impl Send for Movable {}

impl Place {
    /// Starts a guest.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub(crate) fn start(image: &Image, config: Config) -> Result<Place, Error> {
        Self::begin(image, config, Begin::Image)
    }

    /// Makes a guest that goes on from a state. It has no streams, no devices and no functions yet.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub(crate) fn restore(state: &Saved) -> Result<Place, Error> {
        Self::begin(state.image(), state.config(), Begin::State(state))
    }

    /// As [`restore`](Place::restore), in place of one of the same image that ends, whose RAM it gets: that
    /// takes less time than new RAM.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub(crate) fn replace(self, state: &Saved) -> Result<Place, Error> {
        let memory = self.end();
        Self::begin(state.image(), state.config(), Begin::Reused(state, memory))
    }

    fn begin(image: &Image, config: Config, begin: Begin<'_>) -> Result<Place, Error> {
        let backend = match config.backend {
            BackendKind::Auto if has_seccomp(image) => BackendKind::Seccomp,
            BackendKind::Auto => BackendKind::Ptrace,
            backend => backend,
        };
        let config = Config { pin: false, backend, ..config };
        if backend == BackendKind::Seccomp {
            let machine = Machine::begin(image, config, Born::Detached, begin)?;
            return Ok(Place::Here(Some(Movable(machine))));
        }
        let worker = Worker::new("vcpu-machine").map_err(|error| Error::system("start a thread", error))?;
        let machine = worker.run(|| Machine::begin(image, config, Born::Here, begin).map(Movable))?;
        Ok(Place::There { machine: Some(machine), worker })
    }

    /// Does something with the machine.
    pub(crate) fn with<R: Send>(&mut self, action: impl FnOnce(&mut Machine) -> R + Send) -> R {
        match self {
            Place::Here(Some(machine)) => action(&mut machine.0),
            Place::There { machine: Some(machine), worker } => worker.run(move || {
                let machine: &mut Movable = machine;
                action(&mut machine.0)
            }),
            Place::Here(None) | Place::There { machine: None, .. } => {
                unreachable!("it is there until this is dropped")
            }
        }
    }

    /// Ends the guest, and gives its RAM.
    fn end(mut self) -> GuestMemory {
        match &mut self {
            Place::Here(machine) => machine.take().map(Movable::into_memory),
            Place::There { machine, worker } => {
                let machine = machine.take();
                worker.run(move || machine.map(Movable::into_memory))
            }
        }
        .expect("it is there until this is dropped")
    }
}

impl Movable {
    fn into_memory(self) -> GuestMemory {
        self.0.into_memory()
    }
}

/// Whether the fast backend can be started here, which is tried once a process.
fn has_seccomp(image: &Image) -> bool {
    static RESULT: OnceLock<bool> = OnceLock::new();
    *RESULT.get_or_init(|| {
        let config = Config { backend: BackendKind::Seccomp, pin: false, ..Config::default() };
        Machine::begin(image, config, Born::Detached, Begin::Image).is_ok()
    })
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::There { machine, worker } = self {
            let machine = machine.take();
            worker.run(move || drop(machine));
        }
    }
}
