//! Thread-local variables, as `std::thread_local!` makes them: each thread initialises its own on first
//! use, and drops it when it ends (not when it dies or [exits](super::exit)).
//!
//! A handler function has no access: it may have interrupted its thread in the middle of a change.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use vcpu_kernel::{event, thread as kernel};

/// Declares variables of which each thread has its own; see `std`'s macro of this name.
///
/// ```no_run
/// # #![no_std]
/// # #![no_main]
/// # use libvcpu::prelude::*;
/// # entry!(main);
/// use core::cell::Cell;
/// libvcpu::thread_local! {
///     static DEPTH: Cell<u32> = const { Cell::new(0) };
/// }
/// fn main() {
///     DEPTH.set(DEPTH.get() + 1);
/// }
/// ```
#[macro_export]
macro_rules! thread_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $initial:block $(; $($rest:tt)*)?) => {
        $crate::thread_local!($(#[$attribute])* $visibility static $name: $type = $initial);
        $($crate::thread_local!($($rest)*);)?
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $visibility static $name: $crate::thread::LocalKey<$type> = {
            fn initial() -> $type {
                $initial
            }
            $crate::thread::LocalKey::new(initial)
        };
        $($crate::thread_local!($($rest)*);)?
    };
}

/// A variable of which each thread has its own.
pub struct LocalKey<T: 'static> {
    /// Place among a thread's variables, counted from 1; 0 if nobody has used it yet.
    place: AtomicUsize,
    initial: fn() -> T,
}

/// The thread's variable is not to be had: its thread ends and it is gone already, or a handler function asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the thread-local variable is gone already, or a handler function asks for it")
    }
}

impl core::error::Error for AccessError {}

/// The next place to give out.
static PLACES: AtomicUsize = AtomicUsize::new(1);

/// A thread's variables by their places; its word in the kernel points here.
struct Variables {
    all: RefCell<Vec<Variable>>,
}

#[derive(Clone, Copy)]
enum Variable {
    Unused,
    /// A box, and how to drop it.
    Used(*mut (), unsafe fn(*mut ())),
    Gone,
}

/// Stands for the word of a thread whose variables are all gone.
static ENDED: u8 = 0;

fn ended() -> *mut () {
    (&raw const ENDED).cast_mut().cast()
}

/// The calling thread's variables; none at its very end.
fn variables() -> Option<&'static Variables> {
    let mut word = kernel::local();
    if word == ended() {
        return None;
    }
    if word.is_null() {
        kernel::set_local_end(end);
        let fresh = Variables { all: RefCell::new(Vec::new()) };
        word = Box::into_raw(Box::new(fresh)).cast();
        kernel::set_local(word);
    }
    // SAFETY: the word is the thread's own and points to what was allocated above, until `end`.
    Some(unsafe { &*word.cast::<Variables>() })
}

/// Drops the variables of a thread that ends. What destructors use anew is dropped as well; what is
/// gone stays gone.
fn end(word: *mut ()) {
    // SAFETY: `variables` made the word.
    let variables = unsafe { &*word.cast::<Variables>() };
    let next = || {
        let mut all = variables.all.borrow_mut();
        let used = all.iter_mut().find(|variable| matches!(variable, Variable::Used(..)))?;
        Some(core::mem::replace(used, Variable::Gone))
    };
    while let Some(Variable::Used(value, drop)) = next() {
        // SAFETY: `try_with` boxed the value and stored the function that fits; it is out of the list.
        unsafe { drop(value) };
    }
    kernel::set_local(ended());
    // SAFETY: made by `Box::into_raw`, and the thread's word leads here no more.
    drop(unsafe { Box::from_raw(word.cast::<Variables>()) });
}

impl<T: 'static> LocalKey<T> {
    /// For [`thread_local!`](crate::thread_local).
    #[doc(hidden)]
    pub const fn new(initial: fn() -> T) -> LocalKey<T> {
        LocalKey { place: AtomicUsize::new(0), initial }
    }

    fn place(&self) -> usize {
        let place = self.place.load(Relaxed);
        if place != 0 {
            return place;
        }
        let fresh = PLACES.fetch_add(1, Relaxed);
        match self.place.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(place) => place,
        }
    }

    /// Runs `action` on the thread's variable.
    ///
    /// # Panics
    ///
    /// If the variable is gone, in a destructor at the thread's end; in a handler function.
    pub fn with<R>(&'static self, action: impl FnOnce(&T) -> R) -> R {
        match self.try_with(action) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs `action` on the thread's variable.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if it is gone, in a destructor at the thread's end; in a handler function.
    ///
    /// # Panics
    ///
    /// If computing the initial value needs the variable itself, or there is no memory for it.
    pub fn try_with<R>(&'static self, action: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        if event::is_handling() {
            return Err(AccessError);
        }
        let place = self.place();
        let variables = variables().ok_or(AccessError)?;
        let known = variables.all.borrow().get(place).copied().unwrap_or(Variable::Unused);
        let value: *mut T = match known {
            Variable::Used(value, _) => value.cast(),
            Variable::Gone => return Err(AccessError),
            Variable::Unused => {
                // Without a borrow: the initial value may need other variables, but not itself.
                let value = Box::into_raw(Box::new((self.initial)()));
                let mut all = variables.all.borrow_mut();
                if all.len() <= place {
                    all.resize(place + 1, Variable::Unused);
                }
                unsafe fn drop_box<T>(value: *mut ()) {
                    // SAFETY: `value` is a box of this type that nobody else knows any more.
                    drop(unsafe { Box::from_raw(value.cast::<T>()) });
                }
                if let Variable::Used(..) = all[place] {
                    panic!("a thread-local variable was used while it was initialised");
                }
                all[place] = Variable::Used(value.cast(), drop_box::<T>);
                value
            }
        };
        // SAFETY: the value lives until `end`, which the same thread calls after this has returned.
        Ok(action(unsafe { &*value }))
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the thread's value.
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// The thread's value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the thread's value and leaves the default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the thread's value and gives the one before.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Runs `action` with the thread's value borrowed.
    ///
    /// # Panics
    ///
    /// If it is borrowed mutably.
    pub fn with_borrow<R>(&'static self, action: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| action(&cell.borrow()))
    }

    /// Runs `action` with the thread's value borrowed mutably.
    ///
    /// # Panics
    ///
    /// If it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, action: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| action(&mut cell.borrow_mut()))
    }

    /// Sets the thread's value.
    ///
    /// # Panics
    ///
    /// If it is borrowed.
    pub fn set(&'static self, value: T) {
        self.with(|cell| drop(cell.replace(value)));
    }

    /// Takes the thread's value and leaves the default.
    ///
    /// # Panics
    ///
    /// If it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the thread's value and gives the one before.
    ///
    /// # Panics
    ///
    /// If it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
