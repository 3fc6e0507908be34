//! Random bytes, of a source that the guest was granted.
//!
//! They come from the host each time, and none are kept for later: guests that go on from one snapshot draw
//! different ones.
//!
//! With the feature `getrandom`, crates that use `getrandom` 0.3 or 0.4 (`rand` among them) draw here, too.

use crate::device::Drivers;
use crate::io::{Error, ErrorKind, Result};
use vcpu_kernel::device::entropy::Entropy;
use vcpu_kernel::device::{self, Kind};

static DRIVERS: Drivers<Entropy> = Drivers::new();

/// Fills the buffer with random bytes that nobody can foretell.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] if the guest was granted no entropy, and what the device says.
///
/// ```no_run
/// let mut key = [0; 32];
/// libvcpu::rand::fill(&mut key).unwrap();
/// ```
pub fn fill(buffer: &mut [u8]) -> Result<()> {
    let Some((device, _)) = device::of_kind(Kind::Entropy).next() else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "no entropy was granted: random bytes need that grant",
        ));
    };
    Ok(DRIVERS.get(device, Entropy::open)?.fill(buffer)?)
}

/// What `getrandom` calls in an image, where its custom backend is chosen.
#[cfg(feature = "getrandom")]
mod custom {
    use crate::io::ErrorKind;

    /// # Safety
    ///
    /// There are `length` bytes at `buffer`, for this call alone.
    // SAFETY: this is the name and the type by which that crate asks for a backend.
    #[unsafe(no_mangle)]
    unsafe extern "Rust" fn __getrandom_v03_custom(
        buffer: *mut u8,
        length: usize,
    ) -> Result<(), getrandom::Error> {
        // SAFETY: the caller gives these bytes, which may hold anything; so they are written first.
        let buffer = unsafe {
            buffer.write_bytes(0, length);
            core::slice::from_raw_parts_mut(buffer, length)
        };
        super::fill(buffer).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => getrandom::Error::UNSUPPORTED,
            _ => getrandom::Error::UNEXPECTED,
        })
    }
}
