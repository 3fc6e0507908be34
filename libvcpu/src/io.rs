//! Reading and writing as in `std::io`, and the standard streams.
//!
//! The standard streams are not buffered, and belong to no thread: each write is a call, and what several
//! threads write goes out call by call. Who waits for a stream lets other threads run. In a handler function,
//! what would have to wait panics.
//!
//! Besides them a guest may be granted [consoles](console()), each a stream of bytes in both directions.
//!
//! | module | its subject |
//! |---|---|
//! | `error` | [`Error`] and its kinds |
//! | `traits` | [`Read`], [`Write`], [`Seek`], [`BufRead`] |
//! | `buffered` | [`BufReader`], [`BufWriter`] |
//! | `console` | consoles that were granted |

mod buffered;
mod console;
mod error;
mod traits;

use core::fmt::Arguments;
use vcpu_kernel::abi::call::{STREAM_ERRORS, STREAM_INPUT, STREAM_OUTPUT};

pub use buffered::{BufReader, BufWriter};
pub use console::{Console, console};
pub use error::{Error, ErrorKind, Result};
pub(crate) use traits::read_to_end;
pub use traits::{BufRead, Lines, Read, Seek, SeekFrom, Write, copy};

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
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(vcpu_kernel::console::read(STREAM_INPUT, buffer)?)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(vcpu_kernel::console::write(self.0, bytes)?)
    }
}

/// Formats into one buffer and writes it, so that a line is one call. What `print!` and its kin do.
#[doc(hidden)]
pub fn print(mut stream: Stdout, arguments: Arguments<'_>) {
    if let Err(error) = stream.write_fmt(arguments) {
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
