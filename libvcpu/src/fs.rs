//! Files and directories, by the names and habits of `std::fs`, in the directories that the guest was granted.
//!
//! A directory that was granted by the name `media` is `/media`, and `/` holds what was granted, and nothing
//! else. A grant whose name is a path, like `/home/u/build`, is there, and above it are directories that hold no
//! more than the way to it. There is no current directory: `media/x` is `/media/x`. Paths are strings or bytes. `..` and symbolic
//! links lead nowhere but to what was granted; a link whose target begins with `/` begins at the guest's root.
//!
//! ```no_run
//! use libvcpu::fs;
//!
//! let text = fs::read_to_string("/media/notes.txt").unwrap();
//! for entry in fs::read_dir("/media").unwrap() {
//!     libvcpu::println!("{}", entry.unwrap().path());
//! }
//! ```
//!
//! Every operation is done by the host when it returns, and nothing is kept in the guest: neither content, nor
//! names. Only of a directory that was granted exclusively, where nobody else changes anything, the guest keeps what
//! it was told as long as it has a file open there, and need not ask again. As long as no [`File`] and no
//! [`ReadDir`] is open, the host keeps nothing either.
//!
//! | module | its subject |
//! |---|---|
//! | `walk` | from a path to a node |
//! | `session` | requests, what they are answered, and what is kept of that |
//! | `fuse` | their form |
//! | `file`, `options`, `directory`, `metadata`, `lock` | what programs see |

mod directory;
mod file;
mod fuse;
mod lock;
mod metadata;
mod options;
mod session;
mod walk;

use crate::io::{self, ErrorKind, Read, Result, Write};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use directory::Listing;
use fuse::Operation;
use walk::{Nodes, Place, Spot, c_string, resolve};

pub use directory::{DirEntry, Directory, RawEntry, ReadDir};
pub use file::File;
pub use lock::{Lock, LockKind, LockOwner};
pub use metadata::{Changes, FileTime, FileType, Metadata, Permissions};
pub use options::OpenOptions;

/// Reads a whole file.
///
/// # Errors
///
/// As [`File::open`] and [`Read::read_to_end`].
pub fn read(path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    File::open(path)?.read_to_end(&mut all)?;
    Ok(all)
}

/// Reads a whole file of text.
///
/// # Errors
///
/// As [`read`], and [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<[u8]>) -> Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "the file is not UTF-8"))
}

/// Makes a file of these bytes, or replaces its content.
///
/// # Errors
///
/// As [`File::create`] and [`Write::write_all`].
pub fn write(path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<()> {
    File::create(path)?.write_all(bytes.as_ref())
}

/// Copies a file's content and permissions, and gives how many bytes that was.
///
/// # Errors
///
/// As [`File::open`] and [`OpenOptions::open`].
pub fn copy(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<u64> {
    let mut source = File::open(from)?;
    let mode = source.metadata()?.permissions().mode();
    let mut target = File::options().write(true).create(true).truncate(true).mode(mode).open(to)?;
    io::copy(&mut source, &mut target)
}

/// What is in a directory.
///
/// # Errors
///
/// [`ErrorKind::NotFound`], [`ErrorKind::NotADirectory`], [`ErrorKind::PermissionDenied`], and what else the
/// host says.
pub fn read_dir(path: impl AsRef<[u8]>) -> Result<ReadDir> {
    ReadDir::new(path.as_ref())
}

/// What is known of what is there. Symbolic links are followed.
///
/// # Errors
///
/// [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`], and what else the host says.
pub fn metadata(path: impl AsRef<[u8]>) -> Result<Metadata> {
    resolve(path.as_ref(), true)?.map_or(Ok(Metadata::above()), |place| place.metadata())
}

/// What is known of what is there. A symbolic link at the end is not followed.
///
/// # Errors
///
/// As [`metadata()`].
pub fn symlink_metadata(path: impl AsRef<[u8]>) -> Result<Metadata> {
    resolve(path.as_ref(), false)?.map_or(Ok(Metadata::above()), |place| place.metadata())
}

/// Whether something is there.
///
/// # Errors
///
/// If that cannot be found out.
pub fn exists(path: impl AsRef<[u8]>) -> Result<bool> {
    match metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path without `.`, `..` and symbolic links. Bytes that are not UTF-8 are replaced.
///
/// # Errors
///
/// As [`metadata()`].
pub fn canonicalize(path: impl AsRef<[u8]>) -> Result<String> {
    let path = match walk::walk(path.as_ref(), true)? {
        Spot::Above(above) => [b"/", &above[..]].concat(),
        Spot::Inside(place) => place.node().map(|_| place.path())?,
    };
    Ok(String::from_utf8_lossy(&path).into_owned())
}

/// Creates a directory.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`], [`ErrorKind::NotFound`] if the directory for it is not there,
/// [`ErrorKind::ReadOnlyFilesystem`], and what else the host says.
pub fn create_dir(path: impl AsRef<[u8]>) -> Result<()> {
    create_dir_with_mode(path, 0o777)
}

/// As [`create_dir`], with Linux's bits of who may do what with it, of which the host takes some away.
///
/// # Errors
///
/// As that.
pub fn create_dir_with_mode(path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let mut place = inside(path.as_ref(), ErrorKind::AlreadyExists)?;
    let (directory, name) = place.missing()?;
    let arguments = fuse::MakeDirectoryIn { mode, mask: 0 };
    let name = &[name.to_bytes_with_nul()];
    let entry = place.nodes.session.ask(Operation::MakeDirectory, directory, &arguments, name)?;
    place.nodes.count(entry);
    Ok(())
}

/// Creates a directory and what is missing above it. It is no error if it is there.
///
/// # Errors
///
/// As [`create_dir`].
pub fn create_dir_all(path: impl AsRef<[u8]>) -> Result<()> {
    let path = strip(path.as_ref());
    match create_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) if metadata(path).is_ok_and(|metadata| metadata.is_dir()) => return Ok(()),
        result => return result,
    }
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) if slash > 0 => {
            create_dir_all(&path[..slash])?;
            // Somebody else may have been faster.
            match create_dir(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                result => result,
            }
        }
        _ => Err(ErrorKind::NotFound.into()),
    }
}

/// Removes a file, or a symbolic link.
///
/// # Errors
///
/// [`ErrorKind::NotFound`], [`ErrorKind::IsADirectory`], [`ErrorKind::ReadOnlyFilesystem`], and what else the
/// host says.
pub fn remove_file(path: impl AsRef<[u8]>) -> Result<()> {
    let place = resolve(path.as_ref(), false)?.ok_or(ErrorKind::IsADirectory)?;
    let (directory, name) = place.existing()?;
    place.nodes.session.tell(Operation::Unlink, directory, &(), &[name.to_bytes_with_nul()])
}

/// Removes an empty directory.
///
/// # Errors
///
/// [`ErrorKind::DirectoryNotEmpty`], [`ErrorKind::NotADirectory`], and as [`remove_file`].
pub fn remove_dir(path: impl AsRef<[u8]>) -> Result<()> {
    let place = inside(path.as_ref(), ErrorKind::ResourceBusy)?;
    let (directory, name) = place.existing()?;
    place.nodes.session.tell(Operation::RemoveDirectory, directory, &(), &[name.to_bytes_with_nul()])
}

/// Removes a directory with all that is in it. Symbolic links are removed, not followed.
///
/// # Errors
///
/// As [`remove_dir`] and [`remove_file`]; a part may be gone then.
pub fn remove_dir_all(path: impl AsRef<[u8]>) -> Result<()> {
    let mut place = inside(path.as_ref(), ErrorKind::ResourceBusy)?;
    let (directory, name) = place.existing()?;
    let (name, node) = (name.to_owned(), place.node()?);
    let file_type = place.metadata()?.file_type();
    if file_type.is_symlink() {
        return place.nodes.session.tell(Operation::Unlink, directory, &(), &[name.to_bytes_with_nul()]);
    }
    if !file_type.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    // The listing gives the node back, which the place has counted.
    remove_content(place.nodes.session.clone(), &mut place.nodes, node)?;
    place.nodes.session.tell(Operation::RemoveDirectory, directory, &(), &[name.to_bytes_with_nul()])
}

/// Removes what is in a directory. By nodes, not by paths: nobody can put a link in between.
fn remove_content(session: Arc<session::Session>, nodes: &mut Nodes, directory: u64) -> Result<()> {
    let mut listing = Listing::open(nodes, directory)?;
    // All names first: to remove entries could move others past the place where the listing stands.
    let names = listing.by_ref().collect::<Result<Vec<_>>>()?;
    for RawEntry { name, .. } in names {
        let mut inner = Nodes::new(session.clone());
        let entry = inner.look_up(directory, &name)?;
        let name = &[name.to_bytes_with_nul()];
        if Metadata::new(entry.attributes, &session).is_dir() {
            remove_content(session.clone(), &mut inner, entry.node)?;
            session.tell(Operation::RemoveDirectory, directory, &(), name)?;
        } else {
            session.tell(Operation::Unlink, directory, &(), name)?;
        }
    }
    Ok(())
}

/// Gives something another name, and replaces what has that name.
///
/// # Errors
///
/// [`ErrorKind::CrossesDevices`] if both names are not in one grant, [`ErrorKind::NotFound`],
/// [`ErrorKind::ReadOnlyFilesystem`], and what else the host says.
pub fn rename(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
    let from = inside(from.as_ref(), ErrorKind::ResourceBusy)?;
    let to = inside(to.as_ref(), ErrorKind::ResourceBusy)?;
    let (directory, name) = from.existing()?;
    let (new_directory, new_name) = to.name()?;
    same_session(&from, &to)?;
    let arguments = fuse::Rename2In { directory: new_directory, flags: 0, padding: 0 };
    let names = &[name.to_bytes_with_nul(), new_name.to_bytes_with_nul()];
    from.nodes.session.tell(Operation::Rename2, directory, &arguments, names)
}

/// Gives a file one more name, where the host permits that; `vcpu` does not.
///
/// # Errors
///
/// As [`rename`]; [`ErrorKind::AlreadyExists`], [`ErrorKind::PermissionDenied`].
pub fn hard_link(original: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Result<()> {
    let original = inside(original.as_ref(), ErrorKind::PermissionDenied)?;
    let mut link = inside(link.as_ref(), ErrorKind::AlreadyExists)?;
    let node = original.node()?;
    let (directory, name) = link.missing()?;
    same_session(&original, &link)?;
    let name = &[name.to_bytes_with_nul()];
    let entry = link.nodes.session.ask(Operation::Link, directory, &fuse::LinkIn { node }, name)?;
    link.nodes.count(entry);
    Ok(())
}

/// Creates a symbolic link that says `target`, where the host permits that; `vcpu` does not, because the host's
/// own programs would follow it.
///
/// # Errors
///
/// As [`create_dir`]; [`ErrorKind::PermissionDenied`].
pub fn symlink(target: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Result<()> {
    let target = c_string(target.as_ref())?;
    let mut place = resolve(link.as_ref(), false)?.ok_or(ErrorKind::AlreadyExists)?;
    let (directory, name) = place.missing()?;
    let data = &[name.to_bytes_with_nul(), target.to_bytes_with_nul()];
    let entry = place.nodes.session.ask(Operation::SymbolicLink, directory, &(), data)?;
    place.nodes.count(entry);
    Ok(())
}

/// Changes what is known of what is there. A symbolic link at the end is followed if `follow` says so.
///
/// # Errors
///
/// [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`], [`ErrorKind::ReadOnlyFilesystem`], and what else the
/// host says.
pub fn change(path: impl AsRef<[u8]>, follow: bool, changes: &Changes) -> Result<()> {
    let place = resolve(path.as_ref(), follow)?.ok_or(ErrorKind::ReadOnlyFilesystem)?;
    changes.apply(&place.nodes.session, place.node()?, None).map(drop)
}

/// Whether the host lets the guest read (4), write (2) or run (1) what is there, bits of which any may be set.
///
/// # Errors
///
/// [`ErrorKind::PermissionDenied`], [`ErrorKind::ReadOnlyFilesystem`] if it does not, and as [`metadata()`].
pub fn access(path: impl AsRef<[u8]>, follow: bool, mask: u32) -> Result<()> {
    const WRITE: u32 = 2;
    match resolve(path.as_ref(), follow)? {
        Some(place) => {
            let arguments = fuse::AccessIn { mask, padding: 0 };
            place.nodes.session.tell(Operation::Access, place.node()?, &arguments, &[])
        }
        None if mask & WRITE != 0 => Err(ErrorKind::ReadOnlyFilesystem.into()),
        None => Ok(()),
    }
}

/// What a symbolic link says, as it is.
///
/// # Errors
///
/// As [`read_link`].
pub fn read_link_bytes(path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let target = match resolve(path.as_ref(), false)? {
        Some(place) => place.link()?,
        None => None,
    };
    Ok(target.ok_or(ErrorKind::InvalidInput)?)
}

/// What a symbolic link says. Bytes that are not UTF-8 are replaced.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if it is no symbolic link, and as [`symlink_metadata`].
pub fn read_link(path: impl AsRef<[u8]>) -> Result<String> {
    Ok(String::from_utf8_lossy(&read_link_bytes(path)?).into_owned())
}

/// Where a path leads to that names an entry of a directory, whether a slash follows or not. `error` if it is
/// the guest's root.
fn inside(path: &[u8], error: ErrorKind) -> Result<Place> {
    Ok(resolve(strip(path), false)?.ok_or(error)?)
}

/// A path without slashes at its end.
fn strip(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(path.len().min(1), |last| last + 1);
    &path[..end]
}

/// That both places are in one grant.
fn same_session(one: &Place, other: &Place) -> Result<()> {
    if Arc::ptr_eq(&one.nodes.session, &other.nodes.session) {
        return Ok(());
    }
    Err(ErrorKind::CrossesDevices.into())
}
