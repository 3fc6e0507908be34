//! Blocking objects: what threads wait for, without the data that it guards.
//!
//! The policy keeps a record of each object and decides who waits and who goes on
//! ([`vcpu_kernel_core::policy`]); the objects here are the handles of those records, and carry the
//! decisions out. All of them are made by a `const fn`, so any can be a `static`; the record is created by
//! the first use (`registration.rs`). The library above puts data and guards around them.
//!
//! | object | what it is |
//! |---|---|
//! | [`RawMutex`] | one owner, who inherits the importance of those who wait |
//! | [`RawCondition`] | waiting with a mutex given up |
//! | [`RawReadWriteLock`] | many readers or one writer |
//! | [`RawSemaphore`] | a number of permits |
//! | [`RawBarrier`] | a number of threads wait for each other |
//! | [`RawEventGroup`] | waiting for any or all of 32 events |
//! | [`RawTimer`] | due once, or again and again |
//!
//! Deadlines are in ns of the [clock](crate::clock); without one, the wait is for as long as it takes. What
//! succeeds without waiting succeeds after its deadline too.
//!
//! # With events off
//!
//! In a handler function, and in a section without events, nobody can wait: what would have to panics.
//! Everything else works there. The first use of an object may allocate, so it should come before. A mutex
//! or a lock that is locked in a handler function belongs to the interrupted thread; if there was none, it is
//! not to be had.
//!
//! # Cost
//!
//! Where nobody has to wait and nobody is woken, locking, unlocking, acquiring and releasing are inlined and
//! are a few dozen instructions with events off; a [`RawMutex`] takes a few instructions, and the policy is not asked.
//! They look at no clock and switch to nobody. Only unlocking a [`RawReadWriteLock`] always takes the longer way,
//! through a decision.

mod barrier;
mod condition;
mod event_group;
mod mutex;
mod read_write_lock;
mod registration;
mod semaphore;
mod timer;

pub use crate::scheduler::TimedOut;
pub use barrier::RawBarrier;
pub use condition::RawCondition;
pub use event_group::RawEventGroup;
pub use mutex::{LockError, RawMutex};
pub use read_write_lock::RawReadWriteLock;
pub use registration::OutOfMemory;
pub use semaphore::RawSemaphore;
pub use timer::RawTimer;
pub use vcpu_kernel_core::policy::Busy;
pub use vcpu_kernel_core::read_write_lock::Access;
pub use vcpu_kernel_core::semaphore::TooManyPermits;
pub use vcpu_kernel_core::thread::Wanted;

/// Whether a thread died with the lock, and nobody has said since that what it guards is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what a poisoned lock guards may be half changed"]
pub struct Poisoned(pub bool);
