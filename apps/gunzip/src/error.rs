//! What can go wrong, each as one sentence for the user.

use core::fmt;

/// Why a file could not be decompressed. `E` is the error of the reader and the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The reader failed.
    Read(E),
    /// The writer failed.
    Write(E),
    /// The file does not begin like a gzip file.
    NotGzip,
    /// A member was compressed by a method with this number, which is not deflate (8).
    UnknownMethod(u8),
    /// A header has flags (the bits of this number) that no version of the format defines.
    ReservedFlags(u8),
    /// A header does not match its own checksum.
    HeaderChecksum,
    /// The file ends in the middle of a member.
    Truncated,
    /// The compressed data make no sense.
    Corrupt,
    /// The decompressed data do not match their checksum.
    Checksum,
    /// The decompressed data do not have the length that the trailer says.
    Length,
    /// Behind the last member follows something that is neither a member nor zeros.
    TrailingData,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => write!(formatter, "the input cannot be read: {error}"),
            Error::Write(error) => write!(formatter, "the output cannot be written: {error}"),
            Error::NotGzip => formatter.write_str("the input is not in gzip format"),
            Error::UnknownMethod(method) => {
                write!(formatter, "the input is compressed by the unknown method {method}")
            }
            Error::ReservedFlags(flags) => {
                write!(
                    formatter,
                    "the input has reserved flags {flags:#04x} set; it may need a newer program"
                )
            }
            Error::HeaderChecksum => formatter.write_str("the header does not match its checksum"),
            Error::Truncated => formatter.write_str("the input ends unexpectedly"),
            Error::Corrupt => formatter.write_str("the compressed data are corrupt"),
            Error::Checksum => formatter.write_str("the decompressed data do not match their checksum"),
            Error::Length => formatter.write_str("the decompressed data do not have the stated length"),
            Error::TrailingData => {
                formatter.write_str("behind the compressed data follows something that is not gzip format")
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for Error<E> {}
