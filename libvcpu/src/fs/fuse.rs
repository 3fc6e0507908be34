//! The messages of FUSE, version 7.33, as far as the client uses them. Names are those of Linux's `fuse.h`,
//! spelt out. Numbers are little-endian, and every structure is padded by fields of its own.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version.
pub(super) const MAJOR: u32 = 7;
pub(super) const MINOR: u32 = 33;

/// The node of a file system's root.
pub(super) const ROOT: u64 = 1;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Operation {
    Lookup = 1,
    GetAttributes = 3,
    SetAttributes = 4,
    ReadLink = 5,
    SymbolicLink = 6,
    MakeDirectory = 9,
    Unlink = 10,
    RemoveDirectory = 11,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    Release = 18,
    Sync = 20,
    Initialise = 26,
    OpenDirectory = 27,
    ReadDirectory = 28,
    ReleaseDirectory = 29,
    SyncDirectory = 30,
    GetLock = 31,
    SetLock = 32,
    Access = 34,
    Create = 35,
    BatchForget = 42,
    Allocate = 43,
    Rename2 = 45,
}

/// Makes plain structures of numbers, which can be sent and received as they lie in memory.
macro_rules! structures {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $fdoc:literal])* $field:ident: $type:ty,)* })+) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub(super) struct $name { $($(#[doc = $fdoc])* pub(super) $field: $type,)* }
    )+ };
}

structures! {
    /// What stands before every request.
    InHeader {
        length: u32,
        operation: u32,
        unique: u64,
        node: u64,
        user: u32,
        group: u32,
        process: u32,
        padding: u32,
    }

    /// What stands before every reply.
    OutHeader {
        length: u32,
        /// 0, or one of Linux's error numbers, negative.
        error: i32,
        unique: u64,
    }

    /// What is known of a file.
    Attributes {
        node: u64,
        size: u64,
        blocks: u64,
        accessed: u64,
        modified: u64,
        changed: u64,
        accessed_nanoseconds: u32,
        modified_nanoseconds: u32,
        changed_nanoseconds: u32,
        mode: u32,
        links: u32,
        user: u32,
        group: u32,
        device: u32,
        block_size: u32,
        flags: u32,
    }

    /// A node that was found. Each reply with it counts, until the node is forgotten as often.
    Entry {
        node: u64,
        generation: u64,
        entry_valid: u64,
        attributes_valid: u64,
        entry_valid_nanoseconds: u32,
        attributes_valid_nanoseconds: u32,
        attributes: Attributes,
    }

    GetAttributesIn {
        flags: u32,
        padding: u32,
        handle: u64,
    }

    AttributesOut {
        valid: u64,
        valid_nanoseconds: u32,
        padding: u32,
        attributes: Attributes,
    }

    SetAttributesIn {
        valid: u32,
        padding: u32,
        handle: u64,
        size: u64,
        lock_owner: u64,
        accessed: u64,
        modified: u64,
        changed: u64,
        accessed_nanoseconds: u32,
        modified_nanoseconds: u32,
        changed_nanoseconds: u32,
        mode: u32,
        unused: u32,
        user: u32,
        group: u32,
        unused_too: u32,
    }

    MakeDirectoryIn {
        mode: u32,
        mask: u32,
    }

    Rename2In {
        directory: u64,
        flags: u32,
        padding: u32,
    }

    LinkIn {
        node: u64,
    }

    OpenIn {
        flags: u32,
        fuse_flags: u32,
    }

    CreateIn {
        flags: u32,
        mode: u32,
        mask: u32,
        fuse_flags: u32,
    }

    OpenOut {
        handle: u64,
        flags: u32,
        passthrough: u32,
    }

    CreateOut {
        entry: Entry,
        open: OpenOut,
    }

    ReadIn {
        handle: u64,
        offset: u64,
        size: u32,
        read_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }

    WriteIn {
        handle: u64,
        offset: u64,
        size: u32,
        write_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }

    WriteOut {
        size: u32,
        padding: u32,
    }

    ReleaseIn {
        handle: u64,
        flags: u32,
        release_flags: u32,
        lock_owner: u64,
    }

    AccessIn {
        mask: u32,
        padding: u32,
    }

    AllocateIn {
        handle: u64,
        offset: u64,
        length: u64,
        mode: u32,
        padding: u32,
    }

    /// A lock, of the bytes from `start` to `end`, both included.
    FileLock {
        start: u64,
        end: u64,
        /// Linux's `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
        kind: u32,
        process: u32,
    }

    LockIn {
        handle: u64,
        owner: u64,
        lock: FileLock,
        flags: u32,
        padding: u32,
    }

    LockOut {
        lock: FileLock,
    }

    SyncIn {
        handle: u64,
        flags: u32,
        padding: u32,
    }

    InitialiseIn {
        major: u32,
        minor: u32,
        read_ahead: u32,
        flags: u32,
    }

    InitialiseOut {
        major: u32,
        minor: u32,
        read_ahead: u32,
        flags: u32,
        background: u16,
        congestion: u16,
        write_max: u32,
        time_granularity: u32,
        pages_max: u16,
        map_alignment: u16,
        flags_too: u32,
        unused: [u32; 7],
    }

    BatchForgetIn {
        count: u32,
        padding: u32,
    }

    ForgetOne {
        node: u64,
        count: u64,
    }

    /// An entry of a directory. Its name follows, and zeros up to a multiple of eight bytes.
    DirectoryEntry {
        node: u64,
        /// Where the entry behind it is.
        offset: u64,
        name_length: u32,
        file_type: u32,
    }
}

/// [`InitialiseIn::flags`]: writes of more than a page.
pub(super) const INIT_BIG_WRITES: u32 = 1 << 5;
/// [`InitialiseIn::flags`]: requests of up to [`InitialiseOut::pages_max`] pages.
pub(super) const INIT_MAX_PAGES: u32 = 1 << 22;

/// [`OpenOut::flags`]: nobody but this guest changes the file.
pub(super) const OPEN_KEEP_CACHE: u32 = 1 << 1;

/// [`GetAttributesIn::flags`]: the handle is valid.
pub(super) const ATTRIBUTES_OF_HANDLE: u32 = 1;

/// [`SetAttributesIn::valid`].
pub(super) const SET_MODE: u32 = 1 << 0;
pub(super) const SET_SIZE: u32 = 1 << 3;
pub(super) const SET_ACCESSED: u32 = 1 << 4;
pub(super) const SET_MODIFIED: u32 = 1 << 5;
pub(super) const SET_HANDLE: u32 = 1 << 6;
pub(super) const SET_ACCESSED_NOW: u32 = 1 << 7;
pub(super) const SET_MODIFIED_NOW: u32 = 1 << 8;

/// [`LockIn::flags`]: a lock of the whole file that belongs to the handle.
pub(super) const LOCK_OF_HANDLE: u32 = 1;

/// [`SyncIn::flags`]: without what says when the file was changed.
pub(super) const SYNC_DATA: u32 = 1;

/// [`OpenIn::flags`] and [`CreateIn::flags`], Linux's.
pub(super) const OPEN_READ: u32 = 0;
pub(super) const OPEN_WRITE: u32 = 1;
pub(super) const OPEN_READ_WRITE: u32 = 2;
pub(super) const OPEN_CREATE: u32 = 0o100;
pub(super) const OPEN_EXCLUSIVE: u32 = 0o200;
pub(super) const OPEN_TRUNCATE: u32 = 0o1000;
pub(super) const OPEN_NO_FOLLOW: u32 = 0o400_000;
pub(super) const OPEN_APPEND: u32 = 0o2000;

/// [`Attributes::mode`]: what a file is.
pub(super) const MODE_TYPE: u32 = 0o170_000;
pub(super) const MODE_DIRECTORY: u32 = 0o040_000;
pub(super) const MODE_REGULAR: u32 = 0o100_000;
pub(super) const MODE_LINK: u32 = 0o120_000;
