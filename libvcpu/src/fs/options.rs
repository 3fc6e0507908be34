//! [`OpenOptions`].

use super::File;
use super::fuse;
use crate::io::{ErrorKind, Result};

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
        let access = self.flags()?;
        let mut flags = access;
        if self.create || self.create_new {
            flags |= fuse::OPEN_CREATE;
        }
        if self.create_new {
            flags |= fuse::OPEN_EXCLUSIVE;
        }
        if self.truncate && !self.create_new {
            flags |= fuse::OPEN_TRUNCATE;
        }
        File::open_with_flags(path, flags, self.mode)
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}
