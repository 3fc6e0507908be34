//! A mutex of the scenario's own, which is right with events off while it looks at its state, and wrong
//! without.

use crate::call;
use core::cell::Cell;
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::thread::{self, Thread};

struct OwnMutex {
    is_guarded: Cell<bool>,
    is_locked: Cell<bool>,
    waiting: Cell<Option<Thread>>,
    count: Cell<u64>,
}

// SAFETY: if it is guarded, cells are touched with events off, or by the mutex's owner. If not, it is unsound,
// as is to be shown.
unsafe impl Sync for OwnMutex {}

static OWN_MUTEX: OwnMutex = OwnMutex {
    is_guarded: Cell::new(true),
    is_locked: Cell::new(false),
    waiting: Cell::new(None),
    count: Cell::new(0),
};

impl OwnMutex {
    /// Two threads use it, and the one that waits is the more important.
    fn lock(&self) {
        let waits = self.guarded(|| {
            let waits = self.is_locked.replace(true);
            if waits {
                self.waiting.set(Some(thread::current()));
            }
            waits
        });
        if waits {
            while self.guarded(|| {
                let waiting = self.waiting.take();
                let still_waits = waiting.is_some();
                self.waiting.set(waiting);
                still_waits
            }) {
                thread::park();
            }
        }
    }

    fn unlock(&self) {
        let waiting = self.guarded(|| {
            let waiting = self.waiting.take();
            if waiting.is_none() {
                self.is_locked.set(false);
            }
            waiting
        });
        if let Some(thread) = waiting {
            thread.unpark();
        }
    }

    /// The event guard.
    fn guarded<R>(&self, action: impl FnOnce() -> R) -> R {
        if self.is_guarded.get() { event::without(action) } else { action() }
    }
}

pub(crate) fn intrude() {
    add(1000);
}

fn add(number: u64) {
    OWN_MUTEX.lock();
    OWN_MUTEX.count.set(OWN_MUTEX.count.get() + number);
    OWN_MUTEX.unlock();
}

pub(crate) fn guarded() {
    call::null();
    for number in 1..=10 {
        add(number);
    }
}

/// Who comes between the two steps of `unlock` waits for ever.
pub(crate) fn unguarded() {
    OWN_MUTEX.is_guarded.set(false);
    guarded();
}

pub(crate) fn sum(intrusions: u64) -> String {
    format!("sum {}", OWN_MUTEX.count.get() - 1000 * intrusions)
}
