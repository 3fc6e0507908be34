//! [`Once`]: an initialisation that happens once.
//!
//! A mutex is locked while the initialisation runs, so whoever waits for it makes the thread that does it as
//! important as itself; and if that thread dies, the kernel poisons the mutex, and thereby the `Once`.

use super::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use core::fmt;
use vcpu_kernel::sync::{Poisoned, RawCondition, RawMutex};

/// Runs something once, whichever thread comes first; the others wait until it is done.
///
/// ```no_run
/// use libvcpu::sync::Once;
///
/// static PREPARED: Once = Once::new();
///
/// PREPARED.call_once(|| libvcpu::println!("this is printed once"));
/// ```
pub struct Once {
    is_completed: AtomicBool,
    /// Owned while the initialisation runs.
    mutex: RawMutex,
    /// On which those wait that came before anybody began.
    begun: RawCondition,
}

/// What [`Once::call_once_force`] tells its function.
#[derive(Debug)]
pub struct OnceState {
    is_poisoned: bool,
}

impl OnceState {
    /// Whether a thread died in an earlier attempt.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }
}

impl Once {
    /// Nothing has run yet.
    #[must_use]
    pub const fn new() -> Once {
        Once { is_completed: AtomicBool::new(false), mutex: RawMutex::new(), begun: RawCondition::new() }
    }

    /// Runs `action` unless something has run to its end. When this returns, something has.
    ///
    /// # Panics
    ///
    /// If a thread died in an attempt, or if `action` calls this again.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, action: F) {
        if !self.is_completed() {
            self.call(false, |_| action());
        }
    }

    /// As [`call_once`](Once::call_once), also if a thread died in an attempt before.
    ///
    /// # Panics
    ///
    /// If `action` calls this again.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, action: F) {
        if !self.is_completed() {
            self.call(true, action);
        }
    }

    /// Whether something has run to its end.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.is_completed.load(Acquire)
    }

    /// Waits until something has run to its end.
    ///
    /// # Panics
    ///
    /// If a thread died in an attempt.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_for(false);
    }

    /// As [`wait`](Once::wait), also if a thread died in an attempt: then for the next one.
    #[track_caller]
    pub fn wait_force(&self) {
        self.wait_for(true);
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, action: impl FnOnce(&OnceState)) {
        let poisoned = self.lock(force);
        if !self.is_completed() {
            // Whoever is woken now waits for the mutex, and so hands on its importance.
            self.begun.notify_all();
            action(&OnceState { is_poisoned: poisoned.0 });
            self.is_completed.store(true, Release);
        }
        self.mutex.unlock();
    }

    #[track_caller]
    fn wait_for(&self, force: bool) {
        if self.is_completed() {
            return;
        }
        let _ = self.lock(force);
        while !self.is_completed() {
            // Without a deadline it cannot time out.
            let _ = self.begun.wait(&self.mutex, None);
            self.check(force, self.mutex.poisoned());
        }
        self.mutex.unlock();
    }

    #[track_caller]
    fn lock(&self, force: bool) -> Poisoned {
        let poisoned = self.mutex.lock();
        self.check(force, poisoned);
        poisoned
    }

    /// Panics, with the mutex unlocked, if an attempt failed and nobody cares to force another.
    #[track_caller]
    fn check(&self, force: bool, poisoned: Poisoned) {
        if poisoned.0 && !force && !self.is_completed() {
            self.mutex.unlock();
            panic!("a thread died while it initialised this `Once`");
        }
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Once").finish_non_exhaustive()
    }
}
