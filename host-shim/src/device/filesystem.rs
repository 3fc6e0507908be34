//! The file system device: a directory of the host's and what is below it.
//!
//! Requests are FUSE messages, which `fuse-backend-rs` reads and answers; what a message may do is decided in
//! `permitted`. Bytes of files go straight between them and guest memory.

mod kernel;
mod locks;
pub(super) mod permitted;

use super::request::{Broken, Request};
use super::{Model, Served};
use crate::grant::Refusals;
use fuse_backend_rs::abi::fuse_abi::{InHeader, Opcode};
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{Reader, VirtioFsWriter, Writer};
use permitted::Permitted;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use vcpu_abi::device::Kind;
use vm_memory::ByteValued;

/// Bytes of the name in the configuration.
const TAG: usize = 36;

/// Most bytes of a message other than one that writes to a file.
const MESSAGE_MAX: usize = 64 << 10;

/// What a guest may do with a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Whether it may change anything.
    pub(super) writable: bool,
    /// Whether nobody else does, so that it may keep what it has read.
    pub(super) exclusive: bool,
}

pub(super) struct FileSystem {
    access: Access,
    /// By which no second guest can have the directory exclusively.
    _lock: Option<OwnedFd>,
    permitted: Arc<Permitted>,
    server: Server<Arc<Permitted>>,
    config: [u8; TAG + 4],
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FileSystem").field("access", &self.access).finish_non_exhaustive()
    }
}

impl FileSystem {
    /// Serves the directory that is there now, wherever it is moved.
    pub(super) fn new(path: &Path, access: Access, name: &str, refusals: Refusals) -> io::Result<FileSystem> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        if kernel::is_interface(&directory)? {
            return Err(io::Error::other("it is no directory of files, but an interface of the kernel's"));
        }
        let _lock = access.exclusive.then(|| lock(&directory)).transpose()?;
        let permitted = Arc::new(Permitted::new(&directory, access, Arc::new(refusals))?);
        let server = Server::new(permitted.clone());
        let mut config = [0; TAG + 4];
        let length = name.len().min(TAG);
        config[..length].copy_from_slice(&name.as_bytes()[..length]);
        // One queue of requests, besides that of urgent ones.
        config[TAG..].copy_from_slice(&1u32.to_le_bytes());
        Ok(FileSystem { access, _lock, permitted, server, config })
    }
}

/// Takes the lock of a directory, as long as the descriptor is open.
fn lock(directory: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(io::Error::other(
            "somebody else has it exclusively; wait for them, or grant it to both without `exclusive`",
        )),
        Err(error) => Err(error.into()),
    }
}

impl Model for FileSystem {
    fn kind(&self) -> Kind {
        Kind::FileSystem
    }

    fn queues(&self) -> usize {
        2
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, _queue: usize, request: &Request<'_>) -> Result<Served, Broken> {
        const HEADER: usize = size_of::<InHeader>();
        let length = request.readable.length();
        if length < HEADER {
            return Err(Broken(format!("a message has {length} bytes, and its header alone has {HEADER}")));
        }
        let bytes: [u8; HEADER] = request.readable.read(0);
        let mut header = InHeader::default();
        header.as_mut_slice().copy_from_slice(&bytes);
        if header.len as usize != length {
            return Err(Broken(format!("a message of {length} bytes says that it has {}", header.len)));
        }
        if length > MESSAGE_MAX && header.opcode != Opcode::Write as u32 {
            return Err(Broken(format!("a message of {length} bytes is longer than {MESSAGE_MAX}")));
        }
        let wrong = |error| Broken(format!("a message cannot be understood: {error}"));
        let chain = |error| Broken(format!("a message's buffers cannot be used: {error}"));
        let reader = Reader::from_descriptor_chain(request.memory, request.chain.clone()).map_err(chain)?;
        let writer = VirtioFsWriter::new(request.memory, request.chain.clone()).map_err(chain)?;
        let written = self.server.handle_message(reader, Writer::VirtioFs(writer), None, None);
        Ok(Served::Used(written.map_err(|error| wrong(error.to_string()))?))
    }

    fn is_idle(&self) -> bool {
        self.permitted.is_idle()
    }

    fn reset(&mut self) {
        self.permitted.drop_held();
    }
}
