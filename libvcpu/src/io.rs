//! Standard streams, as byte streams that a pipe can use.
//!
//! They are not buffered, and belong to no thread: each write is a call, and what several threads write goes out
//! call by call. Who waits for a stream lets other threads run. In a handler function, what would have to wait
//! panics.

use alloc::vec::Vec;
use core::fmt;
use vcpu_kernel::abi::call::{STREAM_ERRORS, STREAM_INPUT, STREAM_OUTPUT};
use vcpu_kernel::console;

pub use vcpu_kernel::abi::call::Error;

/// A stream that can be read.
pub trait Read {
    /// Reads some bytes, waiting until there are any. Gives how many; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the host's input failed.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Reads until the stream's end, and gives how many bytes were appended.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read).
    fn read_to_end(&mut self, all: &mut Vec<u8>) -> Result<usize, Error> {
        const PIECE: usize = 64 << 10;
        let before = all.len();
        loop {
            let filled = all.len();
            all.resize(filled + PIECE, 0);
            let count = self.read(&mut all[filled..])?;
            all.truncate(filled + count);
            if count == 0 {
                return Ok(filled - before);
            }
        }
    }
}

/// A stream that can be written.
pub trait Write {
    /// Writes some bytes, waiting until the stream takes any. Gives how many it took.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if nobody reads the stream any more, [`Error::Io`] if the host's output failed.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    /// Writes all bytes.
    ///
    /// # Errors
    ///
    /// As [`write`](Write::write).
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let count = self.write(bytes)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

/// Standard input.
#[derive(Debug)]
pub struct Stdin(());

/// Standard output or standard errors. Not buffered: each write is a call.
#[derive(Debug)]
pub struct Stdout(u64);

/// Standard input.
pub fn stdin() -> Stdin {
    Stdin(())
}

/// Standard output.
pub fn stdout() -> Stdout {
    Stdout(STREAM_OUTPUT)
}

/// Standard errors.
pub fn stderr() -> Stdout {
    Stdout(STREAM_ERRORS)
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        console::read(STREAM_INPUT, buffer)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        console::write(self.0, bytes)
    }
}

impl fmt::Write for Stdout {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Formats into one buffer and writes it, so that a line is one call. What `print!` and its kin do.
#[doc(hidden)]
pub fn print(mut stream: Stdout, arguments: fmt::Arguments<'_>) {
    let result = match arguments.as_str() {
        Some(text) => stream.write_all(text.as_bytes()),
        None => stream.write_all(alloc::fmt::format(arguments).as_bytes()),
    };
    if let Err(error) = result {
        panic!("failed printing: {error}");
    }
}

/// Prints to standard output.
///
/// # Panics
///
/// If the stream is closed or fails.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::io::print($crate::io::stdout(), ::core::format_args!($($argument)*)) };
}

/// Prints a line to standard output.
///
/// # Panics
///
/// If the stream is closed or fails.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => {
        $crate::io::print($crate::io::stdout(), ::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}

/// Prints to standard errors.
///
/// # Panics
///
/// If the stream is closed or fails.
#[macro_export]
macro_rules! eprint {
    ($($argument:tt)*) => { $crate::io::print($crate::io::stderr(), ::core::format_args!($($argument)*)) };
}

/// Prints a line to standard errors.
///
/// # Panics
///
/// If the stream is closed or fails.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::eprint!("\n") };
    ($($argument:tt)*) => {
        $crate::io::print($crate::io::stderr(), ::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}
