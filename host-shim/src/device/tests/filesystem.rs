//! The file system device: what works, and what a driver finds when it is wrong. `escape` is about what must
//! not be reached, `locks` about locks.

mod escape;
mod locks;

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// The queue of requests.
const REQUESTS: u64 = 1;
const QUESTION: u64 = BUFFERS;
const ANSWER: u64 = BUFFERS + (2 << 20);
const ANSWER_SIZE: u32 = (1 << 20) + 4096;

pub(super) const ROOT: u64 = 1;

/// Numbers of messages.
pub(super) mod message {
    pub(in super::super) const LOOKUP: u32 = 1;
    pub(in super::super) const FORGET: u32 = 2;
    pub(in super::super) const GETATTR: u32 = 3;
    pub(in super::super) const SETATTR: u32 = 4;
    pub(in super::super) const READLINK: u32 = 5;
    pub(in super::super) const SYMLINK: u32 = 6;
    pub(in super::super) const MKNOD: u32 = 8;
    pub(in super::super) const MKDIR: u32 = 9;
    pub(in super::super) const UNLINK: u32 = 10;
    pub(in super::super) const RMDIR: u32 = 11;
    pub(in super::super) const RENAME: u32 = 12;
    pub(in super::super) const LINK: u32 = 13;
    pub(in super::super) const OPEN: u32 = 14;
    pub(in super::super) const READ: u32 = 15;
    pub(in super::super) const WRITE: u32 = 16;
    pub(in super::super) const STATFS: u32 = 17;
    pub(in super::super) const RELEASE: u32 = 18;
    pub(in super::super) const FSYNC: u32 = 20;
    pub(in super::super) const SETXATTR: u32 = 21;
    pub(in super::super) const GETXATTR: u32 = 22;
    pub(in super::super) const REMOVEXATTR: u32 = 24;
    pub(in super::super) const INIT: u32 = 26;
    pub(in super::super) const OPENDIR: u32 = 27;
    pub(in super::super) const READDIR: u32 = 28;
    pub(in super::super) const GETLK: u32 = 31;
    pub(in super::super) const SETLK: u32 = 32;
    pub(in super::super) const SETLKW: u32 = 33;
    pub(in super::super) const ACCESS: u32 = 34;
    pub(in super::super) const CREATE: u32 = 35;
    pub(in super::super) const IOCTL: u32 = 39;
    pub(in super::super) const FALLOCATE: u32 = 43;
    pub(in super::super) const READDIRPLUS: u32 = 44;
    pub(in super::super) const RENAME2: u32 = 45;
    pub(in super::super) const SETUPMAPPING: u32 = 48;
    pub(in super::super) const COPY_FILE_RANGE: u32 = 47;
}

/// A machine with a directory, as its driver.
pub(super) struct Client {
    pub(super) machine: Machine,
}

pub(super) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(super) fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}

pub(super) fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Client {
    pub(super) fn new(path: &Path, writable: bool) -> Client {
        Client::of(Resource::Directory { path: path.to_owned(), writable, exclusive: false })
    }

    fn of(directory: Resource) -> Client {
        let machine = Machine::started(directory);
        let client = Client { machine };
        client.init();
        client
    }

    fn init(&self) -> Vec<u8> {
        // BIG_WRITES and MAX_PAGES.
        self.ask(message::INIT, 0, &words(&[7, 38, 0, 1 << 5 | 1 << 22])).unwrap()
    }

    /// Sends a message and gives the answer's body, or the error's number.
    pub(super) fn ask(&self, kind: u32, inode: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        let length = 40 + body.len() as u32;
        let ids = [&longs(&[7, inode])[..], &words(&[1000, 1000, 1, 0])].concat();
        self.machine.fill(QUESTION, &[&words(&[length, kind]), &ids[..], body].concat());
        self.machine.put(REQUESTS, &[(QUESTION, length, 0), (ANSWER, ANSWER_SIZE, super::WRITE)]);
        assert!(self.machine.notify(REQUESTS).is_none());
        assert!(!self.machine.has_stopped(), "{:?}", self.machine.devices.reports());
        let used = self.machine.used(REQUESTS).1.unwrap().1 as usize;
        let answer = self.machine.bytes(ANSWER, used);
        let error = i32::from_le_bytes(answer[4..8].try_into().unwrap());
        assert_eq!((long(&answer, 8), answer.len()), (7, used));
        if error == 0 { Ok(answer[16..].to_vec()) } else { Err(-error) }
    }

    /// Gives the inode of an entry.
    pub(super) fn lookup(&self, parent: u64, name: &str) -> Result<u64, i32> {
        self.ask(message::LOOKUP, parent, &text(name)).map(|entry| long(&entry, 0))
    }

    pub(super) fn open(&self, inode: u64, flags: i32) -> Result<u64, i32> {
        self.ask(message::OPEN, inode, &words(&[flags as u32, 0])).map(|opened| long(&opened, 0))
    }

    pub(super) fn create(&self, parent: u64, name: &str, flags: i32, mode: u32) -> Result<(u64, u64), i32> {
        let body = [words(&[flags as u32, mode, 0, 0]), text(name)].concat();
        let answer = self.ask(message::CREATE, parent, &body)?;
        Ok((long(&answer, 0), long(&answer, 128)))
    }

    pub(super) fn read(&self, inode: u64, handle: u64, at: u64, size: u32) -> Result<Vec<u8>, i32> {
        self.ask(message::READ, inode, &[longs(&[handle, at]), words(&[size, 0, 0, 0, u32::MAX, 0])].concat())
    }

    pub(super) fn write(&self, inode: u64, handle: u64, at: u64, bytes: &[u8]) -> Result<u32, i32> {
        let head = [longs(&[handle, at]), words(&[bytes.len() as u32, 0, 0, 0, u32::MAX, 0])].concat();
        let answer = self.ask(message::WRITE, inode, &[head, bytes.to_vec()].concat())?;
        Ok(u32::from_le_bytes(answer[..4].try_into().unwrap()))
    }

    pub(super) fn forget(&self, inode: u64, count: u64) {
        self.machine
            .fill(QUESTION, &[words(&[48, message::FORGET]), longs(&[7, inode, 0, 0, count])].concat());
        self.machine.put(0, &[(QUESTION, 48, 0)]);
        self.machine.notify(0);
        assert!(!self.machine.has_stopped());
    }

    /// What SETATTR takes: what is valid, size and mode.
    pub(super) fn set(&self, inode: u64, valid: u32, size: u64, mode: u32) -> Result<Vec<u8>, i32> {
        let head = [words(&[valid, 0]), longs(&[0, size, 0, 0, 0, 0])].concat();
        let tail = words(&[0, 0, 0, mode, 0, 0, 0, 0]);
        self.ask(message::SETATTR, inode, &[head, tail].concat())
    }

    /// Names in a directory.
    pub(super) fn names(&self, inode: u64) -> Result<Vec<String>, i32> {
        let handle = long(&self.ask(message::OPENDIR, inode, &words(&[0, 0]))?, 0);
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let body = [longs(&[handle, offset]), words(&[4096, 0, 0, 0, 0, 0])].concat();
            let entries = self.ask(message::READDIR, inode, &body)?;
            if entries.is_empty() {
                names.sort();
                return Ok(names);
            }
            let mut rest = &entries[..];
            while !rest.is_empty() {
                offset = long(rest, 8);
                let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                names.push(String::from_utf8(rest[24..24 + length].to_vec()).unwrap());
                rest = &rest[(24 + length).next_multiple_of(8)..];
            }
        }
    }
}

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    fs::create_dir(directory.path().join("below")).unwrap();
    fs::write(directory.path().join("below/deep"), "deeper").unwrap();
    directory
}

#[test]
fn files_are_read_and_written() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    assert_eq!(client.machine.read(Register::Kind), 26);
    assert_eq!(client.machine.config(0).to_le_bytes(), *b"it\0\0");
    assert_eq!(client.machine.config(36), 1);
    let file = client.lookup(ROOT, "file").unwrap();
    let handle = client.open(file, libc::O_RDWR).unwrap();
    assert_eq!(client.read(file, handle, 0, 100).unwrap(), b"content");
    assert_eq!(client.read(file, handle, 3, 2).unwrap(), b"te");
    assert_eq!(client.read(file, handle, 7, 100).unwrap(), b"");
    assert_eq!(client.write(file, handle, 5, b"ct me"), Ok(5));
    assert_eq!(client.ask(message::FSYNC, file, &[longs(&[handle]), words(&[0, 0])].concat()), Ok(vec![]));
    let release = [longs(&[handle]), words(&[0, 0]), longs(&[0])].concat();
    assert_eq!(client.ask(message::RELEASE, file, &release), Ok(vec![]));
    assert_eq!(client.read(file, handle, 0, 1), Err(libc::EBADF));
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"contect me");
}

#[test]
fn a_message_moves_a_mebibyte() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    let answer = client.init();
    assert_eq!(u32::from_le_bytes(answer[20..24].try_into().unwrap()), 1 << 20, "most bytes of a write");
    let (file, handle) = client.create(ROOT, "large", libc::O_RDWR, 0o644).unwrap();
    let bytes: Vec<u8> = (0..1u32 << 20).map(|index| (index % 253) as u8).collect();
    assert_eq!(client.write(file, handle, 0, &bytes), Ok(1 << 20));
    assert!(client.read(file, handle, 0, 1 << 20).unwrap() == bytes);
    assert!(fs::read(directory.path().join("large")).unwrap() == bytes);
}

#[test]
fn directories_are_listed_made_and_removed() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    assert_eq!(client.names(ROOT).unwrap(), ["below", "file"]);
    let below = client.lookup(ROOT, "below").unwrap();
    assert_eq!(client.names(below).unwrap(), ["deep"]);
    let made = client.ask(message::MKDIR, below, &[words(&[0o7777, 0]), text("made")].concat()).unwrap();
    client.create(long(&made, 0), "new", libc::O_WRONLY, 0o7777).unwrap();
    let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().mode() & 0o7000;
    assert_eq!((mode("below/made"), mode("below/made/new")), (0, 0), "no rights of others");
    assert_eq!(client.ask(message::RMDIR, below, &text("made")), Err(libc::ENOTEMPTY));
    assert_eq!(client.ask(message::UNLINK, long(&made, 0), &text("new")), Ok(vec![]));
    assert_eq!(client.ask(message::RMDIR, below, &text("made")), Ok(vec![]));
    let rename = [longs(&[ROOT]), text("deep"), text("up")].concat();
    assert_eq!(client.ask(message::RENAME, below, &rename), Ok(vec![]));
    assert_eq!(client.names(ROOT).unwrap(), ["below", "file", "up"]);
    // Many, which takes several messages.
    for index in 0..500 {
        fs::write(directory.path().join(format!("below/{index:03}")), "").unwrap();
    }
    assert_eq!(client.names(below).unwrap().len(), 500);
}

#[test]
fn a_file_can_be_cut_and_its_rights_set_but_not_its_owner() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    let file = client.lookup(ROOT, "file").unwrap();
    client.set(file, 1 << 3, 4, 0).unwrap();
    client.set(file, 1, 0, 0o6640).unwrap();
    let status = fs::metadata(directory.path().join("file")).unwrap();
    assert_eq!((status.len(), status.mode() & 0o7777), (4, 0o640));
    assert_eq!(client.set(file, 1 << 1, 0, 0), Err(libc::EPERM));
    assert_eq!(client.set(file, 1 << 2, 0, 0), Err(libc::EPERM));
    assert_eq!(client.set(file, 1 << 3, u64::MAX, 0), Err(libc::EINVAL));
}

#[test]
fn create_opens_what_is_there_unless_it_must_not() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    let (file, handle) = client.create(ROOT, "file", libc::O_RDONLY, 0).unwrap();
    assert_eq!(client.read(file, handle, 0, 100).unwrap(), b"content");
    assert_eq!(client.create(ROOT, "file", libc::O_RDWR | libc::O_EXCL, 0), Err(libc::EEXIST));
    assert_eq!(client.create(ROOT, "below", libc::O_RDONLY, 0), Err(libc::EISDIR));
    client.create(ROOT, "file", libc::O_RDWR | libc::O_TRUNC, 0).unwrap();
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"");
}

#[test]
fn read_only_is_read_only() {
    let directory = directory();
    let before = fs::metadata(directory.path().join("file")).unwrap();
    let client = Client::new(directory.path(), false);
    let file = client.lookup(ROOT, "file").unwrap();
    let handle = client.open(file, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(file, handle, 0, 100).unwrap(), b"content");
    assert_ne!(client.write(file, handle, 0, b"x"), Ok(1));
    for flags in [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_RDONLY | libc::O_TRUNC,
        libc::O_RDONLY | libc::O_CREAT,
        libc::O_RDWR | libc::O_APPEND,
    ] {
        assert_eq!(client.open(file, flags), Err(libc::EROFS), "{flags:#x}");
    }
    let name = |head: Vec<u8>| [head, text("new")].concat();
    let changes = [
        (message::MKDIR, ROOT, name(words(&[0o755, 0]))),
        (message::MKNOD, ROOT, name(words(&[libc::S_IFREG, 0, 0, 0]))),
        (message::CREATE, ROOT, name(words(&[0, 0o644, 0, 0]))),
        (message::UNLINK, ROOT, text("file")),
        (message::RMDIR, ROOT, text("below")),
        (message::RENAME, ROOT, [longs(&[ROOT]), text("file"), text("new")].concat()),
        (message::RENAME2, ROOT, [longs(&[ROOT]), words(&[1, 0]), text("file"), text("new")].concat()),
        (message::SYMLINK, ROOT, [text("new"), text("file")].concat()),
        (message::LINK, ROOT, name(longs(&[file]))),
        (message::FALLOCATE, file, [longs(&[handle, 0, 4096]), words(&[0, 0])].concat()),
    ];
    for (kind, inode, body) in changes {
        assert_eq!(client.ask(kind, inode, &body), Err(libc::EROFS), "{kind}");
    }
    for valid in [1, 1 << 1, 1 << 3, 1 << 4, 1 << 5] {
        assert_eq!(client.set(file, valid, 0, 0o777), Err(libc::EROFS), "{valid}");
    }
    let after = fs::metadata(directory.path().join("file")).unwrap();
    assert_eq!((after.mode(), after.len(), after.mtime_nsec()), (before.mode(), 7, before.mtime_nsec()));
    assert_eq!(client.names(ROOT).unwrap(), ["below", "file"]);
}

#[test]
fn a_directory_that_vanishes_gives_ordinary_errors() {
    let directory = directory();
    let path = directory.path().to_owned();
    let client = Client::new(&path, true);
    let below = client.lookup(ROOT, "below").unwrap();
    let file = client.lookup(ROOT, "file").unwrap();
    let handle = client.open(file, libc::O_RDWR).unwrap();
    directory.close().unwrap();
    assert_eq!(client.lookup(ROOT, "file"), Err(libc::ENOENT));
    assert_eq!(client.create(below, "new", libc::O_RDWR, 0o644), Err(libc::ENOENT));
    assert_eq!(client.names(ROOT), Err(libc::ENOENT));
    assert_eq!(client.read(file, handle, 0, 100).unwrap(), b"content");
    client.machine.start(0);
    client.init();
    assert_eq!(client.lookup(ROOT, "file"), Err(libc::ENOENT));
    // One by the same name is another.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), "").unwrap();
    assert_eq!(client.lookup(ROOT, "file"), Err(libc::ENOENT));
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_guest_holds_no_more_of_the_host_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..1200 {
        fs::write(directory.path().join(index.to_string()), "").unwrap();
    }
    let client = Client::new(directory.path(), true);
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX) / 4;
    let most = most.min(4096) as usize;
    let mut held = Vec::new();
    for index in 0..1200 {
        match client.lookup(ROOT, &index.to_string()) {
            Ok(inode) => held.push(inode),
            Err(error) => {
                assert_eq!(error, libc::ENFILE);
                break;
            }
        }
    }
    assert!(held.len() == most || held.len() == 1200 && most > 1200);
    // Handles count as well, and so does what is created.
    let mut handles = 0;
    let error = loop {
        match client.open(held[0], libc::O_RDONLY) {
            Ok(_) => handles += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error, handles + held.len()), (libc::ENFILE, most));
    assert_eq!(client.create(ROOT, "new", libc::O_RDWR, 0o644), Err(libc::ENFILE));
    assert!(!directory.path().join("new").exists());
    // What is known already is found, and what is forgotten makes room.
    assert_eq!(client.lookup(ROOT, "0"), Ok(held[0]));
    client.forget(held[1], u64::MAX);
    assert_eq!(client.ask(message::GETATTR, held[1], &longs(&[0, 0])), Err(libc::EBADF));
    assert_eq!(client.lookup(ROOT, "1"), Ok(held[1]));
    client.machine.start(0);
    client.init();
    assert_eq!(client.lookup(ROOT, "0"), Ok(held[0]));
}

#[test]
fn the_hosts_own_state_is_left_alone() {
    let mask = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim().to_owned();
        u32::from_str_radix(&mask, 8).unwrap()
    };
    let before = mask();
    let directory = directory();
    let client = Client::new(directory.path(), true);
    client.create(ROOT, "new", libc::O_RDWR, 0o666).unwrap();
    client.machine.start(0);
    client.init();
    assert_eq!(mask(), before);
    let status = fs::metadata(directory.path().join("new")).unwrap();
    assert_eq!(status.permissions().mode() & 0o777, 0o666 & !before);
    assert_eq!(status.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn only_in_an_exclusive_directory_a_guest_may_keep_what_it_is_told() {
    let directory = directory();
    for exclusive in [false, true] {
        let client =
            Client::of(Resource::Directory { path: directory.path().to_owned(), writable: true, exclusive });
        let valid = if exclusive { u64::MAX } else { 0 };
        let entry = client.ask(message::LOOKUP, ROOT, &text("file")).unwrap();
        assert_eq!((long(&entry, 16), long(&entry, 24)), (valid, valid));
        // KEEP_CACHE.
        let flags = |opened: &[u8]| u32::from_le_bytes(opened[8..12].try_into().unwrap());
        let opened = client.ask(message::OPEN, long(&entry, 0), &words(&[0, 0])).unwrap();
        assert_eq!(flags(&opened), if exclusive { 2 } else { 0 });
        let body = [words(&[libc::O_RDWR as u32, 0o600, 0, 0]), text("made")].concat();
        let made = client.ask(message::CREATE, ROOT, &body).unwrap();
        assert_eq!(flags(&made[128..]), if exclusive { 2 } else { 0 });
        // That there is no such entry is an entry too, of no inode, and does not count as one.
        let missing = client.ask(message::LOOKUP, ROOT, &text("missing"));
        if exclusive {
            assert_eq!(missing.map(|entry| (long(&entry, 0), long(&entry, 16))), Ok((0, u64::MAX)));
        } else {
            assert_eq!(missing, Err(libc::ENOENT));
        }
        client.ask(message::UNLINK, ROOT, &text("made")).unwrap();
        assert_eq!(client.ask(message::LOOKUP, ROOT, &text("..")), Err(libc::EINVAL));
        assert_eq!(client.ask(message::GETATTR, 0, &words(&[0, 0, 0, 0])), Err(libc::EBADF));
    }
}

#[test]
fn two_guests_do_not_have_a_directory_exclusively() {
    let directory = directory();
    let path = directory.path();
    let resource = |exclusive| Resource::Directory { path: path.to_owned(), writable: false, exclusive };
    let first = Client::of(resource(true));
    let second = |exclusive| {
        crate::device::models(vec![Grant { name: "d".to_owned(), resource: resource(exclusive) }]).map(drop)
    };
    let error = second(true).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "what is granted as \"d\" cannot be used: somebody else has it exclusively; wait for them, or grant \
             it to both without `exclusive`"
        ),
        "{error}"
    );
    assert!(second(false).is_ok());
    drop(first);
    assert!(second(true).is_ok());
}

#[test]
fn messages_that_are_none_stop_the_device() {
    let directory = directory();
    let message = |length: u32, kind| [words(&[length, kind]), longs(&[1, ROOT, 0, 0])].concat();
    let cases = [
        (vec![1; 39], 4096),
        (message(39, message::LOOKUP), 4096),
        (message(41, message::LOOKUP), 4096),
        (message(u32::MAX, message::LOOKUP), 4096),
        (message(40, message::GETATTR), 4096),
        (message(40, message::READ), 4096),
        ([message(43, message::LOOKUP), b"abc".to_vec()].concat(), 4096),
        ([message(56, message::GETATTR), vec![0; 16]].concat(), 15),
        ([message(56, message::GETATTR), vec![0; 16]].concat(), 20),
        ([message(100_000, message::LOOKUP), vec![b'a'; 100_000 - 40]].concat(), 4096),
        ([message(48, 42), words(&[u32::MAX, 0])].concat(), 4096),
    ];
    for (question, room) in cases {
        let machine = Machine::started(Resource::Directory {
            path: directory.path().to_owned(),
            writable: true,
            exclusive: false,
        });
        machine.fill(QUESTION, &question);
        machine.put(REQUESTS, &[(QUESTION, question.len() as u32, 0), (ANSWER, room, super::WRITE)]);
        machine.notify(REQUESTS);
        assert!(machine.has_stopped(), "{question:?}");
        machine.start(0);
        let client = Client { machine };
        client.init();
        client.lookup(ROOT, "file").unwrap();
    }
}

#[test]
fn a_reset_closes_what_was_open() {
    let directory = directory();
    let client = Client::new(directory.path(), true);
    let descriptors = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(directory.path().join("below"))).count()
    };
    let below = client.lookup(ROOT, "below").unwrap();
    let deep = client.lookup(below, "deep").unwrap();
    client.open(deep, libc::O_RDONLY).unwrap();
    client.names(below).unwrap();
    client.create(below, "new", libc::O_RDWR, 0o644).unwrap();
    // Three inodes, two files and a directory that are open.
    assert_eq!(descriptors(), 6);
    client.machine.start(0);
    assert_eq!(descriptors(), 0);
    assert_eq!(client.ask(message::GETATTR, below, &longs(&[0, 0])), Err(libc::EBADF));
    assert_eq!(client.lookup(ROOT, "below"), Ok(below));
}
