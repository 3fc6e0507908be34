//! Threads that borrow from the one that made them, as `std::thread::scope`.

use super::{Builder, JoinHandle, Result, SpawnError, Thread, ThreadId};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// Where scoped threads are spawned.
pub struct Scope<'scope, 'env: 'scope> {
    /// Threads that may not be over, each with whether somebody joins it.
    open: Mutex<Vec<(Thread, bool)>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The right to wait for a scoped thread's end.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    open: &'scope Mutex<Vec<(Thread, bool)>>,
}

/// Runs `function`, and returns when all threads are over that it spawned in its scope, so that these may
/// borrow what lives longer than the scope.
///
/// # Panics
///
/// If a thread of the scope died and nobody joined it.
pub fn scope<'env, F, T>(function: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { open: Mutex::new(Vec::new()), scope: PhantomData, env: PhantomData };
    let result = function(&scope);
    let mut is_well = true;
    loop {
        let Some(thread) = lock(&scope.open).last().map(|(thread, _)| thread.clone()) else { break };
        // It cannot time out.
        let _ = thread.0.join(None);
        let is_joined = remove(&scope.open, thread.id()).unwrap_or(true);
        is_well &= is_joined || thread.0.death().is_none();
    }
    assert!(is_well, "a scoped thread panicked");
    result
}

fn lock(open: &Mutex<Vec<(Thread, bool)>>) -> MutexGuard<'_, Vec<(Thread, bool)>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a thread out of the list, and gives whether somebody joins it; none if it is not in the list.
fn remove(open: &Mutex<Vec<(Thread, bool)>>, id: ThreadId) -> Option<bool> {
    let mut open = lock(open);
    let place = open.iter().position(|(thread, _)| thread.id() == id)?;
    Some(open.swap_remove(place).1)
}

impl<'scope> Scope<'scope, '_> {
    /// Creates a thread in the scope.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    pub fn spawn<F, T>(&'scope self, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new().spawn_scoped(self, function).expect("failed to spawn a thread")
    }
}

impl Builder {
    /// Creates a thread in a scope.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] if there is no memory for it.
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        function: F,
    ) -> core::result::Result<ScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let begins = !self.options.suspended;
        let handle = {
            let mut open = lock(&scope.open);
            open.try_reserve(1).map_err(|_| SpawnError)?;
            // SAFETY: it does not run before it is in the list, whatever becomes of this thread; and `scope`
            // waits for all in the list before it returns. What is borrowed lives longer.
            let handle = unsafe { self.suspended().spawn_unchecked(function) }?;
            open.push((handle.thread().clone(), false));
            handle
        };
        if begins {
            handle.thread().resume();
        }
        Ok(ScopedJoinHandle { handle, open: &scope.open })
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread.
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Whether the thread is over.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the thread's end and gives its result.
    ///
    /// # Errors
    ///
    /// What it died of: a `String` in the box.
    pub fn join(self) -> Result<T> {
        let id = self.thread().id();
        // It stays in the list until it is over: whoever joins might die before.
        for (thread, is_joined) in lock(self.open).iter_mut() {
            *is_joined |= thread.id() == id;
        }
        // It cannot time out.
        let _ = self.thread().0.join(None);
        remove(self.open, id);
        self.handle.join()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScopedJoinHandle").finish_non_exhaustive()
    }
}
