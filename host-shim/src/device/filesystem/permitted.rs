//! What a guest may do to a directory: everything that is not written here is refused.
//!
//! The host's kernel does what is permitted through `PassthroughFs`, which holds an inode by a descriptor that
//! can only name it (`O_PATH`) and reaches others from it by single names that are never followed. So there is
//! no path that could lead out, and no moment between a check and a use in which one could be exchanged: a
//! symbolic link is something that the guest reads, and follows itself by further single names.
//!
//! Some things that `PassthroughFs` does are kept from happening:
//!
//! | it would | here |
//! |---|---|
//! | clear the process's file mode mask | it is made on a thread with a mask of its own |
//! | change the thread's user to the one that the message names | every message is from nobody in particular, and files belong to the host's user |
//! | change a descriptor's flags to what a read or a write says | it is told those that it was opened with |
//! | keep what it found when opening it as `create` fails | `create` only ever makes a file that is not there |
//! | know no locks | they are taken in files that are open for nothing else (`locks`), also by who may only read |
//! | let children inherit the descriptors of files that it creates | it is told not to |
//! | hold any number of descriptors | they are counted |

use super::locks::{self, LockFiles, LockOf};
use super::{Access, kernel};
use crate::grant::Refusals;
use fuse_backend_rs::abi::fuse_abi::{CreateIn, ROOT_ID, SetattrValid, stat64};
use fuse_backend_rs::api::filesystem::{
    Context, DirEntry, Entry, FileLock, FileSystem, FsOptions, OpenOptions, ZeroCopyReader, ZeroCopyWriter,
};
use fuse_backend_rs::passthrough::{CachePolicy, Config, PassthroughFs};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most bytes that one message moves.
const TRANSFER_MAX: u32 = 1 << 20;

/// Most bytes of directory entries that are read at once.
const ENTRIES_MAX: u32 = 64 << 10;

/// Most descriptors that a device holds for its guest, where the process may open enough: of four devices
/// together all.
const DESCRIPTORS_MAX: u64 = 4096;

/// What says that a lock is of a whole file and belongs to its handle.
const LOCK_WHOLE: u32 = 1;

/// The rights of a file that a guest can set: not that it runs as its owner.
const RIGHTS: u32 = 0o777;

/// A directory as a guest may use it.
pub(in super::super) struct Permitted {
    inner: PassthroughFs,
    access: Access,
    refusals: Arc<Refusals>,
    held: Mutex<Held>,
    descriptors_max: usize,
    /// The size that a file can have: beyond it, the system would end the host by a signal.
    size_max: u64,
}

/// What is held for the guest.
#[derive(Default)]
struct Held {
    /// Inodes, with how often the guest was told of each.
    inodes: HashMap<u64, u64>,
    /// What it has opened.
    handles: HashMap<u64, Opened>,
    /// Files by which it has locks.
    locks: LockFiles,
    /// File systems, and whether they may be used.
    devices: HashMap<u64, bool>,
}

#[derive(Clone, Copy)]
struct Opened {
    inode: u64,
    /// As the host's kernel was told.
    flags: u32,
    is_directory: bool,
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Refuses all names that are not of an entry.
fn check_name(name: &CStr) -> io::Result<()> {
    match name.to_bytes() {
        b"" | b"." | b".." => Err(error(libc::EINVAL)),
        name if name.contains(&b'/') => Err(error(libc::EINVAL)),
        _ => Ok(()),
    }
}

/// Whoever the guest says that it is.
fn nobody_in_particular() -> Context {
    // With these numbers, nothing is changed.
    Context { uid: 0, gid: 0, pid: 0 }
}

impl Permitted {
    pub(super) fn new(directory: &OwnedFd, access: Access, refusals: Arc<Refusals>) -> io::Result<Permitted> {
        // How long the guest may keep what it is told, which is in whole seconds.
        let valid = Duration::from_secs(if access.exclusive { u64::MAX } else { 0 });
        let config = Config {
            // The directory itself and not its name, which may be another's by now.
            root_dir: format!("/proc/self/fd/{}/.", directory.as_raw_fd()),
            entry_timeout: valid,
            attr_timeout: valid,
            cache_policy: CachePolicy::Never,
            do_import: false,
            // So that it does not remember all files that there ever were.
            use_host_ino: true,
            allow_direct_io: false,
            ..Config::default()
        };
        let make = || {
            // SAFETY: gives this thread a file mode mask and a working directory of its own; there is nothing
            // else that would rely on their being shared.
            if unsafe { libc::unshare(libc::CLONE_FS) } != 0 {
                return Err(io::Error::last_os_error());
            }
            let inner = PassthroughFs::new(config)?;
            inner.import()?;
            Ok(inner)
        };
        let inner = std::thread::scope(|scope| {
            let maker = std::thread::Builder::new().name("vcpu-directory".to_owned());
            maker.spawn_scoped(scope, make)?.join().map_err(|_| io::Error::other("a thread has panicked"))?
        })?;
        let limit = |resource| getrlimit(resource).current;
        let descriptors = limit(Resource::Nofile).unwrap_or(u64::MAX) / 4;
        Ok(Permitted {
            inner,
            access,
            refusals,
            held: Mutex::default(),
            descriptors_max: descriptors.clamp(16, DESCRIPTORS_MAX) as usize,
            size_max: limit(Resource::Fsize).unwrap_or(u64::MAX).min(i64::MAX as u64),
        })
    }

    /// Closes and forgets all that the guest holds.
    pub(super) fn drop_held(&self) {
        let (inodes, handles) = {
            let mut held = self.held();
            held.locks.clear();
            (std::mem::take(&mut held.inodes), std::mem::take(&mut held.handles))
        };
        let from = nobody_in_particular();
        for (handle, Opened { inode, .. }) in handles {
            // It is there; there is nothing else that could fail.
            let _ = self.inner.release(&from, inode, 0, handle, false, false, None);
        }
        for (inode, count) in inodes {
            self.inner.forget(&from, inode, count);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // It is right after every change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the guest knows no inode and has opened nothing.
    pub(super) fn is_idle(&self) -> bool {
        let held = self.held();
        held.inodes.is_empty() && held.handles.is_empty()
    }

    /// Refuses inodes that the guest was not told of.
    fn check_inode(&self, inode: u64) -> io::Result<()> {
        if inode == ROOT_ID || self.held().inodes.contains_key(&inode) {
            return Ok(());
        }
        Err(error(libc::EBADF))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.access.writable {
            return Ok(());
        }
        self.refusals.log("write to");
        Err(error(libc::EROFS))
    }

    /// What is needed to change an entry of a directory.
    fn check_change(&self, parent: u64, name: &CStr) -> io::Result<()> {
        self.check_writable()?;
        check_name(name)?;
        self.check_inode(parent)
    }

    /// The kind of file that an inode is, which never changes.
    fn kind(&self, inode: u64) -> io::Result<libc::mode_t> {
        self.check_inode(inode)?;
        let (status, _) = self.inner.getattr(&nobody_in_particular(), inode, None)?;
        Ok(status.st_mode & libc::S_IFMT)
    }

    fn opened(&self, inode: u64, handle: u64, is_directory: bool) -> io::Result<Opened> {
        let opened = self.held().handles.get(&handle).copied();
        opened
            .filter(|opened| opened.inode == inode && opened.is_directory == is_directory)
            .ok_or_else(|| error(libc::EBADF))
    }

    fn is_full(&self) -> bool {
        let held = self.held();
        held.inodes.len() + held.handles.len() + held.locks.len() >= self.descriptors_max
    }

    /// Counts an inode of which the guest is to be told, or forgets it.
    fn admit(&self, entry: Entry) -> io::Result<Entry> {
        let known = self.held().inodes.contains_key(&entry.inode);
        let refused = if !known && self.is_full() {
            Some(libc::ENFILE)
        } else if !self.may_use(&entry) {
            Some(libc::EACCES)
        } else {
            None
        };
        if let Some(number) = refused {
            self.inner.forget(&nobody_in_particular(), entry.inode, 1);
            return Err(error(number));
        }
        *self.held().inodes.entry(entry.inode).or_default() += 1;
        Ok(entry)
    }

    /// Whether an entry lies on a file system that may be used. Each is looked at once.
    fn may_use(&self, entry: &Entry) -> bool {
        let (device, inode) = (entry.attr.st_dev, entry.attr.st_ino);
        if let Some(may) = self.held().devices.get(&device) {
            return *may;
        }
        let look = || {
            let file = self.reach(entry.inode, device, inode)?;
            file.map(|file| kernel::is_interface(&file).map(|is| !is)).transpose()
        };
        match look() {
            Ok(Some(may)) => *self.held().devices.entry(device).or_insert(may),
            // It may be there the next time.
            Ok(None) | Err(_) => false,
        }
    }

    /// A descriptor that can only name what an inode is; `None` if there is something else by its name now.
    fn reach(&self, inode: u64, device: u64, number: u64) -> io::Result<Option<OwnedFd>> {
        let path = self.inner.readlinkat_proc_file(inode)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let status = rustix::fs::fstat(&file)?;
        Ok(((status.st_dev, status.st_ino) == (device, number)).then_some(file))
    }

    /// The file by which the guest has locks, opened if it was not before.
    fn lock_file(&self, inode: u64, handle: u64, of: LockOf) -> io::Result<Arc<OwnedFd>> {
        self.opened(inode, handle, false)?;
        if let Some(file) = self.held().locks.get(of) {
            return Ok(file);
        }
        if self.is_full() {
            return Err(error(libc::ENFILE));
        }
        let (status, _) = self.inner.getattr(&nobody_in_particular(), inode, None)?;
        let file = self.reach(inode, status.st_dev, status.st_ino)?.ok_or_else(|| error(libc::ENOLCK))?;
        let file = Arc::new(locks::open(&file, self.access.writable)?);
        self.held().locks.insert(of, file.clone());
        Ok(file)
    }

    fn forget_one(&self, inode: u64, count: u64) {
        let mut held = self.held();
        let Some(told) = held.inodes.get_mut(&inode) else { return };
        let count = count.min(*told);
        *told -= count;
        if *told == 0 {
            held.inodes.remove(&inode);
        }
        self.inner.forget(&nobody_in_particular(), inode, count);
    }

    /// Opens a regular file, and notes it.
    fn open_file(&self, inode: u64, flags: u32) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        match self.kind(inode)? {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(error(libc::EISDIR)),
            _ => return Err(error(libc::EACCES)),
        }
        if self.is_full() {
            return Err(error(libc::ENFILE));
        }
        let (handle, _, _) = self.inner.open(&nobody_in_particular(), inode, flags, 0)?;
        self.note(handle, Opened { inode, flags, is_directory: false })
    }

    fn note(
        &self,
        handle: Option<u64>,
        opened: Opened,
    ) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        let handle = handle.ok_or_else(|| error(libc::EIO))?;
        self.held().handles.insert(handle, opened);
        let kept = if self.access.exclusive { OpenOptions::KEEP_CACHE } else { OpenOptions::empty() };
        Ok((Some(handle), kept, None))
    }

    /// What is left of a guest's flags, if it may open so.
    fn flags(&self, flags: u32) -> io::Result<u32> {
        let access = flags as i32 & libc::O_ACCMODE;
        let changes = flags as i32 & (libc::O_APPEND | libc::O_TRUNC);
        if access == libc::O_ACCMODE {
            return Err(error(libc::EINVAL));
        }
        if access != libc::O_RDONLY || flags as i32 & (libc::O_TRUNC | libc::O_CREAT) != 0 {
            self.check_writable()?;
        }
        // Not to wait for others who hold a lease, nor to become the leader of a terminal.
        Ok((access | changes | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC) as u32)
    }

    fn check_size(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size_max);
        end.map(|_| ()).ok_or_else(|| error(libc::EFBIG))
    }
}

impl FileSystem for Permitted {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _capable: FsOptions) -> io::Result<FsOptions> {
        Ok(FsOptions::ATOMIC_O_TRUNC | FsOptions::BIG_WRITES | FsOptions::MAX_PAGES)
    }

    fn lookup(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        check_name(name)?;
        self.check_inode(parent)?;
        match self.inner.lookup(&nobody_in_particular(), parent, name) {
            // That there is nothing may be kept too: it is the entry of no inode.
            Err(error) if self.access.exclusive && error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(Entry { entry_timeout: Duration::from_secs(u64::MAX), ..Entry::default() })
            }
            found => self.admit(found?),
        }
    }

    fn forget(&self, _: &Context, inode: u64, count: u64) {
        self.forget_one(inode, count);
    }

    fn batch_forget(&self, _: &Context, requests: Vec<(u64, u64)>) {
        requests.into_iter().for_each(|(inode, count)| self.forget_one(inode, count));
    }

    fn getattr(&self, _: &Context, inode: u64, handle: Option<u64>) -> io::Result<(stat64, Duration)> {
        self.check_inode(inode)?;
        // A handle says nothing that the inode does not.
        if let Some(handle) = handle {
            self.opened(inode, handle, false).or_else(|_| self.opened(inode, handle, true))?;
        }
        self.inner.getattr(&nobody_in_particular(), inode, handle)
    }

    fn setattr(
        &self,
        _: &Context,
        inode: u64,
        mut attr: stat64,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(stat64, Duration)> {
        self.check_writable()?;
        if !matches!(self.kind(inode)?, libc::S_IFREG | libc::S_IFDIR)
            || valid.intersects(SetattrValid::UID | SetattrValid::GID)
        {
            return Err(error(libc::EPERM));
        }
        if let Some(handle) = handle {
            self.opened(inode, handle, false)?;
        }
        if valid.contains(SetattrValid::SIZE) {
            self.check_size(u64::try_from(attr.st_size).map_err(|_| error(libc::EINVAL))?, 0)?;
        }
        attr.st_mode &= RIGHTS;
        let times =
            SetattrValid::ATIME | SetattrValid::MTIME | SetattrValid::ATIME_NOW | SetattrValid::MTIME_NOW;
        let valid = valid & (SetattrValid::MODE | SetattrValid::SIZE | times);
        self.inner.setattr(&nobody_in_particular(), inode, attr, handle, valid)
    }

    fn readlink(&self, _: &Context, inode: u64) -> io::Result<Vec<u8>> {
        match self.kind(inode)? {
            libc::S_IFLNK => self.inner.readlink(&nobody_in_particular(), inode),
            _ => Err(error(libc::EINVAL)),
        }
    }

    /// Refused: the host's programs would follow it.
    fn symlink(&self, _: &Context, _: &CStr, _: u64, _: &CStr) -> io::Result<Entry> {
        self.check_writable()?;
        Err(error(libc::EPERM))
    }

    fn link(&self, _: &Context, _: u64, _: u64, _: &CStr) -> io::Result<Entry> {
        self.check_writable()?;
        Err(error(libc::EPERM))
    }

    fn mknod(
        &self,
        _: &Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        _device: u32,
        umask: u32,
    ) -> io::Result<Entry> {
        self.check_change(parent, name)?;
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(error(libc::EPERM));
        }
        let mode = libc::S_IFREG | mode & RIGHTS;
        self.admit(self.inner.mknod(&nobody_in_particular(), parent, name, mode, 0, umask & RIGHTS)?)
    }

    fn mkdir(&self, _: &Context, parent: u64, name: &CStr, mode: u32, umask: u32) -> io::Result<Entry> {
        self.check_change(parent, name)?;
        let (mode, umask) = (mode & RIGHTS, umask & RIGHTS);
        self.admit(self.inner.mkdir(&nobody_in_particular(), parent, name, mode, umask)?)
    }

    fn unlink(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.check_change(parent, name)?;
        self.inner.unlink(&nobody_in_particular(), parent, name)
    }

    fn rmdir(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.check_change(parent, name)?;
        self.inner.rmdir(&nobody_in_particular(), parent, name)
    }

    fn rename(
        &self,
        _: &Context,
        from: u64,
        name: &CStr,
        to: u64,
        new_name: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        self.check_change(from, name)?;
        self.check_change(to, new_name)?;
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(error(libc::EINVAL));
        }
        self.inner.rename(&nobody_in_particular(), from, name, to, new_name, flags)
    }

    fn open(
        &self,
        _: &Context,
        inode: u64,
        flags: u32,
        _: u32,
    ) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        self.check_inode(inode)?;
        self.open_file(inode, self.flags(flags)?)
    }

    fn create(
        &self,
        _: &Context,
        parent: u64,
        name: &CStr,
        args: CreateIn,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions, Option<u32>)> {
        self.check_change(parent, name)?;
        let flags = self.flags(args.flags)?;
        if args.flags as i32 & libc::O_EXCL == 0 {
            let found = self.inner.lookup(&nobody_in_particular(), parent, name);
            if let Ok(entry) = found {
                let entry = self.admit(entry)?;
                let opened = self.open_file(entry.inode, flags);
                if opened.is_err() {
                    self.forget_one(entry.inode, 1);
                }
                return opened.map(|(handle, options, _)| (entry, handle, options, None));
            }
        }
        if self.is_full() {
            return Err(error(libc::ENFILE));
        }
        let (mode, umask) = (args.mode & RIGHTS, args.umask & RIGHTS);
        let args = CreateIn { flags: flags | libc::O_EXCL as u32, mode, umask, fuse_flags: 0 };
        let (entry, handle, _, _) = self.inner.create(&nobody_in_particular(), parent, name, args)?;
        let handle = handle.ok_or_else(|| error(libc::EIO))?;
        let inode = entry.inode;
        let release = || self.inner.release(&nobody_in_particular(), inode, 0, handle, false, false, None);
        let entry = self.admit(entry).inspect_err(|_| drop(release()))?;
        // It was opened with these.
        let opened = Opened { inode, flags: args.flags, is_directory: false };
        self.note(Some(handle), opened).map(|(handle, options, _)| (entry, handle, options, None))
    }

    fn read(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        writer: &mut dyn ZeroCopyWriter,
        size: u32,
        offset: u64,
        _: Option<u64>,
        _: u32,
    ) -> io::Result<usize> {
        let flags = self.opened(inode, handle, false)?.flags;
        let size = size.min(TRANSFER_MAX);
        self.inner.read(&nobody_in_particular(), inode, handle, writer, size, offset, None, flags)
    }

    fn write(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        reader: &mut dyn ZeroCopyReader,
        size: u32,
        offset: u64,
        _: Option<u64>,
        _: bool,
        _: u32,
        _: u32,
    ) -> io::Result<usize> {
        let flags = self.opened(inode, handle, false)?.flags;
        let size = size.min(TRANSFER_MAX);
        self.check_size(offset, size.into())?;
        let from = nobody_in_particular();
        self.inner.write(&from, inode, handle, reader, size, offset, None, false, flags, 0)
    }

    fn flush(&self, _: &Context, inode: u64, handle: u64, _: u64) -> io::Result<()> {
        self.opened(inode, handle, false).map(|_| ())
    }

    fn fsync(&self, _: &Context, inode: u64, only_data: bool, handle: u64) -> io::Result<()> {
        self.opened(inode, handle, false)?;
        self.inner.fsync(&nobody_in_particular(), inode, only_data, handle)
    }

    fn fallocate(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        self.check_writable()?;
        self.opened(inode, handle, false)?;
        if mode != 0 {
            return Err(error(libc::EOPNOTSUPP));
        }
        self.check_size(offset, length)?;
        self.inner.fallocate(&nobody_in_particular(), inode, handle, 0, offset, length)
    }

    fn release(
        &self,
        _: &Context,
        inode: u64,
        _: u32,
        handle: u64,
        _: bool,
        _: bool,
        _: Option<u64>,
    ) -> io::Result<()> {
        self.opened(inode, handle, false)?;
        {
            let mut held = self.held();
            held.handles.remove(&handle);
            // As POSIX has it: the first of its descriptors that is closed ends a process's locks of a file.
            held.locks.remove(LockOf::Inode(inode));
            held.locks.remove(LockOf::Handle(handle));
        }
        self.inner.release(&nobody_in_particular(), inode, 0, handle, false, false, None)
    }

    fn getlk(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        _: u64,
        lock: FileLock,
        flags: u32,
    ) -> io::Result<FileLock> {
        if flags != 0 {
            return Err(error(libc::EINVAL));
        }
        locks::find(&*self.lock_file(inode, handle, LockOf::Inode(inode))?, lock)
    }

    fn setlk(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        _: u64,
        lock: FileLock,
        flags: u32,
    ) -> io::Result<()> {
        match flags {
            0 => locks::set(&*self.lock_file(inode, handle, LockOf::Inode(inode))?, lock),
            LOCK_WHOLE => {
                locks::set_whole(&*self.lock_file(inode, handle, LockOf::Handle(handle))?, lock.lock_type)
            }
            _ => Err(error(libc::EINVAL)),
        }
    }

    fn access(&self, _: &Context, inode: u64, mask: u32) -> io::Result<()> {
        self.check_inode(inode)?;
        if mask as i32 & libc::W_OK != 0 {
            self.check_writable()?;
        }
        let (status, _) = self.inner.getattr(&nobody_in_particular(), inode, None)?;
        // What is gone from its name is nobody's to be asked for.
        let file = self.reach(inode, status.st_dev, status.st_ino)?.ok_or_else(|| error(libc::ENOENT))?;
        if status.st_mode & libc::S_IFMT == libc::S_IFLNK {
            return Ok(());
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mask = rustix::fs::Access::from_bits_truncate(mask);
        Ok(rustix::fs::accessat(rustix::fs::CWD, path, mask, rustix::fs::AtFlags::EACCESS)?)
    }

    fn opendir(&self, _: &Context, inode: u64, _: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        if self.kind(inode)? != libc::S_IFDIR {
            return Err(error(libc::ENOTDIR));
        }
        if self.is_full() {
            return Err(error(libc::ENFILE));
        }
        let flags = (libc::O_RDONLY | libc::O_NONBLOCK) as u32;
        let (handle, _) = self.inner.opendir(&nobody_in_particular(), inode, flags)?;
        self.note(handle, Opened { inode, flags, is_directory: true })
            .map(|(handle, options, _)| (handle, options))
    }

    fn readdir(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        size: u32,
        offset: u64,
        add_entry: &mut dyn FnMut(DirEntry) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.opened(inode, handle, true)?;
        let size = size.min(ENTRIES_MAX);
        self.inner.readdir(&nobody_in_particular(), inode, handle, size, offset, add_entry)
    }

    fn fsyncdir(&self, _: &Context, inode: u64, only_data: bool, handle: u64) -> io::Result<()> {
        self.opened(inode, handle, true)?;
        self.inner.fsyncdir(&nobody_in_particular(), inode, only_data, handle)
    }

    fn releasedir(&self, _: &Context, inode: u64, _: u32, handle: u64) -> io::Result<()> {
        self.opened(inode, handle, true)?;
        self.held().handles.remove(&handle);
        self.inner.releasedir(&nobody_in_particular(), inode, 0, handle)
    }
}
