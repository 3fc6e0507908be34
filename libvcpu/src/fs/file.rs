//! [`File`] and [`OpenOptions`].

use super::fuse::{self, CreateIn, Operation};
use super::metadata::Metadata;
use super::session::Session;
use super::walk::{self, Last, resolve};
use crate::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::sync::Arc;
use alloc::vec::Vec;

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
    position: Mutex<u64>,
}

/// How to open a file, as [`std::fs::OpenOptions`].
///
/// [`std::fs::OpenOptions`]: https://doc.rust-lang.org/std/fs/struct.OpenOptions.html
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
}

impl OpenOptions {
    /// Nothing set.
    #[must_use]
    pub const fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
        }
    }

    /// To be read.
    pub const fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// To be written.
    pub const fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// To be written at its end, wherever that is at the time of each write.
    pub const fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// To be emptied.
    pub const fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// To be created if there is none.
    pub const fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// To be created, and not opened if there is one.
    pub const fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// Linux's bits of who may do what with a file that is created (default 0o666), of which the host takes some
    /// away.
    pub const fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    /// Linux's flags.
    fn flags(&self) -> Result<u32> {
        let may_create = self.truncate || self.create || self.create_new;
        let flags = match (self.read, self.write, self.append) {
            (true, false, false) if !may_create => fuse::OPEN_READ,
            (false, true, false) => fuse::OPEN_WRITE,
            (true, true, false) => fuse::OPEN_READ_WRITE,
            (_, _, true) if self.truncate && !self.create_new => return Err(ErrorKind::InvalidInput.into()),
            (false, _, true) => fuse::OPEN_WRITE | fuse::OPEN_APPEND,
            (true, _, true) => fuse::OPEN_READ_WRITE | fuse::OPEN_APPEND,
            _ => return Err(ErrorKind::InvalidInput.into()),
        };
        Ok(flags)
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::AlreadyExists`], [`ErrorKind::IsADirectory`],
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::ReadOnlyFilesystem`]; [`ErrorKind::InvalidInput`] for
    /// options that contradict each other; [`ErrorKind::Unsupported`] for what is no file; and what else the
    /// host says.
    pub fn open(&self, path: impl AsRef<[u8]>) -> Result<File> {
        let flags = self.flags()?;
        let mut place = resolve(path.as_ref(), !self.create_new)?.ok_or(ErrorKind::IsADirectory)?;
        let session = place.nodes.session.clone();
        let (node, handle, size) = match &place.last {
            _ if self.create_new && place.node().is_ok() => return Err(ErrorKind::AlreadyExists.into()),
            Last::Directory => return Err(ErrorKind::IsADirectory.into()),
            Last::Entry { node, attributes, .. } => {
                match walk::kind(attributes) {
                    fuse::MODE_REGULAR => {}
                    fuse::MODE_DIRECTORY => return Err(ErrorKind::IsADirectory.into()),
                    _ => return Err(Error::new(ErrorKind::Unsupported, "it is no file")),
                }
                let arguments = fuse::OpenIn { flags, fuse_flags: 0 };
                let reply: fuse::OpenOut = session.ask(Operation::Open, *node, &arguments, &[])?;
                (*node, reply.handle, attributes.size)
            }
            Last::Missing { name } if self.create || self.create_new => {
                let exclusive = if self.create_new { fuse::OPEN_EXCLUSIVE } else { 0 };
                let flags = flags | fuse::OPEN_CREATE | exclusive;
                let arguments = CreateIn { flags, mode: self.mode, ..CreateIn::default() };
                let name = name.to_bytes_with_nul();
                let reply: fuse::CreateOut =
                    session.ask(Operation::Create, place.directory(), &arguments, &[name])?;
                let entry = place.nodes.count(reply.entry);
                (entry.node, reply.open.handle, entry.attributes.size)
            }
            Last::Missing { .. } => return Err(ErrorKind::NotFound.into()),
        };
        place.nodes.keep(node);
        let file = File(Arc::new(Open { session, node, handle, flags, position: Mutex::new(0) }));
        if self.truncate && size != 0 {
            file.set_len(0)?;
        }
        Ok(file)
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
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

    /// Reads some bytes at `offset`, and gives how many; 0 is the end, if the buffer has room. Moves nothing.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let length = buffer.len().min(self.0.session.transfer_max());
        if length == 0 {
            return Ok(0);
        }
        let arguments = fuse::ReadIn {
            handle: self.0.handle,
            offset,
            size: length as u32,
            flags: self.0.flags,
            ..fuse::ReadIn::default()
        };
        self.0.session.ask_bytes(Operation::Read, self.0.node, &arguments, &mut buffer[..length])
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
        let bytes = &bytes[..bytes.len().min(self.0.session.transfer_max())];
        if bytes.is_empty() {
            return Ok(0);
        }
        let arguments = fuse::WriteIn {
            handle: self.0.handle,
            offset,
            size: bytes.len() as u32,
            flags: self.0.flags,
            ..fuse::WriteIn::default()
        };
        let reply: fuse::WriteOut =
            self.0.session.ask(Operation::Write, self.0.node, &arguments, &[bytes])?;
        Ok(bytes.len().min(reply.size as usize))
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
        let arguments = fuse::SetAttributesIn {
            valid: fuse::SET_SIZE | fuse::SET_HANDLE,
            handle: self.0.handle,
            size,
            ..fuse::SetAttributesIn::default()
        };
        let _: fuse::AttributesOut =
            self.0.session.ask(Operation::SetAttributes, self.0.node, &arguments, &[])?;
        Ok(())
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
        walk::attributes(&self.0.session, self.0.node, Some(self.0.handle)).map(Metadata::new)
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
        let arguments =
            fuse::ReleaseIn { handle: self.handle, flags: self.flags, ..fuse::ReleaseIn::default() };
        let _ = self.session.tell(Operation::Release, self.node, &arguments, &[]);
        self.session.forget(&[self.node]);
    }
}

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut position = self.position();
        let count = self.read_at(buffer, *position)?;
        *position += count as u64;
        Ok(count)
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
        let mut position = self.position();
        let count = self.write_at(bytes, *position)?;
        *position = match self.0.flags & fuse::OPEN_APPEND {
            0 => *position + count as u64,
            _ => self.metadata()?.len(),
        };
        Ok(count)
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
