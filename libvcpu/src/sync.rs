//! Threads that share: locks, signals and channels, with the names and behaviour of `std::sync`.
//!
//! | what for | type |
//! |---|---|
//! | one at a time | [`Mutex`] |
//! | many readers or one writer | [`RwLock`] |
//! | waiting until something has changed | [`Condvar`], [`EventGroup`] |
//! | a number of permits | [`Semaphore`] |
//! | waiting for each other | [`Barrier`] |
//! | once, whoever comes first | [`Once`], [`OnceLock`], [`LazyLock`] |
//! | handing values over | [`Channel`], [`mpsc`] |
//! | owning together | [`Arc`], [`Weak`] |
//! | single numbers | [`atomic`] |
//!
//! Everything that can wait also comes with a deadline, as `…_timeout` with a
//! [`Duration`](core::time::Duration) and as `…_until` with an [`Instant`](crate::time::Instant). All but the
//! channels of [`mpsc`], which are as long as the program says while it runs, can be a `static`.
//!
//! # What differs from `std`
//!
//! - Who waits is served by priority, and by time of arrival within a priority. What is released belongs to
//!   the first who waits; nobody can overtake it. While a thread holds a [`Mutex`], it is as important as
//!   the most important thread that waits for it.
//! - A panic does not unwind. A thread that dies keeps its values, and nobody drops them; the kernel gives
//!   its locks to the next who waits, and *poisons* them, unless it only read. So a lock is poisoned exactly
//!   if somebody died with it.
//! - Waiting for a [`Mutex`] that could never be unlocked, because its owner waits for this thread, panics
//!   instead.
//!
//! # In event handler functions
//!
//! What may have to wait panics there if it would have to. What cannot wait works: everything that begins
//! with `try_`, notifying, releasing permits, setting events, and sending to a channel that has room. The
//! first use of each object may allocate, so it must come before, in a thread.

mod barrier;
mod channel;
mod condvar;
mod event_group;
mod lazy_lock;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod queue;
mod rw_lock;
mod semaphore;

pub use alloc::sync::{Arc, Weak};
pub use barrier::{Barrier, BarrierWaitResult};
pub use channel::Channel;
pub use condvar::{Condvar, WaitTimeoutResult};
pub use core::sync::atomic;
pub use event_group::{EventGroup, Events};
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use poison::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};
pub use vcpu_kernel::sync::{TimedOut, TooManyPermits};
