//! Waiting for a word of memory to change, for the locks inside musl: those of streams, `atexit`, time zones.
//!
//! Words that share a bucket wake each other; who is woken looks again, as musl always does.

use crate::errno::{EAGAIN, ENOSYS};
use core::sync::atomic::{AtomicI32, Ordering::SeqCst};
use vcpu_kernel::sync::{RawCondition, RawMutex};

const WAIT: i64 = 0;
const WAKE: i64 = 1;
const PRIVATE: i64 = 128;

struct Bucket {
    mutex: RawMutex,
    changed: RawCondition,
}

static BUCKETS: [Bucket; 16] =
    [const { Bucket { mutex: RawMutex::new(), changed: RawCondition::new() } }; 16];

/// Waits while the word has this value, or wakes those who wait.
///
/// # Safety
///
/// The address is that of an `int`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_futex(word: *const AtomicI32, operation: i64, value: i64) -> i64 {
    // SAFETY: the caller's word.
    let word = unsafe { &*word };
    match operation & !PRIVATE {
        WAIT if wait(word, value as i32) => 0,
        WAIT => -EAGAIN,
        WAKE => {
            wake(word);
            0
        }
        _ => -ENOSYS,
    }
}

fn bucket(word: &AtomicI32) -> &'static Bucket {
    &BUCKETS[core::ptr::from_ref(word).addr() / 4 % BUCKETS.len()]
}

/// Waits while the word has this value, and perhaps less long. Gives whether it had it.
pub(crate) fn wait(word: &AtomicI32, value: i32) -> bool {
    let bucket = bucket(word);
    let _ = bucket.mutex.lock();
    let holds = word.load(SeqCst) == value;
    if holds {
        // Without a deadline there is no other outcome than being woken.
        let _ = bucket.changed.wait(&bucket.mutex, None);
    }
    bucket.mutex.unlock();
    holds
}

/// Wakes all who wait for the word to change.
pub(crate) fn wake(word: &AtomicI32) {
    let bucket = bucket(word);
    let _ = bucket.mutex.lock();
    bucket.changed.notify_all();
    bucket.mutex.unlock();
}
