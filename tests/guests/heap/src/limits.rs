//! Running out of memory, fragmentation, and what the figures say.

use crate::block::{Block, leaked};
use libvcpu::heap;
use libvcpu::prelude::*;

/// More blocks of 400 bytes than memory has.
const MANY: usize = 40_000;

/// Takes blocks of one size until there are no more.
fn all_of(size: usize) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(MANY);
    while let Some(block) = Block::new(size, 8, size) {
        blocks.push(block);
    }
    blocks
}

/// Runs out of memory with different sizes; each time the program sees an error, and goes on.
pub(crate) fn exhaust() -> Result<(), String> {
    let before = heap::statistics();
    let largest = heap::largest_free();
    for size in [400, 1000, 5000, 300_000] {
        let failures = heap::statistics().failures;
        let blocks = all_of(size);
        let full = heap::statistics();
        assert!(full.failures > failures);
        // At most a fifth is lost to rounding, slabs, and pieces that are too small.
        let taken = blocks.len() * size + MANY * size_of::<Block>();
        assert!(taken > full.total / 5 * 4, "{} blocks of {size} bytes", blocks.len());
        let mut more: Vec<u8> = Vec::new();
        assert!(more.try_reserve_exact(1 << 20).is_err());
        // The heap goes on: what is given back is to be had again.
        drop(blocks);
        more.try_reserve_exact(1 << 20).map_err(|error| format!("{error} after all was freed"))?;
    }
    let mut huge: Vec<u8> = Vec::new();
    assert!(huge.try_reserve_exact(isize::MAX as usize - 4096).is_err());
    drop(huge);
    assert_eq!(heap::largest_free(), largest, "nothing stays in pieces");
    println!("{}", leaked(before));
    Ok(())
}

/// Half of memory is free, in pieces: a large block is not to be had, and the figures tell why.
pub(crate) fn fragments() -> Result<(), String> {
    const SIZE: usize = 4096;
    let before = heap::statistics();
    let largest = heap::largest_free();
    assert!(largest <= heap::statistics().free);
    let mut exact: Vec<u8> = Vec::new();
    exact.try_reserve_exact(largest).map_err(|error| format!("the largest: {error}"))?;
    drop(exact);
    let mut more: Vec<u8> = Vec::new();
    assert!(more.try_reserve_exact(largest + 16).is_err());

    let mut blocks = all_of(SIZE);
    let mut index = 0;
    blocks.retain(|_| {
        index += 1;
        index % 2 == 0
    });
    let free = heap::statistics().free;
    let piece = heap::largest_free();
    let mut large: Vec<u8> = Vec::new();
    let refused = large.try_reserve_exact(piece + 16).is_err();
    println!(
        "half is free: {}, in pieces: {}, more is refused: {refused}",
        free > before.total / 3,
        piece < free / 100
    );
    drop(blocks);
    assert_eq!(heap::largest_free(), largest);
    println!("{}", leaked(before));
    Ok(())
}

/// Slabs that are empty go back, most of them at once, and the rest when memory is short.
pub(crate) fn slabs() -> Result<(), String> {
    let largest = heap::largest_free();
    let before = heap::statistics();
    let mut most = 0;
    for size in (16..=1024).step_by(16) {
        let blocks: Vec<Block> = (0..2000).filter_map(|seed| Block::new(size, 8, seed)).collect();
        assert_eq!(blocks.len(), 2000);
        most = most.max(heap::statistics().slabs);
    }
    let after = heap::statistics();
    println!("many slabs: {}", most >= before.slabs + 2000 * 1024);
    println!("few are kept: {}", after.slabs - before.slabs <= 28 * (16 << 10));
    // A slab is full and the next one empty; then the full one has room again. The empty one is not needed.
    let mut blocks: Vec<Block> = Vec::with_capacity(32);
    heap::largest_free();
    let slabs = || heap::statistics().slabs;
    let needed = slabs();
    for more in [1, 2] {
        while slabs() < needed + more * (16 << 10) {
            blocks.push(Block::new(1024, 8, 0).ok_or("no memory")?);
        }
    }
    drop((blocks.pop(), blocks.pop()));
    heap::largest_free();
    assert_eq!(slabs(), needed + (16 << 10));
    drop(blocks);
    let mut all: Vec<u8> = Vec::new();
    all.try_reserve_exact(largest).map_err(|error| format!("empty slabs are not given back: {error}"))?;
    let rest = slabs();
    drop(all);
    println!("the rest goes back: {}", rest <= before.slabs);
    Ok(())
}

/// Each figure changes as it must.
pub(crate) fn statistics() -> Result<(), String> {
    let before = heap::statistics();
    let small = Block::new(100, 8, 0);
    let large = Block::new(3001, 8, 0);
    let with = heap::statistics();
    assert_eq!(with.used - before.used, 112 + 3008);
    assert_eq!(with.blocks - before.blocks, 2);
    assert_eq!(with.allocations - before.allocations, 2);
    drop((small, large));
    let after = heap::statistics();
    assert_eq!((after.used, after.blocks), (before.used, before.blocks));
    assert_eq!(after.allocations, with.allocations);
    let peak = after.peak;
    assert!(peak >= with.used);
    assert!(Block::new(peak, 8, 0).is_some());
    assert!(heap::statistics().peak >= peak + after.used);
    assert_eq!(heap::statistics().failures, before.failures);
    assert!(Block::new(1 << 30, 8, 0).is_none());
    assert_eq!(heap::statistics().failures, before.failures + 1);
    println!("{}", leaked(before));
    Ok(())
}
