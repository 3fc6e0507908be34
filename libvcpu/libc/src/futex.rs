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
    let bucket = &BUCKETS[word as usize / 4 % BUCKETS.len()];
    match operation & !PRIVATE {
        WAIT => {
            let _ = bucket.mutex.lock();
            // SAFETY: the caller's word.
            let holds = i64::from(unsafe { (*word).load(SeqCst) }) == i64::from(value as i32);
            if holds {
                // Without a deadline there is no other outcome than being woken.
                let _ = bucket.changed.wait(&bucket.mutex, None);
            }
            bucket.mutex.unlock();
            if holds { 0 } else { -EAGAIN }
        }
        WAKE => {
            let _ = bucket.mutex.lock();
            bucket.changed.notify_all();
            bucket.mutex.unlock();
            0
        }
        _ => -ENOSYS,
    }
}
