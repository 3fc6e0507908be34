//! [`BufReader`] and [`BufWriter`]: fewer, larger operations below.

use super::{BufRead, Read, Result, Seek, SeekFrom, Write};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a buffer if nothing else is said.
const DEFAULT: usize = 8 << 10;

/// Reads a source by large pieces.
pub struct BufReader<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What of the buffer is there and not read yet.
    start: usize,
    end: usize,
}

impl<R> BufReader<R> {
    /// With a buffer of 8 KiB.
    pub fn new(source: R) -> BufReader<R> {
        Self::with_capacity(DEFAULT, source)
    }

    /// With a buffer of so many bytes.
    pub fn with_capacity(capacity: usize, source: R) -> BufReader<R> {
        BufReader { source, buffer: vec![0; capacity.max(1)].into(), start: 0, end: 0 }
    }

    /// What is in the buffer and was not read yet.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The source. Reading it leaves out what is in the buffer.
    pub const fn get_ref(&self) -> &R {
        &self.source
    }

    /// The source. What is in the buffer is lost.
    pub fn into_inner(self) -> R {
        self.source
    }
}

impl<R: Read> Read for BufReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.start == self.end && buffer.len() >= self.buffer.len() {
            return self.source.read(buffer);
        }
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for BufReader<R> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.end = self.source.read(&mut self.buffer)?;
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }
}

impl<R: Seek> Seek for BufReader<R> {
    fn seek(&mut self, place: SeekFrom) -> Result<u64> {
        let ahead = (self.end - self.start) as i64;
        (self.start, self.end) = (0, 0);
        match place {
            // The source stands behind what is in the buffer.
            SeekFrom::Current(offset) => self.source.seek(SeekFrom::Current(offset.saturating_sub(ahead))),
            place => self.source.seek(place),
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for BufReader<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BufReader").field(&self.source).finish()
    }
}

/// Writes a sink by large pieces. What is still in the buffer when it is dropped is written then, and an error
/// of that is lost: [`flush`](Write::flush) before.
pub struct BufWriter<W: Write> {
    /// There unless `into_inner` has taken it.
    sink: Option<W>,
    buffer: Vec<u8>,
}

impl<W: Write> BufWriter<W> {
    /// With a buffer of 8 KiB.
    pub fn new(sink: W) -> BufWriter<W> {
        Self::with_capacity(DEFAULT, sink)
    }

    /// With a buffer of so many bytes.
    pub fn with_capacity(capacity: usize, sink: W) -> BufWriter<W> {
        BufWriter { sink: Some(sink), buffer: Vec::with_capacity(capacity) }
    }

    /// The sink, after what was in the buffer is written.
    ///
    /// # Errors
    ///
    /// As [`write`](Write::write); the sink is lost then.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn into_inner(mut self) -> Result<W> {
        self.empty()?;
        Ok(self.sink.take().expect("nobody has taken it before"))
    }

    fn empty(&mut self) -> Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let mut written = 0;
        let result = loop {
            if written == self.buffer.len() {
                break Ok(());
            }
            match sink.write(&self.buffer[written..]) {
                Ok(0) => break Err(super::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) => break Err(error),
            }
        };
        self.buffer.drain(..written);
        result
    }
}

impl<W: Write> Write for BufWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.buffer.len() + bytes.len() > self.buffer.capacity() {
            self.empty()?;
        }
        match &mut self.sink {
            Some(sink) if bytes.len() >= self.buffer.capacity() => sink.write(bytes),
            _ => {
                self.buffer.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.empty()?;
        self.sink.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<W: Write> Drop for BufWriter<W> {
    fn drop(&mut self) {
        let _ = self.empty();
    }
}

impl<W: Write + fmt::Debug> fmt::Debug for BufWriter<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BufWriter").field(&self.sink).finish()
    }
}
