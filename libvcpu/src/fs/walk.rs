//! [`resolve`]: from a path to a node, one name after the other.
//!
//! The host is never asked for more than one name in one directory. `..` goes back on the way that was come, and
//! symbolic links are read and followed here; so both end at the guest's own root, above the directories that
//! were granted.

use super::fuse::{self, Attributes, Entry, Operation};
use super::metadata::Metadata;
use super::session::{Session, grants, session};
use crate::io::{Error, ErrorKind, Result};
use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;

/// Most symbolic links on one way.
const LINKS_MAX: usize = 40;

/// Most bytes of a path, and of a symbolic link.
const PATH_MAX: usize = 4095;

/// Nodes of one file system that replies have counted. They are given back when this is dropped, so that the
/// device knows no node that nobody needs.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) session: Arc<Session>,
    counted: Vec<u64>,
}

impl Nodes {
    pub(super) fn new(session: Arc<Session>) -> Nodes {
        Nodes { session, counted: Vec::new() }
    }

    /// The entry of this name in a directory.
    pub(super) fn look_up(&mut self, directory: u64, name: &CStr) -> Result<Entry> {
        let entry = self.session.look_up(directory, name)?;
        Ok(self.count(entry))
    }

    /// Notes an entry of a reply.
    pub(super) fn count(&mut self, entry: Entry) -> Entry {
        self.counted.push(entry.node);
        entry
    }

    /// Leaves it to the caller to give a node back.
    pub(super) fn keep(&mut self, node: u64) {
        if let Some(index) = self.counted.iter().rposition(|&counted| counted == node) {
            self.counted.swap_remove(index);
        }
    }

    fn read_link(&self, node: u64) -> Result<Vec<u8>> {
        let mut target = vec![0; PATH_MAX + 1];
        let count = self.session.ask_bytes(Operation::ReadLink, node, &(), &mut target)?;
        target.truncate(count);
        Ok(target)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.session.forget(&self.counted);
    }
}

/// Where a path leads to, inside a grant.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) nodes: Nodes,
    /// The directories on the way, from the grant's root on.
    way: Vec<(u64, CString)>,
    pub(super) last: Last,
}

/// What is at the end of the way.
#[derive(Debug)]
pub(super) enum Last {
    /// The way's last directory itself: the path ended with the grant's name, `.`, `..`, or a slash.
    Directory,
    /// An entry in that directory.
    Entry { name: CString, node: u64, attributes: Attributes },
    /// Nothing has this name in that directory.
    Missing { name: CString },
}

impl Place {
    /// The way's last directory.
    pub(super) fn directory(&self) -> u64 {
        self.way.last().map_or(fuse::ROOT, |(node, _)| *node)
    }

    /// What is there: its node.
    pub(super) fn node(&self) -> Result<u64> {
        match &self.last {
            Last::Directory => Ok(self.directory()),
            Last::Entry { node, .. } => Ok(*node),
            Last::Missing { .. } => Err(ErrorKind::NotFound.into()),
        }
    }

    /// What is known of what is there.
    pub(super) fn attributes(&self) -> Result<Attributes> {
        match &self.last {
            Last::Entry { attributes, .. } => Ok(*attributes),
            _ => attributes(&self.nodes.session, self.node()?, None),
        }
    }

    /// The same, as programs see it.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(self.attributes()?, &self.nodes.session))
    }

    /// Directory and name, for something new.
    pub(super) fn missing(&self) -> Result<(u64, &CStr)> {
        match &self.last {
            Last::Missing { name } => Ok((self.directory(), name)),
            _ => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    /// Directory and name, which something may have or not.
    pub(super) fn name(&self) -> Result<(u64, &CStr)> {
        match &self.last {
            Last::Missing { name } | Last::Entry { name, .. } => Ok((self.directory(), name)),
            Last::Directory => Err(Error::new(ErrorKind::InvalidInput, "the path ends with no name")),
        }
    }

    /// Directory and name of something that is there.
    pub(super) fn existing(&self) -> Result<(u64, &CStr)> {
        self.node()?;
        self.name()
    }

    /// What the symbolic link there says; `None` if there is something else.
    pub(super) fn link(&self) -> Result<Option<Vec<u8>>> {
        match &self.last {
            Last::Entry { node, attributes, .. } if kind(attributes) == fuse::MODE_LINK => {
                self.nodes.read_link(*node).map(Some)
            }
            _ => self.node().map(|_| None),
        }
    }

    /// The path of what is there, without links.
    pub(super) fn path(&self) -> Vec<u8> {
        let names = self.way.iter().map(|(_, name)| name);
        let name = match &self.last {
            Last::Entry { name, .. } | Last::Missing { name } => Some(name),
            Last::Directory => None,
        };
        names.chain(name).flat_map(|name| [b"/", name.to_bytes()].concat()).collect()
    }
}

/// What a file is, of its mode.
pub(super) fn kind(attributes: &Attributes) -> u32 {
    attributes.mode & fuse::MODE_TYPE
}

/// What is known of a node, or of an open file of that node.
pub(super) fn attributes(session: &Session, node: u64, handle: Option<u64>) -> Result<Attributes> {
    let arguments = fuse::GetAttributesIn {
        flags: if handle.is_some() { fuse::ATTRIBUTES_OF_HANDLE } else { 0 },
        padding: 0,
        handle: handle.unwrap_or(0),
    };
    let reply: fuse::AttributesOut = session.ask(Operation::GetAttributes, node, &arguments, &[])?;
    Ok(reply.attributes)
}

/// Where a path leads to.
#[derive(Debug)]
pub(super) enum Spot {
    /// A directory above those that were granted: the guest's root, or the beginning of a grant's name that is a
    /// path. Its own path has no slash in front.
    Above(Vec<u8>),
    /// Inside a grant.
    Inside(Place),
}

/// Where a path leads to, inside a grant; `None` is above. A symbolic link at the end is followed if `follow`
/// says so, all others are.
pub(super) fn resolve(path: &[u8], follow: bool) -> Result<Option<Place>> {
    match walk(path, follow)? {
        Spot::Above(_) => Ok(None),
        Spot::Inside(place) => Ok(Some(place)),
    }
}

/// As [`resolve`], and which directory it is above the grants.
pub(super) fn walk(path: &[u8], follow: bool) -> Result<Spot> {
    if path.is_empty() {
        return Err(ErrorKind::NotFound.into());
    }
    // A grant may lie inside another only if its name is a path.
    let are_paths = grants().any(|name| name.contains(&b'/'));
    let mut names = Vec::new();
    push_names(&mut names, path)?;
    let mut links = 0;
    let mut here = Spot::Above(Vec::new());
    while let Some(name) = names.pop() {
        match name.to_bytes() {
            b"." => continue,
            b".." => {
                go_up(&mut here, &mut names)?;
                continue;
            }
            _ => {}
        }
        let place = match &mut here {
            Spot::Above(above) => {
                here = enter(above, &name)?;
                continue;
            }
            Spot::Inside(place) => place,
        };
        if are_paths && let Some(inner) = granted(&join(&place.path()[1..], name.to_bytes()))? {
            here = Spot::Inside(inner);
            continue;
        }
        let entry = match place.nodes.look_up(place.directory(), &name) {
            Ok(entry) => entry,
            Err(error) if error.kind() == ErrorKind::NotFound && names.is_empty() => {
                place.last = Last::Missing { name };
                return Ok(here);
            }
            Err(error) => return Err(error),
        };
        let attributes = entry.attributes;
        match kind(&attributes) {
            fuse::MODE_LINK if follow || !names.is_empty() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(ErrorKind::FilesystemLoop.into());
                }
                let target = place.nodes.read_link(entry.node)?;
                match target.first() {
                    None => return Err(ErrorKind::NotFound.into()),
                    Some(b'/') => here = Spot::Above(Vec::new()),
                    Some(_) => {}
                }
                push_names(&mut names, &target)?;
            }
            _ if names.is_empty() => {
                place.last = Last::Entry { name, node: entry.node, attributes };
                return Ok(here);
            }
            fuse::MODE_DIRECTORY => place.way.push((entry.node, name)),
            _ => return Err(ErrorKind::NotADirectory.into()),
        }
    }
    Ok(here)
}

/// To the directory above. Above a grant may be another one, so the way there is gone anew.
fn go_up(here: &mut Spot, names: &mut Vec<CString>) -> Result<()> {
    let path = match here {
        Spot::Above(path) => path.clone(),
        Spot::Inside(place) if place.way.len() > 1 => {
            place.way.pop();
            return Ok(());
        }
        Spot::Inside(place) => place.path()[1..].to_vec(),
    };
    let above = path.iter().rposition(|&byte| byte == b'/').map_or(&[][..], |slash| &path[..slash]);
    push_names(names, above)?;
    *here = Spot::Above(Vec::new());
    Ok(())
}

/// From a directory above the grants to the one of this name in it.
fn enter(above: &[u8], name: &CStr) -> Result<Spot> {
    let path = join(above, name.to_bytes());
    if let Some(place) = granted(&path)? {
        return Ok(Spot::Inside(place));
    }
    let mut below = grants().map(own_path);
    if below.any(|grant| grant.strip_prefix(&path[..]).is_some_and(|rest| rest.starts_with(b"/"))) {
        return Ok(Spot::Above(path));
    }
    Err(Error::new(ErrorKind::NotFound, "no directory was granted by this name"))
}

/// What was granted by this path, which has no slash in front.
fn granted(path: &[u8]) -> Result<Option<Place>> {
    let Some(grant) = grants().find(|grant| own_path(grant) == path) else { return Ok(None) };
    let Some(session) = session(grant)? else { return Ok(None) };
    let way = vec![(fuse::ROOT, c_string(path)?)];
    Ok(Some(Place { nodes: Nodes::new(session), way, last: Last::Directory }))
}

/// The names in a directory above the grants, each once.
pub(super) fn names_in(above: &[u8]) -> Vec<&'static [u8]> {
    let mut names: Vec<&[u8]> = Vec::new();
    for grant in grants().map(own_path) {
        let rest = match above {
            [] => Some(grant),
            _ => grant.strip_prefix(above).and_then(|rest| rest.strip_prefix(b"/")),
        };
        let name = rest.and_then(|rest| rest.split(|&byte| byte == b'/').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

/// A grant's name without the slash with which one begins that is a path.
fn own_path(grant: &'static [u8]) -> &'static [u8] {
    grant.strip_prefix(b"/").unwrap_or(grant)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.into() } else { [directory, b"/", name].concat() }
}

/// Puts a path's names on top of those that are still to be gone, the first on top. A slash at the end is as
/// good as `/.`: before it is a directory.
fn push_names(names: &mut Vec<CString>, path: &[u8]) -> Result<()> {
    if path.len() > PATH_MAX {
        return Err(ErrorKind::InvalidFilename.into());
    }
    if path.ends_with(b"/") {
        names.push(c".".into());
    }
    for name in path.rsplit(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        names.push(c_string(name)?);
    }
    Ok(())
}

/// A name or a link as the host wants it.
pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new(ErrorKind::InvalidInput, "there is a zero byte in the path"))
}
