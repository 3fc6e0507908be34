//! Scoped threads: borrowing, and what a death leaves behind.

use crate::trace::{letters, note};
use crate::{HIGH, LOW, ms, named, spawn};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::thread::{self, Builder, Priority};

/// Threads of a scope borrow, also mutably; the scope ends when all are over, joined or not.
pub(crate) fn borrows() {
    let text = String::from("borrowed");
    let mut parts = [1u32, 2, 3, 4];
    let total = AtomicU32::new(0);
    let length = thread::scope(|scope| {
        for part in &mut parts {
            let total = &total;
            scope.spawn(move || {
                thread::sleep(ms(u64::from(*part)));
                *part *= 10;
                total.fetch_add(*part, Relaxed);
            });
        }
        let joined = scope.spawn(|| text.len());
        // One that is spawned by another.
        let total = &total;
        scope.spawn(move || {
            scope.spawn(move || total.fetch_add(1000, Relaxed));
        });
        let named = Builder::new().name("scoped".into()).priority(Priority::new(HIGH));
        let named = named.spawn_scoped(scope, || thread::current().name().map(str::to_owned));
        let name = named.expect("there is memory for a thread").join();
        assert_eq!(name.ok().flatten().as_deref(), Some("scoped"));
        joined.join().expect("it only looks")
    });
    println!("{length} {parts:?} {}", total.load(Relaxed));
}

/// If a thread dies that nobody joins, the scope waits for the others and then panics.
pub(crate) fn death() {
    let owner = named("owner", LOW, || {
        thread::scope(|scope| {
            scope.spawn(|| panic!("in the scope"));
            scope.spawn(|| {
                thread::sleep(ms(5));
                note('o');
            });
        });
        note('?');
    });
    let error = owner.join().expect_err("the scope panicked");
    let text = error.downcast_ref::<String>().expect("the error is a text");
    println!("{} {}", letters(), text.ends_with(": a scoped thread panicked"));
}

/// If somebody joins it, that one gets the error and the scope ends well.
pub(crate) fn joined_death() {
    thread::scope(|scope| {
        let dying = scope.spawn(|| panic!("in the scope"));
        // Joined by another thread of the scope, while the owner is at the scope's end.
        scope.spawn(move || note(if dying.join().is_err() { 'e' } else { '?' }));
    });
    println!("{}", letters());
}

/// An array that threads of a scope read although the frame that owns it will never be left.
fn watch(values: &[u64; 256]) {
    for _ in 0..5 {
        thread::sleep(ms(2));
        let is_well = values.iter().enumerate().all(|(index, value)| *value == index as u64 * 3);
        note(if is_well { 'w' } else { '?' });
    }
}

/// Ends the scope's owner by `end`, and lets others use the memory it could have left.
fn owner(end: fn()) {
    let owner = spawn(LOW, move || {
        let values: [u64; 256] = core::array::from_fn(|index| index as u64 * 3);
        thread::scope(|scope| {
            scope.spawn(|| watch(&values));
            thread::sleep(ms(1));
            end();
        });
    });
    owner.join().expect_err("it ended without a result");
    for _ in 0..20 {
        // Overwrites what it gets for a stack.
        let other = spawn(HIGH, || core::hint::black_box(&mut [u64::MAX; 4096])[7]);
        other.join().expect("it only writes");
    }
    thread::sleep(ms(20));
    println!("{} {} abandoned", letters(), thread::abandoned_stacks());
}

/// The owner dies while a thread borrows from its stack: that stays as it was.
pub(crate) fn owner_dies() {
    owner(|| panic!("with a scope"));
}

/// The same if it exits.
pub(crate) fn owner_exits() {
    owner(|| thread::exit());
}
