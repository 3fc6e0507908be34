//! From numbers to what is open.
//!
//! The table is locked for a moment only: who reads or writes keeps what is open alive meanwhile, so that another
//! thread can close the number at any time. What was open is closed when nobody has or uses it any more.

use super::pipe::End;
use super::stream::Stream;
use super::{Result, lock};
use crate::errno::{EBADF, EINVAL, EMFILE, ENOMEM};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use libvcpu::fs::{Directory, File};
use libvcpu::sync::Mutex;

/// Most descriptors of a guest.
pub const DESCRIPTORS_MAX: usize = 1024;

/// Flags of [`Open`], Linux's.
pub const O_WRONLY: i32 = 1;
/// To read and write.
pub const O_RDWR: i32 = 2;
/// The bits of both.
pub const O_ACCMODE: i32 = 3;
/// Create it if it is not there.
pub const O_CREAT: i32 = 0o100;
/// It must not be there.
pub const O_EXCL: i32 = 0o200;
/// Empty it.
pub const O_TRUNC: i32 = 0o1000;
/// Write at its end.
pub const O_APPEND: i32 = 0o2000;
/// Do not wait.
pub const O_NONBLOCK: i32 = 0o4000;
/// It must be a directory.
pub const O_DIRECTORY: i32 = 0o200_000;
/// It must be no symbolic link.
pub const O_NOFOLLOW: i32 = 0o400_000;
/// Close it when another program is run, which never happens.
pub const O_CLOEXEC: i32 = 0o2_000_000;
/// Only its place; or, with [`O_DIRECTORY`], a file without a name.
pub const O_PATH: i32 = 0o10_000_000;
/// What a file without a name is asked for by.
pub const O_TMPFILE: i32 = 0o20_000_000;

/// What is open: what duplicates of a descriptor share.
#[derive(Debug)]
pub struct Open {
    /// What it is.
    pub object: Object,
    /// How it was opened: access, [`O_APPEND`], [`O_NONBLOCK`].
    pub flags: AtomicI32,
    /// Whether a lock of the guest's was taken by it.
    pub has_locked: AtomicBool,
}

/// What can be open.
#[derive(Debug)]
pub enum Object {
    /// A standard stream.
    Stream(Stream),
    /// A file.
    File(File),
    /// A directory, and where its listing stands.
    Directory(Mutex<Listing>),
    /// A special file.
    Special(Special),
    /// One end of a pipe.
    Pipe(End),
}

/// An open directory. Its entries are numbered, and these numbers are what programs seek by.
#[derive(Debug)]
pub struct Listing {
    /// The directory.
    pub directory: Directory,
    /// Where the entries are of which the number was given, from the third on: the first two are `.` and `..`.
    pub offsets: Vec<u64>,
    /// The number of the next entry.
    pub next: usize,
}

/// A special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/full`.
    Full,
    /// `/dev/random` and `/dev/urandom`.
    Random,
}

impl Open {
    /// Something that is open.
    pub fn new(object: Object, flags: i32) -> Arc<Open> {
        let kept = O_ACCMODE | O_APPEND | O_NONBLOCK;
        Arc::new(Open { object, flags: AtomicI32::new(flags & kept), has_locked: AtomicBool::new(false) })
    }

    /// Whether it has this flag.
    pub fn has(&self, flag: i32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// That it is open to be read.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn check_readable(&self) -> Result<()> {
        if self.flags.load(Relaxed) & O_ACCMODE == O_WRONLY { Err(EBADF) } else { Ok(()) }
    }

    /// That it is open to be written.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn check_writable(&self) -> Result<()> {
        if self.has(O_WRONLY | O_RDWR) { Ok(()) } else { Err(EBADF) }
    }
}

#[derive(Clone)]
struct Slot {
    open: Arc<Open>,
    close_on_exec: bool,
}

struct Table {
    slots: Vec<Option<Slot>>,
    /// Whether the standard streams were put in.
    is_ready: bool,
}

static TABLE: Mutex<Table> = Mutex::new(Table { slots: Vec::new(), is_ready: false });

impl Table {
    fn slot(&mut self, number: i64) -> Result<&mut Slot> {
        let slot = usize::try_from(number as i32).ok().and_then(|number| self.slots.get_mut(number));
        slot.and_then(Option::as_mut).ok_or(EBADF)
    }

    /// Puts something in at a place, and gives what was there.
    fn put(&mut self, index: usize, slot: Slot) -> Result<Option<Slot>> {
        if index >= self.slots.len() {
            self.slots.try_reserve(index + 1 - self.slots.len()).map_err(|_| ENOMEM)?;
            self.slots.resize(index + 1, None);
        }
        Ok(self.slots[index].replace(slot))
    }
}

/// Runs `action` on the table. It does not wait.
fn with<R>(action: impl FnOnce(&mut Table) -> R) -> R {
    let mut table = lock(&TABLE);
    if !table.is_ready {
        table.is_ready = true;
        for stream in 0..3 {
            let flags = if stream == 0 { 0 } else { O_WRONLY };
            let open = Open::new(Object::Stream(Stream::standard(stream)), flags);
            table.slots.push(Some(Slot { open, close_on_exec: false }));
        }
    }
    action(&mut table)
}

/// What is open by this number.
///
/// # Errors
///
/// `EBADF`.
pub fn get(number: i64) -> Result<Arc<Open>> {
    with(|table| table.slot(number).map(|slot| slot.open.clone()))
}

/// Gives something the lowest free number from `from` on.
///
/// # Errors
///
/// `EMFILE`, `ENOMEM`; `EINVAL` if there is no such number.
pub fn add(open: Arc<Open>, from: i64, close_on_exec: bool) -> Result<i64> {
    let from = usize::try_from(from).ok().filter(|from| *from < DESCRIPTORS_MAX).ok_or(EINVAL)?;
    with(|table| {
        let is_free = |index: &usize| table.slots.get(*index).is_none_or(Option::is_none);
        let index = (from..DESCRIPTORS_MAX).find(is_free).ok_or(EMFILE)?;
        table.put(index, Slot { open, close_on_exec })?;
        Ok(index as i64)
    })
}

/// Gives something this number, in place of what had it, which is given back to be closed.
///
/// # Errors
///
/// `EBADF` if there is no such number.
pub fn replace(number: i64, open: Arc<Open>, close_on_exec: bool) -> Result<Option<Arc<Open>>> {
    let index = usize::try_from(number as i32).ok().filter(|index| *index < DESCRIPTORS_MAX).ok_or(EBADF)?;
    let old = with(|table| table.put(index, Slot { open, close_on_exec }))?;
    Ok(old.map(|slot| slot.open))
}

/// Frees a number, and gives what had it.
///
/// # Errors
///
/// `EBADF`.
pub fn remove(number: i64) -> Result<Arc<Open>> {
    with(|table| {
        table.slot(number)?;
        Ok(table.slots[number as usize].take().ok_or(EBADF)?.open)
    })
}

/// All that is open.
pub fn all() -> Vec<Arc<Open>> {
    with(|table| table.slots.iter().flatten().map(|slot| slot.open.clone()).collect())
}

/// Whether a number would be closed when another program is run.
///
/// # Errors
///
/// `EBADF`.
pub fn closes_on_exec(number: i64) -> Result<bool> {
    with(|table| table.slot(number).map(|slot| slot.close_on_exec))
}

/// Sets that.
///
/// # Errors
///
/// `EBADF`.
pub fn set_close_on_exec(number: i64, close: bool) -> Result<()> {
    with(|table| table.slot(number).map(|slot| slot.close_on_exec = close))
}
