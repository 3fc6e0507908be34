//! Calls, buffers, snapshots.

use crate::error::{Status, bytes, bytes_mut, give, guard, object, take, text};
use crate::values::{Slice, Values};
use std::ffi::c_char;
use vcpu_host::embed::{self, Buffer};

/// A guest whose functions are called.
#[derive(Debug)]
pub struct Sandbox(pub(crate) vcpu_host::Sandbox);

/// The state of a guest, with which others begin.
#[derive(Debug)]
pub struct Snapshot(pub(crate) embed::Snapshot);

/// Ends a guest and frees its sandbox; a null pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_builder_build` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_free(sandbox: *mut Sandbox) {
    // SAFETY: as the function's contract says.
    drop(unsafe { take(sandbox) });
}

/// Whether the guest's functions can still be called: no call has ended it.
///
/// # Safety
///
/// The sandbox exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_is_alive(sandbox: *mut Sandbox) -> bool {
    // SAFETY: as the function's contract says.
    unsafe { object(sandbox) }.is_ok_and(|sandbox| sandbox.0.is_alive())
}

/// Calls a function of the guest's. The argument may be null, for a function that takes `()`; all of its values are
/// taken, whatever was read of them. The result may be null, if it is of no interest; it must not be the argument.
///
/// # Safety
///
/// The sandbox and the name exist, and argument and result if they are not null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_call(
    sandbox: *mut Sandbox,
    name: *const c_char,
    argument: *const Values,
    result: *mut Values,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, name) = unsafe { (object(sandbox)?, text(name)?) };
        // SAFETY: as above.
        let argument = unsafe { argument.as_ref() }.map_or(&[][..], |argument| &argument.bytes);
        let given = sandbox.0.call_encoded(name, argument)?;
        // SAFETY: as above.
        if let Some(result) = unsafe { result.as_mut() } {
            result.bytes.clear();
            result.bytes.extend_from_slice(given);
            result.read = 0;
        }
        Ok(())
    })
}

/// Makes a buffer of zeros in the guest's memory, of at least one byte.
///
/// # Safety
///
/// The sandbox exists, and the place for the slice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_allocate(
    sandbox: *mut Sandbox,
    length: usize,
    buffer: *mut Slice,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, buffer) = unsafe { (object(sandbox)?, object(buffer)?) };
        *buffer = sandbox.0.allocate(length)?.slice().into();
        Ok(())
    })
}

/// Frees a buffer: one that was made, or that the guest has handed over.
///
/// # Safety
///
/// The sandbox exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_release(sandbox: *mut Sandbox, buffer: Slice) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let sandbox = unsafe { object(sandbox) }?;
        Ok(sandbox.0.free(Buffer::from(embed::Slice::from(buffer)))?)
    })
}

/// Copies bytes out of a slice, from `offset` on.
///
/// # Safety
///
/// The sandbox exists, and room for so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_read(
    sandbox: *mut Sandbox,
    from: Slice,
    offset: u64,
    data: *mut u8,
    length: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, data) = unsafe { (object(sandbox)?, bytes_mut(data, length)?) };
        Ok(sandbox.0.read(from.into(), offset, data)?)
    })
}

/// Copies bytes into a slice, from `offset` on.
///
/// # Safety
///
/// The sandbox exists, and so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_write(
    sandbox: *mut Sandbox,
    to: Slice,
    offset: u64,
    data: *const u8,
    length: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, data) = unsafe { (object(sandbox)?, bytes(data, length)?) };
        Ok(sandbox.0.write(to.into(), offset, data)?)
    })
}

/// Keeps the state of the guest. To be freed by `vcpu_snapshot_free`.
///
/// # Safety
///
/// The sandbox exists, and the place for the snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_snapshot(sandbox: *mut Sandbox, taken: *mut *mut Snapshot) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, taken) = unsafe { (object(sandbox)?, object(taken)?) };
        give(taken, Snapshot(sandbox.0.snapshot()?));
        Ok(())
    })
}

/// Puts a new guest, which begins with the snapshot's state, in place of this one, alive or not.
///
/// # Safety
///
/// The sandbox and the snapshot exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_reset(sandbox: *mut Sandbox, snapshot: *mut Snapshot) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, snapshot) = unsafe { (object(sandbox)?, object(snapshot)?) };
        Ok(sandbox.0.reset(&snapshot.0)?)
    })
}

/// Keeps so many guests ready to be used.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_keep_ready(snapshot: *mut Snapshot, count: usize) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let snapshot = unsafe { object(snapshot) }?;
        Ok(snapshot.0.keep_ready(count)?)
    })
}

/// Frees a snapshot; a null pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_sandbox_snapshot` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_free(snapshot: *mut Snapshot) {
    // SAFETY: as the function's contract says.
    drop(unsafe { take(snapshot) });
}
