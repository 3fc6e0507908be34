//! [`Metadata`]: what is known of a file, and [`Changes`] of that.

use super::fuse::{self, Attributes, Operation};
use super::session::Session;
use super::walk;
use crate::io::{Error, ErrorKind, Result};
use crate::time::{Duration, SystemTime};

/// What is known of a file or a directory, as [`std::fs::Metadata`].
///
/// [`std::fs::Metadata`]: https://doc.rust-lang.org/std/fs/struct.Metadata.html
#[derive(Clone, Debug)]
pub struct Metadata {
    attributes: Attributes,
    /// Which file system it is of; 0 is above the grants.
    device: u64,
}

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileType(u32);

/// Who may do what with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(u32);

impl Metadata {
    pub(super) fn new(attributes: Attributes, session: &Session) -> Metadata {
        Metadata { attributes, device: u64::from(session.number()) + 1 }
    }

    /// Of a directory above the grants.
    pub(super) fn above() -> Metadata {
        let attributes = Attributes {
            node: 1,
            mode: fuse::MODE_DIRECTORY | 0o555,
            links: 2,
            block_size: 4096,
            ..Attributes::default()
        };
        Metadata { attributes, device: 0 }
    }

    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType(walk::kind(&self.attributes))
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Its size in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "as in std")]
    pub fn len(&self) -> u64 {
        self.attributes.size
    }

    /// Who may do what with it.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        Permissions(self.attributes.mode & 0o7777)
    }

    /// When it was written the last time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if [`SystemTime`] has no such moment.
    pub fn modified(&self) -> Result<SystemTime> {
        moment(self.attributes.modified, self.attributes.modified_nanoseconds)
    }

    /// When it was read the last time, as far as the host keeps that.
    ///
    /// # Errors
    ///
    /// As [`modified`](Metadata::modified).
    pub fn accessed(&self) -> Result<SystemTime> {
        moment(self.attributes.accessed, self.attributes.accessed_nanoseconds)
    }

    /// Which grant it is of: a number that other grants do not have.
    #[must_use]
    pub fn dev(&self) -> u64 {
        self.device
    }

    /// Its number in its file system.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.attributes.node
    }

    /// What it is and who may do what with it, as Linux's `st_mode`.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.attributes.mode
    }

    /// How many names it has.
    #[must_use]
    pub fn nlink(&self) -> u64 {
        self.attributes.links.into()
    }

    /// Bytes with which it is best read and written.
    #[must_use]
    pub fn blksize(&self) -> u64 {
        self.attributes.block_size.into()
    }

    /// How many blocks of 512 bytes it takes.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.attributes.blocks
    }

    /// When it was read the last time: seconds since 1970, and nanoseconds.
    #[must_use]
    pub fn atime(&self) -> (i64, i64) {
        (self.attributes.accessed as i64, self.attributes.accessed_nanoseconds.into())
    }

    /// When it was written the last time, as [`atime`](Metadata::atime).
    #[must_use]
    pub fn mtime(&self) -> (i64, i64) {
        (self.attributes.modified as i64, self.attributes.modified_nanoseconds.into())
    }

    /// When anything about it changed the last time, as [`atime`](Metadata::atime).
    #[must_use]
    pub fn ctime(&self) -> (i64, i64) {
        (self.attributes.changed as i64, self.attributes.changed_nanoseconds.into())
    }

    /// When it was created: nobody says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], always.
    pub fn created(&self) -> Result<SystemTime> {
        Err(Error::new(ErrorKind::Unsupported, "it is not known when the file was created"))
    }
}

/// A time that a file is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTime {
    /// When it is set, by the host's clock.
    Now,
    /// Seconds since 1970, and nanoseconds below 1,000,000,000.
    At(i64, u32),
}

/// What is to change about a file; `None` is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Its size in bytes: it is cut, or zeros are added.
    pub size: Option<u64>,
    /// Linux's bits of who may do what with it, 0o777 of them.
    pub mode: Option<u32>,
    /// When it was read the last time.
    pub accessed: Option<FileTime>,
    /// When it was written the last time.
    pub modified: Option<FileTime>,
}

impl Changes {
    /// Makes them, by the path's node or by a handle. Gives what is known of it then.
    pub(super) fn apply(&self, session: &Session, node: u64, handle: Option<u64>) -> Result<Metadata> {
        let mut wanted = fuse::SetAttributesIn::default();
        let mut set = |is_set: bool, bit| wanted.valid |= if is_set { bit } else { 0 };
        set(self.size.is_some(), fuse::SET_SIZE);
        set(self.mode.is_some(), fuse::SET_MODE);
        set(self.accessed.is_some(), fuse::SET_ACCESSED);
        set(self.modified.is_some(), fuse::SET_MODIFIED);
        set(self.accessed == Some(FileTime::Now), fuse::SET_ACCESSED_NOW);
        set(self.modified == Some(FileTime::Now), fuse::SET_MODIFIED_NOW);
        set(handle.is_some(), fuse::SET_HANDLE);
        wanted.handle = handle.unwrap_or(0);
        wanted.size = self.size.unwrap_or(0);
        wanted.mode = self.mode.unwrap_or(0);
        if let Some(FileTime::At(seconds, nanoseconds)) = self.accessed {
            (wanted.accessed, wanted.accessed_nanoseconds) = (seconds as u64, nanoseconds);
        }
        if let Some(FileTime::At(seconds, nanoseconds)) = self.modified {
            (wanted.modified, wanted.modified_nanoseconds) = (seconds as u64, nanoseconds);
        }
        let reply: fuse::AttributesOut = session.ask(Operation::SetAttributes, node, &wanted, &[])?;
        Ok(Metadata::new(reply.attributes, session))
    }
}

fn moment(seconds: u64, nanoseconds: u32) -> Result<SystemTime> {
    let since = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanoseconds.into()));
    since
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .ok_or(Error::new(ErrorKind::Unsupported, "the file's time is before 1970 or after 2554"))
}

impl FileType {
    /// Of what a directory says of its entry; `None` if it says nothing.
    pub(super) fn of_entry(number: u32) -> Option<FileType> {
        (number != 0).then_some(FileType(number << 12 & fuse::MODE_TYPE))
    }

    pub(super) fn directory() -> FileType {
        FileType(fuse::MODE_DIRECTORY)
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.0 == fuse::MODE_DIRECTORY
    }

    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.0 == fuse::MODE_REGULAR
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.0 == fuse::MODE_LINK
    }
}

impl Permissions {
    /// Whether nobody may write it.
    #[must_use]
    pub fn readonly(&self) -> bool {
        self.0 & 0o222 == 0
    }

    /// The bits that Linux has for it.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.0
    }
}
