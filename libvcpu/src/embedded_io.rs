//! The standard streams for crates that read and write by `embedded-io` (feature `embedded-io`).
//!
//! [`Stdin`] implements its `Read`, and [`Stdout`], which is standard errors too, its `Write`. They wait
//! until something can be transferred, as that crate asks for, and are not buffered.
//!
//! ```no_run
//! use embedded_io::Write;
//! use libvcpu::io;
//!
//! io::stdout().write_all(b"by embedded-io\n").unwrap();
//! ```

use crate::io::{self, Stdin, Stdout};
use core::fmt;
use embedded_io::{ErrorKind, ErrorType, Read, Write};

/// An error of a standard stream, with what `embedded-io` wants of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub io::Error);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl core::error::Error for Error {}

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self.0 {
            io::Error::Closed => ErrorKind::BrokenPipe,
            io::Error::BadArgument | io::Error::BadAddress => ErrorKind::InvalidInput,
            io::Error::Denied => ErrorKind::PermissionDenied,
            io::Error::TimedOut => ErrorKind::TimedOut,
            io::Error::NoSuchCall => ErrorKind::Unsupported,
            io::Error::Again | io::Error::Io => ErrorKind::Other,
        }
    }
}

impl ErrorType for Stdin {
    type Error = Error;
}

impl ErrorType for Stdout {
    type Error = Error;
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        io::Read::read(self, buffer).map_err(Error)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        io::Write::write(self, bytes).map_err(Error)
    }

    /// There is nothing to do.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
