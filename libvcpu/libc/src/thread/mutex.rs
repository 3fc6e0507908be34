//! Mutexes: `pthread_mutex_t` around the kernel's.
//!
//! Every mutex hands importance on from who waits to who owns it, whatever its protocol. One of the normal type that
//! could never be locked, because its owner is the calling thread or waits for it, is waited for to the end of
//! time, as POSIX has it, after a line on the error stream; the other types answer `EDEADLK`. If the
//! owner of a mutex ends, the next has it: a robust one says so, the others do not.

use super::{answer, deadline, number};
use crate::errno::{EAGAIN, EBUSY, EDEADLK, EINVAL, ENOMEM, ENOTRECOVERABLE, EOWNERDEAD, EPERM, ETIMEDOUT};
use crate::time::TimeSpec;
use core::cell::Cell;
use core::ffi::c_int;
use core::mem::{MaybeUninit, transmute};
use vcpu_kernel::console;
use vcpu_kernel::sync::{LockError, Poisoned, RawMutex};
use vcpu_kernel::thread;

/// Types, in the lowest two bits of the attributes.
const TYPE: u32 = 3;
const NORMAL: u32 = 0;
const RECURSIVE: u32 = 1;

/// A bit of the attributes.
const ROBUST: u32 = 4;

/// `pthread_mutex_t`. Zero is an unlocked normal mutex.
///
/// The cells but the first are the owner's; others only read `owner`, and compare it with themselves.
#[repr(C)]
pub struct Mutex {
    attributes: Cell<u32>,
    /// How often a recursive mutex is locked beyond the first time.
    count: Cell<u32>,
    pub(super) raw: RawMutex,
    /// The number of the thread that owns it, or 0.
    owner: Cell<c_int>,
    state: Cell<State>,
    unused: [u32; 2],
}

/// What is known of what a robust mutex guards.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is well.
    Well = 0,
    /// An owner ended, and the one that has it now knows.
    OwnerDead,
    /// That one has unlocked it without making it well.
    Lost,
}

const _: () = assert!(size_of::<Mutex>() == 40 && align_of::<Mutex>() <= 8);
const _: () = {
    // SAFETY: of the same size, and any bytes are possibly nothing.
    let words = unsafe { transmute::<RawMutex, [MaybeUninit<u32>; 4]>(RawMutex::new()) };
    // SAFETY: the compiler refuses this if it is padding.
    unsafe { assert!(words[0].assume_init() | words[1].assume_init() | words[2].assume_init() == 0) }
};

impl Mutex {
    /// Makes a mutex.
    ///
    /// # Safety
    ///
    /// The place is writable, and nobody uses it yet.
    pub(super) unsafe fn init(place: *mut Mutex, attributes: u32) -> Result<(), i64> {
        // SAFETY: the caller's place.
        unsafe {
            place.write_bytes(0, 1);
            (*place).attributes.set(attributes);
            (*place).raw.prepare().map_err(|_| ENOMEM)
        }
    }

    fn kind(&self) -> u32 {
        self.attributes.get() & TYPE
    }

    #[inline(always)]
    pub(super) fn is_own(&self) -> bool {
        self.owner.get() == number()
    }

    /// After the kernel's mutex was locked: it is the caller's.
    #[inline(always)]
    fn entered(&self, Poisoned(is_poisoned): Poisoned) -> Result<(), i64> {
        self.owner.set(number());
        if is_poisoned { self.entered_poisoned() } else { Ok(()) }
    }

    #[cold]
    fn entered_poisoned(&self) -> Result<(), i64> {
        self.count.set(0);
        if self.attributes.get() & ROBUST == 0 {
            self.raw.clear_poison();
            return Ok(());
        }
        if self.state.get() == State::Lost {
            self.leave();
            return Err(ENOTRECOVERABLE);
        }
        self.state.set(State::OwnerDead);
        Err(EOWNERDEAD)
    }

    #[inline(always)]
    fn leave(&self) {
        self.owner.set(0);
        self.raw.unlock();
    }

    /// Locks it if that needs no waiting.
    #[inline(always)]
    pub(super) fn try_lock(&self) -> Result<(), i64> {
        if self.is_own() {
            return self.lock_again().unwrap_or(Err(EBUSY));
        }
        match self.raw.try_lock() {
            Some(poisoned) => self.entered(poisoned),
            None => Err(EBUSY),
        }
    }

    /// Locks a recursive mutex of the calling thread once more.
    fn lock_again(&self) -> Option<Result<(), i64>> {
        (self.kind() == RECURSIVE).then(|| {
            let count = self.count.get().checked_add(1).ok_or(EAGAIN)?;
            self.count.set(count);
            Ok(())
        })
    }

    #[inline(always)]
    pub(super) fn lock(&self, deadline: impl FnOnce() -> Result<Option<u64>, i64>) -> Result<(), i64> {
        if !self.is_own()
            && let Some(poisoned) = self.raw.lock_if_free()
        {
            return self.entered(poisoned);
        }
        self.lock_contended(deadline()?)
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self, deadline: Option<u64>) -> Result<(), i64> {
        if self.is_own() {
            if let Some(result) = self.lock_again() {
                return result;
            }
            if self.kind() != NORMAL {
                return Err(EDEADLK);
            }
        }
        self.raw.prepare().map_err(|_| ENOMEM)?;
        match self.raw.lock_until(deadline) {
            Ok(poisoned) => self.entered(poisoned),
            Err(LockError::TimedOut) => Err(ETIMEDOUT),
            Err(LockError::Deadlock) if self.kind() == NORMAL => hang(),
            Err(LockError::Deadlock) => Err(EDEADLK),
        }
    }

    #[inline(always)]
    pub(super) fn unlock(&self) -> Result<(), i64> {
        if !self.is_own() {
            return Err(EPERM);
        }
        // Neither is set where the attributes are those of a normal mutex.
        if self.attributes.get() & (TYPE | ROBUST) != 0 {
            if let Some(count) = self.count.get().checked_sub(1) {
                self.count.set(count);
                return Ok(());
            }
            if self.state.get() == State::OwnerDead {
                self.state.set(State::Lost);
            }
        }
        self.leave();
        Ok(())
    }

    /// Gives the mutex up for the time of a wait, and has it again afterwards.
    pub(super) fn without<R>(&self, wait: impl FnOnce(&RawMutex) -> R) -> (R, Result<(), i64>) {
        let count = self.count.replace(0);
        if self.state.get() == State::OwnerDead {
            self.state.set(State::Lost);
        }
        self.owner.set(0);
        let result = wait(&self.raw);
        let entered = self.entered(self.raw.poisoned());
        self.count.set(count);
        (result, entered)
    }
}

/// What waits for itself waits for ever.
#[cold]
fn hang() -> ! {
    const TEXT: &[u8] =
        b"a thread waits for ever for a mutex: it owns it already, or who owns it waits for this thread\n";
    let _ = console::write(2, TEXT);
    loop {
        // Whoever wakes it, it waits on.
        let _ = thread::park(None);
    }
}

/// Makes a mutex.
///
/// # Safety
///
/// As `pthread_mutex_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_init(mutex: *mut Mutex, attributes: *const u32) -> c_int {
    // SAFETY: the caller's attributes and place.
    unsafe {
        let attributes = attributes.as_ref().copied().unwrap_or_default();
        answer(Mutex::init(mutex, attributes))
    }
}

/// Gives up a mutex for good.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_destroy(mutex: &Mutex) -> c_int {
    match mutex.raw.reset() {
        Ok(()) => 0,
        Err(_) => EBUSY as c_int,
    }
}

/// Locks a mutex.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_lock(mutex: &Mutex) -> c_int {
    answer(mutex.lock(|| Ok(None)))
}

/// Locks a mutex if that needs no waiting.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_trylock(mutex: &Mutex) -> c_int {
    answer(mutex.try_lock())
}

/// Locks a mutex, and waits for it until the time of day is this, or for ever if none is given.
///
/// # Safety
///
/// As `pthread_mutex_timedlock`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(mutex: &Mutex, time: *const TimeSpec) -> c_int {
    // SAFETY: the caller's time.
    answer(mutex.lock(|| unsafe { deadline::optional(deadline::REALTIME, time) }))
}

/// Unlocks a mutex.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_unlock(mutex: &Mutex) -> c_int {
    answer(mutex.unlock())
}

/// Says that what a robust mutex guards is well again.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_consistent(mutex: &Mutex) -> c_int {
    let is_robust = mutex.attributes.get() & ROBUST != 0;
    if !is_robust || !mutex.is_own() || mutex.state.get() != State::OwnerDead {
        return EINVAL as c_int;
    }
    mutex.state.set(State::Well);
    mutex.raw.clear_poison();
    0
}
