//! Keys: values that each thread has of its own.
//!
//! A value belongs to the generation of its key in which it was set, so the next key of the same number
//! finds none.

use super::current;
use crate::errno::{EAGAIN, EINVAL};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many there are at once, `PTHREAD_KEYS_MAX`.
const KEYS: usize = 128;

/// How often a thread that ends looks for new values, `PTHREAD_DESTRUCTOR_ITERATIONS`.
const ROUNDS: usize = 4;

/// What is done with a thread's value at its end.
pub(super) type Destructor = unsafe extern "C" fn(*mut c_void);

struct Key {
    /// Odd if the key is in use.
    generation: AtomicUsize,
    /// Written by who creates the key, before anybody knows it.
    destructor: Cell<Option<Destructor>>,
}

// SAFETY: as said at `destructor`.
unsafe impl Sync for Key {}

static KEYS_IN_USE: [Key; KEYS] =
    [const { Key { generation: AtomicUsize::new(0), destructor: Cell::new(None) } }; KEYS];

/// A thread's value of a key.
struct Value {
    generation: Cell<usize>,
    value: Cell<*const c_void>,
}

/// All of a thread's values, touched by that thread only.
pub(crate) struct Values([Value; KEYS]);

impl Values {
    pub(super) const fn new() -> Values {
        Values([const { Value { generation: Cell::new(0), value: Cell::new(null()) } }; KEYS])
    }

    /// The calling thread ends.
    pub(super) fn destroy(&self) {
        for _ in 0..ROUNDS {
            let mut is_done = true;
            for (key, Value { generation, value }) in KEYS_IN_USE.iter().zip(&self.0) {
                let old = value.replace(null());
                if !old.is_null()
                    && generation.get() == key.generation.load(Relaxed)
                    && let Some(destructor) = key.destructor.get()
                {
                    is_done = false;
                    // SAFETY: what the program wants done with its value.
                    unsafe { destructor(old.cast_mut()) };
                }
            }
            if is_done {
                break;
            }
        }
    }
}

pub(super) fn create(destructor: Option<Destructor>) -> Result<u32, i64> {
    for (number, key) in (0..).zip(&KEYS_IN_USE) {
        let free = key.generation.load(Relaxed);
        if free % 2 == 0 && key.generation.compare_exchange(free, free + 1, Relaxed, Relaxed).is_ok() {
            key.destructor.set(destructor);
            return Ok(number);
        }
    }
    Err(EAGAIN)
}

fn in_use(key: u32) -> Option<(&'static Key, usize)> {
    let found = KEYS_IN_USE.get(key as usize)?;
    let generation = found.generation.load(Relaxed);
    (generation % 2 == 1).then_some((found, generation))
}

pub(super) fn delete(key: u32) -> Result<(), i64> {
    let (key, generation) = in_use(key).ok_or(EINVAL)?;
    key.generation.store(generation + 1, Relaxed);
    Ok(())
}

pub(super) fn get(key: u32) -> *mut c_void {
    let Some((_, in_use)) = in_use(key) else { return null_mut() };
    let Value { generation, value } = &current().values.0[key as usize];
    if generation.get() == in_use { value.get().cast_mut() } else { null_mut() }
}

pub(super) fn set(key: u32, new: *const c_void) -> Result<(), i64> {
    let (_, in_use) = in_use(key).ok_or(EINVAL)?;
    let Value { generation, value } = &current().values.0[key as usize];
    generation.set(in_use);
    value.set(new);
    Ok(())
}

/// Creates a key.
///
/// # Safety
///
/// As `pthread_key_create`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(place: *mut u32, destructor: Option<Destructor>) -> c_int {
    match create(destructor) {
        Ok(key) => {
            // SAFETY: the caller's place.
            unsafe { place.write(key) };
            0
        }
        Err(error) => error as c_int,
    }
}

/// Deletes a key. No destructor is called.
#[unsafe(no_mangle)]
extern "C" fn pthread_key_delete(key: u32) -> c_int {
    super::answer(delete(key))
}

/// The calling thread's value, null if it has none.
#[unsafe(no_mangle)]
extern "C" fn pthread_getspecific(key: u32) -> *mut c_void {
    get(key)
}

/// Sets the calling thread's value.
#[unsafe(no_mangle)]
extern "C" fn pthread_setspecific(key: u32, value: *const c_void) -> c_int {
    super::answer(set(key, value))
}
