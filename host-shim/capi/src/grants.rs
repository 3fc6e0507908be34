//! What a sandbox is granted: standard streams and devices; and its limits.

use crate::builder::Builder;
use crate::error::{Failure, Status, guard, object, path, text};
use std::ffi::{c_char, c_int};
use std::fs::File;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use vcpu_host::{Grant, GrantError, Resource, Streams};

/// What is no file descriptor: nothing is read there, and what is written goes nowhere.
const NONE: c_int = -1;

/// A file descriptor that is the guest's: a duplicate of the caller's, or of the null device. `for_input` says what
/// it must be open for.
fn duplicate(descriptor: c_int, for_input: bool) -> Result<OwnedFd, Failure> {
    if descriptor == NONE {
        let null = File::options().read(true).write(true).open("/dev/null");
        let failed =
            |error| Failure::new(Status::System, format_args!("cannot open the null device: {error}"));
        return null.map(OwnedFd::from).map_err(failed);
    }
    let (direction, other) =
        if for_input { ("reading", libc::O_WRONLY) } else { ("writing", libc::O_RDONLY) };
    let refused = |why: &dyn std::fmt::Display| {
        let sentence = format!(
            "file descriptor {descriptor} cannot be used: {why}; give one that is open for {direction}"
        );
        Failure::new(Status::Invalid, sentence)
    };
    // SAFETY: it is asked for its flags, which changes nothing; any number may be asked for.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    if flags < 0 {
        return Err(refused(&io::Error::last_os_error()));
    }
    if flags & libc::O_PATH != 0 || flags & libc::O_ACCMODE == other {
        return Err(refused(&"it is not open for that"));
    }
    // SAFETY: it is duplicated, which changes nothing of it; the number of the new one is above the standard streams'.
    let new = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) };
    if new < 0 {
        let error = io::Error::last_os_error();
        return Err(Failure::new(
            Status::System,
            format_args!("cannot duplicate file descriptor {descriptor}: {error}"),
        ));
    }
    // SAFETY: it was made above, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// The guest's standard streams, as file descriptors of this process; -1 is none. They are duplicated: the caller
/// keeps and closes its own, and their flags stay as they are. Without this, the guest has no input, and what it
/// writes goes nowhere. A full pipe makes the guest wait, never the host.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_streams(
    builder: *mut Builder,
    input: c_int,
    output: c_int,
    errors: c_int,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let builder = unsafe { object(builder) }?;
        let (input, output) = (duplicate(input, true)?, duplicate(output, false)?);
        let streams = Streams { input, output, errors: duplicate(errors, false)? };
        builder.change(|builder| builder.streams(streams))
    })
}

/// Grants what is made of a name and a path.
///
/// # Safety
///
/// The builder and the texts exist.
unsafe fn grant_directory(
    builder: *mut Builder,
    name: *const c_char,
    path: *const c_char,
    make: impl FnOnce(&str, &Path) -> Result<Grant, GrantError>,
) -> Result<(), Failure> {
    // SAFETY: as the caller says.
    let (builder, name, path) = unsafe { (object(builder)?, text(name)?, self::path(path)?) };
    let grant = make(name, path)?;
    builder.change(|builder| builder.grant(grant))
}

/// Grants the guest a directory and all below it, under this name; it cannot leave it. Name and path are copied.
///
/// # Safety
///
/// The builder and the texts exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_directory(
    builder: *mut Builder,
    name: *const c_char,
    path: *const c_char,
    writable: bool,
) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe {
        grant_directory(builder, name, path, |name, path| Grant::directory(name, path, writable))
    })
}

/// As vcpu_builder_directory, a directory in which nobody else changes anything as long as the guest runs. The guest
/// keeps what it has read, which is far faster; what others change nevertheless, it may never see. No second guest
/// can have the same directory so.
///
/// # Safety
///
/// The builder and the texts exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_exclusive_directory(
    builder: *mut Builder,
    name: *const c_char,
    path: *const c_char,
    writable: bool,
) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe {
        grant_directory(builder, name, path, |name, path| Grant::exclusive_directory(name, path, writable))
    })
}

/// Grants the guest an image of a disk, a regular file or a block device, under this name. The file is opened here;
/// name and path are copied.
///
/// # Safety
///
/// The builder and the texts exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_block(
    builder: *mut Builder,
    name: *const c_char,
    path: *const c_char,
    writable: bool,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, name, path) = unsafe { (object(builder)?, text(name)?, self::path(path)?) };
        let grant = Grant::block(name, path, writable)?;
        builder.change(|builder| builder.grant(grant))
    })
}

/// Grants the guest a console under this name: a stream of bytes in each direction, besides the standard streams. The
/// file descriptors are duplicated, and -1 is none, as for `vcpu_builder_streams`; the name is copied.
///
/// # Safety
///
/// The builder and the text exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_console(
    builder: *mut Builder,
    name: *const c_char,
    input: c_int,
    output: c_int,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, name) = unsafe { (object(builder)?, text(name)?) };
        Grant::check_names(&[name])?;
        let resource =
            Resource::Console { input: duplicate(input, true)?, output: duplicate(output, false)? };
        builder.change(|builder| builder.grant(Grant { name: name.to_owned(), resource }))
    })
}

/// Grants the guest random bytes, under the name `entropy`.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_entropy(builder: *mut Builder) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.grant(Grant::entropy())))
}

/// The processor's time that the guest's process may use until it is reset, in ns, at least 1; then the guest is
/// ended. Without this there is no limit.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_cpu_time(builder: *mut Builder, nanoseconds: u64) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let builder = unsafe { object(builder) }?;
        if nanoseconds == 0 {
            return Err(Failure::new(
                Status::Invalid,
                "a guest cannot run in 0 ns of the processor's time; give it more, or leave the limit out",
            ));
        }
        builder.change(|builder| builder.cpu_time(Duration::from_nanos(nanoseconds)))
    })
}

/// Bytes that the guest may write to its standard streams together, until it is reset; then its writes fail. Without
/// this there is no limit.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_output_limit(builder: *mut Builder, bytes: u64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.output_limit(bytes)))
}

/// Calls of the machine that are served in a second, at least 1: so many may come at once, and those that come sooner
/// are answered later. Without this there is no limit.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_calls_per_second(builder: *mut Builder, calls: u32) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let builder = unsafe { object(builder) }?;
        let calls = NonZeroU32::new(calls).ok_or_else(|| {
            Failure::new(
                Status::Invalid,
                "a guest cannot run with 0 calls per second; allow more, or leave the limit out",
            )
        })?;
        builder.change(|builder| builder.calls_per_second(calls))
    })
}
