//! Many operations, with every block's content checked.

use crate::block::{Block, Random, leaked};
use libvcpu::heap;
use libvcpu::prelude::*;

/// Allocates, resizes and frees at random.
pub(crate) fn soak(steps: usize) -> Result<(), String> {
    const BLOCKS: usize = 600;
    let mut blocks: Vec<Block> = Vec::with_capacity(BLOCKS);
    let mut random = Random::new(1);
    let before = heap::statistics();
    for step in 0..steps {
        // The number of blocks goes up and down, so that slabs fill and become empty.
        let many = if step / 2000 % 2 == 0 { BLOCKS } else { BLOCKS / 20 };
        match random.below(3) {
            0 if !blocks.is_empty() => {
                let at = random.below(blocks.len());
                assert!(blocks[at].resize(random.size()));
            }
            1 if blocks.len() < many => {
                blocks.push(Block::new(random.size(), random.align(), step).expect("there is memory"));
            }
            _ => {
                if !blocks.is_empty() {
                    blocks.swap_remove(random.below(blocks.len()));
                }
            }
        }
        if step % 64 == 0 {
            let live: usize = blocks.iter().map(Block::size).sum();
            let now = heap::statistics();
            // The debug option adds those in quarantine.
            assert!(now.blocks - before.blocks >= blocks.len());
            assert!(now.used - before.used >= live);
            assert_eq!(now.used + now.free + now.slabs_unused, now.total, "{now:?}");
        }
    }
    blocks.clear();
    println!("{}", leaked(before));
    Ok(())
}

/// Every small size with every alignment, all live at once, so that an overlap is seen.
pub(crate) fn layouts() -> Result<(), String> {
    let mut blocks: Vec<Block> = Vec::with_capacity(1100);
    let before = heap::statistics();
    for align in (0..=12).map(|power| 1 << power) {
        for size in 1..=1100 {
            blocks.push(Block::new(size, align, size).ok_or("no memory")?);
        }
        blocks.clear();
    }
    println!("{}", leaked(before));
    Ok(())
}

/// A block stays where it is while its class does not change, and its content moves along otherwise.
pub(crate) fn realloc() -> Result<(), String> {
    let before = heap::statistics();
    for (small, same, larger) in
        [(1, 16, 17), (113, 128, 129), (129, 160, 161), (897, 1024, 1025), (2001, 2008, 2009)]
    {
        let mut block = Block::new(small, 8, small).ok_or("no memory")?;
        // Takes what lies behind it, so that nothing could grow in place.
        let behind = Block::new(small, 8, small);
        let address = block.address();
        assert!(block.resize(same) && block.address() == address, "{small} to {same} moved");
        assert!(block.resize(small) && block.address() == address, "{same} to {small} moved");
        assert!(block.resize(larger) && block.address() != address, "{small} to {larger} did not move");
        drop(behind);
    }
    println!("{}", leaked(before));
    Ok(())
}
