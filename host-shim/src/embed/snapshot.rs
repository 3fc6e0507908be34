//! Snapshots: the state of a guest after its start, and sandboxes that begin with it.

use super::pool::Pool;
use super::{CallError, Sandbox, SandboxBuilder};
use crate::machine::exchange::Limits;
use crate::machine::snapshot::Saved;
use crate::{Error, Image};
use std::sync::Arc;

/// The state of a guest that waits for a call, kept so that other sandboxes can begin with it, or the same one
/// again. Clones are the same snapshot.
///
/// Everything that the guest is belongs to it: memory, rights of pages, registers, extended state, timers, and what
/// its clock says, which goes on from there. What it was *given* does not: streams, grants and functions are those
/// of each sandbox. Random numbers come from the host one by one, so two guests of a snapshot draw different ones;
/// what a guest has drawn before the snapshot, such as a seed, all its guests have.
///
/// A new guest is a new process with memory of its own, so nothing of a guest that was hostile is left in one that
/// was reset. What that takes can be done beforehand: see [`keep_ready`](Snapshot::keep_ready).
///
/// ```no_run
/// use vcpu_host::{Image, Sandbox};
/// let image = Image::open("thumbnail.elf")?;
/// let mut sandbox = Sandbox::builder(&image).build()?;
/// let snapshot = sandbox.snapshot()?;
/// snapshot.keep_ready(4)?;
/// loop {
///     // ... one request ...
///     sandbox.reset(&snapshot)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    pool: Arc<Pool>,
    /// Those of the sandbox of which it was taken.
    limits: Limits,
}

impl Snapshot {
    /// What a new sandbox is given that begins with this state: streams, grants and functions. Calls have the same
    /// deadline and the same limit of replies as those of the first sandbox, unless it is said. Its grants must
    /// have the names and kinds of those of the guest that the snapshot was taken of. Memory, arguments,
    /// environment, clock and backend are that guest's, whatever is said to the builder.
    pub fn builder(&self) -> SandboxBuilder {
        SandboxBuilder::of_snapshot(self.clone())
    }

    /// Keeps so many guests ready to be used. A thread makes them, and ends those that were reset; each takes the
    /// memory that [`touched`](Snapshot::touched) says, and a process. With none, which is so at first, a
    /// reset takes as long as that work.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn keep_ready(&self, count: usize) -> Result<(), Error> {
        self.pool.keep(count)
    }

    /// How many guests are ready.
    pub fn ready(&self) -> usize {
        self.pool.ready()
    }

    /// Waits until as many guests are ready as are to be kept.
    ///
    /// # Errors
    ///
    /// If the system refuses to start one.
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        self.pool.fill()
    }

    /// The image.
    pub fn image(&self) -> &Image {
        self.pool.saved().image()
    }

    /// Bytes of memory that the guest had touched, in whole pages; every guest that begins here has a copy.
    pub fn touched(&self) -> u64 {
        self.pool.saved().touched()
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

impl Sandbox {
    /// Keeps the state of the guest, which waits for a call.
    ///
    /// # Errors
    ///
    /// [`CallError::Dead`] if there is none, and [`CallError::System`] if it has files open in a granted directory,
    /// or the system refuses something.
    pub fn snapshot(&mut self) -> Result<Snapshot, CallError> {
        if !self.lives {
            return Err(CallError::Dead);
        }
        let saved = self.place.with(Saved::of)?;
        Ok(Snapshot { pool: Arc::new(Pool::new(saved)), limits: self.limits })
    }

    /// Puts a new guest, which begins with the snapshot's state, in place of this one, alive or not. Streams,
    /// grants and functions stay those of this sandbox.
    ///
    /// # Errors
    ///
    /// If its grants are not those of the guest of which the snapshot was taken; then the sandbox is as it was. If
    /// the system refuses something; then the sandbox is as it was, or [dead](CallError::Dead).
    pub fn reset(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.place.with(|machine| machine.check_given(snapshot.pool().saved()))?;
        let mut place = snapshot.pool().take()?;
        let given = self.place.with(|machine| machine.give_up());
        self.lives = false;
        place.with(|machine| machine.take_over(given, snapshot.pool().saved()))?;
        let used = std::mem::replace(&mut self.place, place);
        self.image = snapshot.image().clone();
        self.lives = true;
        self.metrics.resets += 1;
        snapshot.pool().give_back(used);
        tracing::debug!(image = %self.image.path().display(), "a sandbox was reset");
        Ok(())
    }
}
