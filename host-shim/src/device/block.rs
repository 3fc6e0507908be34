//! The block device: an image of a disk, which is a file or a block device of the host's.
//!
//! Bytes go straight between the file and guest memory.

use super::request::{Broken, Pieces, Request};
use super::{Model, Served};
use crate::grant::Refusals;
use crate::sys;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use vcpu_abi::device::Kind;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

const SECTOR: u64 = 512;

/// Bytes of a request's header: type, a reserved word, first sector.
const HEADER: usize = 16;

#[derive(Debug)]
pub(super) struct Block {
    file: File,
    writable: bool,
    /// Whether the signal that a failed write brings has to be kept away.
    quietly: bool,
    refusals: Refusals,
    sectors: u64,
    config: [u8; 8],
    id: [u8; VIRTIO_BLK_ID_BYTES as usize],
}

impl Block {
    /// Serves a file as it is now: its size stays what the guest sees.
    pub(super) fn new(mut file: File, writable: bool, name: &str, refusals: Refusals) -> io::Result<Block> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::other("a disk's image must be a regular file or a block device"));
        }
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR;
        let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
        let length = name.len().min(id.len());
        id[..length].copy_from_slice(&name.as_bytes()[..length]);
        let quietly = writable && sys::writing_may_end_us();
        Ok(Block { file, writable, quietly, refusals, sectors, config: sectors.to_le_bytes(), id })
    }

    /// Moves whole sectors between the file and guest memory, if there are such sectors.
    fn transfer(&self, pieces: &Pieces<'_>, range: Range<usize>, sector: u64, write: bool) -> io::Result<()> {
        let count = range.len() as u64 / SECTOR;
        let there = sector.checked_add(count).is_some_and(|end| end <= self.sectors);
        if !there || !(range.len() as u64).is_multiple_of(SECTOR) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = self.file.as_raw_fd();
        pieces.transfer(range, |vectors, done| {
            let (start, count) = (vectors.as_ptr(), vectors.len() as libc::c_int);
            let at = (sector * SECTOR) as libc::off_t + done as libc::off_t;
            // SAFETY: the pieces lie in RAM, which the view that they are of keeps mapped; the kernel copies,
            // so what the guest does to them meanwhile is its own affair.
            let moved = unsafe {
                match (vectors, write) {
                    // The calls for several pieces take longer to begin.
                    ([one], false) => libc::pread(file, one.iov_base, one.iov_len, at),
                    (_, false) => libc::preadv(file, start, count, at),
                    (_, true) if self.quietly => sys::write_quietly(|| libc::pwritev(file, start, count, at)),
                    ([one], true) => libc::pwrite(file, one.iov_base, one.iov_len, at),
                    (_, true) => libc::pwritev(file, start, count, at),
                }
            };
            sys::check(moved as libc::c_long).map(|moved| moved as usize)
        })
    }
}

impl Model for Block {
    fn kind(&self) -> Kind {
        Kind::Block
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_BLK_F_FLUSH | if self.writable { 0 } else { 1 << VIRTIO_BLK_F_RO }
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, _queue: usize, request: &Request<'_>) -> Result<Served, Broken> {
        let (readable, writable) = (&request.readable, &request.writable);
        if readable.length() < HEADER || writable.length() < 1 {
            return Err(Broken(format!(
                "a request has {} readable bytes and {} writable, and needs a header of {HEADER} and a status of 1",
                readable.length(),
                writable.length()
            )));
        }
        let header: [u8; HEADER] = readable.read(0);
        let (kind, rest) = header.split_at(4);
        let kind = u32::from_le_bytes(kind.try_into().expect("four bytes"));
        let sector = u64::from_le_bytes(rest[4..].try_into().expect("eight bytes"));
        let room = writable.length() - 1;
        let (result, written) = match kind {
            VIRTIO_BLK_T_IN => (self.transfer(writable, 0..room, sector, false), room),
            VIRTIO_BLK_T_OUT if !self.writable => {
                self.refusals.log("write to");
                (Err(io::ErrorKind::ReadOnlyFilesystem.into()), 0)
            }
            VIRTIO_BLK_T_OUT => (self.transfer(readable, HEADER..readable.length(), sector, true), 0),
            VIRTIO_BLK_T_FLUSH => (self.file.sync_data(), 0),
            VIRTIO_BLK_T_GET_ID if room >= self.id.len() => {
                writable.write(0, &self.id);
                (Ok(()), self.id.len())
            }
            VIRTIO_BLK_T_GET_ID => (Err(io::ErrorKind::InvalidInput.into()), 0),
            _ => {
                writable.write(room, &[VIRTIO_BLK_S_UNSUPP as u8]);
                return Ok(Served::Used(1));
            }
        };
        let status = if result.is_ok() { VIRTIO_BLK_S_OK } else { VIRTIO_BLK_S_IOERR };
        writable.write(room, &[status as u8]);
        Ok(Served::Used(if result.is_ok() { written + 1 } else { 1 }))
    }
}
