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

use crate::io::{self, Error, Stdin, Stdout};
use embedded_io::{ErrorKind, ErrorType, Read, Write};

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match Error::kind(self) {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::PermissionDenied
            }
            io::ErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            io::ErrorKind::InvalidData => ErrorKind::InvalidData,
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            io::ErrorKind::WriteZero => ErrorKind::WriteZero,
            io::ErrorKind::Interrupted => ErrorKind::Interrupted,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            _ => ErrorKind::Other,
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
        io::Read::read(self, buffer)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        io::Write::write(self, bytes)
    }

    /// There is nothing to do.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
