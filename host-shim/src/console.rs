//! Standard streams: bytes go straight between guest memory and the host's descriptors.
//!
//! A call must not block, and the descriptors may belong to others as well, so their flags are not
//! touched. A pipe, a terminal or the like is opened a second time, without blocking; where that is not
//! possible, `poll` is asked first and only as much is moved as cannot block. Nothing is ever buffered,
//! so a guest cannot make the host grow.

use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use vcpu_abi::call::Error;

/// Most bytes that one call moves; the rest is a short count.
pub(crate) const TRANSFER_MAX: u64 = 1 << 20;

/// Most bytes that a pipe takes without blocking once `poll` says that it takes any.
const CAUTIOUS_MAX: u64 = 512;

/// The descriptors that a guest's standard streams are.
#[derive(Debug)]
pub struct Streams {
    /// Standard input.
    pub input: OwnedFd,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard errors.
    pub errors: OwnedFd,
}

impl Streams {
    /// This process's own standard streams.
    ///
    /// # Errors
    ///
    /// If one of them is closed.
    pub fn inherit() -> io::Result<Streams> {
        Ok(Streams {
            input: io::stdin().as_fd().try_clone_to_owned()?,
            output: io::stdout().as_fd().try_clone_to_owned()?,
            errors: io::stderr().as_fd().try_clone_to_owned()?,
        })
    }

    /// No input, and output that goes nowhere.
    ///
    /// # Errors
    ///
    /// If the null device cannot be opened.
    pub fn null() -> io::Result<Streams> {
        Ok(Streams { input: null()?, output: null()?, errors: null()? })
    }
}

fn null() -> io::Result<OwnedFd> {
    std::fs::File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from)
}

/// How not to block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Not known yet: most guests never use all their streams.
    Unknown,
    /// It never blocks for long: a regular file, or opened without blocking.
    Direct,
    /// A socket, asked not to block with each call.
    Socket,
    /// Ask `poll`, then move little.
    Cautious,
}

/// One stream of a guest. Clones are the same stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    file: Arc<OwnedFd>,
    manner: Manner,
    direction: PollFlags,
    /// Whether the signal that a failed write brings has to be kept away; known together with the manner.
    quietly: bool,
}

impl Stream {
    /// A stream to read from.
    pub(crate) fn input(file: OwnedFd) -> Stream {
        Self::new(file, PollFlags::IN)
    }

    /// A stream to write to.
    pub(crate) fn output(file: OwnedFd) -> Stream {
        Self::new(file, PollFlags::OUT)
    }

    /// Streams without any input and with output that goes nowhere, which all who want them share.
    pub(crate) fn nowhere() -> io::Result<[Stream; 3]> {
        static NULL: OnceLock<Arc<OwnedFd>> = OnceLock::new();
        let file = match NULL.get() {
            Some(file) => file.clone(),
            None => {
                let file = Arc::new(null()?);
                NULL.get_or_init(|| file).clone()
            }
        };
        let stream =
            |direction| Stream { file: file.clone(), manner: Manner::Direct, direction, quietly: false };
        Ok([PollFlags::IN, PollFlags::OUT, PollFlags::OUT].map(stream))
    }

    fn new(file: OwnedFd, direction: PollFlags) -> Stream {
        Stream { file: Arc::new(file), manner: Manner::Unknown, direction, quietly: false }
    }

    /// Finds out how not to block, before the first transfer.
    fn choose_manner(&mut self) {
        self.quietly = self.direction == PollFlags::OUT && sys::writing_may_end_us();
        let mode = if self.direction == PollFlags::IN { OFlags::RDONLY } else { OFlags::WRONLY };
        let kind = rustix::fs::fstat(&self.file).map(|status| FileType::from_raw_mode(status.st_mode));
        // A named pipe that was opened in both directions has a reader and a writer as long as it is open.
        let is_both = || rustix::fs::fcntl_getfl(&self.file).is_ok_and(|flags| flags.contains(OFlags::RDWR));
        let mode = if kind == Ok(FileType::Fifo) && is_both() { OFlags::RDWR } else { mode };
        self.manner = match kind {
            Ok(FileType::RegularFile) => Manner::Direct,
            Ok(FileType::Socket) => Manner::Socket,
            _ => match reopen(&self.file, mode) {
                Ok(own) => {
                    self.file = Arc::new(own);
                    Manner::Direct
                }
                Err(_) => Manner::Cautious,
            },
        };
    }

    /// The descriptor and what to poll it for, to know when it is worth another try.
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness { file: self.file.clone(), events: self.direction }
    }

    /// Moves up to `length` bytes between the stream and memory that the caller vouches for.
    pub(crate) fn transfer(&mut self, memory: *mut u8, length: u64) -> Result<u64, Error> {
        if self.manner == Manner::Unknown {
            self.choose_manner();
        }
        let mut length = length.min(TRANSFER_MAX);
        if self.manner == Manner::Cautious {
            let mut fds = [PollFd::new(&self.file, self.direction)];
            // An interrupted look has found nothing either.
            if poll(&mut fds, Some(&Timespec::default())).unwrap_or(0) == 0 {
                return Err(Error::Again);
            }
            length = length.min(CAUTIOUS_MAX);
        }
        let (fd, size) = (self.file.as_raw_fd(), length as usize);
        let reading = self.direction == PollFlags::IN;
        loop {
            // SAFETY: the caller found `length` bytes of guest memory there, which stay mapped. The
            // kernel copies, so what the guest does to them meanwhile is its own affair.
            let count = unsafe {
                match (reading, self.manner) {
                    (true, Manner::Socket) => libc::recv(fd, memory.cast(), size, libc::MSG_DONTWAIT),
                    (true, _) => libc::read(fd, memory.cast(), size),
                    (false, Manner::Socket) => {
                        libc::send(fd, memory.cast(), size, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                    }
                    (false, _) if self.quietly => sys::write_quietly(|| libc::write(fd, memory.cast(), size)),
                    (false, _) => libc::write(fd, memory.cast(), size),
                }
            };
            let error = match sys::check(count as libc::c_long) {
                Ok(count) => return Ok(count as u64),
                Err(error) => error,
            };
            return Err(match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => Error::Again,
                Some(libc::EPIPE | libc::ECONNRESET) => Error::Closed,
                _ => Error::Io,
            });
        }
    }
}

/// What to wait for before a stream is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) events: PollFlags,
}

impl Readiness {
    /// Whether both are of the same stream.
    pub(crate) fn is_same(&self, other: &Readiness) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

/// Opens the same pipe, terminal or device again, so that it can have flags of its own.
fn reopen(file: &OwnedFd, mode: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(path, mode | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (read, write) = io::pipe().unwrap();
        (read.into(), write.into())
    }

    fn fill(stream: &mut Stream) -> u64 {
        let mut bytes = vec![0u8; 1 << 20];
        let mut total = 0;
        loop {
            match stream.transfer(bytes.as_mut_ptr(), bytes.len() as u64) {
                Ok(count) => total += count,
                Err(error) => {
                    assert_eq!(error, Error::Again);
                    return total;
                }
            }
        }
    }

    #[test]
    fn a_full_pipe_and_an_empty_one_say_again_and_a_closed_one_says_so() {
        let (read, write) = pipe();
        let mut output = Stream::output(write);
        assert!(fill(&mut output) >= 4096);
        drop(read);
        assert_eq!(output.transfer(b"x".as_ptr().cast_mut(), 1), Err(Error::Closed));

        let (read, write) = pipe();
        let mut input = Stream::input(read);
        let mut byte = 0u8;
        assert_eq!(input.transfer(&raw mut byte, 1), Err(Error::Again));
        drop(write);
        assert_eq!(input.transfer(&raw mut byte, 1), Ok(0));
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_again_does_not_block_either() {
        let (read, write) = pipe();
        let mut output =
            Stream { file: Arc::new(write), manner: Manner::Cautious, ..Stream::output(pipe().1) };
        assert!(fill(&mut output) >= 4096);
        let mut input = Stream { file: Arc::new(read), manner: Manner::Cautious, ..Stream::input(pipe().0) };
        let mut byte = 0u8;
        assert_eq!(input.transfer(&raw mut byte, 1), Ok(1));
    }

    #[test]
    fn a_socket_does_not_block() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut output = Stream::output(a.into());
        assert!(fill(&mut output) >= 4096);
        drop(b);
        assert_eq!(output.transfer(b"x".as_ptr().cast_mut(), 1), Err(Error::Closed));
    }

    #[test]
    fn the_hosts_own_descriptor_keeps_its_flags() {
        let (read, _write) = pipe();
        let flags = |fd: &OwnedFd| {
            // SAFETY: asks for the flags of a valid descriptor.
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
        };
        let before = flags(&read);
        let mut input = Stream::input(read.try_clone().unwrap());
        let mut byte = 0u8;
        assert_eq!(input.transfer(&raw mut byte, 1), Err(Error::Again));
        assert_eq!(flags(&read), before);
    }
}
