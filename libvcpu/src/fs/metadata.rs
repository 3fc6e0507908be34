//! [`Metadata`]: what is known of a file.

use super::fuse::{self, Attributes};
use super::walk;
use crate::io::{Error, ErrorKind, Result};
use crate::time::{Duration, SystemTime};

/// What is known of a file or a directory, as [`std::fs::Metadata`].
///
/// [`std::fs::Metadata`]: https://doc.rust-lang.org/std/fs/struct.Metadata.html
#[derive(Clone, Debug)]
pub struct Metadata(Attributes);

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileType(u32);

/// Who may do what with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(u32);

impl Metadata {
    pub(super) fn new(attributes: Attributes) -> Metadata {
        Metadata(attributes)
    }

    /// Of the guest's root.
    pub(super) fn root() -> Metadata {
        Metadata(Attributes { mode: fuse::MODE_DIRECTORY | 0o555, links: 1, ..Attributes::default() })
    }

    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType(walk::kind(&self.0))
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
        self.0.size
    }

    /// Who may do what with it.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        Permissions(self.0.mode & 0o7777)
    }

    /// When it was written the last time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if [`SystemTime`] has no such moment.
    pub fn modified(&self) -> Result<SystemTime> {
        moment(self.0.modified, self.0.modified_nanoseconds)
    }

    /// When it was read the last time, as far as the host keeps that.
    ///
    /// # Errors
    ///
    /// As [`modified`](Metadata::modified).
    pub fn accessed(&self) -> Result<SystemTime> {
        moment(self.0.accessed, self.0.accessed_nanoseconds)
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
