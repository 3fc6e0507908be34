//! The transport of virtio devices: registers, the device status, queues.
//!
//! A driver that breaks its queues finds `DEVICE_NEEDS_RESET` in the status, which is said by the device's event
//! line, and nothing else happens until it writes 0 there.

use super::entropy::Entropy;
use super::request::{Broken, Request};
use super::{Model, Served};
use crate::console::Readiness;
use crate::events::Events;
use crate::memory::View;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vcpu_abi::call::Error as CallError;
use vcpu_abi::device::{CONFIG, CONFIG_SIZE_MAX, Kind, QUEUE_SIZE_MAX, Register};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};

const FEATURES_OK: u8 = VIRTIO_CONFIG_S_FEATURES_OK as u8;
const DRIVER_OK: u8 = VIRTIO_CONFIG_S_DRIVER_OK as u8;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;

/// Most reports that are kept; a driver can be wrong as often as it likes.
const REPORTS_MAX: usize = 8;

/// A device as its driver sees it.
#[derive(Debug)]
pub(super) struct Transport {
    name: String,
    model: Box<dyn Model>,
    view: View,
    events: Arc<Events>,
    line: u32,
    status: u8,
    driver_features: u64,
    queues: Vec<Queue>,
    selected: usize,
    reports: Vec<String>,
}

/// A device as its driver has set it up.
#[derive(Clone, Debug)]
pub(crate) struct State {
    name: String,
    kind: Kind,
    status: u8,
    driver_features: u64,
    selected: usize,
    queues: Vec<QueueState>,
}

impl Transport {
    /// What the driver has set up. `None` if the device holds something for the guest that a new one would not
    /// have.
    pub(super) fn state(&self) -> Option<State> {
        self.model.is_idle().then(|| State {
            name: self.name.clone(),
            kind: self.model.kind(),
            status: self.status,
            driver_features: self.driver_features,
            selected: self.selected,
            queues: self.queues.iter().map(Queue::state).collect(),
        })
    }

    /// Whether the device could be in this state.
    pub(super) fn fits(&self, state: &State) -> bool {
        self.name == state.name && self.model.kind() == state.kind
    }

    /// Puts the device into a state in which another one of its kind was.
    pub(super) fn set_state(&mut self, state: &State) {
        self.model.reset();
        self.status = state.status;
        self.driver_features = state.driver_features;
        self.selected = state.selected;
        for (queue, state) in self.queues.iter_mut().zip(&state.queues) {
            // What a queue was it can be.
            if let Ok(then) = Queue::try_from(*state) {
                *queue = then;
            }
        }
    }

    /// Takes the device away from this transport, which serves nothing any more.
    pub(super) fn take_model(&mut self) -> (String, Box<dyn Model>) {
        self.status = 0;
        (std::mem::take(&mut self.name), std::mem::replace(&mut self.model, Box::new(Entropy)))
    }

    /// The name under which it was granted.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many queues there are.
    pub(super) fn queues(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn new(
        name: String,
        model: Box<dyn Model>,
        view: View,
        events: Arc<Events>,
        line: u32,
    ) -> Transport {
        let queue = || Queue::new(QUEUE_SIZE_MAX as u16).expect("the size is a power of two");
        let queues = (0..model.queues()).map(|_| queue()).collect();
        Transport {
            name,
            model,
            view,
            events,
            line,
            status: 0,
            driver_features: 0,
            queues,
            selected: 0,
            reports: Vec::new(),
        }
    }

    /// Reads a register.
    pub(super) fn read(&self, register: u64) -> Result<u64, CallError> {
        if let Some(at) = register.checked_sub(CONFIG).filter(|at| *at < CONFIG_SIZE_MAX) {
            let config = self.model.config();
            let mut bytes = [0; 4];
            let from = config.get(at as usize..).unwrap_or_default();
            let count = from.len().min(4);
            bytes[..count].copy_from_slice(&from[..count]);
            return Ok(u32::from_le_bytes(bytes).into());
        }
        let queue = self.queues.get(self.selected);
        Ok(match Register::from_number(register).ok_or(CallError::BadArgument)? {
            Register::Kind => self.model.kind() as u64,
            Register::Features => self.features(),
            Register::Status => self.status.into(),
            Register::QueueSizeMax => queue.map_or(0, |queue| queue.max_size().into()),
            Register::QueueReady => queue.is_some_and(|queue| queue.ready()).into(),
            Register::ConfigGeneration => self.model.generation(),
            Register::DriverFeatures
            | Register::QueueSelect
            | Register::QueueSize
            | Register::QueueDescriptors
            | Register::QueueDriver
            | Register::QueueDevice => return Err(CallError::BadArgument),
        })
    }

    fn features(&self) -> u64 {
        self.model.features() | 1 << VIRTIO_F_VERSION_1
    }

    /// Writes a register. What makes no sense is refused and changes nothing.
    pub(super) fn write(&mut self, register: u64, value: u64) -> Result<u64, CallError> {
        let register = Register::from_number(register).ok_or(CallError::BadArgument)?;
        match register {
            Register::DriverFeatures if self.status & FEATURES_OK == 0 => self.driver_features = value,
            Register::Status => self.set_status(u8::try_from(value).map_err(|_| CallError::BadArgument)?),
            Register::QueueSelect => {
                self.selected = usize::try_from(value).map_err(|_| CallError::BadArgument)?;
            }
            Register::QueueReady => self.set_ready(value)?,
            Register::QueueSize
            | Register::QueueDescriptors
            | Register::QueueDriver
            | Register::QueueDevice => self.set_queue(register, value)?,
            Register::Kind
            | Register::Features
            | Register::DriverFeatures
            | Register::QueueSizeMax
            | Register::ConfigGeneration => return Err(CallError::BadArgument),
        }
        Ok(0)
    }

    /// The driver says how far it is. Bits that it may not set yet stay clear.
    fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.status = 0;
            self.driver_features = 0;
            self.selected = 0;
            self.queues.iter_mut().for_each(QueueT::reset);
            self.model.reset();
            return;
        }
        // Only a reset takes bits away, and only the device says that it needs one.
        let mut new = value & !NEEDS_RESET & !self.status;
        let takes = self.driver_features;
        if takes & !self.features() != 0 || takes & 1 << VIRTIO_F_VERSION_1 == 0 {
            new &= !FEATURES_OK;
        }
        if (self.status | new) & FEATURES_OK == 0 {
            new &= !DRIVER_OK;
        }
        self.status |= new;
    }

    fn set_queue(&mut self, register: Register, value: u64) -> Result<(), CallError> {
        let queue = self.queues.get_mut(self.selected).filter(|queue| !queue.ready());
        let queue = queue.ok_or(CallError::BadArgument)?;
        let address = GuestAddress(value);
        let set = match register {
            Register::QueueSize => {
                queue.try_set_size(u16::try_from(value).map_err(|_| CallError::BadArgument)?)
            }
            Register::QueueDescriptors => queue.try_set_desc_table_address(address),
            Register::QueueDriver => queue.try_set_avail_ring_address(address),
            _ => queue.try_set_used_ring_address(address),
        };
        set.map_err(|_| CallError::BadArgument)
    }

    fn set_ready(&mut self, value: u64) -> Result<(), CallError> {
        let queue = self.queues.get_mut(self.selected).ok_or(CallError::BadArgument)?;
        match value {
            0 => queue.set_ready(false),
            1 if queue.ready() => {}
            1 => {
                // Both sides begin at the start of the rings.
                queue.set_next_avail(0);
                queue.set_next_used(0);
                queue.set_ready(true);
                if !queue.is_valid(self.view.regions()) {
                    queue.set_ready(false);
                    let selected = self.selected;
                    self.fail(selected, "its rings are not wholly in RAM outside the text");
                }
            }
            _ => return Err(CallError::BadArgument),
        }
        Ok(())
    }

    /// The queue with this number, if there is one.
    pub(super) fn queue_number(&self, queue: u64) -> Option<usize> {
        usize::try_from(queue).ok().filter(|queue| *queue < self.queues.len())
    }

    /// What the driver did wrong, in sentences.
    pub(super) fn reports(&self) -> &[String] {
        &self.reports
    }

    /// Serves a queue, at most as many requests as it can hold and none once the guest's time is over, and says
    /// for which stream the rest waits.
    pub(super) fn serve(&mut self, number: usize, is_over: fn(&Events) -> bool) -> Option<Readiness> {
        if self.status & DRIVER_OK == 0 || self.status & NEEDS_RESET != 0 || !self.queues[number].ready() {
            return None;
        }
        let generation = self.model.generation();
        let mut used = false;
        let mut waits = None;
        for _ in 0..self.queues[number].size() {
            if is_over(&self.events) {
                break;
            }
            match self.serve_one(number) {
                Ok(Some(Served::Used(_))) => used = true,
                Ok(Some(Served::Later(stream))) => {
                    waits = Some(stream);
                    break;
                }
                Ok(Some(Served::Never) | None) => break,
                Err(Broken(what)) => {
                    self.fail(number, &what);
                    return None;
                }
            }
        }
        if used && self.wants_interrupts(number) || generation != self.model.generation() {
            self.events.raise(self.line);
        }
        waits
    }

    /// Serves the next request of a queue, if there is one.
    fn serve_one(&mut self, number: usize) -> Result<Option<Served>, Broken> {
        let memory = self.view.regions();
        let queue = &mut self.queues[number];
        let bad_ring = |error| Broken(format!("its rings cannot be used: {error}"));
        if queue.avail_idx(memory, Ordering::Acquire).map_err(bad_ring)?.0 == queue.next_avail() {
            return Ok(None);
        }
        let chain = queue.iter(memory).map_err(bad_ring)?.next();
        let chain =
            chain.ok_or_else(|| Broken("its available ring has no entry where its index says".to_owned()))?;
        let head = chain.head_index();
        let request = Request::new(chain, memory, queue.size())?;
        let served = self.model.serve(number, &request)?;
        match &served {
            Served::Used(written) => queue.add_used(memory, head, *written as u32).map_err(bad_ring)?,
            Served::Later(_) | Served::Never => queue.go_to_previous_position(),
        }
        Ok(Some(served))
    }

    /// Whether the driver wants to be told about used buffers, which `virtio-queue` does not look at.
    fn wants_interrupts(&self, number: usize) -> bool {
        let flags = GuestAddress(self.queues[number].avail_ring());
        let flags = self.view.regions().load::<u16>(flags, Ordering::SeqCst).map(u16::from_le);
        flags.is_ok_and(|flags| flags & VRING_AVAIL_F_NO_INTERRUPT as u16 == 0)
    }

    /// Stops the device because of its driver.
    fn fail(&mut self, queue: usize, what: &str) {
        if self.reports.len() < REPORTS_MAX {
            let report = format!(
                "the device {:?} has stopped until its driver resets it: queue {queue} is broken, {what}",
                self.name
            );
            tracing::warn!(device = self.name, queue, "{report}");
            self.reports.push(report);
        }
        self.status |= NEEDS_RESET;
        self.events.raise(self.line);
    }
}
