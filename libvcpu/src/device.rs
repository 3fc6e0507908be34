//! Drivers, each opened when it is first needed, and kept.

use crate::io::Result;
use crate::sync::{Mutex, PoisonError};
use alloc::sync::Arc;
use alloc::vec::Vec;
use vcpu_kernel::device::Error;

/// The drivers of one kind of device, by the devices' numbers.
pub(crate) struct Drivers<D>(Mutex<Vec<(u32, Arc<D>)>>);

impl<D> Drivers<D> {
    pub(crate) const fn new() -> Drivers<D> {
        Drivers(Mutex::new(Vec::new()))
    }

    /// The driver of a device, which `open` opens if need be.
    pub(crate) fn get(&self, device: u32, open: impl FnOnce(u32) -> Result<D, Error>) -> Result<Arc<D>> {
        // Whoever died with it had not changed it: a driver is there or not.
        let mut drivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, driver)) = drivers.iter().find(|(number, _)| *number == device) {
            return Ok(driver.clone());
        }
        let driver = Arc::new(open(device)?);
        drivers.push((device, driver.clone()));
        Ok(driver)
    }
}
