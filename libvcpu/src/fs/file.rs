//! [`File`].

use super::fuse::{self, CreateIn, Operation};
use super::lock::{Lock, LockOwner};
use super::metadata::{Changes, Metadata};
use super::options::OpenOptions;
use super::session::{PIECES_MAX, Session};
use super::walk::{self, Last, resolve};
use crate::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::sync::Arc;
use alloc::vec::Vec;
use vcpu_kernel_core::file_cache::{Moment, PAGE};

/// Most bytes of a read or a write of which something is kept.
const KEPT_MAX: usize = 16 << 10;

/// An open file, as [`std::fs::File`]. It is closed when it is dropped.
///
/// Reading and writing move the place at which it stands; at most 1 MiB is moved in one go, right into or out of
/// the caller's buffer. Directories cannot be opened.
///
/// [`std::fs::File`]: https://doc.rust-lang.org/std/fs/struct.File.html
#[derive(Debug)]
pub struct File(Arc<Open>);

/// What clones of a file share.
#[derive(Debug)]
struct Open {
    session: Arc<Session>,
    node: u64,
    handle: u64,
    /// With which it was opened.
    flags: u32,
    /// Whether nobody but this guest changes the file, so that it need not be read twice.
    is_kept: bool,
    position: Mutex<u64>,
}

impl File {
    /// Opens a file to be read.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<[u8]>) -> Result<File> {
        File::options().read(true).open(path)
    }

    /// Opens a file to be written. It is created if there is none, and emptied otherwise.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn create(path: impl AsRef<[u8]>) -> Result<File> {
        File::options().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file, to be read and written.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn create_new(path: impl AsRef<[u8]>) -> Result<File> {
        File::options().read(true).write(true).create_new(true).open(path)
    }

    /// How to open one otherwise.
    #[must_use]
    pub const fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Opens a file as Linux's `open` does: of its flags, access and `O_APPEND`, `O_CREAT`, `O_EXCL`, `O_TRUNC`
    /// and `O_NOFOLLOW`; `mode` is for a file that is created.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`]; [`ErrorKind::FilesystemLoop`] for a symbolic link that is not to be followed.
    pub fn open_with_flags(path: impl AsRef<[u8]>, flags: u32, mode: u32) -> Result<File> {
        const KEPT: u32 = fuse::OPEN_WRITE | fuse::OPEN_READ_WRITE | fuse::OPEN_APPEND;
        let has = |bit| flags & bit != 0;
        let is_new = has(fuse::OPEN_CREATE) && has(fuse::OPEN_EXCLUSIVE);
        let follow = !is_new && !has(fuse::OPEN_NO_FOLLOW);
        let mut place = resolve(path.as_ref(), follow)?.ok_or(ErrorKind::IsADirectory)?;
        let session = place.nodes.session.clone();
        let access = flags & KEPT;
        let is_empty;
        let (node, open) = match &place.last {
            _ if is_new && place.node().is_ok() => return Err(ErrorKind::AlreadyExists.into()),
            Last::Directory => return Err(ErrorKind::IsADirectory.into()),
            Last::Entry { node, attributes, .. } => {
                match walk::kind(attributes) {
                    fuse::MODE_REGULAR => {}
                    fuse::MODE_DIRECTORY => return Err(ErrorKind::IsADirectory.into()),
                    fuse::MODE_LINK => return Err(ErrorKind::FilesystemLoop.into()),
                    _ => return Err(Error::new(ErrorKind::Unsupported, "it is no file")),
                }
                is_empty = attributes.size == 0;
                let arguments = fuse::OpenIn { flags: access, fuse_flags: 0 };
                let reply: fuse::OpenOut = session.ask(Operation::Open, *node, &arguments, &[])?;
                (*node, reply)
            }
            Last::Missing { name } if has(fuse::OPEN_CREATE) => {
                let exclusive = if is_new { fuse::OPEN_EXCLUSIVE } else { 0 };
                let flags = access | fuse::OPEN_CREATE | exclusive;
                let arguments = CreateIn { flags, mode, ..CreateIn::default() };
                let name = name.to_bytes_with_nul();
                let reply: fuse::CreateOut =
                    session.ask(Operation::Create, place.directory(), &arguments, &[name])?;
                let entry = place.nodes.count(reply.entry);
                is_empty = entry.attributes.size == 0;
                (entry.node, reply.open)
            }
            Last::Missing { .. } => return Err(ErrorKind::NotFound.into()),
        };
        place.nodes.keep(node);
        let is_kept = open.flags & fuse::OPEN_KEEP_CACHE != 0;
        if is_kept {
            session.kept().opened(node);
        }
        let (handle, position) = (open.handle, Mutex::new(0));
        let file = File(Arc::new(Open { session, node, handle, flags: access, is_kept, position }));
        if has(fuse::OPEN_TRUNCATE) && !is_empty {
            // By its node, since it may not be open to be written.
            Changes { size: Some(0), ..Changes::default() }.apply(&file.0.session, node, None)?;
        }
        Ok(file)
    }

    /// Most bytes that one read or write moves.
    #[must_use]
    pub fn transfer_max(&self) -> usize {
        self.0.session.transfer_max()
    }

    /// Whether it was opened to be written at its end.
    #[must_use]
    pub fn is_append(&self) -> bool {
        self.0.flags & fuse::OPEN_APPEND != 0
    }

    /// Reads some bytes at `offset`, and gives how many; 0 is the end, if the buffer has room. Moves nothing.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.read_pieces_at(&mut [buffer], offset)
    }

    /// As [`read_at`](File::read_at), to several buffers, one after the other, of which the first eight are used.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn read_pieces_at(&self, buffers: &mut [&mut [u8]], offset: u64) -> Result<usize> {
        let mut pieces: [&mut [u8]; PIECES_MAX] = Default::default();
        let mut length = 0;
        for (piece, buffer) in pieces.iter_mut().zip(buffers) {
            let room = buffer.len().min(self.0.session.transfer_max() - length);
            *piece = &mut buffer[..room];
            length += room;
        }
        if length == 0 {
            return Ok(0);
        }
        if self.0.is_kept && length <= KEPT_MAX && self.0.flags & fuse::OPEN_WRITE == 0 {
            return self.read_kept(&mut pieces, length, offset);
        }
        self.fetch(&mut pieces, length, offset)
    }

    /// Reads to buffers of that length together from what is kept of the file, or fetches the pages around and
    /// keeps them.
    fn read_kept(&self, buffers: &mut [&mut [u8]], length: usize, offset: u64) -> Result<usize> {
        let Open { session, node, .. } = &*self.0;
        let asked = {
            let mut kept = session.kept();
            if kept.read(*node, offset, buffers) {
                return Ok(length);
            }
            kept.moment()
        };
        let before = (offset % PAGE) as usize;
        let room = (before + length).next_multiple_of(PAGE as usize);
        let mut around = Vec::new();
        if around.try_reserve_exact(room).is_err() {
            return self.fetch(buffers, length, offset);
        }
        around.resize(room, 0);
        let count = self.fetch(&mut [&mut around], room, offset - before as u64)?;
        session.kept().keep(asked, *node, offset - before as u64, &around[..count]);
        let mut found = around[..count].get(before..).unwrap_or_default();
        found = &found[..found.len().min(length)];
        let count = found.len();
        for buffer in buffers {
            let (bytes, rest) = found.split_at(found.len().min(buffer.len()));
            buffer[..bytes.len()].copy_from_slice(bytes);
            found = rest;
        }
        Ok(count)
    }

    /// Has the host read to buffers of that length together.
    fn fetch(&self, buffers: &mut [&mut [u8]], length: usize, offset: u64) -> Result<usize> {
        let arguments = fuse::ReadIn {
            handle: self.0.handle,
            offset,
            size: length as u32,
            flags: self.0.flags,
            ..fuse::ReadIn::default()
        };
        self.0.session.ask_pieces(Operation::Read, self.0.node, &arguments, buffers)
    }

    /// Reads from where it stands to several buffers, as [`read_pieces_at`](File::read_pieces_at), and moves it.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn read_pieces(&self, buffers: &mut [&mut [u8]]) -> Result<usize> {
        let mut position = self.position();
        let count = self.read_pieces_at(buffers, *position)?;
        *position += count as u64;
        Ok(count)
    }

    /// Writes several pieces where it stands, as [`write_pieces_at`](File::write_pieces_at), and moves it.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn write_pieces(&self, bytes: &[&[u8]]) -> Result<usize> {
        let mut position = self.position();
        let count = self.write_pieces_at(bytes, *position)?;
        *position = match self.0.flags & fuse::OPEN_APPEND {
            0 => *position + count as u64,
            _ => self.metadata()?.len(),
        };
        Ok(count)
    }

    /// Goes to its end and writes several pieces there, as [`write_pieces`](File::write_pieces). Who else writes
    /// the file may come in between, if it was not opened to append.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn append_pieces(&self, bytes: &[&[u8]]) -> Result<usize> {
        let mut position = self.position();
        let end = self.metadata()?.len();
        let count = self.write_pieces_at(bytes, end)?;
        *position = end + count as u64;
        Ok(count)
    }

    /// Fills the buffer with what is at `offset`. Moves nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedEof`] if the end comes first, and what the host says.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer")),
                count => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes some bytes at `offset`, and gives how many. Moves nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StorageFull`], and what else the host says.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.write_pieces_at(&[bytes], offset)
    }

    /// As [`write_at`](File::write_at), several pieces, one after the other, of which the first eight are used.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn write_pieces_at(&self, bytes: &[&[u8]], offset: u64) -> Result<usize> {
        let mut pieces: [&[u8]; PIECES_MAX] = Default::default();
        let mut length = 0;
        for (piece, bytes) in pieces.iter_mut().zip(bytes) {
            *piece = &bytes[..bytes.len().min(self.0.session.transfer_max() - length)];
            length += piece.len();
        }
        if length == 0 {
            return Ok(0);
        }
        let arguments = fuse::WriteIn {
            handle: self.0.handle,
            offset,
            size: length as u32,
            flags: self.0.flags,
            ..fuse::WriteIn::default()
        };
        let began = self.0.session.kept().moment();
        let reply = self.0.session.ask(Operation::Write, self.0.node, &arguments, &pieces);
        let written = reply.map(|reply: fuse::WriteOut| length.min(reply.size as usize));
        self.note_written(began, &pieces, offset, written.as_ref().ok().copied());
        written
    }

    /// Notes what came of writing pieces: how many bytes of them were, if that is known.
    fn note_written(&self, began: Moment, pieces: &[&[u8]], offset: u64, written: Option<usize>) {
        let mut kept = self.0.session.kept();
        match (pieces, written) {
            // Where that was, the host knows. No page that is kept reaches to the end.
            _ if self.is_append() => kept.changed(self.0.node, 0..0),
            ([bytes, rest @ ..], Some(count))
                if count <= KEPT_MAX && rest.iter().all(|rest| rest.is_empty()) =>
            {
                kept.written(began, self.0.node, offset, &bytes[..count]);
            }
            _ => {
                let length = pieces.iter().map(|piece| piece.len() as u64).sum();
                kept.changed(self.0.node, offset..offset.saturating_add(length));
            }
        }
    }

    /// Writes all bytes at `offset`. Moves nothing.
    ///
    /// # Errors
    ///
    /// As [`write_at`](File::write_at).
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset)? {
                0 => return Err(Error::new(ErrorKind::WriteZero, "failed to write whole buffer")),
                count => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Makes the file so many bytes long: cuts it, or adds zeros.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not open to be written, and what else the host says.
    pub fn set_len(&self, size: u64) -> Result<()> {
        self.change(&Changes { size: Some(size), ..Changes::default() })
    }

    /// Changes what is known of it.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn change(&self, changes: &Changes) -> Result<()> {
        // Only a size is the handle's affair; the rest needs no right to write.
        let handle = changes.size.map(|_| self.0.handle);
        changes.apply(&self.0.session, self.0.node, handle).map(drop)
    }

    /// Has the disk keep room for these bytes, and makes the file as long as that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StorageFull`]; [`ErrorKind::Unsupported`] if the host's file system cannot do that.
    pub fn allocate(&self, offset: u64, length: u64) -> Result<()> {
        let arguments =
            fuse::AllocateIn { handle: self.0.handle, offset, length, ..fuse::AllocateIn::default() };
        self.0.session.tell(Operation::Allocate, self.0.node, &arguments, &[])
    }

    /// Takes, changes or gives up an advisory lock, which all programs of the host and all guests see, unless the
    /// directory was granted exclusively: then nobody else is there to see the guest's own. Never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] if somebody else's is in the way, and what else the host says.
    pub fn set_lock(&self, owner: LockOwner, lock: &Lock) -> Result<()> {
        if self.0.is_kept && owner == LockOwner::Guest {
            // Nobody else is there to have one.
            return lock.check();
        }
        lock.set(&self.0.session, self.0.node, self.0.handle, owner)
    }

    /// The first lock of somebody else's that is in the way of such a lock of the guest's; `None` if there is
    /// none.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn lock_in_the_way(&self, lock: &Lock) -> Result<Option<Lock>> {
        if self.0.is_kept {
            return lock.check().map(|()| None);
        }
        lock.in_the_way(&self.0.session, self.0.node, self.0.handle)
    }

    /// Waits until everything that was written is kept by the host's disk.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn sync_all(&self) -> Result<()> {
        self.sync(0)
    }

    /// As [`sync_all`](File::sync_all), for the content only.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn sync_data(&self) -> Result<()> {
        self.sync(fuse::SYNC_DATA)
    }

    fn sync(&self, flags: u32) -> Result<()> {
        let arguments = fuse::SyncIn { handle: self.0.handle, flags, padding: 0 };
        self.0.session.tell(Operation::Sync, self.0.node, &arguments, &[])
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn metadata(&self) -> Result<Metadata> {
        let Open { session, node, handle, is_kept, .. } = &*self.0;
        let asked = {
            let kept = session.kept();
            if let Some(attributes) = kept.attributes(*node) {
                return Ok(Metadata::new(*attributes, session));
            }
            kept.moment()
        };
        let attributes = walk::attributes(session, *node, Some(*handle))?;
        if *is_kept {
            session.kept().keep_attributes(asked, *node, attributes);
        }
        Ok(Metadata::new(attributes, session))
    }

    /// The same open file: it stands at the same place, and moves with this one.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn try_clone(&self) -> Result<File> {
        Ok(File(self.0.clone()))
    }

    /// Where it stands. Who moves it keeps this until then, so that threads do not read the same bytes.
    fn position(&self) -> MutexGuard<'_, u64> {
        self.0.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_kept {
            self.session.kept().closed(self.node);
        }
        let arguments =
            fuse::ReleaseIn { handle: self.handle, flags: self.flags, ..fuse::ReleaseIn::default() };
        let _ = self.session.tell(Operation::Release, self.node, &arguments, &[]);
        self.session.forget(&[self.node]);
    }
}

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.read_pieces(&mut [buffer])
    }

    fn read_to_end(&mut self, all: &mut Vec<u8>) -> Result<usize> {
        // So that it is read into place at once, if its size does not change meanwhile.
        let left = self.metadata()?.len().saturating_sub(*self.position());
        let room = usize::try_from(left).map_err(|_| ErrorKind::OutOfMemory)?;
        all.try_reserve_exact(room).map_err(|_| ErrorKind::OutOfMemory)?;
        crate::io::read_to_end(self, all)
    }
}

impl Write for &File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_pieces(&[bytes])
    }
}

impl Seek for &File {
    fn seek(&mut self, place: SeekFrom) -> Result<u64> {
        let mut position = self.position();
        let target = match place {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.metadata()?.len().checked_add_signed(offset),
        };
        *position = target
            .filter(|target| i64::try_from(*target).is_ok())
            .ok_or(Error::new(ErrorKind::InvalidInput, "the place is before the beginning, or too far"))?;
        Ok(*position)
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        (&*self).read(buffer)
    }

    fn read_to_end(&mut self, all: &mut Vec<u8>) -> Result<usize> {
        (&*self).read_to_end(all)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        (&*self).write(bytes)
    }
}

impl Seek for File {
    fn seek(&mut self, place: SeekFrom) -> Result<u64> {
        (&*self).seek(place)
    }
}
