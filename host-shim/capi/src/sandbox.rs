//! Calls, buffers, and what is known of a sandbox.

use crate::builder::Backend;
use crate::error::{Failure, Status, bytes, bytes_mut, free, guard, object, shared, take, text};
use crate::values::{Slice, Values};
use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};
use vcpu_host::backend::BackendKind;
use vcpu_host::embed::{self, Buffer, CallError};

/// A guest whose functions are called. It may be used by one thread at a time, any; a second one is refused, and so is
/// a function of the host's that the guest has called.
#[derive(Debug)]
pub struct Sandbox(Mutex<vcpu_host::Sandbox>);

impl Sandbox {
    pub(crate) fn new(sandbox: vcpu_host::Sandbox) -> Sandbox {
        Sandbox(Mutex::new(sandbox))
    }

    /// The sandbox, if nobody uses it.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, vcpu_host::Sandbox>, Failure> {
        match self.0.try_lock() {
            Ok(sandbox) => Ok(sandbox),
            Err(TryLockError::Poisoned(sandbox)) => Ok(sandbox.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Status::Invalid,
                "the sandbox is in use, by another thread or by the call that this is a part of; wait for its end",
            )),
        }
    }
}

/// What was counted of a sandbox since it was built.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Calls of the guest's functions, buffers made and freed included.
    pub calls: u64,
    /// Calls without a result.
    pub failed: u64,
    /// Calls that have ended the guest; they are among those without a result.
    pub ended: u64,
    /// Bytes of requests, to the guest.
    pub bytes_in: u64,
    /// Bytes of replies, from the guest.
    pub bytes_out: u64,
    /// Calls of the host's functions by the guest.
    pub host_calls: u64,
    /// Calls of functions that the guest was not granted; they are among those of the host's functions.
    pub refused: u64,
    /// How often it was reset.
    pub resets: u64,
}

impl From<embed::Metrics> for Metrics {
    fn from(other: embed::Metrics) -> Metrics {
        Metrics {
            calls: other.calls,
            failed: other.failed,
            ended: other.ended,
            bytes_in: other.bytes_in,
            bytes_out: other.bytes_out,
            host_calls: other.host_calls,
            refused: other.refused,
            resets: other.resets,
        }
    }
}

/// Ends a guest and frees its sandbox; a null pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_builder_build` and is not used any more, by any thread or call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_free(sandbox: *mut Sandbox) {
    // SAFETY: as the function's contract says.
    free(|| unsafe { take(sandbox) });
}

/// Whether the guest's functions can be called now: no call has ended it, and the sandbox is not in use. False if the
/// sandbox is null.
///
/// # Safety
///
/// The sandbox exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_is_alive(sandbox: *const Sandbox) -> bool {
    // SAFETY: as the function's contract says.
    unsafe { shared(sandbox) }.is_ok_and(|sandbox| sandbox.lock().is_ok_and(|sandbox| sandbox.is_alive()))
}

/// Gives the identifier of the guest's process, a child of this one that is the library's to wait for. A reset
/// changes it. The dead have none: `VCPU_STATUS_DEAD`.
///
/// # Safety
///
/// The sandbox exists, and the place for the identifier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_pid(sandbox: *const Sandbox, pid: *mut i32) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, pid) = unsafe { (shared(sandbox)?, object(pid)?) };
        let mut sandbox = sandbox.lock()?;
        if !sandbox.is_alive() {
            return Err(CallError::Dead.into());
        }
        *pid = sandbox.pid();
        Ok(())
    })
}

/// Gives the backend that runs it, which is not `VCPU_BACKEND_AUTO`.
///
/// # Safety
///
/// The sandbox exists, and the place for the backend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_backend(sandbox: *const Sandbox, backend: *mut Backend) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        // The place is that of a number: what it holds before need not be a backend.
        let (sandbox, backend) = unsafe { (shared(sandbox)?, object(backend.cast::<u32>())?) };
        *backend = match sandbox.lock()?.backend() {
            BackendKind::Auto => Backend::Auto,
            BackendKind::Ptrace => Backend::Ptrace,
            BackendKind::Seccomp => Backend::Seccomp,
        } as u32;
        Ok(())
    })
}

/// Gives what was counted of it, alive or not, over all its resets.
///
/// # Safety
///
/// The sandbox exists, and the place for the counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_metrics(sandbox: *const Sandbox, metrics: *mut Metrics) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, metrics) = unsafe { (shared(sandbox)?, object(metrics)?) };
        *metrics = sandbox.lock()?.metrics().into();
        Ok(())
    })
}

/// Calls a function of the guest's. The argument may be null, for a function that takes `()`; all of its values are
/// taken, whatever was read of them. The result may be null, if it is of no interest; it cannot be the
/// argument, and is left as it was if the call fails. Whoever calls waits for the guest, at most as long as
/// `vcpu_builder_call_deadline` says.
///
/// # Safety
///
/// The sandbox and the name exist, and argument and result if they are not null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_call(
    sandbox: *const Sandbox,
    name: *const c_char,
    argument: *const Values,
    result: *mut Values,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, name) = unsafe { (shared(sandbox)?, text(name)?) };
        if ptr::eq(argument, result) && !result.is_null() {
            return Err(Failure::new(
                Status::Invalid,
                "the result cannot be the argument; give other values",
            ));
        }
        // SAFETY: as above.
        let argument = unsafe { argument.as_ref() }.map_or(&[][..], |argument| &argument.bytes);
        let mut sandbox = sandbox.lock()?;
        let given = sandbox.call_encoded(name, argument)?;
        // SAFETY: as above.
        if let Some(result) = unsafe { result.as_mut() } {
            result.bytes.clear();
            result.bytes.extend_from_slice(given);
            result.read = 0;
        }
        Ok(())
    })
}

/// Makes a buffer of zeros in the guest's memory, of `length` bytes, at least one. It is there until
/// `vcpu_sandbox_release` frees it, or the guest ends.
///
/// # Safety
///
/// The sandbox exists, and the place for the slice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_allocate(
    sandbox: *const Sandbox,
    length: usize,
    buffer: *mut Slice,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, buffer) = unsafe { (shared(sandbox)?, object(buffer)?) };
        *buffer = sandbox.lock()?.allocate(length)?.slice().into();
        Ok(())
    })
}

/// Frees a buffer: one that was made, or that the guest has handed over.
///
/// # Safety
///
/// The sandbox exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_release(sandbox: *const Sandbox, buffer: Slice) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let sandbox = unsafe { shared(sandbox) }?;
        Ok(sandbox.lock()?.free(Buffer::from(embed::Slice::from(buffer)))?)
    })
}

/// Copies bytes out of a slice, from `offset` on.
///
/// # Safety
///
/// The sandbox exists, and room for so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_read(
    sandbox: *const Sandbox,
    from: Slice,
    offset: u64,
    data: *mut u8,
    length: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, data) = unsafe { (shared(sandbox)?, bytes_mut(data, length)?) };
        Ok(sandbox.lock()?.read(from.into(), offset, data)?)
    })
}

/// Copies bytes into a slice, from `offset` on.
///
/// # Safety
///
/// The sandbox exists, and so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_write(
    sandbox: *const Sandbox,
    to: Slice,
    offset: u64,
    data: *const u8,
    length: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, data) = unsafe { (shared(sandbox)?, bytes(data, length)?) };
        Ok(sandbox.lock()?.write(to.into(), offset, data)?)
    })
}
