//! From an object to its record in the policy.
//!
//! An object is made by a `const fn` and can move, so the record is created by its first use, and found by
//! number, never by address. Room for records is made with events on, because the heap may have to be waited
//! for; whoever is faster meanwhile does no harm.
//!
//! When an object is dropped, its record is removed. Nobody can wait for it then, since who waits borrows
//! the object. But a lock can still be locked, if its guard was forgotten. The record then stays for ever:
//! its owner's death will still find it, and all that is lost is its place.

use crate::rooms;
use crate::scheduler;
use core::cell::UnsafeCell;
use core::fmt;
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};

/// There is no memory for the record of a blocking object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is no memory for another blocking object")
    }
}

impl core::error::Error for OutOfMemory {}

/// A record of the policy's that belongs to an object.
pub(super) trait Record: Sized {
    /// What room is needed for it.
    const KIND: Kind;

    /// What it is created from.
    type Parameters: Copy;

    fn create(policy: &mut Policy, parameters: Self::Parameters) -> Result<Id<Self>, Full>;

    fn remove(policy: &mut Policy, id: Id<Self>) -> Result<(), Busy>;
}

/// What an object knows of its record.
#[derive(Debug)]
pub(super) struct Registration<T: Record> {
    parameters: T::Parameters,
    /// Touched by who has the policy only, and so with events off.
    id: UnsafeCell<Option<Id<T>>>,
}

// SAFETY: `id` is read with a reference to the policy and written with a mutable one. There is one policy,
// and whoever has a reference to it is alone. Parameters are constant.
unsafe impl<T: Record<Parameters: Sync>> Sync for Registration<T> {}

impl<T: Record> Registration<T> {
    /// No record yet.
    pub(super) const fn new(parameters: T::Parameters) -> Registration<T> {
        Registration { parameters, id: UnsafeCell::new(None) }
    }

    /// The number of the record, if there is one already.
    #[inline(always)]
    pub(super) fn get(&self, _: &Policy) -> Option<Id<T>> {
        // SAFETY: who has the policy is alone.
        unsafe { *self.id.get() }
    }

    /// The number of the record, which is created now if it was not before.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    #[cold]
    pub(super) fn ensure(&self) -> Id<T> {
        loop {
            match scheduler::quick(|policy| self.register(policy)) {
                Ok(id) => return id,
                Err(Full) => make_room(T::KIND),
            }
        }
    }

    /// Creates the record if there is none.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if there is no memory for it.
    #[inline]
    pub(super) fn prepare(&self) -> Result<(), OutOfMemory> {
        if scheduler::quick(|policy| self.get(policy)).is_some() { Ok(()) } else { self.prepare_first() }
    }

    #[cold]
    fn prepare_first(&self) -> Result<(), OutOfMemory> {
        while let Err(Full) = scheduler::quick(|policy| self.register(policy)) {
            rooms::make(T::KIND).map_err(|_| OutOfMemory)?;
        }
        Ok(())
    }

    /// Removes the record; the next use creates another.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody has the object or waits for it. Nothing changed.
    pub(super) fn reset(&self) -> Result<(), Busy> {
        scheduler::quick(|policy| {
            let Some(id) = self.get(policy) else { return Ok(()) };
            T::remove(policy, id)?;
            // SAFETY: who has the policy is alone.
            unsafe { *self.id.get() = None };
            Ok(())
        })
    }

    fn register(&self, policy: &mut Policy) -> Result<Id<T>, Full> {
        if let Some(id) = self.get(policy) {
            return Ok(id);
        }
        let id = T::create(policy, self.parameters)?;
        // SAFETY: who has the policy is alone.
        unsafe { *self.id.get() = Some(id) };
        Ok(id)
    }
}

impl<T: Record> Drop for Registration<T> {
    fn drop(&mut self) {
        if let Some(id) = *self.id.get_mut() {
            // If it is busy, it stays.
            let _ = scheduler::quick(|policy| T::remove(policy, id));
        }
    }
}

/// Gives an object the two functions by which its record can be had early, and be given back.
macro_rules! record_functions {
    ($object:ty) => {
        impl $object {
            /// Creates the object's record now, so that its use never needs memory for that.
            ///
            /// # Errors
            ///
            /// [`OutOfMemory`](super::OutOfMemory) if there is no memory for it.
            #[inline]
            pub fn prepare(&self) -> Result<(), super::OutOfMemory> {
                self.record.prepare()
            }

            /// Gives the object's record back, as dropping it would. It can still be used: it is as new then.
            ///
            /// # Errors
            ///
            /// [`Busy`](super::Busy) if somebody has the object or waits for it. Nothing changed.
            pub fn reset(&self) -> Result<(), super::Busy> {
                self.record.reset()
            }
        }
    };
}

pub(super) use record_functions;

/// Makes room for more of a kind.
///
/// # Panics
///
/// If there is no memory for it.
#[cold]
pub(super) fn make_room(kind: Kind) {
    if let Err(error) = rooms::make(kind) {
        panic!("no room for another {kind:?}: {error}");
    }
}
