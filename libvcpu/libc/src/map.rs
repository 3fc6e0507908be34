//! `mmap` and its kin: memory in pages.
//!
//! A guest has no page tables of its own. Pages come from the kernel's heap, and what is mapped of a file is read
//! into them: it is private, or shared and not to be written. A file that is to be changed by writing to memory is
//! refused (`ENODEV`). An address is a wish that is not granted; a fixed one must lie in what is mapped already.

use crate::errno::{EACCES, EEXIST, EINVAL, ENODEV, ENOMEM, EOVERFLOW};
use crate::files::table::{self, Object};
use crate::files::{Result, answer, done, lock, number};
use alloc::collections::BTreeMap;
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;
use libvcpu::fs::File;
use libvcpu::sync::Mutex;
use vcpu_kernel::abi::call::{Access, Error};
use vcpu_kernel::abi::layout::PAGE_SIZE;
use vcpu_kernel::{call, heap};

const PROT_READ: i64 = 1;
const PROT_WRITE: i64 = 2;
const PROT_EXEC: i64 = 4;

const MAP_SHARED: i64 = 1;
const MAP_PRIVATE: i64 = 2;
const MAP_SHARED_VALIDATE: i64 = 3;
const MAP_TYPE: i64 = 0xf;
const MAP_FIXED: i64 = 0x10;
const MAP_ANONYMOUS: i64 = 0x20;
const MAP_FIXED_NOREPLACE: i64 = 0x10_0000;

const PAGE: usize = PAGE_SIZE as usize;

/// Pages that are mapped and alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: usize,
    access: Access,
    /// They hold what a file held, and not zeros, at first.
    is_of_file: bool,
}

/// What is mapped, by its first address. Pieces do not overlap.
static PIECES: Mutex<BTreeMap<usize, Piece>> = Mutex::new(BTreeMap::new());

type Pieces = BTreeMap<usize, Piece>;

/// Addresses of whole pages.
fn pages(start: usize, length: usize) -> Result<Range<usize>> {
    if !start.is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(ENOMEM)?;
    Ok(start..start.checked_add(length).ok_or(ENOMEM)?)
}

/// Rights by their numbers in C. Pages that are written can be read, and pages that are executed, too.
fn access(protection: i64) -> Result<Access> {
    let read = Access::READ;
    match protection & (PROT_READ | PROT_WRITE | PROT_EXEC) {
        _ if protection & !(PROT_READ | PROT_WRITE | PROT_EXEC) != 0 => Err(EINVAL),
        0 => Ok(Access::empty()),
        PROT_READ => Ok(read),
        bits if bits & PROT_EXEC == 0 => Ok(read | Access::WRITE),
        bits if bits & PROT_WRITE == 0 => Ok(read | Access::EXECUTE),
        // No page is written and executed at the same time.
        _ => Err(EACCES),
    }
}

/// Makes the machine give these pages other rights, if they have others.
///
/// # Safety
///
/// Nobody uses the pages in a way that is forbidden then.
unsafe fn protect(pages: Range<usize>, from: Access, to: Access) -> Result<()> {
    if from == to || pages.is_empty() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { call::protect(pages.start as u64..pages.end as u64, to) }.map_err(|error| match error {
        Error::Denied => EACCES,
        _ => ENOMEM,
    })
}

const OPEN: Access = Access::READ.union(Access::WRITE);

/// The parts of pieces that lie in a range: all of it, or there is a gap.
fn parts(pieces: &Pieces, range: &Range<usize>) -> (alloc::vec::Vec<(Range<usize>, Piece)>, bool) {
    let first = pieces.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
    let mut at = range.start;
    let mut has_gap = false;
    let mut found = alloc::vec::Vec::new();
    for (&start, &piece) in pieces.range(first..range.end) {
        let part = start.max(range.start)..piece.end.min(range.end);
        if !part.is_empty() {
            has_gap |= part.start > at;
            at = part.end;
            found.push((part, piece));
        }
    }
    (found, has_gap || at < range.end)
}

/// Takes a range out of the pieces.
fn cut(pieces: &mut Pieces, range: &Range<usize>) {
    let (found, _) = parts(pieces, range);
    for (part, _) in found {
        let Some((&start, &piece)) = pieces.range(..=part.start).next_back() else { continue };
        pieces.remove(&start);
        if start < part.start {
            pieces.insert(start, Piece { end: part.start, ..piece });
        }
        if part.end < piece.end {
            pieces.insert(part.end, piece);
        }
    }
}

/// Unmaps what is mapped of a range, and gives its pages back.
///
/// # Safety
///
/// Nobody uses them any more.
unsafe fn unmap(pieces: &mut Pieces, range: &Range<usize>) -> Result<()> {
    for (part, piece) in parts(pieces, range).0 {
        // SAFETY: more is allowed than before.
        unsafe { protect(part.clone(), piece.access, OPEN) }?;
        cut(pieces, &part);
        let Some(first) = NonNull::new(part.start as *mut u8) else { continue };
        // SAFETY: the pages were allocated as such, and are nobody's now.
        unsafe { heap::free_pages(first, part.len() / PAGE) };
    }
    Ok(())
}

/// Fills pages with what a file holds there, and zeros behind its end.
fn fill(memory: &mut [u8], source: Option<(&File, u64)>) -> Result<()> {
    let mut done = 0;
    if let Some((file, offset)) = source {
        while done < memory.len() {
            match file.read_at(&mut memory[done..], offset + done as u64).map_err(number)? {
                0 => break,
                count => done += count,
            }
        }
    }
    memory[done..].fill(0);
    Ok(())
}

/// Maps memory.
///
/// # Safety
///
/// With `MAP_FIXED`, nobody uses what is mapped there any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_mmap(
    start: usize,
    length: usize,
    protection: i64,
    flags: i64,
    descriptor: i64,
    offset: i64,
) -> i64 {
    // SAFETY: the caller's promise.
    answer(unsafe { map(start, length, protection, flags, descriptor, offset) }.map(|start| start as i64))
}

/// # Safety: as [`__vcpu_sys_mmap`].
unsafe fn map(
    start: usize,
    length: usize,
    protection: i64,
    flags: i64,
    descriptor: i64,
    offset: i64,
) -> Result<usize> {
    let protection = protection & 0xffff_ffff;
    let access = access(protection)?;
    let is_shared = match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(EINVAL),
    };
    if length == 0 || offset < 0 || !(offset as usize).is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let open = if flags & MAP_ANONYMOUS != 0 { None } else { Some(table::get(descriptor)?) };
    let source = match open.as_ref().map(|open| (open, &open.object)) {
        None => None,
        Some((open, Object::File(file))) => {
            open.check_readable().or(Err(EACCES))?;
            if is_shared && protection & PROT_WRITE != 0 {
                return Err(ENODEV);
            }
            offset.checked_add_unsigned(length as u64).ok_or(EOVERFLOW)?;
            Some((file, offset as u64))
        }
        Some((_, Object::Special(table::Special::Zero))) => None,
        Some(_) => return Err(ENODEV),
    };
    let is_of_file = source.is_some();
    let is_fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0;
    let place = if is_fixed {
        let range = pages(start, length)?;
        let pieces = lock(&PIECES);
        let (found, has_gap) = parts(&pieces, &range);
        if flags & MAP_FIXED_NOREPLACE != 0 && !found.is_empty() {
            return Err(EEXIST);
        }
        if has_gap || found.is_empty() {
            return Err(ENOMEM);
        }
        for (part, piece) in found {
            // SAFETY: more is allowed than before.
            unsafe { protect(part, piece.access, OPEN) }?;
        }
        drop(pieces);
        range
    } else {
        let count = length.div_ceil(PAGE);
        let start = heap::allocate_pages(count).ok_or(ENOMEM)?.as_ptr() as usize;
        start..start + count * PAGE
    };
    // SAFETY: the pages are new, or the caller gives them; they can be written.
    let memory = unsafe { slice::from_raw_parts_mut(place.start as *mut u8, place.len()) };
    let ready = fill(memory, source)
        // SAFETY: nobody uses the pages yet.
        .and_then(|()| unsafe { protect(place.clone(), OPEN, access) });
    if let Err(error) = ready {
        if is_fixed {
            // What was there is overwritten; it stays mapped, and can be written.
            let mut pieces = lock(&PIECES);
            cut(&mut pieces, &place);
            pieces.insert(place.start, Piece { end: place.end, access: OPEN, is_of_file: false });
        } else if let Some(first) = NonNull::new(place.start as *mut u8) {
            // SAFETY: they have just been allocated, and their rights are what they were.
            unsafe { heap::free_pages(first, place.len() / PAGE) };
        }
        return Err(error);
    }
    let mut pieces = lock(&PIECES);
    cut(&mut pieces, &place);
    pieces.insert(place.start, Piece { end: place.end, access, is_of_file });
    Ok(place.start)
}

/// Unmaps memory.
///
/// # Safety
///
/// Nobody uses it any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_munmap(start: usize, length: usize) -> i64 {
    done((|| {
        if length == 0 {
            return Err(EINVAL);
        }
        let range = pages(start, length).or(Err(EINVAL))?;
        // SAFETY: the caller's promise.
        unsafe { unmap(&mut lock(&PIECES), &range) }
    })())
}

/// Changes what may be done with memory: that of `mmap`, or other pages of the guest's.
///
/// # Safety
///
/// Nobody uses it in a way that is forbidden then.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_mprotect(start: usize, length: usize, protection: i64) -> i64 {
    done((|| {
        let range = pages(start, length)?;
        let access = access(protection & 0xffff_ffff)?;
        let mut pieces = lock(&PIECES);
        let (found, has_gap) = parts(&pieces, &range);
        if found.is_empty() && !range.is_empty() {
            // A page of the heap or of the image, which its owner may guard: the machine decides.
            // SAFETY: the caller's promise.
            return unsafe { protect(range, Access::EXECUTE, access) };
        }
        if has_gap {
            return Err(ENOMEM);
        }
        for (part, piece) in found {
            // SAFETY: the caller's promise.
            unsafe { protect(part.clone(), piece.access, access) }?;
            cut(&mut pieces, &part);
            pieces.insert(part.start, Piece { end: part.end, access, ..piece });
        }
        Ok(())
    })())
}

/// Makes what is mapped larger or smaller, where it is or elsewhere.
///
/// # Safety
///
/// Nobody uses the old memory any more where it moves, nor what is cut off.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_mremap(
    start: usize,
    length: usize,
    new_length: usize,
    flags: i64,
    _place: usize,
) -> i64 {
    const MAY_MOVE: i64 = 1;
    let act = || {
        if flags & !MAY_MOVE != 0 || length == 0 || new_length == 0 {
            return Err(EINVAL);
        }
        let old = pages(start, length)?;
        let new = pages(start, new_length)?;
        let mut pieces = lock(&PIECES);
        let (found, has_gap) = parts(&pieces, &old);
        let Some(&(_, piece)) = found.first() else { return Err(crate::errno::EFAULT) };
        // As Linux: one mapping, not several.
        if has_gap
            || found
                .iter()
                .any(|(_, other)| (other.access, other.is_of_file) != (piece.access, piece.is_of_file))
        {
            return Err(crate::errno::EFAULT);
        }
        if new.end <= old.end {
            // SAFETY: the caller's promise.
            unsafe { unmap(&mut pieces, &(new.end..old.end)) }?;
            return Ok(start as i64);
        }
        if flags & MAY_MOVE == 0 {
            return Err(ENOMEM);
        }
        if piece.is_of_file {
            // What the file holds behind is not known any more.
            return Err(EINVAL);
        }
        let target = heap::allocate_pages(new.len() / PAGE).ok_or(ENOMEM)?;
        let range = target.as_ptr() as usize..target.as_ptr() as usize + new.len();
        // SAFETY: more is allowed than before; the pages that are copied can be read then, and the others are new.
        unsafe {
            protect(old.clone(), piece.access, OPEN)?;
            target.as_ptr().copy_from_nonoverlapping(start as *const u8, old.len());
            target.as_ptr().add(old.len()).write_bytes(0, new.len() - old.len());
            protect(old.clone(), OPEN, piece.access)?;
            protect(range.clone(), OPEN, piece.access)?;
            unmap(&mut pieces, &old)?;
        }
        pieces.insert(range.start, Piece { end: range.end, ..piece });
        Ok(range.start as i64)
    };
    answer(act())
}

/// That all of a range is mapped.
fn check_mapped(start: usize, length: usize) -> Result<alloc::vec::Vec<(Range<usize>, Piece)>> {
    let range = pages(start, length)?;
    let (found, has_gap) = parts(&lock(&PIECES), &range);
    if has_gap { Err(ENOMEM) } else { Ok(found) }
}

/// Waits until what was written to memory is in its file: there is no memory that would go there.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_msync(start: usize, length: usize, flags: i64) -> i64 {
    const ASYNC: i64 = 1;
    const INVALIDATE: i64 = 2;
    const SYNC: i64 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || flags & (ASYNC | SYNC) == ASYNC | SYNC {
        return -EINVAL;
    }
    done(check_mapped(start, length).map(drop))
}

/// Says how memory will be used. `MADV_DONTNEED` makes zeros of it, which of a file's is refused; the rest is
/// advice, and nothing follows from it.
///
/// # Safety
///
/// With `MADV_DONTNEED`, nobody needs what is there.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_madvise(start: usize, length: usize, advice: i64) -> i64 {
    const DONTNEED: i64 = 4;
    /// Normal, random, sequential, will be needed; merging, large pages, dumps.
    const WITHOUT_EFFECT: [i64; 10] = [0, 1, 2, 3, 12, 13, 14, 15, 16, 17];
    let act = || {
        let found = check_mapped(start, length)?;
        match advice {
            DONTNEED if found.iter().any(|(_, piece)| piece.is_of_file) => Err(EINVAL),
            DONTNEED => {
                for (part, piece) in found {
                    // SAFETY: more is allowed than before, and then as before; the caller does not need the content.
                    unsafe {
                        protect(part.clone(), piece.access, OPEN)?;
                        (part.start as *mut u8).write_bytes(0, part.len());
                        protect(part.clone(), OPEN, piece.access)?;
                    }
                }
                Ok(())
            }
            advice if WITHOUT_EFFECT.contains(&advice) => Ok(()),
            _ => Err(EINVAL),
        }
    };
    done(act())
}
