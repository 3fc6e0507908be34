//! The life of threads.

use crate::{MAIN, spawn};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::call;
use libvcpu::prelude::*;

static SUM: AtomicU64 = AtomicU64::new(0);

/// What an intruder adds.
const ALIEN: u64 = 1000;

/// A whole life more.
pub(crate) fn intrude() {
    add(spawn(63, || ALIEN).join().unwrap());
}

fn add(number: u64) {
    SUM.fetch_add(number, Relaxed);
}

/// A thread that runs when it is waited for, and one that runs at once.
pub(crate) fn spawn_and_join() {
    call::null();
    add(spawn(MAIN - 1, || 2).join().unwrap());
    let name = Box::new(1);
    let more = spawn(MAIN + 1, move || *name);
    assert!(more.is_finished());
    call::null();
    add(more.join().unwrap());
}

pub(crate) fn result(intrusions: u64) -> String {
    format!("sum {}", SUM.load(Relaxed) - ALIEN * intrusions)
}
