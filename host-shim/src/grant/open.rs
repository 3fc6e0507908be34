//! Making a grant of a path: what must be there, and what is opened.
//!
//! A path is looked at before it is opened, so that what is wrong with it can be said in a sentence, and without
//! opening it, so that `vcpu check` can ask too.

use super::{ENTROPY, GRANT_NAME_MAX, Grant, Resource, Want, want};
use rustix::fs::{Access, OFlags};
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use vcpu_abi::device::DEVICES_MAX;

/// Why something cannot be granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A name is none.
    #[error(
        "{0:?} cannot be the name of a grant: it takes 1 to {GRANT_NAME_MAX} letters, digits and -_., and does not begin with a dot; that of a directory may be a path"
    )]
    BadName(String),
    /// Two grants have the same name.
    #[error("{0} is granted twice; give each grant a name of its own")]
    Twice(String),
    /// There are more than a guest can have devices.
    #[error("a guest can have {DEVICES_MAX} grants, and these are {0}; leave some out")]
    TooMany(usize),
    /// What a path names cannot be granted so.
    #[error("cannot grant {want}: {} {problem}", path.display())]
    Path {
        /// What was to be granted.
        want: Want,
        /// The path.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl Grant {
    /// A directory and all below it. The guest cannot leave it.
    ///
    /// # Errors
    ///
    /// If the name is none, or the path names no directory that this process can use.
    pub fn directory(name: &str, path: impl Into<PathBuf>, writable: bool) -> Result<Grant, GrantError> {
        Self::any_directory(name, path.into(), writable, false)
    }

    /// As [`directory`](Grant::directory), one in which nobody else changes anything as long as the guest runs. The
    /// guest is told so, and keeps what it has read, which is far faster; what others change nevertheless, it may
    /// never see. No second guest can have the same directory exclusively.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn exclusive_directory(
        name: &str,
        path: impl Into<PathBuf>,
        writable: bool,
    ) -> Result<Grant, GrantError> {
        Self::any_directory(name, path.into(), writable, true)
    }

    fn any_directory(
        name: &str,
        path: PathBuf,
        writable: bool,
        exclusive: bool,
    ) -> Result<Grant, GrantError> {
        let want = Want::directory(name, writable).map_err(|_| GrantError::BadName(name.to_owned()))?;
        Self::probe(&want, &path)?;
        let resource = Resource::Directory { path, writable, exclusive };
        Ok(Grant { name: name.to_owned(), resource })
    }

    /// An image of a disk, a regular file or a block device, which is opened.
    ///
    /// # Errors
    ///
    /// If the name is none, or the path names no such file that this process can use.
    pub fn block(name: &str, path: impl AsRef<Path>, writable: bool) -> Result<Grant, GrantError> {
        let path = path.as_ref();
        let want = Want::Block { name: checked(name)?, writable };
        Self::probe(&want, path)?;
        let file = options(true, writable).open(path).map_err(|error| problem(&want, path, cannot(error)))?;
        Ok(Grant { name: name.to_owned(), resource: Resource::Block { file, writable } })
    }

    /// A stream of bytes in each direction: a terminal or another character device, or the other end of a
    /// Unix socket. A pipe or a regular file takes what the guest writes, and gives no input; the file is made
    /// if it is not there, and written at its end.
    ///
    /// # Errors
    ///
    /// If the name is none, or what the path names cannot be used so.
    pub fn console(name: &str, path: impl AsRef<Path>) -> Result<Grant, GrantError> {
        let path = path.as_ref();
        let want = Want::Console { name: checked(name)? };
        Self::probe(&want, path)?;
        let (input, output) = open_console(path).map_err(|error| problem(&want, path, cannot(error)))?;
        Ok(Grant { name: name.to_owned(), resource: Resource::Console { input, output } })
    }

    /// Random bytes, under the name `entropy`.
    pub fn entropy() -> Grant {
        Grant { name: ENTROPY.to_owned(), resource: Resource::Entropy }
    }

    /// Says whether a path can be granted so, without opening or making anything. What names no path can be.
    ///
    /// # Errors
    ///
    /// As [`directory`](Grant::directory), [`block`](Grant::block) and [`console`](Grant::console).
    pub fn probe(want: &Want, path: &Path) -> Result<(), GrantError> {
        let found = match want {
            Want::Directory { writable, .. } => probe_directory(path, *writable),
            Want::Block { writable, .. } => probe_block(path, *writable),
            Want::Console { .. } => probe_console(path),
            Want::Entropy | Want::Function { .. } => Ok(()),
        };
        found.map_err(|text| problem(want, path, text))
    }
}

/// The name, if it is one.
fn checked(name: &str) -> Result<String, GrantError> {
    want::name(name, GRANT_NAME_MAX).map_err(|_| GrantError::BadName(name.to_owned()))
}

fn problem(want: &Want, path: &Path, problem: String) -> GrantError {
    GrantError::Path { want: want.clone(), path: path.to_owned(), problem }
}

fn cannot(error: io::Error) -> String {
    format!("cannot be opened: {error}")
}

/// What is there. `Ok(None)` if nothing is.
fn file_type(path: &Path) -> Result<Option<FileType>, String> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be looked at: {error}; check the path")),
    }
}

/// Whether this process has these rights. If not, this is what cannot be done, and what to do about it.
fn may(path: &Path, access: Access, doing: &str, remedy: &str) -> Result<(), String> {
    rustix::fs::access(path, access)
        .map_err(|error| format!("cannot be {doing} ({}); {remedy}", io::Error::from(error)))
}

/// Whether it can be read and, if it is to be writable, written.
fn may_use(path: &Path, reading: Access, writable: bool) -> Result<(), String> {
    may(path, reading, "read", "change its rights")?;
    if writable { may(path, Access::WRITE_OK, "written", "grant it with :ro") } else { Ok(()) }
}

fn probe_directory(path: &Path, writable: bool) -> Result<(), String> {
    match file_type(path)? {
        None => Err("does not exist; name a directory that does".to_owned()),
        Some(kind) if !kind.is_dir() => {
            Err("is not a directory; name the one it lies in, or grant an image of a disk with --block"
                .to_owned())
        }
        Some(_) => may_use(path, Access::READ_OK | Access::EXEC_OK, writable),
    }
}

fn probe_block(path: &Path, writable: bool) -> Result<(), String> {
    match file_type(path)? {
        None => Err("does not exist; name an image of a disk that does".to_owned()),
        Some(kind) if kind.is_dir() => Err("is a directory; grant it with --dir".to_owned()),
        Some(kind) if !kind.is_file() && !kind.is_block_device() => {
            Err("is neither a regular file nor a block device; name an image of a disk".to_owned())
        }
        Some(_) => may_use(path, Access::READ_OK, writable),
    }
}

fn probe_console(path: &Path) -> Result<(), String> {
    const REMEDY: &str = "change its rights";
    match file_type(path)? {
        None => {
            let around = match path.parent() {
                Some(around) if around != Path::new("") => around,
                _ => Path::new("."),
            };
            if !around.is_dir() {
                return Err(
                    "does not exist, and neither does the directory for it; make that first".to_owned()
                );
            }
            may(around, Access::WRITE_OK | Access::EXEC_OK, "made", "change the rights of its directory")
        }
        Some(kind) if kind.is_dir() => Err("is a directory; grant it with --dir".to_owned()),
        Some(kind) if kind.is_block_device() => Err("is a block device; grant it with --block".to_owned()),
        Some(kind) if kind.is_char_device() => {
            may(path, Access::READ_OK | Access::WRITE_OK, "read and written", REMEDY)
        }
        Some(_) => may(path, Access::WRITE_OK, "written", REMEDY),
    }
}

/// How files are opened here: without waiting for anybody, and without becoming the process's own terminal.
fn options(read: bool, write: bool) -> OpenOptions {
    let mut options = File::options();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.read(read).write(write).custom_flags(flags.bits() as i32);
    options
}

/// What the guest reads, and what it writes.
fn open_console(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = path.metadata().map(|metadata| metadata.file_type());
    let both = |file: OwnedFd| Ok((file.try_clone()?, file));
    let written = |file: File| Ok((File::open("/dev/null")?.into(), file.into()));
    match kind {
        Ok(kind) if kind.is_socket() => both(UnixStream::connect(path)?.into()),
        Ok(kind) if kind.is_char_device() => both(options(true, true).open(path)?.into()),
        // To write and read, so that it can be opened before anybody reads it, and is never found closed.
        Ok(kind) if kind.is_fifo() => written(options(true, true).open(path)?),
        _ => written(options(false, true).append(true).create(true).open(path)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[track_caller]
    fn assert_refused<T: std::fmt::Debug>(result: Result<T, GrantError>, expected: &str) {
        let sentence = result.expect_err(expected).to_string();
        assert!(sentence.contains(expected) && !sentence.ends_with('.'), "{sentence}");
    }

    fn write(fd: &OwnedFd, bytes: &[u8]) {
        File::from(fd.try_clone().unwrap()).write_all(bytes).unwrap();
    }

    fn streams(grant: Grant) -> (OwnedFd, OwnedFd) {
        match grant.resource {
            Resource::Console { input, output } => (input, output),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_must_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(Grant::directory("media", folder.path(), true).is_ok());
        assert_refused(Grant::directory("media", &file, false), "file is not a directory; ");
        assert_refused(Grant::directory("media", folder.path().join("no"), false), "no does not exist; ");
        assert_refused(Grant::directory("media", file.join("x"), false), "cannot be looked at: ");
        assert_refused(Grant::directory("/", folder.path(), false), "\"/\" cannot be the name of a grant: ");
        let sentence = Grant::directory("media", "no", true).unwrap_err().to_string();
        assert!(sentence.starts_with("cannot grant dir media:rw: no does not exist; "), "{sentence}");
    }

    #[test]
    fn an_image_of_a_disk_is_opened_as_it_is_granted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, "disk").unwrap();
        for writable in [false, true] {
            let grant = Grant::block("disk", &path, writable).unwrap();
            let Resource::Block { mut file, .. } = grant.resource else { panic!("{grant:?}") };
            assert_eq!(file.read(&mut [0; 4]).unwrap(), 4);
            assert_eq!(file.write(b"x").is_ok(), writable);
        }
        assert_refused(Grant::block("disk", folder.path(), false), "is a directory; grant it with --dir");
        assert_refused(
            Grant::block("disk", "/dev/null", false),
            "is neither a regular file nor a block device",
        );
        assert_refused(Grant::block("disk", folder.path().join("no"), false), "does not exist; ");
    }

    #[test]
    fn a_file_is_a_console_that_is_written_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(Grant::probe(&"console log".parse().unwrap(), &path).is_ok());
        assert!(!path.exists(), "a probe makes nothing");
        for _ in 0..2 {
            let (input, output) = streams(Grant::console("log", &path).unwrap());
            write(&output, b"line\n");
            assert_eq!(File::from(input).read(&mut [0; 1]).unwrap(), 0, "there is no input");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nline\n");
        assert_refused(Grant::console("log", folder.path()), "is a directory; grant it with --dir");
        assert_refused(Grant::console("log", folder.path().join("no/log")), "neither does the directory");
    }

    #[test]
    fn a_pipe_is_a_console_before_anybody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (_input, output) = streams(Grant::console("log", &path).unwrap());
        write(&output, b"line");
        let mut line = [0; 4];
        options(true, false).open(&path).unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"line");
    }

    #[test]
    fn a_socket_and_the_null_device_are_consoles_in_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (input, output) = streams(Grant::console("line", &path).unwrap());
        let (mut other, _) = listener.accept().unwrap();
        write(&output, b"ping");
        let mut bytes = [0; 4];
        other.read_exact(&mut bytes).unwrap();
        other.write_all(b"pong").unwrap();
        File::from(input).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"pong");
        drop(listener);
        drop(other);
        assert_refused(Grant::console("line", &path), "cannot be opened: Connection refused");

        let (input, output) = streams(Grant::console("null", "/dev/null").unwrap());
        write(&output, b"x");
        assert_eq!(File::from(input).read(&mut bytes).unwrap(), 0);
    }

    #[test]
    fn what_must_not_be_written_is_not_granted_so() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, "disk").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        // Root may write everything.
        if File::options().write(true).open(&path).is_err() {
            assert_refused(
                Grant::block("disk", &path, true),
                "cannot be written (Permission denied (os error 13)); grant it with :ro",
            );
            assert_refused(Grant::console("disk", &path), "cannot be written (");
        }
        assert!(Grant::block("disk", &path, false).is_ok());
    }
}
