//! The header of a member: it is checked, and what it tells (a name, a comment, a time) is skipped.

use crate::error::Error;
use crate::stream::Input;
use crc32fast::Hasher;

/// The first of the two bytes with which every member begins.
pub(crate) const FIRST_BYTE: u8 = 0x1f;
const SECOND_BYTE: u8 = 0x8b;

/// The one compression method that exists, deflate.
const DEFLATE: u8 = 8;

// Flags. Bit 0 says that the content is probably text, and means nothing here.
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Reads a header.
///
/// # Errors
///
/// What is wrong with it, or what the reader says.
pub(crate) fn read<E>(input: &mut Input<impl FnMut(&mut [u8]) -> Result<usize, E>>) -> Result<(), Error<E>> {
    let mut checksum = Hasher::new();
    let mut byte = || -> Result<u8, Error<E>> {
        let byte = input.byte()?;
        checksum.update(&[byte]);
        Ok(byte)
    };

    if byte()? != FIRST_BYTE || byte()? != SECOND_BYTE {
        return Err(Error::NotGzip);
    }
    let method = byte()?;
    if method != DEFLATE {
        return Err(Error::UnknownMethod(method));
    }
    let flags = byte()?;
    if flags & RESERVED != 0 {
        return Err(Error::ReservedFlags(flags & RESERVED));
    }
    // Time, level of compression, operating system.
    for _ in 0..6 {
        byte()?;
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes([byte()?, byte()?]);
        for _ in 0..length {
            byte()?;
        }
    }
    if flags & NAME != 0 {
        while byte()? != 0 {}
    }
    if flags & COMMENT != 0 {
        while byte()? != 0 {}
    }

    if flags & HEADER_CHECKSUM != 0 {
        let expected = checksum.finalize() as u16;
        if u16::from_le_bytes([input.byte()?, input.byte()?]) != expected {
            return Err(Error::HeaderChecksum);
        }
    }
    Ok(())
}
