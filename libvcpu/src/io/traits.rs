//! [`Read`], [`Write`], [`Seek`] and [`BufRead`], as in `std::io`.

use super::{Error, ErrorKind, Result};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes by which [`Read::read_to_end`] makes room.
const PIECE: usize = 64 << 10;

/// What [`Read::read_to_end`] does.
pub(crate) fn read_to_end<R: Read + ?Sized>(source: &mut R, all: &mut Vec<u8>) -> Result<usize> {
    let before = all.len();
    let mut filled = before;
    let result = loop {
        if filled == all.len() {
            if let Err(error) = make_room(source, all, &mut filled) {
                break Err(error);
            }
            if filled == all.len() {
                break Ok(());
            }
        }
        match source.read(&mut all[filled..]) {
            Ok(0) => break Ok(()),
            Ok(count) => filled += count,
            Err(error) => break Err(error),
        }
    };
    all.truncate(filled);
    result.map(|()| filled - before)
}

/// Makes a full vector longer, as far as its capacity goes. When that is used up, there must be something left to
/// read before it grows: otherwise what just fits, as a file whose size was known, would take twice its memory.
fn make_room<R: Read + ?Sized>(source: &mut R, all: &mut Vec<u8>, filled: &mut usize) -> Result<()> {
    if all.len() == all.capacity() {
        let mut probe = [0; 32];
        let count = source.read(&mut probe)?;
        if count == 0 {
            return Ok(());
        }
        let room = PIECE.max(all.len());
        all.try_reserve(room).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
        all.extend_from_slice(&probe[..count]);
        *filled += count;
    }
    all.resize(all.capacity(), 0);
    Ok(())
}

/// Something that can be read.
pub trait Read {
    /// Reads some bytes, waiting until there are any. Gives how many; 0 is the end, if the buffer has room.
    ///
    /// # Errors
    ///
    /// What the source says.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Reads to the end, and gives how many bytes were appended.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read); [`ErrorKind::OutOfMemory`] if there is no room for all. What was read until
    /// then is appended.
    fn read_to_end(&mut self, all: &mut Vec<u8>) -> Result<usize> {
        read_to_end(self, all)
    }

    /// Reads to the end, and gives how many bytes were appended.
    ///
    /// # Errors
    ///
    /// As [`read_to_end`](Read::read_to_end); [`ErrorKind::InvalidData`] for what is not UTF-8. Nothing is
    /// appended then.
    fn read_to_string(&mut self, all: &mut String) -> Result<usize> {
        let mut bytes = Vec::new();
        let count = self.read_to_end(&mut bytes)?;
        let text = core::str::from_utf8(&bytes);
        all.push_str(text.map_err(|_| Error::new(ErrorKind::InvalidData, "what was read is not UTF-8"))?);
        Ok(count)
    }

    /// Fills the buffer.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read); [`ErrorKind::UnexpectedEof`] if the end comes first.
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer)? {
                0 => return Err(Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer")),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    /// The same, borrowed.
    fn by_ref(&mut self) -> &mut Self
    where
        Self: Sized,
    {
        self
    }
}

/// Something that can be written.
pub trait Write {
    /// Writes some bytes, waiting until any are taken. Gives how many.
    ///
    /// # Errors
    ///
    /// What the sink says; [`ErrorKind::BrokenPipe`] if nobody reads the stream any more.
    fn write(&mut self, bytes: &[u8]) -> Result<usize>;

    /// Hands on what was kept back.
    ///
    /// # Errors
    ///
    /// As [`write`](Write::write).
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes all bytes.
    ///
    /// # Errors
    ///
    /// As [`write`](Write::write); [`ErrorKind::WriteZero`] if it takes none.
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes)? {
                0 => return Err(Error::new(ErrorKind::WriteZero, "failed to write whole buffer")),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Writes what `write!` formats.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Write::write_all).
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> Result<()> {
        match arguments.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => self.write_all(alloc::fmt::format(arguments).as_bytes()),
        }
    }

    /// The same, borrowed.
    fn by_ref(&mut self) -> &mut Self
    where
        Self: Sized,
    {
        self
    }
}

/// A place in something that has places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// Bytes from the beginning.
    Start(u64),
    /// Bytes from the end.
    End(i64),
    /// Bytes from where it stands.
    Current(i64),
}

/// Something in which one can go to a place.
pub trait Seek {
    /// Goes to a place, which may lie beyond the end, and gives it in bytes from the beginning.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for a place before the beginning.
    fn seek(&mut self, place: SeekFrom) -> Result<u64>;

    /// Goes to the beginning.
    ///
    /// # Errors
    ///
    /// As [`seek`](Seek::seek).
    fn rewind(&mut self) -> Result<()> {
        self.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Where it stands, in bytes from the beginning.
    ///
    /// # Errors
    ///
    /// As [`seek`](Seek::seek).
    fn stream_position(&mut self) -> Result<u64> {
        self.seek(SeekFrom::Current(0))
    }
}

/// Something that is read through a buffer.
pub trait BufRead: Read {
    /// What is in the buffer, which is filled if it is empty. Empty is the end.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read).
    fn fill_buf(&mut self) -> Result<&[u8]>;

    /// Says that so many bytes of the buffer were used.
    fn consume(&mut self, count: usize);

    /// Reads up to and with a byte, or to the end, and gives how many bytes were appended.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read).
    fn read_until(&mut self, last: u8, bytes: &mut Vec<u8>) -> Result<usize> {
        let before = bytes.len();
        loop {
            let buffer = self.fill_buf()?;
            let found = buffer.iter().position(|&byte| byte == last);
            let count = found.map_or(buffer.len(), |at| at + 1);
            bytes.extend_from_slice(&buffer[..count]);
            self.consume(count);
            if found.is_some() || count == 0 {
                return Ok(bytes.len() - before);
            }
        }
    }

    /// Reads a line with its end, and gives how many bytes were appended; 0 is the end.
    ///
    /// # Errors
    ///
    /// As [`read`](Read::read); [`ErrorKind::InvalidData`] for what is not UTF-8.
    fn read_line(&mut self, line: &mut String) -> Result<usize> {
        let mut bytes = Vec::new();
        let count = self.read_until(b'\n', &mut bytes)?;
        let text = core::str::from_utf8(&bytes);
        line.push_str(text.map_err(|_| Error::new(ErrorKind::InvalidData, "the line is not UTF-8"))?);
        Ok(count)
    }

    /// The lines that follow, without their ends.
    fn lines(self) -> Lines<Self>
    where
        Self: Sized,
    {
        Lines(self)
    }
}

/// Lines of a [`BufRead`], without their ends.
#[derive(Debug)]
pub struct Lines<B>(B);

impl<B: BufRead> Iterator for Lines<B> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                let end = if line.ends_with("\r\n") { 2 } else { usize::from(line.ends_with('\n')) };
                line.truncate(line.len() - end);
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// Copies all that is left of a source, and gives how many bytes that was.
///
/// # Errors
///
/// What either side says.
pub fn copy<R: Read + ?Sized, W: Write + ?Sized>(source: &mut R, sink: &mut W) -> Result<u64> {
    let mut buffer = alloc::vec![0; PIECE];
    let mut total = 0;
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(total),
            count => {
                sink.write_all(&buffer[..count])?;
                total += count as u64;
            }
        }
    }
}

impl<R: Read + ?Sized> Read for &mut R {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        (**self).read(buffer)
    }
}

impl<W: Write + ?Sized> Write for &mut W {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        (**self).write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        (**self).flush()
    }
}

impl Read for &[u8] {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.len().min(buffer.len());
        let (taken, rest) = self.split_at(count);
        buffer[..count].copy_from_slice(taken);
        *self = rest;
        Ok(count)
    }
}

impl BufRead for &[u8] {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = &self[count..];
    }
}

impl Write for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.try_reserve(bytes.len()).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }
}
