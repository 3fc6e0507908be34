//! The same program without a sandbox, for comparison: `cargo run --release -p gunzip --example native`.
//!
//! It reads and writes through the same buffers of the library, without the ones of `std`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let (mut input, mut output) = (file(io::stdin())?, file(io::stdout())?);
    let read = |buffer: &mut [u8]| retry(|| input.read(buffer));
    Ok(match gunzip::gunzip(read, |bytes| output.write_all(bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gunzip: {error}");
            ExitCode::FAILURE
        }
    })
}

/// A standard stream as a file, which has no buffer.
fn file(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// Repeats a read that a signal interrupted.
fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
