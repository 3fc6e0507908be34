//! [`Error`]: why reading, writing, or something about a file failed.

use core::fmt;
use vcpu_kernel::abi::call;
use vcpu_kernel::device;

/// What an operation of [`io`](crate::io), [`fs`](crate::fs) and their kin gives.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an operation failed, as [`std::io::Error`].
///
/// It holds no memory, so it can be copied and compared.
///
/// [`std::io::Error`]: https://doc.rust-lang.org/std/io/struct.Error.html
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Kind(ErrorKind),
    Message(ErrorKind, &'static str),
    /// A number of Linux's, by which file systems say what is wrong.
    Os(i32),
    Call(call::Error),
    Device(device::Error),
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, [$($number:literal),*];)+) => {
        /// What kind of error it is, by the names of [`std::io::ErrorKind`].
        ///
        /// [`std::io::ErrorKind`]: https://doc.rust-lang.org/std/io/enum.ErrorKind.html
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorKind {
            const fn text(self) -> &'static str {
                match self { $(ErrorKind::$name => $text,)+ }
            }

            /// The kind of one of Linux's error numbers.
            const fn of(number: i32) -> ErrorKind {
                match number {
                    $($($number => ErrorKind::$name,)*)+
                    _ => ErrorKind::Other,
                }
            }
        }
    };
}

kinds! {
    /// There is no such file, or no such grant.
    NotFound = "entity not found", [2];
    /// It is not permitted.
    PermissionDenied = "permission denied", [1, 13];
    /// The other end of the stream is gone.
    BrokenPipe = "broken pipe", [32];
    /// It is there already.
    AlreadyExists = "entity already exists", [17];
    /// It would have to wait.
    WouldBlock = "operation would block", [11];
    /// Something in the path, or what was to be a directory, is none.
    NotADirectory = "not a directory", [20];
    /// It is a directory.
    IsADirectory = "is a directory", [21];
    /// A directory that is to go is not empty.
    DirectoryNotEmpty = "directory not empty", [39];
    /// It was granted to be read only.
    ReadOnlyFilesystem = "read-only filesystem or storage medium", [30];
    /// Too many symbolic links lead to each other.
    FilesystemLoop = "filesystem loop or indirection limit (e.g. symlink loop)", [40];
    /// The file is not there any more, though it was open.
    StaleNetworkFileHandle = "stale network file handle", [116];
    /// An argument is not right.
    InvalidInput = "invalid input parameter", [22];
    /// The data is not what it is to be.
    InvalidData = "invalid data", [];
    /// The time is over.
    TimedOut = "timed out", [110];
    /// A write took nothing.
    WriteZero = "write zero", [];
    /// The disk is full.
    StorageFull = "no storage space", [28];
    /// Nothing can be sought there.
    NotSeekable = "seek on unseekable file", [29];
    /// The quota is used up.
    QuotaExceeded = "quota exceeded", [122];
    /// The file would be too large.
    FileTooLarge = "file too large", [27];
    /// Somebody else uses it.
    ResourceBusy = "resource busy", [16];
    /// The file is a program that runs.
    ExecutableFileBusy = "executable file busy", [26];
    /// It would wait for itself.
    Deadlock = "deadlock", [35];
    /// Both places are not in the same file system, or not in the same grant.
    CrossesDevices = "cross-device link or rename", [18];
    /// The file has too many names.
    TooManyLinks = "too many links", [31];
    /// A name is too long, or not one that the file system takes.
    InvalidFilename = "invalid filename", [36];
    /// A signal came; worth another try.
    Interrupted = "operation interrupted", [4];
    /// It is not possible here.
    Unsupported = "unsupported", [38, 95];
    /// The end came too early.
    UnexpectedEof = "unexpected end of file", [];
    /// There is no memory for it.
    OutOfMemory = "out of memory", [12];
    /// Anything else.
    Other = "other error", [];
}

impl Error {
    /// An error of this kind with a message.
    #[must_use]
    pub const fn new(kind: ErrorKind, message: &'static str) -> Error {
        Error(Reason::Message(kind, message))
    }

    /// An error of the kind [`ErrorKind::Other`] with a message.
    #[must_use]
    pub const fn other(message: &'static str) -> Error {
        Self::new(ErrorKind::Other, message)
    }

    /// The error with this number of Linux's.
    #[must_use]
    pub const fn from_raw_os_error(number: i32) -> Error {
        Error(Reason::Os(number))
    }

    /// The number that Linux has for it, if it came with one.
    #[must_use]
    pub const fn raw_os_error(&self) -> Option<i32> {
        match self.0 {
            Reason::Os(number) => Some(number),
            _ => None,
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.0 {
            Reason::Kind(kind) | Reason::Message(kind, _) => kind,
            Reason::Os(number) => ErrorKind::of(number),
            Reason::Call(error) => match error {
                call::Error::Closed => ErrorKind::BrokenPipe,
                call::Error::BadArgument | call::Error::BadAddress => ErrorKind::InvalidInput,
                call::Error::Denied => ErrorKind::PermissionDenied,
                call::Error::TimedOut => ErrorKind::TimedOut,
                call::Error::NoSuchCall => ErrorKind::Unsupported,
                call::Error::Again => ErrorKind::WouldBlock,
                call::Error::Io => ErrorKind::Other,
            },
            Reason::Device(error) => match error {
                device::Error::Taken => ErrorKind::ResourceBusy,
                device::Error::NoMemory => ErrorKind::OutOfMemory,
                device::Error::OutOfRange => ErrorKind::InvalidInput,
                device::Error::ReadOnly => ErrorKind::ReadOnlyFilesystem,
                device::Error::Closed => ErrorKind::BrokenPipe,
                device::Error::Unsupported => ErrorKind::Unsupported,
                device::Error::Stopped | device::Error::Failed | device::Error::BadAnswer => ErrorKind::Other,
            },
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Kind(kind) => write!(formatter, "Kind({kind:?})"),
            _ => write!(formatter, "Error {{ kind: {:?}, message: \"{self}\" }}", self.kind()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Kind(kind) => kind.fmt(formatter),
            Reason::Message(_, message) => formatter.write_str(message),
            Reason::Os(number) => write!(formatter, "{} (os error {number})", self.kind()),
            Reason::Call(error) => error.fmt(formatter),
            Reason::Device(error) => error.fmt(formatter),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl core::error::Error for Error {}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error(Reason::Kind(kind))
    }
}

impl From<call::Error> for Error {
    fn from(error: call::Error) -> Error {
        Error(Reason::Call(error))
    }
}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Error {
        Error(Reason::Device(error))
    }
}
