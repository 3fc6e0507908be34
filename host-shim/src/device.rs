//! Devices: how a guest reaches what it was granted.
//!
//! Each grant is a virtio device. A guest's request is served on the vCPU's own thread, while the guest waits
//! in its call; only what cannot be done at once, because a stream is empty or full, is done later, by the
//! thread that watches streams.

mod block;
mod console;
mod entropy;
mod filesystem;
mod request;
#[cfg(test)]
mod tests;
mod transport;

use crate::Error;
use crate::console::Readiness;
use crate::events::Events;
use crate::grant::{Grant, Refusals, Resource};
use crate::memory::{GuestMemory, View};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub(crate) use transport::State;
use transport::Transport;
use vcpu_abi::call::Error as CallError;
use vcpu_abi::device::{DEVICES_MAX, Kind, line};

/// What a device does, behind its transport.
trait Model: Debug + Send {
    fn kind(&self) -> Kind;

    /// The features that it offers besides those of the transport.
    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        1
    }

    /// Its configuration as the driver reads it.
    fn config(&self) -> &[u8] {
        &[]
    }

    /// Counts changes of the configuration.
    fn generation(&self) -> u64 {
        0
    }

    /// Serves one request. It must come back soon, whatever the request says.
    fn serve(&mut self, queue: usize, request: &request::Request<'_>) -> Result<Served, request::Broken>;

    /// Forgets what the driver has done.
    fn reset(&mut self) {}

    /// Whether it holds nothing for its guest, so that it is as after a reset.
    fn is_idle(&self) -> bool {
        true
    }
}

/// What became of a request.
enum Served {
    /// It was carried out, and so many bytes were written to it.
    Used(usize),
    /// It has to wait until a stream is ready.
    Later(Readiness),
    /// It waits for something that will not come any more.
    Never,
}

/// A device, which the vCPU's thread uses and the thread that watches streams.
#[derive(Debug)]
pub(crate) struct Device(Mutex<Transport>);

impl Device {
    fn lock(&self) -> MutexGuard<'_, Transport> {
        // What a panic elsewhere left half done is the business of the driver alone.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a queue, and says for which stream the rest waits.
    pub(crate) fn serve(&self, queue: usize) -> Option<Readiness> {
        self.lock().serve(queue, Events::over)
    }
}

/// A queue that is to be served once a stream is ready.
#[derive(Debug)]
pub(crate) struct Waits {
    pub(crate) stream: Readiness,
    pub(crate) device: Arc<Device>,
    pub(crate) queue: usize,
}

/// Devices without transports, by their names.
#[derive(Debug)]
pub(crate) struct Models(Vec<(String, Box<dyn Model>)>);

/// What grants become.
///
/// # Errors
///
/// If a grant cannot be served.
pub(crate) fn models(grants: Vec<Grant>) -> Result<Models, Error> {
    if grants.len() > DEVICES_MAX as usize {
        return Err(Error::Start(format!(
            "it is granted {} devices, and a guest can have {DEVICES_MAX}; grant less",
            grants.len()
        )));
    }
    let model = |grant: Grant| -> Result<(String, Box<dyn Model>), Error> {
        let failed =
            |error| Error::Start(format!("what is granted as {:?} cannot be used: {error}", grant.name));
        let refusals = Refusals::of(&grant);
        let model: Box<dyn Model> = match grant.resource {
            Resource::Block { file, writable } => {
                Box::new(block::Block::new(file, writable, &grant.name, refusals).map_err(failed)?)
            }
            Resource::Console { input, output } => Box::new(console::Console::new(input, output)),
            Resource::Entropy => Box::new(entropy::Entropy),
            Resource::Directory { path, writable, exclusive } => {
                let access = filesystem::Access { writable, exclusive };
                Box::new(filesystem::FileSystem::new(&path, access, &grant.name, refusals).map_err(failed)?)
            }
        };
        Ok((grant.name, model))
    };
    Ok(Models(grants.into_iter().map(model).collect::<Result<_, _>>()?))
}

/// Devices that serve nothing meanwhile.
pub(crate) struct Held<'d>(Vec<MutexGuard<'d, Transport>>);

impl Held<'_> {
    /// What drivers have set up. The error is the name of a device that still holds something for its guest,
    /// such as open files.
    pub(crate) fn states(&self) -> Result<Vec<State>, String> {
        let state = |transport: &MutexGuard<'_, Transport>| {
            transport.state().ok_or_else(|| transport.name().to_owned())
        };
        self.0.iter().map(state).collect()
    }
}

fn cannot_see(error: std::io::Error) -> Error {
    Error::system("let devices see the guest's memory", error)
}

/// The devices of a sandbox. Clones are the same devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices(Vec<Arc<Device>>);

impl Devices {
    /// A device for each grant, in their order.
    ///
    /// # Errors
    ///
    /// If a grant cannot be served.
    pub(crate) fn new(
        grants: Vec<Grant>,
        memory: &GuestMemory,
        events: &Arc<Events>,
    ) -> Result<Devices, Error> {
        if grants.is_empty() {
            return Ok(Devices(Vec::new()));
        }
        let view = memory.view().map_err(cannot_see)?;
        Self::with(grants, view, events)
    }

    pub(crate) fn with(grants: Vec<Grant>, view: &View, events: &Arc<Events>) -> Result<Devices, Error> {
        Ok(Self::of(models(grants)?, view, events))
    }

    /// Devices that nobody has used yet, or that others have given back.
    fn of(models: Models, view: &View, events: &Arc<Events>) -> Devices {
        let device = |(number, (name, model))| {
            let line = line(number as u32);
            let transport = Transport::new(name, model, view.clone(), events.clone(), line);
            Arc::new(Device(Mutex::new(transport)))
        };
        Devices(models.0.into_iter().enumerate().map(device).collect())
    }

    /// Keeps all devices from serving anything until what this gives is dropped, so that they and the guest's
    /// memory can be looked at together.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.0.iter().map(|device| device.lock()).collect())
    }

    /// Devices of a guest whose drivers have set up others like them, in the same order. Gives what they wait
    /// for.
    ///
    /// # Errors
    ///
    /// If these devices are not those that the drivers know.
    pub(crate) fn resume(
        models: Models,
        states: &[State],
        memory: &GuestMemory,
        events: &Arc<Events>,
    ) -> Result<(Devices, Vec<Waits>), Error> {
        if models.0.is_empty() && states.is_empty() {
            return Ok((Devices::default(), Vec::new()));
        }
        Self::resume_with(models, states, memory.view().map_err(cannot_see)?, events)
    }

    fn resume_with(
        models: Models,
        states: &[State],
        view: &View,
        events: &Arc<Events>,
    ) -> Result<(Devices, Vec<Waits>), Error> {
        let devices = Self::of(models, view, events);
        devices.check(states)?;
        let mut waits = Vec::new();
        for (device, state) in devices.0.iter().zip(states) {
            let queues = {
                let mut transport = device.lock();
                transport.set_state(state);
                transport.queues()
            };
            let serve = |queue| {
                let stream = device.serve(queue)?;
                Some(Waits { stream, device: device.clone(), queue })
            };
            waits.extend((0..queues).filter_map(serve));
        }
        Ok((devices, waits))
    }

    /// Checks that these are the devices that drivers know who have set up others so.
    ///
    /// # Errors
    ///
    /// If they are not.
    pub(crate) fn check(&self, states: &[State]) -> Result<(), Error> {
        let fits = |(device, state): (&Arc<Device>, &State)| device.lock().fits(state);
        if self.0.len() == states.len() && self.0.iter().zip(states).all(fits) {
            return Ok(());
        }
        Err(Error::Start(
            "its grants are not those of the guest of which the snapshot was taken; grant the same, by the \
             same names and in the same order"
                .to_owned(),
        ))
    }

    /// Ends the devices, and gives what they were made of.
    pub(crate) fn into_models(self) -> Models {
        Models(self.0.iter().map(|device| device.lock().take_model()).collect())
    }

    fn device(&self, number: u64) -> Result<&Arc<Device>, CallError> {
        usize::try_from(number).ok().and_then(|number| self.0.get(number)).ok_or(CallError::BadArgument)
    }

    /// Reads a register.
    pub(crate) fn read(&self, device: u64, register: u64) -> Result<u64, CallError> {
        self.device(device)?.lock().read(register)
    }

    /// Writes a register.
    pub(crate) fn write(&self, device: u64, register: u64, value: u64) -> Result<u64, CallError> {
        self.device(device)?.lock().write(register, value)
    }

    /// Serves a queue in which there are new buffers, and says what the rest waits for.
    pub(crate) fn notify(&self, device: u64, queue: u64) -> Result<Option<Waits>, CallError> {
        let device = self.device(device)?;
        let mut transport = device.lock();
        let queue = transport.queue_number(queue).ok_or(CallError::BadArgument)?;
        let stream = transport.serve(queue, Events::find_over);
        Ok(stream.map(|stream| Waits { stream, device: device.clone(), queue }))
    }

    /// What drivers did wrong, in sentences.
    pub(crate) fn reports(&self) -> Vec<String> {
        self.0.iter().flat_map(|device| device.lock().reports().to_vec()).collect()
    }
}
