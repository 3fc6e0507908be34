//! `critical-section`: sections as such, and crates that build upon them.

use crate::{LINE, spawn};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use embassy_sync::blocking_mutex::CriticalSectionMutex;
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::thread;
use libvcpu::time::{Duration, Instant, set_timer};
use once_cell::sync::OnceCell;

/// Sections nest, and the last one turns events on. What initialises a cell of `once_cell` runs in one.
pub(crate) fn section() {
    static CELL: OnceCell<bool> = OnceCell::new();
    critical_section::with(|_| {
        critical_section::with(|_| println!("inside: {}", event::are_on()));
        println!("still inside: {}", event::are_on());
    });
    println!("outside: {}", event::are_on());

    event::without(|| {
        critical_section::with(|_| {});
        println!("off before, off after: {}", event::are_on());
    });

    let threads = [1, 2, 3].map(|_| spawn("getter", || *CELL.get_or_init(event::are_on)));
    println!("initialised inside: {:?}", threads.map(|thread| thread.join().unwrap()));
}

/// What threads and an event handler function change is changed by one at a time. Outside of a section, a
/// count that is read here and written there loses some.
pub(crate) fn shared() {
    const TIMES: u32 = 20_000;
    static COUNT: CriticalSectionMutex<Cell<u32>> = CriticalSectionMutex::new(Cell::new(0));
    static TICKS: AtomicU32 = AtomicU32::new(0);
    fn count() {
        COUNT.lock(|count| {
            let before = count.get();
            // Long enough for events to come here, if they could.
            for number in 0..2000 {
                core::hint::black_box(number);
            }
            count.set(before + 1);
        });
    }
    fn tick() {
        TICKS.fetch_add(1, Relaxed);
        count();
        set_timer(LINE, Some(Instant::now() + Duration::from_micros(100)));
    }

    thread::set_time_slice(thread::TimeSlice::from_nanoseconds(200_000));
    event::set_handler(LINE, Some(tick));
    set_timer(LINE, Some(Instant::now()));
    let threads = [1, 2, 3].map(|_| spawn("counter", || (0..TIMES).for_each(|_| count())));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    set_timer(LINE, None);
    event::set_handler(LINE, None);

    let ticks = TICKS.load(Relaxed);
    let lost = 3 * TIMES + ticks - COUNT.lock(Cell::get);
    println!("{lost} lost, ticks came: {}", ticks > 0);
}
