//! Rings that change while the host uses them: the device waits for input meanwhile, and serves the queue from
//! a thread of its own when it comes.

use crate::rings::{Rings, SIZE, WRITE, set_up};
use crate::{after_reset, rings};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};
use libvcpu::devices::{self, Kind};
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant};
use libvcpu::{call, event};

const LINE: u32 = 1;

static RINGS: AtomicPtr<Rings> = AtomicPtr::new(core::ptr::null_mut());
static STATE: AtomicU64 = AtomicU64::new(1);

fn random() -> u64 {
    let state = STATE.load(SeqCst).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    STATE.store(state, SeqCst);
    state >> 16
}

/// Writes anything anywhere in the rings. The buffers lie where they may be written.
fn scribble(rings: &Rings) {
    for _ in 0..8 {
        let buffer = rings.buffer(random() as usize % 4);
        let address = if random().is_multiple_of(4) { random() } else { buffer };
        rings.describe(
            random() as u16 % SIZE,
            address,
            random() as u32 % 5000,
            random() as u16 % 8,
            random() as u16,
        );
        rings.offer(random() as u16, random() as u16 % 80);
        rings.set_index(random() as u16 % 100);
    }
}

/// An event handler changes the rings, and sets its timer again.
fn tick() {
    // SAFETY: set before the handler was, and never freed.
    scribble(unsafe { &*RINGS.load(SeqCst) });
    let _ = call::timer_set(LINE, Some(libvcpu::clock::now() + 20_000));
}

/// For a second, as the test writes to the console all the time: a proper request, and rings that change under
/// it, by the program and by an event handler.
pub(crate) fn while_the_host_reads() {
    let device = devices::of_kind(Kind::Console).next().expect("a console was granted").0;
    let rings = Box::leak(Box::new(Rings::new()));
    RINGS.store(rings, SeqCst);
    event::set_handler(LINE, Some(tick));
    call::timer_set(LINE, Some(0)).expect("there is such a line");
    let end = Instant::now() + Duration::from_secs(1);
    let mut rounds = 0;
    while Instant::now() < end {
        rings.clear();
        if set_up(device, 0, rings).is_ok() {
            for index in 0..SIZE {
                rings.describe(index, rings.buffer(0), 100, WRITE, 0);
                rings.offer(index, index);
            }
            rings.set_index(SIZE);
            let _ = rings::notify(device, 0);
            for _ in 0..50 {
                scribble(rings);
            }
            let _ = rings::notify(device, 0);
        }
        rounds += 1;
    }
    event::set_handler(LINE, None);
    assert!(rounds > 10, "{rounds} rounds");
    println!("{}", after_reset(device));
}
