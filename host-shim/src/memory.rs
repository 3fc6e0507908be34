//! Guest memory: RAM that guest and host share, and what the guest may do with its pages.
//!
//! RAM is two anonymous files: the image's executable segments lie in one that is sealed against
//! writing, which all sandboxes of the image share, everything else in one that is sealed against resizing.
//! The guest writes RAM whenever it runs: the host keeps no reference into it, copies once by system calls,
//! which cannot fault, and validates the copy.

mod view;

use crate::image::{Image, Segment};
use crate::machine::snapshot::Ram;
use crate::sys::{self, Mapping};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use vcpu_abi::call::Access;
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE};
use vm_memory::{Bytes, GuestAddress};

pub(crate) use view::View;

/// A sandbox's RAM.
#[derive(Debug)]
pub struct GuestMemory {
    pub(crate) mapping: Arc<Mapping>,
    ram: OwnedFd,
    text: Arc<OwnedFd>,
    pieces: Vec<Piece>,
    /// Rights of each page as bits of [`Access`], inverted against [`FREE`] so that untouched zeros
    /// mean free RAM and cost nothing.
    pub(crate) access: Vec<u8>,
    view: OnceLock<View>,
}

/// Rights of RAM that the image does not speak of.
const FREE: Access = Access::READ.union(Access::WRITE);

/// A run of pages that is mapped in one piece when the guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub address: u64,
    pub length: u64,
    pub access: Access,
    /// Offset in the sealed text, or `None` for a piece of the other file, whose offsets are those of RAM.
    pub text_offset: Option<u64>,
}

impl Piece {
    fn contains(&self, address: u64) -> bool {
        (self.address..self.address + self.length).contains(&address)
    }
}

impl GuestMemory {
    /// RAM that a guest of the same image has used, as new: what its pages may be used for is as the image
    /// says. What is in it is the caller's business.
    pub(crate) fn renewed(mut self) -> GuestMemory {
        self.access.fill(0);
        for piece in self.pieces.clone() {
            self.set_access(piece.address..piece.address + piece.length, piece.access);
        }
        self
    }

    /// Makes RAM of `size` bytes and copies into it the image, or what another guest of it had made of it.
    pub(crate) fn new(image: &Image, size: u64, state: Option<&Ram>) -> io::Result<GuestMemory> {
        let pieces = pieces(image.segments(), size);
        let text = image.text(|| text(image, &pieces))?;
        let ram = sys::memfd(c"vcpu-ram", size)?;
        sys::seal_size(&ram)?;
        match state {
            Some(state) => state.copy_to(ram.as_fd())?,
            None => {
                for segment in image.segments().iter().filter(|segment| !segment.is_text()) {
                    load(image, segment, &ram, segment.address - RAM_BASE)?;
                }
            }
        }
        let mapping = Arc::new(Mapping::new(&ram, size as usize)?);
        let access = vec![0; (size / PAGE_SIZE) as usize];
        let mut memory =
            GuestMemory { mapping, ram, text, pieces: pieces.clone(), access, view: OnceLock::new() };
        for piece in &pieces {
            if let Some(offset) = piece.text_offset {
                let at = (piece.address - RAM_BASE) as usize;
                memory.mapping.overlay(at, &memory.text, offset, piece.length as usize)?;
            }
            memory.set_access(piece.address..piece.address + piece.length, piece.access);
        }
        Ok(memory)
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.mapping.length() as u64
    }

    /// RAM as devices see it.
    pub(crate) fn view(&self) -> io::Result<&View> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let view = View::new(self)?;
        Ok(self.view.get_or_init(|| view))
    }

    /// The file of all RAM but the text, and the file of the text.
    pub(crate) fn files(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.ram.as_fd(), self.text.as_fd())
    }

    /// Where `length` bytes at a guest address lie in the host, if all of them are RAM and their pages
    /// have these rights.
    pub(crate) fn find(&self, address: u64, length: u64, access: Access) -> Option<*mut u8> {
        let range = self.offsets(address, length)?;
        let pages = range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE);
        let pages = &self.access[pages.start as usize..pages.end as usize];
        let allowed = |page: &u8| decode(*page).contains(access);
        pages.iter().all(allowed).then(|| self.mapping.pointer().wrapping_add(range.start as usize))
    }

    /// Copies bytes out of RAM, whatever the guest's rights are. `None` if not all of them are RAM.
    pub fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy(address, &mut bytes)?;
        Some(bytes)
    }

    /// Copies bytes out of RAM as [`View`] sees it. `None` if not all of them are there.
    pub(crate) fn read_to(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.view().ok()?.regions().read_slice(buffer, GuestAddress(address)).ok()
    }

    /// Copies bytes to RAM as [`View`] sees it. `None` if not all of them have a place there.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Option<()> {
        self.view().ok()?.regions().write_slice(bytes, GuestAddress(address)).ok()
    }

    /// Copies a range out of RAM, cut at `most` bytes. `None` if the range is not readable RAM.
    pub(crate) fn read_cut(&self, address: u64, length: u64, most: u64) -> Option<Vec<u8>> {
        self.find(address, length, Access::READ)?;
        let mut bytes = vec![0; length.min(most) as usize];
        self.copy(address, &mut bytes)?;
        Some(bytes)
    }

    /// Fills a buffer from RAM. Files are read, not the mapping: to touch a page for the first time can
    /// fail if the system is short of memory, and that must not be a signal.
    fn copy(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.offsets(address, buffer.len() as u64)?;
        let (mut at, mut rest) = (address, buffer);
        while !rest.is_empty() {
            let piece = self.pieces.iter().find(|piece| piece.contains(at))?;
            let here = rest.len().min((piece.address + piece.length - at) as usize);
            let (part, others) = rest.split_at_mut(here);
            let (file, offset) = match piece.text_offset {
                Some(offset) => (self.text.as_fd(), offset + (at - piece.address)),
                None => (self.ram.as_fd(), at - RAM_BASE),
            };
            if rustix::io::pread(file, &mut *part, offset) != Ok(here) {
                return None;
            }
            (at, rest) = (at + here as u64, others);
        }
        Some(())
    }

    /// Whether pages belong to the sealed text.
    pub(crate) fn is_text(&self, range: &Range<u64>, image: &Image) -> bool {
        image.segments().iter().any(|segment| {
            segment.is_text() && segment.address < range.end && range.start < segment.page_end()
        })
    }

    /// Notes the rights of pages. The range is page-aligned and inside RAM.
    pub(crate) fn set_access(&mut self, range: Range<u64>, access: Access) {
        let pages = (range.start - RAM_BASE) / PAGE_SIZE..(range.end - RAM_BASE) / PAGE_SIZE;
        let code = encode(access);
        if code != 0 || self.access[pages.start as usize..pages.end as usize].iter().any(|page| *page != 0) {
            self.access[pages.start as usize..pages.end as usize].fill(code);
        }
    }

    /// The range as offsets into RAM, if it lies inside. A range without bytes lies everywhere.
    pub(crate) fn offsets(&self, address: u64, length: u64) -> Option<Range<u64>> {
        if length == 0 {
            return Some(0..0);
        }
        let start = address.checked_sub(RAM_BASE)?;
        let end = start.checked_add(length)?;
        (end <= self.size()).then_some(start..end)
    }
}

/// The executable segments in a file that is sealed, open to read only.
fn text(image: &Image, pieces: &[Piece]) -> io::Result<OwnedFd> {
    let size = pieces.iter().filter(|piece| piece.text_offset.is_some()).map(|piece| piece.length).sum();
    let file = sys::memfd(c"vcpu-text", size)?;
    for piece in pieces {
        let segment = image.segments().iter().find(|segment| segment.address == piece.address);
        if let (Some(offset), Some(segment)) = (piece.text_offset, segment) {
            load(image, segment, &file, offset)?;
        }
    }
    sys::seal_content(&file)?;
    sys::reopen_read_only(&file)
}

/// Copies a segment's bytes from the image to `at` in a file. Not by a mapping, where every page would cost
/// a fault.
fn load(image: &Image, segment: &Segment, file: &OwnedFd, at: u64) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let mut done = 0;
    while done < segment.file_size {
        let count = buffer.len().min((segment.file_size - done) as usize);
        let part = &mut buffer[..count];
        image.file().read_exact_at(part, segment.file_offset + done)?;
        let written = rustix::io::pwrite(file, part, at + done)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += written as u64;
    }
    Ok(())
}

fn encode(access: Access) -> u8 {
    access.symmetric_difference(FREE).bits() as u8
}

/// Rights of a page, of what [`GuestMemory`] notes.
pub(crate) fn decode(page: u8) -> Access {
    Access::from_bits_truncate(page.into()).symmetric_difference(FREE)
}

/// RAM of `size` bytes cut into pieces of equal rights: the image's segments, the gaps between them
/// without any access, and free RAM behind the last.
pub(crate) fn pieces(segments: &[Segment], size: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = RAM_BASE;
    let mut text_size = 0;
    let mut add = |from: u64, to: u64, access, text_offset| {
        if from < to {
            pieces.push(Piece { address: from, length: to - from, access, text_offset });
        }
    };
    for segment in segments {
        add(at, segment.address, Access::empty(), None);
        let length = segment.page_end() - segment.address;
        let text_offset = segment.is_text().then_some(text_size);
        text_size += text_offset.map_or(0, |_| length);
        add(segment.address, segment.page_end(), segment.access, text_offset);
        at = segment.page_end();
    }
    add(at, RAM_BASE + size, FREE, None);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(address: u64, memory_size: u64, access: Access) -> Segment {
        Segment { address, file_size: 0, memory_size, access, file_offset: 0 }
    }

    #[test]
    fn pieces_cover_ram_once_and_gaps_have_no_access() {
        let text = Access::READ | Access::EXECUTE;
        let segments = [
            segment(RAM_BASE, 0x1001, text),
            segment(RAM_BASE + 0x4000, 0x1000, FREE),
            segment(RAM_BASE + 0x5000, 0x10, text),
        ];
        let pieces = pieces(&segments, 0x10000);
        let mut at = RAM_BASE;
        for piece in &pieces {
            assert_eq!(piece.address, at);
            at += piece.length;
        }
        assert_eq!(at, RAM_BASE + 0x10000);
        assert_eq!(pieces[1].access, Access::empty());
        assert_eq!(pieces[0].text_offset, Some(0));
        assert_eq!(pieces[3].text_offset, Some(0x2000));
        assert_eq!(pieces[4].access, FREE);
    }

    #[test]
    fn every_right_survives_its_encoding_and_free_ram_is_zero() {
        for bits in [0, 1, 3, 5] {
            let access = Access::from_number(bits).unwrap();
            assert_eq!(decode(encode(access)), access);
        }
        assert_eq!(encode(FREE), 0);
    }
}
