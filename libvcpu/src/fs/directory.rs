//! [`ReadDir`]: what is in a directory.

use super::fuse::{self, DirectoryEntry, Operation};
use super::metadata::{FileType, Metadata};
use super::session::Session;
use super::walk::{self, Nodes, Spot};
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
    /// Above the grants: names of what was granted.
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
    pub(super) fn new(path: &[u8]) -> Result<ReadDir> {
        let source = match walk::walk(path, true)? {
            Spot::Above(above) => Source::Grants(walk::names_in(&above).into_iter()),
            Spot::Inside(mut place) => {
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
                Some(entry.map(|entry| DirEntry {
                    path,
                    name: entry.name.into_bytes(),
                    file_type: FileType::of_entry(entry.kind),
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

/// What a directory says of an entry.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// Its name.
    pub name: CString,
    /// Its number in its file system.
    pub node: u64,
    /// What it is, as the `d_type` of Linux's directories; 0 if the file system does not say it.
    pub kind: u32,
    /// Where the entry behind it is, for [`Directory::seek`].
    pub offset: u64,
}

/// An open directory, for those who need more of it than [`ReadDir`] has.
#[derive(Debug)]
pub struct Directory {
    path: Vec<u8>,
    /// `None` above the grants.
    listing: Option<Listing>,
    /// Above the grants, how many names were given.
    given: u64,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// As [`read_dir`](super::read_dir).
    pub fn open(path: impl AsRef<[u8]>) -> Result<Directory> {
        Ok(match walk::walk(path.as_ref(), true)? {
            Spot::Above(above) => Directory { path: [b"/", &above[..]].concat(), listing: None, given: 0 },
            Spot::Inside(mut place) => {
                let (node, path) = (place.node()?, place.path());
                Directory { path, listing: Some(Listing::open(&mut place.nodes, node)?), given: 0 }
            }
        })
    }

    /// Its path, without `.`, `..` and links, as it was when it was opened.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next entry. `.` and `..` are none.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn next_entry(&mut self) -> Result<Option<RawEntry>> {
        if let Some(listing) = &mut self.listing {
            return listing.next().transpose();
        }
        let Some(&name) = walk::names_in(&self.path[1..]).get(self.given as usize) else { return Ok(None) };
        self.given += 1;
        let kind = super::fuse::MODE_DIRECTORY >> 12;
        Ok(Some(RawEntry { name: walk::c_string(name)?, node: 1, kind, offset: self.given }))
    }

    /// Goes to where an entry said that the one behind it is, or to the beginning, 0.
    pub fn seek(&mut self, offset: u64) {
        match &mut self.listing {
            Some(listing) => listing.seek(offset),
            None => self.given = offset,
        }
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn metadata(&self) -> Result<Metadata> {
        let Some(listing) = &self.listing else { return Ok(Metadata::above()) };
        let attributes = walk::attributes(&listing.session, listing.node, Some(listing.handle))?;
        Ok(Metadata::new(attributes, &listing.session))
    }

    /// Waits until its entries are kept by the host's disk.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn sync_all(&self) -> Result<()> {
        let Some(listing) = &self.listing else { return Ok(()) };
        let arguments = fuse::SyncIn { handle: listing.handle, flags: 0, padding: 0 };
        listing.session.tell(Operation::SyncDirectory, listing.node, &arguments, &[])
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

    fn seek(&mut self, offset: u64) {
        (self.start, self.end, self.offset, self.is_done) = (0, 0, offset, false);
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
    fn take(&mut self) -> Option<RawEntry> {
        let rest = &self.buffer[self.start..self.end];
        let (entry, names) = DirectoryEntry::read_from_prefix(rest).ok()?;
        let length = entry.name_length as usize;
        let name = names.get(..length)?;
        self.start += (size_of::<DirectoryEntry>() + length).next_multiple_of(8).min(rest.len());
        self.offset = entry.offset;
        Some(RawEntry {
            name: CString::new(name).unwrap_or_default(),
            node: entry.node,
            kind: entry.file_type,
            offset: entry.offset,
        })
    }
}

impl Iterator for Listing {
    type Item = Result<RawEntry>;

    fn next(&mut self) -> Option<Result<RawEntry>> {
        while !self.is_done {
            if let Some(entry) = self.take() {
                match entry.name.to_bytes() {
                    b"" | b"." | b".." => continue,
                    _ => return Some(Ok(entry)),
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
