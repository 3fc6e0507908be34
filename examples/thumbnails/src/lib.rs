//! A service that makes small pictures of files that anybody may have sent.
//!
//! Decoders of pictures are large, and read what strangers have made. Here the decoder is in a sandbox: all it
//! gets is a file, and all it gives is a picture. Every file meets a decoder that has seen no other.

use std::path::Path;
use std::time::Duration;
use thumbnail::{Reply, Request};
use vcpu_host::embed::{CallError, Snapshot};
use vcpu_host::{Error, Image, Sandbox};

/// Memory of the decoder.
const MEMORY: u64 = 64 << 20;
/// Time for one file.
const DEADLINE: Duration = Duration::from_secs(2);
/// Decoders that are made before they are needed.
const READY: usize = 2;

/// The service.
#[derive(Debug)]
pub struct Service {
    sandbox: Sandbox,
    fresh: Snapshot,
}

impl Service {
    /// Starts the decoder of this image, which is that of the package `thumbnail`.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn start(image: &Path) -> Result<Service, CallError> {
        let image = Image::open(image).map_err(Error::from)?;
        let mut sandbox = Sandbox::builder(&image).memory(MEMORY).call_deadline(DEADLINE).build()?;
        let fresh = sandbox.snapshot()?;
        fresh.keep_ready(READY)?;
        Ok(Service { sandbox, fresh })
    }

    /// Makes a small picture of a JPEG file.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or whatever else it does to the decoder. The service goes on.
    pub fn thumbnail(&mut self, jpeg: &[u8], width: u32) -> Result<Reply, CallError> {
        let result = self.sandbox.call("thumbnail", &Request { width, jpeg });
        self.sandbox.reset(&self.fresh)?;
        result
    }
}
