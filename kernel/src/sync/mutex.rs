//! [`RawMutex`]: one owner at a time, who inherits the importance of those who wait.
//!
//! As long as nobody waits, the policy need not know who the owner is. So a free mutex is locked, and unlocked again,
//! by one instruction that exchanges a word of the mutex itself, with events on: there is one processor, so nothing
//! comes in the middle of it. Who wants a mutex that another thread has tells the policy, and from then on all is
//! up to that, until the mutex is unlocked and nobody waits.
//!
//! | the word | who owns the mutex |
//! |---|---|
//! | [`FREE`] | nobody |
//! | [`TOLD`] | the policy knows |
//! | [`KEPT`] | the policy knows, for good: it gives the mutex to those who wait on a condition variable |
//! | a [token](crate::thread::Thread::token) | that thread; if it is over, nobody, and the mutex is poisoned |

use super::Poisoned;
use super::registration::{OutOfMemory, Record, Registration};
use crate::scheduler::{self, TimedOut};
use crate::{event, thread};
use core::arch::asm;
use core::cell::Cell;
use core::fmt;
use vcpu_kernel_core::mutex::{Mutex, MutexId};
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};

/// A mutex without data. What it means is said in [`vcpu_kernel_core::mutex`].
#[derive(Debug)]
pub struct RawMutex {
    owner: Owner,
    record: Registration<Mutex>,
}

const FREE: u64 = 0;
const TOLD: u64 = 1;
const KEPT: u64 = 2;
const _: () = assert!(KEPT < thread::NO_TOKEN);

/// The word that says who owns a mutex. Whatever needs more than one look at it is done with events off.
#[derive(Debug)]
struct Owner(Cell<u64>);

// SAFETY: there is one processor, and the word is read or written by one instruction, or with events off.
unsafe impl Sync for Owner {}

impl Owner {
    /// Replaces the word if it is the expected one, and gives whether it was.
    #[inline(always)]
    fn exchange(&self, expected: u64, new: u64) -> bool {
        // A look costs less than an exchange that comes to nothing.
        if self.0.get() != expected {
            return false;
        }
        let found: u64;
        // SAFETY: the word may be written through a shared reference. What the mutex guards is not accessed across
        // this, because the compiler takes it for an access to all memory.
        unsafe {
            asm!("cmpxchg qword ptr [{}], {}", in(reg) self.0.as_ptr(), in(reg) new,
                 inout("rax") expected => found, options(nostack));
        }
        found == expected
    }

    /// The calling thread becomes the owner, if it is a thread and nobody is.
    #[inline(always)]
    fn enter(&self) -> bool {
        let token = scheduler::current().token();
        token != thread::NO_TOKEN && self.exchange(FREE, token)
    }

    /// The calling thread is the owner no more, if it was and the policy does not know.
    #[inline(always)]
    fn leave(&self) -> bool {
        self.exchange(scheduler::current().token(), FREE)
    }

    /// Whether the policy knows the owner.
    #[inline(always)]
    fn is_told(&self, _: &Policy) -> bool {
        matches!(self.0.get(), TOLD | KEPT)
    }

    /// Whether the policy does not know that a thread died with the mutex.
    fn is_left(&self, policy: &Policy) -> bool {
        let word = self.0.get();
        word > thread::NO_TOKEN && thread::with_token(policy, word).is_none()
    }
}

/// Why a mutex was not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockError {
    /// The deadline came first.
    TimedOut,
    /// It could never be: its owner waits, directly or through others, for the calling thread, or is that
    /// thread itself.
    Deadlock,
}

impl fmt::Display for LockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::TimedOut => TimedOut.fmt(formatter),
            LockError::Deadlock => formatter.write_str(
                "deadlock: this thread would wait for ever, because the mutex's owner is or waits for it",
            ),
        }
    }
}

impl core::error::Error for LockError {}

impl Record for Mutex {
    const KIND: Kind = Kind::Mutex;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<Mutex>, Full> {
        policy.create_mutex()
    }

    fn remove(policy: &mut Policy, id: Id<Mutex>) -> Result<(), Busy> {
        policy.remove_mutex(id)
    }
}

impl RawMutex {
    /// An unlocked mutex.
    #[must_use]
    pub const fn new() -> RawMutex {
        RawMutex { owner: Owner(Cell::new(FREE)), record: Registration::new(()) }
    }

    /// Creates the mutex's record now, so that its use never needs memory for that.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if there is no memory for it.
    #[inline]
    pub fn prepare(&self) -> Result<(), OutOfMemory> {
        self.record.prepare()
    }

    /// Gives the mutex's record back, as dropping it would. It can still be used: it is as new then.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody owns the mutex. Nothing changed.
    pub fn reset(&self) -> Result<(), Busy> {
        event::without(|| {
            let is_free = |policy: &mut Policy| {
                self.owner.0.get() == FREE || self.owner.is_told(policy) || self.owner.is_left(policy)
            };
            if !scheduler::quick(is_free) {
                return Err(Busy);
            }
            self.record.reset()?;
            self.owner.0.set(FREE);
            Ok(())
        })
    }

    /// Locks the mutex for the calling thread, which waits if need be.
    ///
    /// # Panics
    ///
    /// If the wait could never end, as when the thread owns the mutex already; if it would have to wait with
    /// events off.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Poisoned {
        match self.lock_until(None) {
            Ok(poisoned) => poisoned,
            Err(error) => panic!("{error}"),
        }
    }

    /// Locks the mutex for the calling thread, which waits until `deadline` (ns) if need be.
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`]; without a deadline, [`LockError::Deadlock`] instead.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off.
    #[inline]
    pub fn lock_until(&self, deadline: Option<u64>) -> Result<Poisoned, LockError> {
        match self.lock_if_free() {
            Some(poisoned) => Ok(poisoned),
            None => self.lock_contended(deadline),
        }
    }

    /// Locks the mutex for the calling thread if nobody owns it.
    #[must_use = "without the mutex, what it guards must not be touched"]
    #[inline]
    pub fn try_lock(&self) -> Option<Poisoned> {
        self.lock_if_free().or_else(|| self.lock_left())
    }

    /// Locks the mutex for the calling thread if nobody owns it; one that a thread died with may seem to be owned. The
    /// quickest way.
    #[must_use = "without the mutex, what it guards must not be touched"]
    #[inline(always)]
    pub fn lock_if_free(&self) -> Option<Poisoned> {
        if self.owner.enter() { Some(Poisoned(false)) } else { self.lock_told() }
    }

    /// Unlocks the mutex. If somebody waits, it is theirs, and a more important thread runs at once.
    ///
    /// # Panics
    ///
    /// If the calling thread does not own it.
    #[inline]
    pub fn unlock(&self) {
        if !self.owner.leave() {
            self.unlock_told();
        }
    }

    /// Whether a thread died with it, and nobody has said since that all is well.
    #[inline]
    pub fn poisoned(&self) -> Poisoned {
        Poisoned(scheduler::quick(|policy| {
            let id = self.record.get(policy);
            id.is_some_and(|id| policy.mutex(id).is_poisoned()) || self.owner.is_left(policy)
        }))
    }

    /// Says that what it guards is well again.
    pub fn clear_poison(&self) {
        scheduler::quick(|policy| {
            if let Some(id) = self.record.get(policy) {
                policy.set_mutex_poisoned(id, false);
            }
            if self.owner.is_left(policy) {
                self.owner.0.set(FREE);
            }
        });
    }

    /// Creates the record now. Allocates if there is no room for it.
    pub(crate) fn ensure(&self) -> MutexId {
        self.record.ensure()
    }

    /// Tells the policy who owns the mutex, if it does not know. Gives the record, which there must be.
    fn tell(&self, policy: &mut Policy) -> MutexId {
        let id = self.record.get(policy).expect("a mutex has a record before the policy is told of it");
        if !self.owner.is_told(policy) {
            let word = self.owner.0.replace(TOLD);
            match thread::with_token(policy, word) {
                Some(owner) => policy.note_owner(id, owner),
                None => policy.set_mutex_poisoned(id, word != FREE),
            }
        }
        id
    }

    /// As [`tell`](RawMutex::tell), for good.
    pub(super) fn keep(&self, policy: &mut Policy) -> MutexId {
        let id = self.tell(policy);
        self.owner.0.set(KEPT);
        id
    }

    /// Locks the mutex if the policy knows that nobody owns it.
    #[inline(never)]
    fn lock_told(&self) -> Option<Poisoned> {
        scheduler::quick(|policy| {
            let id = self.record.get(policy).filter(|_| self.owner.is_told(policy))?;
            // In a handler there may be nobody who could own it.
            let is_locked = policy.running().is_some() && policy.lock_uncontended(id);
            is_locked.then(|| Poisoned(policy.mutex(id).is_poisoned()))
        })
    }

    /// Locks the mutex if a thread died with it and the policy does not know.
    #[cold]
    fn lock_left(&self) -> Option<Poisoned> {
        if !scheduler::quick(|policy| self.owner.is_left(policy)) {
            return None;
        }
        self.ensure();
        scheduler::quick(|policy| self.tell(policy));
        self.lock_told()
    }

    #[cold]
    fn lock_contended(&self, deadline: Option<u64>) -> Result<Poisoned, LockError> {
        if let Some(poisoned) = self.lock_left() {
            return Ok(poisoned);
        }
        self.ensure();
        match scheduler::block_with(|policy, now| {
            let id = self.tell(policy);
            policy.lock(id, deadline, now)
        }) {
            Ok(Ok(_)) => Ok(self.poisoned()),
            Ok(Err(TimedOut)) => Err(LockError::TimedOut),
            Err(_) => Err(LockError::Deadlock),
        }
    }

    #[inline(never)]
    fn unlock_told(&self) {
        let locked = |policy: &Policy| {
            let id = self.record.get(policy).filter(|_| self.owner.is_told(policy));
            id.expect("a mutex that the calling thread does not own cannot be unlocked")
        };
        let is_done = scheduler::quick(|policy| {
            let id = locked(policy);
            let is_done = policy.unlock_uncontended(id);
            if is_done && self.owner.0.get() == TOLD && !policy.mutex(id).is_poisoned() {
                self.owner.0.set(FREE);
            }
            is_done
        });
        if !is_done {
            scheduler::decide(|policy, now| policy.unlock(locked(policy), now));
        }
    }
}

impl Default for RawMutex {
    fn default() -> RawMutex {
        RawMutex::new()
    }
}
