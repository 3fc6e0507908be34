//! Devices: how a guest reaches what it was granted.

use crate::Error;
use crate::events::Events;
use crate::grant::Grant;
use crate::memory::GuestMemory;
use std::sync::Arc;
use vcpu_abi::call::Error as CallError;

/// The devices of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Devices {}

impl Devices {
    /// A device for each grant, in their order.
    ///
    /// # Errors
    ///
    /// If a grant cannot be served.
    pub(crate) fn new(
        grants: Vec<Grant>,
        _memory: &GuestMemory,
        _events: &Arc<Events>,
    ) -> Result<Devices, Error> {
        match grants.first() {
            None => Ok(Devices {}),
            Some(grant) => Err(Error::Start(format!("there is no device for the grant {}", grant.name))),
        }
    }

    /// Ends the devices, and gives what they were made of.
    pub(crate) fn into_grants(self) -> Vec<Grant> {
        Vec::new()
    }

    /// Reads a register.
    pub(crate) fn read(&self, _device: u64, _register: u64) -> Result<u64, CallError> {
        Err(CallError::BadArgument)
    }

    /// Writes a register.
    pub(crate) fn write(&mut self, _device: u64, _register: u64, _value: u64) -> Result<u64, CallError> {
        Err(CallError::BadArgument)
    }

    /// Serves a queue in which there are new buffers.
    pub(crate) fn notify(&mut self, _device: u64, _queue: u64) -> Result<u64, CallError> {
        Err(CallError::BadArgument)
    }
}
