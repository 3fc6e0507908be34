//! Wrong use of the heap, which the debug option finds.

use core::alloc::Layout;
use libvcpu::alloc::alloc;
use libvcpu::prelude::*;

/// Does one thing wrong with a block, or nothing; then uses the heap a little more.
pub(crate) fn bug(kind: &str, size: usize) -> Result<(), String> {
    let layout = Layout::from_size_align(size, 8).map_err(|error| error.to_string())?;
    // SAFETY: wrong on purpose, but for `none`. What is written and freed is this program's own block and,
    // by one byte or up to a freed block's end, its neighbourhood.
    unsafe {
        let block = alloc::alloc(layout);
        block.write_bytes(1, size);
        println!("{block:p}");
        match kind {
            "none" => alloc::dealloc(block, layout),
            "double-free" => {
                alloc::dealloc(block, layout);
                alloc::dealloc(block, layout);
            }
            "late-double-free" => {
                alloc::dealloc(block, layout);
                use_heap();
                alloc::dealloc(block, layout);
            }
            "wild-free" => alloc::dealloc(block.add(16), layout),
            "wilder-free" => alloc::dealloc(core::ptr::dangling_mut(), layout),
            "overrun" => {
                block.add(size).write(1);
                alloc::dealloc(block, layout);
            }
            "underrun" => {
                block.sub(1).write(1);
                alloc::dealloc(block, layout);
            }
            "write-after-free" => {
                alloc::dealloc(block, layout);
                block.add(size - 1).write_volatile(1);
            }
            _ => return Err(format!("there is no bug {kind}")),
        }
    }
    use_heap();
    println!("nothing was noticed");
    Ok(())
}

/// Enough blocks of another size for one to leave quarantine.
fn use_heap() {
    for _ in 0..100 {
        core::hint::black_box(Box::new([0u64; 60]));
    }
}
