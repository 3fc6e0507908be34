//! An event handler that uses the heap, whatever the program is just doing in it.

use crate::block::{Block, Random, leaked};
use core::alloc::Layout;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed};
use libvcpu::alloc::alloc;
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant, set_timer};
use libvcpu::{event, heap};

const LINE: u32 = 3;
/// Runs of the handler that are enough.
const RUNS: u64 = 2000;
/// Refusals that are enough: so often the handler came while the program was in the list of free pieces.
const REFUSALS: u64 = 20;

static RUN: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// A large block that the program hands to the handler, to be freed there.
static GIFT: AtomicPtr<Block> = AtomicPtr::new(core::ptr::null_mut());
/// A block that the handler takes in one run and frees in the next.
static HELD: AtomicPtr<Block> = AtomicPtr::new(core::ptr::null_mut());
/// The size of blocks that program and handler both take and free, as fast as they can.
const CONTENDED: usize = 64;

/// Frees what was put there, if anything was.
fn free(block: &AtomicPtr<Block>) {
    let block = block.swap(core::ptr::null_mut(), Relaxed);
    if !block.is_null() {
        // SAFETY: it was made of a box, and who swaps it out owns it.
        drop(unsafe { Box::from_raw(block) });
    }
}

/// Takes and frees a block many times, and writes into it.
fn contend() {
    let layout = Layout::new::<[u8; CONTENDED]>();
    for _ in 0..3000 {
        // SAFETY: the block has this layout, and is freed once.
        unsafe {
            let block = alloc::alloc(layout);
            block.write_bytes(0xff, 8);
            alloc::dealloc(core::hint::black_box(block), layout);
        }
    }
}

fn tick() {
    let run = RUN.fetch_add(1, Relaxed) + 1;
    let seed = run as usize;
    // Two that live until the handler ends, in different classes.
    let small = (Block::new(1 + seed % 1000, 8, seed), Block::new(1 + seed % 100, 16, seed));
    if Block::new(2000 + seed % 5000, 8, seed).is_none() {
        REFUSED.fetch_add(1, Relaxed);
    }
    drop(small);
    free(&GIFT);
    if run.is_multiple_of(2) {
        free(&HELD);
    } else {
        let block = Block::new(CONTENDED, 8, seed).expect("there is memory");
        HELD.store(Box::into_raw(Box::new(block)), Relaxed);
    }
    if !STOP.load(Relaxed) {
        set_timer(LINE, Some(Instant::now() + Duration::from_micros(20)));
    }
}

/// The program fragments memory, so that each search takes long, and searches, while the handler comes.
pub(crate) fn handler() -> Result<(), String> {
    let before = heap::statistics();
    let mut random = Random::new(7);
    let mut small: Vec<Block> = Vec::with_capacity(300);
    let mut pieces: Vec<Option<Block>> = (0..4000).map(|seed| Block::new(1100, 8, seed)).collect();
    for piece in pieces.iter_mut().step_by(2) {
        *piece = None;
    }
    event::set_handler(LINE, Some(tick));
    set_timer(LINE, Some(Instant::now()));
    while RUN.load(Relaxed) < RUNS || REFUSED.load(Relaxed) < REFUSALS {
        let large = Block::new(3000 + random.below(3000), 8, 1).ok_or("no memory")?;
        if GIFT.load(Relaxed).is_null() {
            GIFT.store(Box::into_raw(Box::new(large)), Relaxed);
        }
        contend();
        for _ in 0..20 {
            if small.len() == 300 || random.below(2) == 0 && !small.is_empty() {
                small.swap_remove(random.below(small.len()));
            } else {
                small.push(
                    Block::new(1 + random.below(1024), random.align().min(1024), 3).ok_or("no memory")?,
                );
            }
        }
    }
    STOP.store(true, Relaxed);
    set_timer(LINE, None);
    event::set_handler(LINE, None);
    free(&GIFT);
    free(&HELD);
    drop((small, pieces));
    let largest = heap::largest_free();
    println!("{}", leaked(before));
    println!("all in one piece: {}", largest > heap::statistics().free / 100 * 99);
    Ok(())
}
