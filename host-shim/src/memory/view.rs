//! RAM as devices see it: through `vm-memory`, without the image's text.
//!
//! As on hardware without an IOMMU, a device may be told to write anywhere in RAM, whatever rights the guest
//! has given its pages. The text is sealed, so it is not there, and neither is anything that is not RAM.

use super::GuestMemory;
use crate::sys::Mapping;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use vcpu_abi::call::Access;
use vcpu_abi::layout::RAM_BASE;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// RAM by guest addresses. Clones see the same memory, which lives as long as any of them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    regions: GuestMemoryMmap,
    // What the regions point into.
    _mapping: Arc<Mapping>,
}

impl View {
    /// The view of a sandbox's RAM.
    pub(crate) fn new(memory: &GuestMemory) -> io::Result<View> {
        let pieces = memory.pieces.iter().filter(|piece| piece.text_offset.is_none());
        // A buffer may lie in several pieces that touch each other.
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for piece in pieces.filter(|piece| piece.access != Access::empty()) {
            match ranges.last_mut().filter(|range| range.end == piece.address) {
                Some(range) => range.end += piece.length,
                None => ranges.push(piece.address..piece.address + piece.length),
            }
        }
        let regions = ranges.into_iter().map(|range| {
            let start = memory.mapping.pointer().wrapping_add((range.start - RAM_BASE) as usize);
            let builder = MmapRegionBuilder::new((range.end - range.start) as usize)
                .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
                .with_mmap_flags(libc::MAP_SHARED | libc::MAP_NORESERVE);
            // SAFETY: the range lies in RAM's mapping, which is readable and writable there and lives as long
            // as this view; the crate treats it as memory that others write.
            let region = unsafe { builder.with_raw_mmap_pointer(start) }.build();
            let region = region.map_err(io::Error::other)?;
            GuestRegionMmap::new(region, GuestAddress(range.start))
                .ok_or_else(|| io::Error::other("a piece of RAM ends beyond the last address"))
        });
        let regions = GuestMemoryMmap::from_regions(regions.collect::<io::Result<_>>()?);
        let regions = regions.map_err(io::Error::other)?;
        Ok(View { regions, _mapping: memory.mapping.clone() })
    }

    /// Zeroed memory at these addresses and of these lengths, without a sandbox.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of(ranges: &[(u64, usize)]) -> io::Result<View> {
        let length = ranges.iter().map(|(_, length)| length).sum();
        let mapping = Arc::new(Mapping::new(crate::sys::memfd(c"vcpu-view", length as u64)?, length)?);
        let mut at = 0;
        let regions = ranges.iter().map(|(address, length)| {
            let start = mapping.pointer().wrapping_add(at);
            at += length;
            let builder = MmapRegionBuilder::new(*length).with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE);
            // SAFETY: as above.
            let region = unsafe { builder.with_raw_mmap_pointer(start) }.build().map_err(io::Error::other)?;
            GuestRegionMmap::new(region, GuestAddress(*address)).ok_or_else(|| io::Error::other("too high"))
        });
        let regions = GuestMemoryMmap::from_regions(regions.collect::<io::Result<_>>()?);
        let regions = regions.map_err(io::Error::other)?;
        Ok(View { regions, _mapping: mapping })
    }

    /// The regions.
    pub(crate) fn regions(&self) -> &GuestMemoryMmap {
        &self.regions
    }
}
