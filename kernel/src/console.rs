//! Standard streams for threads: the calls, and waiting until they are worth another try.

use crate::call;
use crate::event;
use vcpu_abi::call::Error;
use vcpu_abi::page::CONSOLE_LINE;

/// Writes some bytes to a stream, waiting until it takes any, and gives how many it took.
///
/// # Errors
///
/// As [`call::console_write`], but not [`Error::Again`].
///
/// # Panics
///
/// If it would have to wait with events off.
pub fn write(stream: u64, bytes: &[u8]) -> Result<usize, Error> {
    retry(|| call::console_write(stream, bytes))
}

/// Reads some bytes from a stream, waiting until there are any, and gives how many; 0 is its end.
///
/// # Errors
///
/// As [`call::console_read`], but not [`Error::Again`].
///
/// # Panics
///
/// If it would have to wait with events off.
pub fn read(stream: u64, buffer: &mut [u8]) -> Result<usize, Error> {
    retry(|| call::console_read(stream, buffer))
}

/// Writes text to a stream as far as that goes, for last words: what cannot be written is lost.
pub(crate) fn write_all(stream: u64, text: &str) {
    let mut bytes = text.as_bytes();
    while !bytes.is_empty() {
        let result = if event::are_on() { write(stream, bytes) } else { call::console_write(stream, bytes) };
        match result {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return,
        }
    }
}

/// Repeats a call until it answers something else than `Again`. After that answer the machine raises
/// the console line when it is worth another try; several threads may wait for that at once.
fn retry(mut attempt: impl FnMut() -> Result<usize, Error>) -> Result<usize, Error> {
    loop {
        let before = event::count(CONSOLE_LINE);
        match attempt() {
            Err(Error::Again) => event::wait_until(None, || event::count(CONSOLE_LINE) != before),
            result => return result,
        };
    }
}
