//! Thread-local storage as compilers know it (`__thread`, `#[thread_local]`), addressed through FS.
//!
//! The x86-64 ABI wants, for each thread, a copy of the image's template that ends at the base of FS, and
//! at the base itself a pointer to itself:
//!
//! ```text
//!    ┌────────────────────┬──────────┬──────┬──────────────────┐
//!    │ .tdata, copied     │ .tbss, 0 │ self │ 56 bytes, zero   │
//!    └────────────────────┴──────────┴──────┴──────────────────┘
//!                                    ▲ base of FS
//! ```
//!
//! The bytes behind it are what C compilers use for their stack protector (offset 40). An image without
//! such variables has one block without template for all threads, and FS is never changed.

use crate::machine;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_abi::info::Features;

/// Bytes from the base of FS that belong to the block.
const HEAD: usize = 64;

/// Where from the base of FS C compilers look for the stack protector's canary.
const CANARY: usize = 40;

/// What it is for every thread.
static CANARY_VALUE: AtomicU64 = AtomicU64::new(0);

#[repr(C, align(64))]
struct SharedBlock(UnsafeCell<[u64; HEAD / 8]>);

// SAFETY: the kernel writes it once, at boot, before there is a second thread; after that it belongs to
// the code that the compiler makes.
unsafe impl Sync for SharedBlock {}

static SHARED: SharedBlock = SharedBlock(UnsafeCell::new([0; HEAD / 8]));

/// The block of one thread, freed with it.
#[derive(Debug)]
pub(crate) struct Block {
    /// Start and layout of the memory, if it is the thread's own.
    memory: Option<(*mut u8, Layout)>,
    base: u64,
}

/// The block could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

impl Block {
    /// The block of a new thread.
    pub(crate) fn new() -> Result<Block, OutOfMemory> {
        let template = machine::thread_local_template();
        if template.size == 0 {
            return Ok(Block { memory: None, base: SHARED.0.get() as u64 });
        }
        let align = template.align.max(HEAD);
        let offset = template.size.next_multiple_of(align);
        let layout = Layout::from_size_align(offset + HEAD, align).map_err(|_| OutOfMemory)?;
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            return Err(OutOfMemory);
        }
        let start = offset - template.size.next_multiple_of(template.align);
        // SAFETY: the block has room for the template between `start` and `offset`, where a pointer to
        // itself follows.
        let base = unsafe {
            memory.add(start).copy_from_nonoverlapping(template.data.as_ptr(), template.data.len());
            let base = memory.add(offset);
            base.cast::<u64>().write(base as u64);
            base.add(CANARY).cast::<u64>().write(CANARY_VALUE.load(Relaxed));
            base as u64
        };
        Ok(Block { memory: Some((memory, layout)), base })
    }

    /// The base of FS for the thread.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some((memory, layout)) = self.memory {
            // SAFETY: allocated in `new` with this layout; the thread is over.
            unsafe { dealloc(memory, layout) };
        }
    }
}

/// Gives the main thread its block. Called once, at boot.
///
/// # Panics
///
/// If the image has thread-local variables and the processor or its operating system does not let
/// programs set FS, or if there is no memory for them.
pub(crate) fn init() -> u64 {
    let can_set = machine::features().contains(Features::FSGSBASE);
    let has_variables = machine::thread_local_template().size != 0;
    assert!(can_set || !has_variables, "the image has thread-local variables, which need FSGSBASE");
    // SAFETY: nobody else uses the shared block yet.
    unsafe { SHARED.0.get().cast::<u64>().write(SHARED.0.get() as u64) };
    let block = Block::new().expect("RAM is too small for the main thread's variables");
    let base = block.base();
    core::mem::forget(block);
    if can_set {
        set_fs_base(base);
    }
    base
}

/// Sets the number by which functions of C notice that somebody wrote beyond an array: for the calling thread
/// and all that are made from now on. A function that has begun with another number must not return to code
/// that looks at it.
pub fn set_canary(canary: u64) {
    CANARY_VALUE.store(canary, Relaxed);
    let base = crate::scheduler::current().flow().fs_base.get() as *mut u8;
    // SAFETY: the calling thread's block, which has room for it behind the base.
    unsafe { base.add(CANARY).cast::<u64>().write(canary) };
}

/// Changes FS for the thread that gets the processor.
#[cold]
pub(crate) fn set_fs_base(base: u64) {
    // SAFETY: at boot it was found that the instruction is permitted, or no two threads differ. The base
    // is that of a block that lives as long as its thread.
    unsafe { core::arch::asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) };
}
