//! Threads that borrow from the one that made them, as `std::thread::scope`.

use super::{Builder, JoinHandle, Result, SpawnError, Thread};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// Where scoped threads are spawned.
pub struct Scope<'scope, 'env: 'scope> {
    /// Threads that nobody has joined.
    open: Mutex<Vec<Thread>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The right to wait for a scoped thread's end.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    open: &'scope Mutex<Vec<Thread>>,
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
        let Some(thread) = lock(&scope.open).pop() else { break };
        // It cannot time out.
        let _ = thread.0.join(None);
        is_well &= thread.0.death().is_none();
    }
    assert!(is_well, "a scoped thread panicked");
    result
}

fn lock(open: &Mutex<Vec<Thread>>) -> MutexGuard<'_, Vec<Thread>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Room first: once the thread exists, it must be in the list.
        lock(&scope.open).try_reserve(1).map_err(|_| SpawnError)?;
        // SAFETY: `scope` waits for the thread before it returns, and what is borrowed lives longer.
        let handle = unsafe { self.spawn_unchecked(function) }?;
        lock(&scope.open).push(handle.thread().clone());
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
        lock(self.open).retain(|thread| thread.id() != id);
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
