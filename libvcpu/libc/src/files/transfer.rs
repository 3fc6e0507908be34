//! Reading, writing, seeking.

use super::pipe;
use super::table::{self, O_APPEND, O_NONBLOCK, Object, Open, Special};
use super::{Result, answer, done, lock, number};
use crate::errno::{EBADF, EFAULT, EFBIG, EINVAL, EISDIR, ENOSPC, EOPNOTSUPP, ESPIPE};
use core::slice;
use core::sync::atomic::Ordering::Relaxed;
use libvcpu::fs::File;
use libvcpu::io::{Seek, SeekFrom};

/// Most pieces of one call.
const PIECES_MAX: i64 = 1024;

/// Pieces that go to the host at a time.
const PIECES: usize = 8;

/// A part of memory: C's `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    base: *mut u8,
    length: usize,
}

/// The memory of one call, and how much of it is done.
#[derive(Debug)]
pub struct Memory<'a> {
    pieces: &'a [Piece],
    done: usize,
    total: usize,
}

impl Memory<'_> {
    /// Pieces that a C program gives.
    ///
    /// # Safety
    ///
    /// There are `count` pieces, and each is memory that the call may use.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are too many, or if they are more bytes than a number of C's has; `EFAULT`.
    unsafe fn new<'a>(pieces: *const Piece, count: i64) -> Result<Memory<'a>> {
        if !(0..=PIECES_MAX).contains(&count) {
            return Err(EINVAL);
        }
        if count == 0 {
            return Ok(Memory { pieces: &[], done: 0, total: 0 });
        }
        if pieces.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: the caller's pieces.
        let pieces = unsafe { slice::from_raw_parts(pieces, count as usize) };
        let sum = pieces.iter().try_fold(0usize, |sum, piece| sum.checked_add(piece.length));
        let total = sum.filter(|sum| isize::try_from(*sum).is_ok()).ok_or(EINVAL)?;
        if pieces.iter().any(|piece| piece.base.is_null() && piece.length != 0) {
            return Err(EFAULT);
        }
        Ok(Memory { pieces, done: 0, total })
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.total - self.done
    }

    /// Bytes that are done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Notes that so many more bytes are done.
    pub fn advance(&mut self, count: usize) {
        self.done += count.min(self.left());
    }

    /// The next parts that are not empty.
    fn parts(&self) -> impl Iterator<Item = Piece> {
        let mut skip = self.done;
        self.pieces.iter().filter_map(move |piece| {
            let over = skip.min(piece.length);
            skip -= over;
            // SAFETY: it stays in the piece.
            let base = if over == 0 { piece.base } else { unsafe { piece.base.add(over) } };
            (over < piece.length).then_some(Piece { base, length: piece.length - over })
        })
    }

    /// The next parts, to be read.
    pub fn sources(&self) -> [&[u8]; PIECES] {
        let mut sources: [&[u8]; PIECES] = Default::default();
        for (source, part) in sources.iter_mut().zip(self.parts()) {
            // SAFETY: the caller's memory, which holds what it wants to write.
            *source = unsafe { slice::from_raw_parts(part.base, part.length) };
        }
        sources
    }

    /// The next parts, to be written.
    pub fn targets(&mut self) -> [&mut [u8]; PIECES] {
        let mut targets: [&mut [u8]; PIECES] = Default::default();
        for (target, part) in targets.iter_mut().zip(self.parts()) {
            // SAFETY: the caller's memory, which it gives to be written and does not use meanwhile. What is done
            // with it here is to write it: the host does, or `copy_from_slice`.
            *target = unsafe { slice::from_raw_parts_mut(part.base, part.length) };
        }
        targets
    }

    /// Repeats an action that moves some bytes until all are, or until it moves less than it could have. An error
    /// counts only if nothing was moved before.
    pub fn all(&mut self, max: usize, mut action: impl FnMut(&mut Self) -> Result<usize>) -> Result<()> {
        while self.left() > 0 {
            let before = self.done;
            let possible: usize = self.parts().take(PIECES).map(|part| part.length).sum();
            match action(self) {
                Ok(count) => self.advance(count),
                Err(_) if self.done > 0 => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.done - before < possible.min(max) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where a transfer takes place: at an offset, or where the file stands.
type Offset = Option<u64>;

fn read(open: &Open, memory: &mut Memory<'_>, offset: Offset) -> Result<()> {
    open.check_readable()?;
    if offset.is_some() && !matches!(open.object, Object::File(_) | Object::Special(_) | Object::Directory(_))
    {
        return Err(ESPIPE);
    }
    let is_waiting = !open.has(O_NONBLOCK);
    match &open.object {
        Object::File(file) => {
            let from = |memory: &mut Memory<'_>| {
                let done = memory.done() as u64;
                let mut targets = memory.targets();
                match offset {
                    None => file.read_pieces(&mut targets),
                    Some(offset) => file.read_pieces_at(&mut targets, offset + done),
                }
                .map_err(number)
            };
            memory.all(file.transfer_max(), from)
        }
        Object::Directory(_) => Err(EISDIR),
        _ if memory.left() == 0 => Ok(()),
        Object::Stream(stream) => {
            let count = stream.read(memory.targets()[0], is_waiting)?;
            memory.advance(count);
            Ok(())
        }
        Object::Pipe(end) => end.read(memory, is_waiting),
        Object::Special(Special::Null) => Ok(()),
        Object::Special(Special::Zero | Special::Full) => memory.all(usize::MAX, |memory| {
            let targets = memory.targets();
            let count = targets.iter().map(|target| target.len()).sum();
            targets.into_iter().for_each(|target| target.fill(0));
            Ok(count)
        }),
        Object::Special(Special::Random) => memory.all(usize::MAX, |memory| {
            let targets = memory.targets();
            let count = targets.iter().map(|target| target.len()).sum();
            targets.into_iter().try_for_each(libvcpu::rand::fill).map_err(number)?;
            Ok(count)
        }),
    }
}

fn write(open: &Open, memory: &mut Memory<'_>, offset: Offset) -> Result<()> {
    open.check_writable()?;
    let is_waiting = !open.has(O_NONBLOCK);
    match &open.object {
        Object::File(file) => write_file(file, open.has(O_APPEND), memory, offset),
        Object::Directory(_) => Err(EBADF),
        Object::Special(Special::Full) if memory.left() > 0 => Err(ENOSPC),
        Object::Special(_) => {
            memory.advance(memory.left());
            Ok(())
        }
        Object::Stream(_) | Object::Pipe(_) if offset.is_some() => Err(ESPIPE),
        Object::Stream(stream) => stream.write(memory, is_waiting),
        Object::Pipe(end) => end.write(memory, is_waiting),
    }
}

fn write_file(file: &File, appends: bool, memory: &mut Memory<'_>, offset: Offset) -> Result<()> {
    // The flag may have been set after the file was opened: then the host does not know of it.
    let is_ours = appends && !file.is_append();
    memory.all(file.transfer_max(), |memory| {
        let done = memory.done() as u64;
        let sources = memory.sources();
        match offset {
            _ if is_ours => file.append_pieces(&sources),
            None => file.write_pieces(&sources),
            Some(offset) => file.write_pieces_at(&sources, offset + done),
        }
        .map_err(number)
    })
}

type Action = fn(&Open, &mut Memory<'_>, Offset) -> Result<()>;

/// # Safety: as [`Memory::new`].
unsafe fn transfer(descriptor: i64, pieces: *const Piece, count: i64, offset: Offset, action: Action) -> i64 {
    answer(table::get(descriptor).and_then(|open| {
        // SAFETY: the caller's pieces.
        let mut memory = unsafe { Memory::new(pieces, count) }?;
        if offset.is_some_and(|offset| {
            offset.checked_add(memory.total as u64).is_none_or(|end| end > i64::MAX as u64)
        }) {
            return Err(EFBIG);
        }
        action(&open, &mut memory, offset)?;
        Ok(memory.done() as i64)
    }))
}

/// # Safety: the bytes are memory that the call may use.
unsafe fn transfer_one(descriptor: i64, base: *mut u8, length: usize, offset: Offset, action: Action) -> i64 {
    // As Linux does: what is too much for one call is left for the next one.
    const MOST: usize = 0x7fff_f000;
    if length > isize::MAX as usize {
        return answer(table::get(descriptor).and(Err(EINVAL)));
    }
    let piece = Piece { base, length: length.min(MOST) };
    // SAFETY: the caller's memory.
    unsafe { transfer(descriptor, &raw const piece, 1, offset, action) }
}

fn place(offset: i64) -> Result<Offset> {
    u64::try_from(offset).map(Some).map_err(|_| EINVAL)
}

/// Reads where the file stands.
///
/// # Safety
///
/// There is room for that many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_read(descriptor: i64, buffer: *mut u8, size: usize) -> i64 {
    // SAFETY: the caller's memory.
    unsafe { transfer_one(descriptor, buffer, size, None, read) }
}

/// Writes where the file stands.
///
/// # Safety
///
/// There are that many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_write(descriptor: i64, bytes: *mut u8, size: usize) -> i64 {
    // SAFETY: the caller's memory, which is only read.
    unsafe { transfer_one(descriptor, bytes, size, None, write) }
}

/// Reads at an offset.
///
/// # Safety
///
/// There is room for that many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pread64(descriptor: i64, buffer: *mut u8, size: usize, offset: i64) -> i64 {
    // SAFETY: the caller's memory.
    place(offset).map_or_else(|e| -e, |at| unsafe { transfer_one(descriptor, buffer, size, at, read) })
}

/// Writes at an offset.
///
/// # Safety
///
/// There are that many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pwrite64(descriptor: i64, bytes: *mut u8, size: usize, offset: i64) -> i64 {
    // SAFETY: the caller's memory, which is only read.
    place(offset).map_or_else(|e| -e, |at| unsafe { transfer_one(descriptor, bytes, size, at, write) })
}

/// Reads pieces where the file stands.
///
/// # Safety
///
/// As `readv`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_readv(descriptor: i64, pieces: *const Piece, count: i64) -> i64 {
    // SAFETY: the caller's pieces.
    unsafe { transfer(descriptor, pieces, i64::from(count as i32), None, read) }
}

/// Writes pieces where the file stands.
///
/// # Safety
///
/// As `writev`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_writev(descriptor: i64, pieces: *const Piece, count: i64) -> i64 {
    // SAFETY: the caller's pieces.
    unsafe { transfer(descriptor, pieces, i64::from(count as i32), None, write) }
}

/// Reads pieces at an offset.
///
/// # Safety
///
/// As `preadv`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_preadv(
    descriptor: i64,
    pieces: *const Piece,
    count: i64,
    offset: i64,
) -> i64 {
    // SAFETY: the caller's pieces.
    place(offset)
        .map_or_else(|e| -e, |at| unsafe { transfer(descriptor, pieces, i64::from(count as i32), at, read) })
}

/// Writes pieces at an offset.
///
/// # Safety
///
/// As `pwritev`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pwritev(
    descriptor: i64,
    pieces: *const Piece,
    count: i64,
    offset: i64,
) -> i64 {
    // SAFETY: the caller's pieces.
    place(offset)
        .map_or_else(|e| -e, |at| unsafe { transfer(descriptor, pieces, i64::from(count as i32), at, write) })
}

const SEEK_SET: i64 = 0;
const SEEK_CUR: i64 = 1;
const SEEK_END: i64 = 2;
const SEEK_DATA: i64 = 3;
const SEEK_HOLE: i64 = 4;

/// Moves where a file stands.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_lseek(descriptor: i64, offset: i64, whence: i64) -> i64 {
    answer(table::get(descriptor).and_then(|open| seek(&open, offset, whence)))
}

fn seek(open: &Open, offset: i64, whence: i64) -> Result<i64> {
    match &open.object {
        Object::File(file) => {
            let place = match whence {
                SEEK_SET => SeekFrom::Start(u64::try_from(offset).map_err(|_| EINVAL)?),
                SEEK_CUR => SeekFrom::Current(offset),
                SEEK_END => SeekFrom::End(offset),
                // Holes are not known of: all is data, and the one hole is behind the end.
                SEEK_DATA | SEEK_HOLE => {
                    let size = file.metadata().map_err(number)?.len();
                    let inside = u64::try_from(offset).ok().filter(|offset| *offset < size);
                    let inside = inside.ok_or(crate::errno::ENXIO)?;
                    SeekFrom::Start(if whence == SEEK_DATA { inside } else { size })
                }
                _ => return Err(EINVAL),
            };
            (&*file).seek(place).map(|place| place as i64).map_err(number)
        }
        Object::Directory(listing) => {
            let mut listing = lock(listing);
            let target = match whence {
                SEEK_SET => offset,
                SEEK_CUR => listing.next as i64 + offset,
                _ => return Err(EINVAL),
            };
            let known = listing.offsets.len() + 2;
            let next = usize::try_from(target).ok().filter(|next| *next <= known).ok_or(EINVAL)?;
            let offset = next.checked_sub(3).map_or(0, |index| listing.offsets[index]);
            listing.directory.seek(offset);
            listing.next = next;
            Ok(target)
        }
        Object::Special(_) if (SEEK_SET..=SEEK_END).contains(&whence) => Ok(0),
        Object::Special(_) => Err(EINVAL),
        Object::Stream(_) | Object::Pipe(_) => Err(ESPIPE),
    }
}

/// Waits until a file, by this function, or a directory is kept by the host's disk.
fn sync(descriptor: i64, file: fn(&File) -> libvcpu::io::Result<()>) -> i64 {
    done(table::get(descriptor).and_then(|open| match &open.object {
        Object::File(object) => file(object).map_err(number),
        Object::Directory(listing) => lock(listing).directory.sync_all().map_err(number),
        _ => Err(EINVAL),
    }))
}

/// Waits until a file or directory is kept by the host's disk.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_fsync(descriptor: i64) -> i64 {
    sync(descriptor, File::sync_all)
}

/// Waits until a file's content is kept by the host's disk.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_fdatasync(descriptor: i64) -> i64 {
    sync(descriptor, File::sync_data)
}

/// Makes a file so many bytes long.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_ftruncate(descriptor: i64, size: i64) -> i64 {
    done(table::get(descriptor).and_then(|open| {
        let size = u64::try_from(size).map_err(|_| EINVAL)?;
        match &open.object {
            Object::File(file) if open.check_writable().is_ok() => file.set_len(size).map_err(number),
            _ => Err(EINVAL),
        }
    }))
}

/// Has the disk keep room for a part of a file. Only that: no `mode`.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_fallocate(descriptor: i64, mode: i64, offset: i64, length: i64) -> i64 {
    done(table::get(descriptor).and_then(|open| {
        if mode != 0 {
            return Err(EOPNOTSUPP);
        }
        if offset < 0 || length <= 0 {
            return Err(EINVAL);
        }
        open.check_writable()?;
        offset.checked_add(length).ok_or(EFBIG)?;
        match &open.object {
            Object::File(file) => file.allocate(offset as u64, length as u64).map_err(number),
            Object::Pipe(_) | Object::Stream(_) => Err(ESPIPE),
            _ => Err(crate::errno::ENODEV),
        }
    }))
}

/// Bytes that can be read without waiting, as far as that is known: for `FIONREAD`.
pub fn readable(open: &Open) -> Result<i64> {
    match &open.object {
        Object::File(file) => {
            let size = file.metadata().map_err(number)?.len();
            let place = (&*file).seek(SeekFrom::Current(0)).map_err(number)?;
            Ok(size.saturating_sub(place) as i64)
        }
        Object::Pipe(end) => Ok(pipe::readable(end) as i64),
        Object::Stream(stream) => stream.readable(),
        _ => Err(crate::errno::ENOTTY),
    }
}

/// Sets or clears [`O_NONBLOCK`]: for `FIONBIO`.
pub fn set_waiting(open: &Open, is_waiting: bool) {
    if is_waiting {
        open.flags.fetch_and(!O_NONBLOCK, Relaxed);
    } else {
        open.flags.fetch_or(O_NONBLOCK, Relaxed);
    }
}
