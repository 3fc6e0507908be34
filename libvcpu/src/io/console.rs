//! [`Console`]: a stream of bytes in each direction, besides the standard streams.

use super::{Error, ErrorKind, Read, Result, Write};
use crate::device::Drivers;
use alloc::sync::Arc;
use vcpu_kernel::device::{self, Kind};

static DRIVERS: Drivers<device::console::Console> = Drivers::new();

/// A console. Clones are the same console, so that one thread can read while another writes.
#[derive(Clone, Debug)]
pub struct Console(Arc<device::console::Console>);

/// The console that was granted by this name.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] if there is none, and what is wrong with the device.
pub fn console(name: impl AsRef<[u8]>) -> Result<Console> {
    let device = device::find(Kind::Console, name.as_ref())
        .ok_or(Error::new(ErrorKind::NotFound, "no console was granted by this name"))?;
    Ok(Console(DRIVERS.get(device, device::console::Console::open)?))
}

impl Read for Console {
    /// 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.0.read(buffer)?)
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(self.0.write(bytes)?)
    }
}
