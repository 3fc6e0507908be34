//! Input and output in few large pieces, since each costs a call of the machine.

use crate::error::Error;
use crate::{HISTORY, INPUT_SIZE, OUTPUT_SIZE};
use alloc::boxed::Box;
use alloc::vec;

/// The compressed file, with one buffer.
pub(crate) struct Input<R> {
    read: R,
    buffer: Box<[u8]>,
    /// The bytes `start..end` of the buffer were read and not consumed yet.
    start: usize,
    end: usize,
}

impl<E, R: FnMut(&mut [u8]) -> Result<usize, E>> Input<R> {
    pub(crate) fn new(read: R) -> Self {
        Input { read, buffer: vec![0; INPUT_SIZE].into(), start: 0, end: 0 }
    }

    /// What was read and not consumed yet; reads if there is nothing. Empty at the end of the file.
    pub(crate) fn filled(&mut self) -> Result<&[u8], Error<E>> {
        if self.start == self.end {
            self.start = 0;
            // First 0: should the reader fail, nothing is there.
            self.end = 0;
            self.end = (self.read)(&mut self.buffer).map_err(Error::Read)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Has the first `count` bytes of what is there consumed.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// The next byte, or `None` at the end of the file.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, Error<E>> {
        Ok(self.filled()?.first().copied())
    }

    /// Consumes a byte. [`Error::Truncated`] at the end of the file.
    pub(crate) fn byte(&mut self) -> Result<u8, Error<E>> {
        let byte = self.peek()?.ok_or(Error::Truncated)?;
        self.consume(1);
        Ok(byte)
    }

    /// Consumes a number of four bytes, the lowest first.
    pub(crate) fn word(&mut self) -> Result<u32, Error<E>> {
        Ok(u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }
}

/// The decompressed data, in one buffer that is filled again and again. The decoder writes into it, and
/// reads what it wrote the last time round.
pub(crate) struct Output<W> {
    write: W,
    pub(crate) buffer: Box<[u8]>,
    /// Where the decoder continues. The bytes from `written` to here wait to be written.
    pub(crate) position: usize,
    written: usize,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Output<W> {
    pub(crate) fn new(write: W) -> Self {
        Output { write, buffer: vec![0; OUTPUT_SIZE].into(), position: 0, written: 0 }
    }

    /// Prepares for a new member, and gives where in the buffer it starts.
    ///
    /// From there to the buffer's end is room for a whole history, so that nothing of an earlier member
    /// is left of it when the buffer is filled from its beginning again.
    pub(crate) fn begin_member(&mut self) -> Result<Option<usize>, Error<E>> {
        if OUTPUT_SIZE - self.position < HISTORY {
            self.wrap()?;
        }
        Ok(Some(self.position))
    }

    /// Writes what waits, and continues at the buffer's beginning.
    pub(crate) fn wrap(&mut self) -> Result<(), Error<E>> {
        self.flush()?;
        (self.position, self.written) = (0, 0);
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> Result<(), Error<E>> {
        if self.written < self.position {
            let bytes = &self.buffer[self.written..self.position];
            // Even if the writer fails: it is not to be given the same bytes twice.
            self.written = self.position;
            (self.write)(bytes).map_err(Error::Write)?;
        }
        Ok(())
    }
}
