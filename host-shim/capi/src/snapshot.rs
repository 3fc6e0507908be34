//! Snapshots, and reset.

use crate::error::{Failure, Status, free, give, guard, object, shared, take};
use crate::sandbox::Sandbox;
use vcpu_host::embed;

/// Most guests that are kept ready.
const READY_MAX: usize = 1024;

/// The state of a guest, with which others begin. It may be used by several threads at once.
#[derive(Debug)]
pub struct Snapshot(embed::Snapshot);

impl Snapshot {
    pub(crate) fn builder(&self) -> embed::SandboxBuilder {
        self.0.builder()
    }
}

/// Keeps the state of the guest, which goes on. To be freed by `vcpu_snapshot_free`, before or after the sandbox.
///
/// # Safety
///
/// The sandbox exists, and the place for the snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_snapshot(sandbox: *const Sandbox, taken: *mut *mut Snapshot) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, taken) = unsafe { (shared(sandbox)?, object(taken)?) };
        give(taken, Snapshot(sandbox.lock()?.snapshot()?));
        Ok(())
    })
}

/// Puts a new guest, which begins with the snapshot's state, in place of this one, alive or not. Streams, grants,
/// functions and limits stay those of this sandbox; limits begin anew. Buffers of the old guest are gone.
///
/// # Safety
///
/// The sandbox and the snapshot exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_sandbox_reset(sandbox: *const Sandbox, snapshot: *const Snapshot) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (sandbox, snapshot) = unsafe { (shared(sandbox)?, shared(snapshot)?) };
        Ok(sandbox.lock()?.reset(&snapshot.0)?)
    })
}

/// Keeps so many guests ready to be used, at most 1024; 0, which is so at first, ends those that are. A thread of the
/// library makes them, each with a process and as much memory as `vcpu_snapshot_touched` says.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_keep_ready(snapshot: *const Snapshot, count: usize) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let snapshot = unsafe { shared(snapshot) }?;
        if count > READY_MAX {
            return Err(Failure::new(
                Status::Invalid,
                format_args!("{count} guests cannot be kept ready; keep at most {READY_MAX}"),
            ));
        }
        Ok(snapshot.0.keep_ready(count)?)
    })
}

/// Waits until as many guests are ready as are to be kept.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_wait_until_ready(snapshot: *const Snapshot) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| Ok(unsafe { shared(snapshot) }?.0.wait_until_ready()?))
}

/// How many guests are ready; 0 if the snapshot is null.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_ready(snapshot: *const Snapshot) -> usize {
    // SAFETY: as the function's contract says.
    unsafe { shared(snapshot) }.map_or(0, |snapshot| snapshot.0.ready())
}

/// Bytes of memory that the guest had touched, of which every guest that begins here has a copy; 0 if the snapshot is
/// null.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_touched(snapshot: *const Snapshot) -> u64 {
    // SAFETY: as the function's contract says.
    unsafe { shared(snapshot) }.map_or(0, |snapshot| snapshot.0.touched())
}

/// Frees a snapshot, which builders and sandboxes do not need any more, and ends the guests that it keeps ready; a null
/// pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_sandbox_snapshot` and is not used any more, by any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_snapshot_free(snapshot: *mut Snapshot) {
    // SAFETY: as the function's contract says.
    free(|| unsafe { take(snapshot) });
}
