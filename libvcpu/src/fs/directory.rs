//! [`ReadDir`]: what is in a directory.

use super::fuse::{self, DirectoryEntry, Operation};
use super::metadata::{FileType, Metadata};
use super::session::{Session, grants};
use super::walk::{Nodes, Place};
use crate::io::{Error, Result};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use zerocopy::FromBytes;

/// Bytes of entries that are fetched at a time.
const PIECE: usize = 32 << 10;

/// The entries of a directory, in no order, without `.` and `..`.
#[derive(Debug)]
pub struct ReadDir {
    path: Vec<u8>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The guest's root: the names of what was granted.
    Grants(vec::IntoIter<&'static [u8]>),
    Directory(Listing),
}

/// An entry of a directory.
pub struct DirEntry {
    /// Of the directory.
    path: Vec<u8>,
    name: Vec<u8>,
    file_type: Option<FileType>,
}

impl ReadDir {
    pub(super) fn new(path: &[u8], place: Option<Place>) -> Result<ReadDir> {
        let source = match place {
            None => Source::Grants(grants().collect::<Vec<_>>().into_iter()),
            Some(mut place) => {
                let node = place.node()?;
                Source::Directory(Listing::open(&mut place.nodes, node)?)
            }
        };
        Ok(ReadDir { path: path.into(), source })
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Result<DirEntry>> {
        let path = self.path.clone();
        match &mut self.source {
            Source::Grants(names) => {
                let name = names.next()?.into();
                Some(Ok(DirEntry { path, name, file_type: Some(FileType::directory()) }))
            }
            Source::Directory(listing) => {
                let entry = listing.next()?;
                Some(entry.map(|(name, number)| DirEntry {
                    path,
                    name: name.into_bytes(),
                    file_type: FileType::of_entry(number),
                }))
            }
        }
    }
}

impl DirEntry {
    /// Its name. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn file_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Its name as it is.
    #[must_use]
    pub fn file_name_bytes(&self) -> &[u8] {
        &self.name
    }

    /// Its path: that of the directory, as it was given, with the name. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.path_bytes()).into_owned()
    }

    /// Its path as it is.
    #[must_use]
    pub fn path_bytes(&self) -> Vec<u8> {
        let slash: &[u8] = if self.path.ends_with(b"/") { b"" } else { b"/" };
        [&self.path, slash, &self.name].concat()
    }

    /// What it is. A symbolic link is one.
    ///
    /// # Errors
    ///
    /// As [`metadata`](DirEntry::metadata), where the directory does not say it.
    pub fn file_type(&self) -> Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => self.metadata().map(|metadata| metadata.file_type()),
        }
    }

    /// What is known of it. Symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// As [`symlink_metadata`](super::symlink_metadata).
    pub fn metadata(&self) -> Result<Metadata> {
        super::symlink_metadata(self.path_bytes())
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

/// An open directory: names, and the numbers that say what they are.
#[derive(Debug)]
pub(super) struct Listing {
    session: Arc<Session>,
    node: u64,
    handle: u64,
    /// What was fetched.
    buffer: Vec<u8>,
    /// What of it is left.
    start: usize,
    end: usize,
    /// Where the next entries are.
    offset: u64,
    is_done: bool,
}

impl Listing {
    /// Opens a directory; its node is kept until this is dropped.
    pub(super) fn open(nodes: &mut Nodes, node: u64) -> Result<Listing> {
        let session = nodes.session.clone();
        let arguments = fuse::OpenIn { flags: fuse::OPEN_READ, fuse_flags: 0 };
        let reply: fuse::OpenOut = session.ask(Operation::OpenDirectory, node, &arguments, &[])?;
        nodes.keep(node);
        let handle = reply.handle;
        Ok(Listing { session, node, handle, buffer: Vec::new(), start: 0, end: 0, offset: 0, is_done: false })
    }

    fn fetch(&mut self) -> Result<()> {
        self.buffer.resize(PIECE, 0);
        let arguments = fuse::ReadIn {
            handle: self.handle,
            offset: self.offset,
            size: PIECE as u32,
            ..fuse::ReadIn::default()
        };
        self.start = 0;
        self.end =
            self.session.ask_bytes(Operation::ReadDirectory, self.node, &arguments, &mut self.buffer)?;
        Ok(())
    }

    /// The next of the entries that were fetched.
    fn take(&mut self) -> Option<(CString, u32)> {
        let rest = &self.buffer[self.start..self.end];
        let (entry, names) = DirectoryEntry::read_from_prefix(rest).ok()?;
        let length = entry.name_length as usize;
        let name = names.get(..length)?;
        self.start += (size_of::<DirectoryEntry>() + length).next_multiple_of(8).min(rest.len());
        self.offset = entry.offset;
        Some((CString::new(name).unwrap_or_default(), entry.file_type))
    }
}

impl Iterator for Listing {
    type Item = Result<(CString, u32)>;

    fn next(&mut self) -> Option<Result<(CString, u32)>> {
        while !self.is_done {
            if let Some((name, number)) = self.take() {
                match name.to_bytes() {
                    b"" | b"." | b".." => continue,
                    _ => return Some(Ok((name, number))),
                }
            }
            match self.fetch() {
                Ok(()) => self.is_done = self.end == 0,
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let arguments = fuse::ReleaseIn { handle: self.handle, ..fuse::ReleaseIn::default() };
        let _: Result<(), Error> = self.session.tell(Operation::ReleaseDirectory, self.node, &arguments, &[]);
        if self.node != fuse::ROOT {
            self.session.forget(&[self.node]);
        }
    }
}
