//! Advisory locks: a guest's, another guest's, and a program's of the host.

use super::*;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::fd::AsRawFd;

const SHARED: u32 = libc::F_RDLCK as u32;
const EXCLUSIVE: u32 = libc::F_WRLCK as u32;
const NONE: u32 = libc::F_UNLCK as u32;
const END: u64 = i64::MAX as u64;
/// A lock that belongs to what was opened.
const WHOLE: u32 = 1;

/// A guest that has a file open.
struct Guest {
    client: Client,
    file: u64,
}

impl Guest {
    fn new(path: &Path, writable: bool) -> Guest {
        let client = Client::new(path, writable);
        let file = client.lookup(ROOT, "file").unwrap();
        Guest { client, file }
    }

    fn open(&self, flags: i32) -> u64 {
        self.client.open(self.file, flags).unwrap()
    }

    fn ask(&self, message: u32, handle: u64, range: [u64; 2], kind: u32, flags: u32) -> Result<Vec<u8>, i32> {
        let body = [longs(&[handle, 0, range[0], range[1]]), words(&[kind, 0]), words(&[flags, 0])].concat();
        self.client.ask(message, self.file, &body)
    }

    fn set(&self, handle: u64, range: [u64; 2], kind: u32) -> Result<(), i32> {
        self.ask(message::SETLK, handle, range, kind, 0).map(drop)
    }

    fn whole(&self, handle: u64, kind: u32) -> Result<(), i32> {
        self.ask(message::SETLK, handle, [0, END], kind, WHOLE).map(drop)
    }

    /// The lock that is in the way: its range and its kind.
    fn find(&self, handle: u64, range: [u64; 2], kind: u32) -> Result<(u64, u64, u32), i32> {
        let found = self.ask(message::GETLK, handle, range, kind, 0)?;
        assert_eq!(found[20..24], [0; 4], "whose it is, nobody says");
        Ok((long(&found, 0), long(&found, 8), long(&found, 16) as u32))
    }

    fn close(&self, handle: u64) {
        let release = [longs(&[handle]), words(&[0, 0]), longs(&[0])].concat();
        self.client.ask(message::RELEASE, self.file, &release).unwrap();
    }
}

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    directory
}

/// What a program of the host gets that wants a lock.
fn of_the_host(file: &File, start: i64, length: i64, kind: i32) -> Result<(), i32> {
    let lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    // SAFETY: the structure is what this command reads.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

#[test]
fn a_guests_locks_of_a_file_are_one_set_and_keep_others_out() {
    let directory = directory();
    let (one, two) = (Guest::new(directory.path(), true), Guest::new(directory.path(), true));
    let (first, second, other) = (one.open(libc::O_RDWR), one.open(libc::O_RDWR), two.open(libc::O_RDWR));
    let host = File::options().read(true).write(true).open(directory.path().join("file")).unwrap();
    assert_eq!(one.set(first, [10, 19], EXCLUSIVE), Ok(()));
    assert_eq!(one.set(second, [10, 19], EXCLUSIVE), Ok(()));
    assert_eq!(one.find(second, [0, END], EXCLUSIVE).unwrap().2, NONE);
    assert_eq!(two.set(other, [19, 19], SHARED), Err(libc::EAGAIN));
    assert_eq!(two.set(other, [20, END], EXCLUSIVE), Ok(()));
    assert_eq!(two.find(other, [0, END], SHARED), Ok((10, 19, EXCLUSIVE)));
    assert_eq!(one.find(first, [0, END], SHARED), Ok((20, END, EXCLUSIVE)));
    assert_eq!(of_the_host(&host, 0, 11, libc::F_RDLCK), Err(libc::EAGAIN));
    assert_eq!(of_the_host(&host, 0, 10, libc::F_WRLCK), Ok(()));
    assert_eq!(one.set(second, [5, 5], SHARED), Err(libc::EAGAIN));
    assert_eq!(one.set(second, [15, 15], NONE), Ok(()));
    assert_eq!(two.set(other, [15, 15], SHARED), Ok(()));
    assert_eq!(two.set(other, [14, 14], SHARED), Err(libc::EAGAIN));
    // The first that is closed ends them all.
    one.close(second);
    assert_eq!(two.set(other, [10, 19], EXCLUSIVE), Ok(()));
    assert_eq!(one.set(first, [10, 10], SHARED), Err(libc::EAGAIN));
}

#[test]
fn a_lock_of_a_whole_file_belongs_to_what_was_opened() {
    let directory = directory();
    let (one, two) = (Guest::new(directory.path(), true), Guest::new(directory.path(), false));
    let (first, second, other) = (one.open(libc::O_RDWR), one.open(libc::O_RDONLY), two.open(libc::O_RDONLY));
    let host = File::open(directory.path().join("file")).unwrap();
    assert_eq!(one.whole(first, SHARED), Ok(()));
    assert_eq!(one.whole(second, SHARED), Ok(()));
    assert_eq!(two.whole(other, SHARED), Ok(()));
    assert_eq!(one.whole(second, EXCLUSIVE), Err(libc::EAGAIN));
    assert_eq!(one.whole(first, NONE), Ok(()));
    two.close(other);
    assert_eq!(one.whole(second, EXCLUSIVE), Ok(()));
    assert!(flock(&host, FlockOperation::NonBlockingLockShared).is_err());
    one.close(second);
    assert!(flock(&host, FlockOperation::NonBlockingLockShared).is_ok());
}

#[test]
fn locks_end_with_the_guest() {
    let directory = directory();
    let host = File::options().read(true).write(true).open(directory.path().join("file")).unwrap();
    let guest = Guest::new(directory.path(), true);
    assert_eq!(guest.set(guest.open(libc::O_RDWR), [0, END], EXCLUSIVE), Ok(()));
    assert_eq!(of_the_host(&host, 0, 0, libc::F_WRLCK), Err(libc::EAGAIN));
    drop(guest);
    assert_eq!(of_the_host(&host, 0, 0, libc::F_WRLCK), Ok(()));
}

#[test]
fn who_may_only_read_keeps_nobody_from_reading() {
    let directory = directory();
    let guest = Guest::new(directory.path(), false);
    let handle = guest.open(libc::O_RDONLY);
    assert_eq!(guest.set(handle, [0, END], EXCLUSIVE), Err(libc::EBADF));
    assert_eq!(guest.set(handle, [0, END], SHARED), Ok(()));
}

#[test]
fn locks_that_make_no_sense_are_refused() {
    let directory = directory();
    let guest = Guest::new(directory.path(), true);
    let handle = guest.open(libc::O_RDWR);
    for (range, kind, flags) in [
        ([5, 4], SHARED, 0),
        ([0, u64::MAX], SHARED, 0),
        ([END + 1, END + 1], SHARED, 0),
        ([0, 1], 3, 0),
        ([0, 1], 99, WHOLE),
        ([0, 1], u32::MAX, 0),
        ([0, 1], SHARED, 2),
    ] {
        let answer = guest.ask(message::SETLK, handle, range, kind, flags);
        assert_eq!(answer, Err(libc::EINVAL), "{range:?} {kind} {flags}");
    }
    assert_eq!(guest.ask(message::GETLK, handle, [0, 1], SHARED, WHOLE), Err(libc::EINVAL));
    assert_eq!(guest.set(handle + 1, [0, 1], SHARED), Err(libc::EBADF));
    // The message that would wait does not.
    let other = Guest::new(directory.path(), true);
    assert_eq!(other.set(other.open(libc::O_RDWR), [0, 1], EXCLUSIVE), Ok(()));
    let waiting = guest.ask(message::SETLKW, handle, [0, 1], SHARED, 0);
    assert_eq!(waiting, Err(libc::EAGAIN));
}

#[test]
fn a_guest_is_told_what_it_may_do() {
    let directory = directory();
    for (writable, write) in [(true, Ok(vec![])), (false, Err(libc::EROFS))] {
        let guest = Guest::new(directory.path(), writable);
        let may = |mask| guest.client.ask(message::ACCESS, guest.file, &words(&[mask, 0]));
        assert_eq!(may(4), Ok(vec![]));
        assert_eq!(may(2), write);
        assert_eq!(may(1), Err(libc::EACCES));
        assert_eq!(guest.client.ask(message::ACCESS, 4711, &words(&[4, 0])), Err(libc::EBADF));
    }
}
