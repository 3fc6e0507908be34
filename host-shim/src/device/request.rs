//! Requests: chains of buffers in guest memory, checked before a device sees them.
//!
//! A chain is walked once, by `virtio-queue`; what is found is kept here as slices of guest memory, so that
//! what the guest writes to its descriptors afterwards changes nothing. The bytes behind the slices are the
//! guest's at any moment: what a decision hangs on is copied first.

use std::io;
use std::ops::Range;
use vcpu_abi::device::REQUEST_MAX;
use virtio_queue::DescriptorChain;
use vm_memory::{GuestMemory, GuestMemoryMmap, VolatileSlice};

/// What a driver did wrong, as the end of a sentence.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// A chain of buffers.
pub(super) struct Request<'m> {
    /// What the driver has written.
    pub(super) readable: Pieces<'m>,
    /// Where the device writes.
    pub(super) writable: Pieces<'m>,
    /// The chain itself, to be walked again by who knows that it may have changed.
    pub(super) chain: DescriptorChain<&'m GuestMemoryMmap>,
    pub(super) memory: &'m GuestMemoryMmap,
}

/// Guest memory in pieces, as one run of bytes.
#[derive(Default)]
pub(super) struct Pieces<'m> {
    slices: Vec<VolatileSlice<'m>>,
    length: usize,
}

impl<'m> Request<'m> {
    /// Walks a chain of a queue that has `size` entries.
    pub(super) fn new(
        chain: DescriptorChain<&'m GuestMemoryMmap>,
        memory: &'m GuestMemoryMmap,
        size: u16,
    ) -> Result<Request<'m>, Broken> {
        let (readable, writable) = (Pieces::default(), Pieces::default());
        let mut request = Request { readable, writable, chain: chain.clone(), memory };
        let mut more = true;
        for (count, descriptor) in chain.enumerate() {
            let (address, length) = (descriptor.addr(), descriptor.len() as usize);
            if count == usize::from(size) {
                return Err(Broken(format!("a chain has more descriptors than the queue, which has {size}")));
            }
            let pieces = if descriptor.is_write_only() {
                &mut request.writable
            } else if request.writable.slices.is_empty() {
                &mut request.readable
            } else {
                return Err(Broken("a chain has a readable buffer behind a writable one".to_owned()));
            };
            for slice in memory.get_slices(address, length) {
                pieces.slices.push(slice.map_err(|_| {
                    Broken(format!(
                        "the buffer of {length} bytes at {:#x} is not wholly in RAM outside the text",
                        address.0
                    ))
                })?);
            }
            pieces.length += length;
            if request.readable.length + request.writable.length > REQUEST_MAX as usize {
                return Err(Broken(format!("a chain is longer than {REQUEST_MAX} bytes")));
            }
            more = descriptor.has_next();
        }
        // The walk ends without a word at an entry that is none, after too many, or where lengths overflow.
        if more {
            return Err(Broken(
                "a chain does not end, is longer than can be, or has an entry that is not in the queue"
                    .to_owned(),
            ));
        }
        Ok(request)
    }
}

impl<'m> Pieces<'m> {
    /// Bytes in all.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The parts that make up a range of the bytes.
    pub(super) fn parts(&self, range: Range<usize>) -> impl Iterator<Item = VolatileSlice<'m>> {
        let with_start = self.slices.iter().scan(0, |end, slice| {
            let start = *end;
            *end += slice.len();
            Some((start, slice))
        });
        with_start.filter_map(move |(start, slice)| {
            let from = range.start.max(start);
            let to = range.end.min(start + slice.len());
            if from < to { slice.subslice(from - start, to - from).ok() } else { None }
        })
    }

    /// Copies bytes from `at` on out of guest memory.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub(super) fn read<const N: usize>(&self, at: usize) -> [u8; N] {
        assert!(at + N <= self.length);
        let mut bytes = [0; N];
        let mut done = 0;
        for part in self.parts(at..at + N) {
            done += part.copy_to(&mut bytes[done..]);
        }
        bytes
    }

    /// Copies bytes to guest memory from `at` on.
    ///
    /// # Panics
    ///
    /// If there is no room for them.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.length);
        let mut done = 0;
        for part in self.parts(at..at + bytes.len()) {
            part.copy_from(&bytes[done..done + part.len()]);
            done += part.len();
        }
    }

    /// Moves a range of the bytes by vectored system calls. `call` gets the pieces, and how many bytes were moved
    /// before, and answers how many it has moved.
    ///
    /// # Errors
    ///
    /// What `call` says, and [`io::ErrorKind::UnexpectedEof`] if it moves nothing.
    pub(super) fn transfer(
        &self,
        range: Range<usize>,
        mut call: impl FnMut(&[libc::iovec], usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < range.len() {
            let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 16];
            let mut count = 0;
            for (vector, part) in vectors.iter_mut().zip(self.parts(range.start + done..range.end)) {
                *vector = libc::iovec { iov_base: part.ptr_guard_mut().as_ptr().cast(), iov_len: part.len() };
                count += 1;
            }
            match call(&vectors[..count], done) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => done += moved,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
