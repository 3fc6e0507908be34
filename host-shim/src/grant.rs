//! Grants: what a guest is given of the world, each by a name of its own.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Something that a guest is given, which it finds as a device of this name.
#[derive(Debug)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// What it is.
    pub resource: Resource,
}

/// What can be granted.
#[derive(Debug)]
pub enum Resource {
    /// A directory and all below it.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// Whether the guest may change anything there.
        writable: bool,
    },
    /// An image of a disk.
    Block {
        /// The image, open to read and, if it is writable, to write.
        file: File,
        /// Whether the guest may write it.
        writable: bool,
    },
    /// A stream of bytes in each direction, besides the standard streams.
    Console {
        /// What the guest reads.
        input: OwnedFd,
        /// What the guest writes.
        output: OwnedFd,
    },
    /// Random bytes.
    Entropy,
}
