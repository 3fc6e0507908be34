//! What happened in which order, a letter each; and computing in virtual time.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::{call, clock, thread};

const ROOM: usize = 4096;

static LETTERS: [AtomicU8; ROOM] = [const { AtomicU8::new(0) }; ROOM];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Notes a letter, in a thread or in a handler function.
pub(crate) fn note(letter: char) {
    let place = COUNT.fetch_add(1, Relaxed);
    LETTERS[place].store(letter as u8, Relaxed);
}

/// The letters so far.
pub(crate) fn letters() -> String {
    let count = COUNT.load(Relaxed);
    LETTERS[..count].iter().map(|letter| char::from(letter.load(Relaxed))).collect()
}

/// The letters so far, each with how often it follows itself: `a3b1`.
pub(crate) fn lengths() -> String {
    let letters = letters();
    let runs = letters.as_bytes().chunk_by(|a, b| a == b);
    runs.map(|run| format!("{}{}", char::from(run[0]), run.len())).collect()
}

/// Computes for so many milliseconds, and notes the letter at the beginning of each.
///
/// Virtual time stands still while code runs, so this lets it pass by the machine's own `wait`, of which
/// the scheduler knows nothing: to it, the thread has the processor all the while.
pub(crate) fn compute(letter: char, milliseconds: u64) {
    for _ in 0..milliseconds {
        note(letter);
        let end = cpu_time() + 1_000_000;
        loop {
            let left = end.saturating_sub(cpu_time());
            if left == 0 {
                break;
            }
            // It ends at the deadline, or earlier at an event.
            let _ = call::wait(Some(clock::now() + left));
        }
    }
}

fn cpu_time() -> u64 {
    thread::current().statistics().cpu_time
}
