//! [`Session`]: requests to the file system of one grant, what they are answered, and what is kept of that.

use super::fuse::{self, Attributes, Entry, InHeader, Operation, OutHeader};
use crate::device::Drivers;
use crate::io::{Error, ErrorKind, Result};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::iter;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_kernel::abi::layout::PAGE_SIZE;
use vcpu_kernel::device::file_system::FileSystem;
use vcpu_kernel::device::{self, Kind};
use vcpu_kernel::heap;
use vcpu_kernel_core::file_cache::{FileCache, PAGE};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

static DRIVERS: Drivers<Session> = Drivers::new();

/// Bytes of a header and of the largest structure behind it.
const HEAD_MAX: usize = 128;
/// Most pieces of memory in which a file's bytes lie in one request: with the heads no more than a queue takes.
pub(super) const PIECES_MAX: usize = 8;
/// Bytes of a reply's header and of the largest structure behind it.
const REPLY_MAX: usize = 160;

/// Which part of the memory a file system's content may take.
const MEMORY_SHARE: usize = 8;

/// A file system that was granted. It has seen the first request, by which both sides agree on a version.
#[derive(Debug)]
pub(super) struct Session {
    device: FileSystem,
    /// The device's number.
    number: u32,
    /// The number of the last request.
    unique: AtomicU64,
    /// Most bytes of a file in one request.
    transfer_max: usize,
    /// What is known of files that nobody else changes. It is locked for moments only.
    kept: Mutex<FileCache<Attributes>>,
}

/// Names of all directories that were granted.
pub(super) fn grants() -> impl Iterator<Item = &'static [u8]> {
    device::of_kind(Kind::FileSystem).map(|(_, name)| name)
}

/// The session with the directory that was granted by this name; `None` if there is none.
pub(super) fn session(grant: &[u8]) -> Result<Option<Arc<Session>>> {
    let Some(device) = device::find(Kind::FileSystem, grant) else { return Ok(None) };
    DRIVERS.get(device, Session::open).map(Some)
}

impl Session {
    fn open(number: u32) -> Result<Session, device::Error> {
        let device = FileSystem::open(number)?;
        let kept = Mutex::new(FileCache::new(heap::statistics().total / MEMORY_SHARE / PAGE as usize));
        let mut session = Session { device, number, unique: AtomicU64::new(0), transfer_max: 0, kept };
        let wanted = fuse::InitialiseIn {
            major: fuse::MAJOR,
            minor: fuse::MINOR,
            read_ahead: 0,
            flags: fuse::INIT_BIG_WRITES | fuse::INIT_MAX_PAGES,
        };
        let reply: Result<fuse::InitialiseOut> = session.ask(Operation::Initialise, 0, &wanted, &[]);
        let reply = reply.map_err(|_| device::Error::BadAnswer)?;
        let pages = if reply.flags & fuse::INIT_MAX_PAGES == 0 { 1 } else { usize::from(reply.pages_max) };
        session.transfer_max = (reply.write_max as usize).min(pages * PAGE_SIZE as usize);
        if reply.major != fuse::MAJOR || session.transfer_max == 0 {
            return Err(device::Error::BadAnswer);
        }
        Ok(session)
    }

    /// What tells this file system from others.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Most bytes of a file that one request can read or write.
    pub(super) fn transfer_max(&self) -> usize {
        self.transfer_max
    }

    /// What is kept of the answers.
    pub(super) fn kept(&self) -> MutexGuard<'_, FileCache<Attributes>> {
        // Each of its methods leaves it right.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of this name in a directory. Its node counts.
    pub(super) fn look_up(&self, directory: u64, name: &CStr) -> Result<Entry> {
        let name = name.to_bytes_with_nul();
        let asked = {
            let kept = self.kept();
            if kept.is_absent(directory, name) {
                return Err(ErrorKind::NotFound.into());
            }
            kept.moment()
        };
        let entry: Entry = self.ask(Operation::Lookup, directory, &(), &[name])?;
        if entry.node == 0 {
            if entry.entry_valid == u64::MAX {
                self.kept().keep_absent(asked, directory, name);
            }
            return Err(ErrorKind::NotFound.into());
        }
        Ok(entry)
    }

    /// Sends a request, `arguments` and then `data`, and gives the structure that is the reply.
    pub(super) fn ask<R: FromBytes + IntoBytes + KnownLayout>(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        data: &[&[u8]],
    ) -> Result<R> {
        let mut reply = [0; REPLY_MAX];
        let room = size_of::<OutHeader>() + size_of::<R>();
        if self.exchange(operation, node, arguments, data, &mut reply[..room], &mut [])? != room {
            return Err(bad());
        }
        R::read_from_bytes(&reply[size_of::<OutHeader>()..room]).map_err(|_| bad())
    }

    /// Sends a request whose reply is bytes, written to `buffer`, and gives how many.
    pub(super) fn ask_bytes(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        buffer: &mut [u8],
    ) -> Result<usize> {
        self.ask_pieces(operation, node, arguments, &mut [buffer])
    }

    /// As [`ask_bytes`](Session::ask_bytes), to at most [`PIECES_MAX`] buffers, one after the other.
    pub(super) fn ask_pieces(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        buffers: &mut [&mut [u8]],
    ) -> Result<usize> {
        let mut header = [0; size_of::<OutHeader>()];
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        let count = self.exchange(operation, node, arguments, &[], &mut header, buffers)?;
        count.checked_sub(header.len()).filter(|count| *count <= room).ok_or_else(bad)
    }

    /// Sends a request that has no other reply than that it was done.
    pub(super) fn tell(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        data: &[&[u8]],
    ) -> Result<()> {
        self.ask::<()>(operation, node, arguments, data)
    }

    /// Gives back what the replies with these nodes have counted.
    pub(super) fn forget(&self, nodes: &[u64]) {
        let nodes: Vec<_> = nodes.iter().map(|&node| fuse::ForgetOne { node, count: 1 }).collect();
        if nodes.is_empty() {
            return;
        }
        let arguments = fuse::BatchForgetIn { count: nodes.len() as u32, padding: 0 };
        let mut head = [0; HEAD_MAX];
        let head = self.head(Operation::BatchForget, 0, &arguments, &[nodes.as_bytes()], &mut head);
        // A device that has stopped has forgotten everything.
        let _ = self.device.send(&[head, nodes.as_bytes()]);
    }

    /// A request's header and arguments.
    fn head<'a>(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        data: &[&[u8]],
        head: &'a mut [u8; HEAD_MAX],
    ) -> &'a [u8] {
        let arguments = arguments.as_bytes();
        let length = size_of::<InHeader>() + arguments.len();
        let header = InHeader {
            length: (length + data.iter().map(|piece| piece.len()).sum::<usize>()) as u32,
            operation: operation as u32,
            unique: self.unique.fetch_add(1, Relaxed) + 1,
            node,
            ..InHeader::default()
        };
        head[..size_of::<InHeader>()].copy_from_slice(header.as_bytes());
        head[size_of::<InHeader>()..length].copy_from_slice(arguments);
        &head[..length]
    }

    /// Notes what a request has changed, or may have. Who writes knows better what, and notes that.
    fn note_change(&self, operation: Operation, node: u64) {
        match operation {
            Operation::SetAttributes | Operation::Allocate => self.kept().changed(node, 0..u64::MAX),
            Operation::Create
            | Operation::Link
            | Operation::MakeDirectory
            | Operation::RemoveDirectory
            | Operation::Rename2
            | Operation::SymbolicLink
            | Operation::Unlink => self.kept().names_changed(),
            _ => {}
        }
    }

    /// Sends a request and gives how many bytes the reply has, its header included, with which `reply` begins.
    fn exchange(
        &self,
        operation: Operation,
        node: u64,
        arguments: &(impl IntoBytes + Immutable),
        data: &[&[u8]],
        reply: &mut [u8],
        buffers: &mut [&mut [u8]],
    ) -> Result<usize> {
        let mut head = [0; HEAD_MAX];
        let head = self.head(operation, node, arguments, data, &mut head);
        let mut request: [&[u8]; PIECES_MAX + 1] = Default::default();
        let mut replies: [&mut [u8]; PIECES_MAX + 1] = Default::default();
        let pieces = data.iter().copied().filter(|piece| !piece.is_empty());
        let requests = fill(&mut request, iter::once(head).chain(pieces));
        let pieces = buffers.iter_mut().map(|buffer| &mut **buffer).filter(|buffer| !buffer.is_empty());
        let count = fill(&mut replies, iter::once(&mut *reply).chain(pieces));
        let written = self.device.request(&request[..requests], &mut replies[..count]);
        self.note_change(operation, node);
        let written = written?;
        let (header, _) = OutHeader::read_from_prefix(reply).map_err(|_| bad())?;
        if header.error != 0 {
            return Err(Error::from_raw_os_error(header.error.saturating_neg()));
        }
        match header.length as usize {
            length if length >= size_of::<OutHeader>() && length <= written => Ok(length),
            _ => Err(bad()),
        }
    }
}

/// Puts items into places, and gives how many there were.
///
/// # Panics
///
/// If there are more of them than places.
fn fill<T>(places: &mut [T], items: impl Iterator<Item = T>) -> usize {
    let mut count = 0;
    for item in items {
        places[count] = item;
        count += 1;
    }
    count
}

/// The device answered something that makes no sense.
fn bad() -> Error {
    device::Error::BadAnswer.into()
}
