//! Decompressing gzip files (RFC 1952) as a stream, in constant memory.
//!
//! | module | its subject |
//! |---|---|
//! | this one | a file is members, a member is header, data and trailer |
//! | `header` | the header of a member |
//! | `stream` | input and output in few large pieces |
//! | `error` | what can go wrong |
//!
//! Where bytes come from and go to is the caller's business, so the same code runs in a sandbox
//! (`main.rs`) and on the developer's machine (`examples/native.rs`).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod header;
mod stream;

pub use error::Error;

use alloc::boxed::Box;
use crc32fast::Hasher;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use stream::{Input, Output};

/// Most bytes that are asked of the reader at once.
pub const INPUT_SIZE: usize = 256 << 10;

/// Bytes that are collected before the writer gets them. They are also the history into which
/// compressed data refers, so the size is a power of two, and at least 32 KiB.
pub const OUTPUT_SIZE: usize = 512 << 10;

/// How far back compressed data can refer.
const HISTORY: usize = 32 << 10;

const _: () = assert!(OUTPUT_SIZE.is_power_of_two() && OUTPUT_SIZE >= HISTORY);

/// Decompresses a gzip file: one member or several, perhaps followed by zero bytes.
///
/// `read` fills the beginning of a buffer and gives how many bytes it filled; 0 is the end of the input.
/// `write` takes all it is given. What was decompressed before an error is written.
///
/// # Errors
///
/// What is wrong with the file, or what the reader or the writer says.
pub fn gunzip<E>(
    read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Error<E>> {
    let mut output = Output::new(write);
    let result = members(&mut Input::new(read), &mut output);
    let flushed = output.flush();
    result.and(flushed)
}

/// Decompresses members up to the end of the input.
fn members<E>(
    input: &mut Input<impl FnMut(&mut [u8]) -> Result<usize, E>>,
    output: &mut Output<impl FnMut(&[u8]) -> Result<(), E>>,
) -> Result<(), Error<E>> {
    let mut decoder = Box::new(DecompressorOxide::new());
    if input.peek()?.is_none() {
        return Err(Error::Truncated);
    }
    loop {
        header::read(input)?;
        member(&mut decoder, input, output)?;
        match input.peek()? {
            None => return Ok(()),
            Some(0) => return zeros(input),
            Some(header::FIRST_BYTE) => {}
            Some(_) => return Err(Error::TrailingData),
        }
    }
}

/// Padding behind the last member: zeros, as on a tape.
fn zeros<E>(input: &mut Input<impl FnMut(&mut [u8]) -> Result<usize, E>>) -> Result<(), Error<E>> {
    while input.peek()?.is_some() {
        if input.byte()? != 0 {
            return Err(Error::TrailingData);
        }
    }
    Ok(())
}

/// Decompresses the data of one member, and checks it against the trailer.
fn member<E>(
    decoder: &mut DecompressorOxide,
    input: &mut Input<impl FnMut(&mut [u8]) -> Result<usize, E>>,
    output: &mut Output<impl FnMut(&[u8]) -> Result<(), E>>,
) -> Result<(), Error<E>> {
    decoder.init();
    let mut checksum = Hasher::new();
    let mut length = 0u32;
    let mut start = output.begin_member()?;

    loop {
        let compressed = input.filled()?;
        if compressed.is_empty() {
            return Err(Error::Truncated);
        }
        // Until the output buffer wraps for the first time since the member began, the decoder sees the
        // buffer from the member's start on only, and so finds references to what lies before. After
        // that the whole history belongs to this member.
        let (window, flags) = match start {
            Some(start) => (start, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF),
            None => (0, 0),
        };
        let from = output.position;
        let (status, consumed, produced) = decompress(
            decoder,
            compressed,
            &mut output.buffer[window..],
            from - window,
            flags | TINFL_FLAG_HAS_MORE_INPUT,
        );
        input.consume(consumed);
        checksum.update(&output.buffer[from..from + produced]);
        length = length.wrapping_add(produced as u32);
        output.position += produced;

        match status {
            TINFLStatus::Done => break,
            TINFLStatus::NeedsMoreInput => {}
            TINFLStatus::HasMoreOutput => {
                output.wrap()?;
                start = None;
            }
            _ => return Err(Error::Corrupt),
        }
    }

    if input.word()? != checksum.finalize() {
        return Err(Error::Checksum);
    }
    if input.word()? != length {
        return Err(Error::Length);
    }
    Ok(())
}
