//! Threads that use the heap at the same time, and take the processor from each other in the middle of it.

use crate::block::{Block, Random, leaked};
use libvcpu::heap;
use libvcpu::prelude::*;
use libvcpu::thread::{self, Builder, Priority, TimeSlice};
use libvcpu::time::Duration;

const THREADS: usize = 6;
const STEPS: usize = 4000;

/// Small and large blocks at random; in between some sleep, so that more important threads come and go.
fn work(seed: usize) {
    let mut random = Random::new(seed as u64);
    let mut blocks: Vec<Block> = Vec::with_capacity(100);
    for step in 0..STEPS {
        if blocks.len() == 100 || random.below(2) == 0 && !blocks.is_empty() {
            blocks.swap_remove(random.below(blocks.len()));
        } else {
            let size = if random.below(4) == 0 { 1100 + random.below(4000) } else { random.size() };
            blocks.push(Block::new(size, random.align(), seed + step).expect("there is memory"));
        }
        if seed % 2 == 1 && step % 16 == 0 {
            thread::sleep(Duration::from_micros(20));
        }
    }
}

fn round() {
    let start = |seed: usize| {
        let slice = TimeSlice::from_nanoseconds(50_000);
        let builder = Builder::new().priority(Priority::new(10 + (seed % 2) as u8)).time_slice(slice);
        builder.spawn(move || work(seed)).expect("there is memory for a thread")
    };
    let threads: Vec<_> = (0..THREADS).map(start).collect();
    for thread in threads {
        thread.join().expect("no thread has found a block changed");
    }
}

/// Two rounds: the first leaves what is kept of threads that ended, the second must leave no more.
pub(crate) fn threads() -> Result<(), String> {
    // Many pieces, so that a search in the list takes long enough to be interrupted.
    let mut pieces: Vec<Option<Block>> = (0..2000).map(|seed| Block::new(1100, 8, seed)).collect();
    pieces.iter_mut().step_by(2).for_each(|piece| *piece = None);
    round();
    let before = heap::statistics();
    round();
    println!("{}", leaked(before));
    Ok(())
}

/// A thread that has used the list of free pieces and dies elsewhere dies alone.
pub(crate) fn death() -> Result<(), String> {
    let worker = thread::spawn(|| {
        drop(Block::new(5000, 8, 1));
        panic!("on purpose");
    });
    println!("died alone: {}", worker.join().map(|()| "no").is_err());
    // The list can be used by others.
    Block::new(5000, 8, 1).map(drop).ok_or("no memory".to_owned())
}

/// A thread dies in the middle of the list, which it has damaged itself: nobody could go on.
pub(crate) fn damage() -> Result<(), String> {
    let worker = thread::spawn(|| {
        let block = Box::into_raw(Box::new([0u64; 250]));
        // SAFETY: wrong on purpose: the block is written after it was given back.
        unsafe {
            drop(Box::from_raw(block));
            for word in 0..8 {
                block.cast::<u64>().add(word).write_volatile(0x10);
            }
        }
        core::hint::black_box(vec![0u8; 100_000]);
    });
    println!("died alone: {}", worker.join().is_err());
    Ok(())
}
