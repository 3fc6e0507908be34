//! [`OnceLock`]: a value that is set once.

use super::once::Once;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;

/// A cell that can be written once, and then read by all.
///
/// If a thread dies while it computes the value, the cell stays empty, and the next one may try.
///
/// ```no_run
/// use libvcpu::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// let name = NAME.get_or_init(|| String::from("guest"));
/// assert_eq!(name, "guest");
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Initialised exactly if `once` is completed.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one thread, under `once`, and read by others, as `Sync` allows; and a
// thread that only shares the cell may take what another one set, as `Send` allows.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty cell.
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is completed, so the value is initialised and will not be written again while
        // the cell is borrowed.
        self.once.is_completed().then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, if there is one.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: it is completed, so the value is initialised.
        self.once.is_completed().then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// `value`, if there is a value already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("the cell asks once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; if there is none yet, the one that `init` computes. One thread computes, the others wait.
    ///
    /// # Panics
    ///
    /// If `init` asks the same cell.
    #[inline]
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, init: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let value = init();
            // SAFETY: nobody reads before `once` is completed, and it runs one function at a time.
            unsafe { (*self.value.get()).write(value) };
        });
        self.get().expect("it was initialised above")
    }

    /// Waits until there is a value.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("that was waited for")
    }

    /// Takes the value out; the cell is empty then.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_completed() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was completed, so the value was initialised; now nobody takes it for that.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }

    /// The value, if there is one.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        self.take();
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let cell = OnceLock::new();
        let _ = cell.set(value);
        cell
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get().cloned().map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
