//! What happened, in order, a letter each.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use libvcpu::event;
use libvcpu::prelude::*;

static LETTERS: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Notes a letter.
pub(crate) fn note(letter: u8) {
    event::without(|| LETTERS[LENGTH.fetch_add(1, Relaxed)].store(letter, Relaxed));
}

/// All letters.
pub(crate) fn text() -> String {
    LETTERS[..LENGTH.load(Relaxed)].iter().map(|letter| char::from(letter.load(Relaxed))).collect()
}

/// The result of a scenario in which the order is everything.
pub(crate) fn result(_: u64) -> String {
    text()
}
