//! A stack that overflows in the middle of the heap, at every depth.

use crate::block::{Block, leaked};
use core::alloc::Layout;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::alloc::alloc;
use libvcpu::exception::{self, Exception, Verdict};
use libvcpu::prelude::*;
use libvcpu::{heap, machine};

/// Where to continue after an overflow, and with which stack.
static RETURN: AtomicU64 = AtomicU64::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);

/// What the call on the short stack does: takes a block of this many bytes, or frees what was taken.
static SIZE: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);

fn layout() -> Layout {
    // SAFETY: the alignment is a power of two, and the sizes are small.
    unsafe { Layout::from_size_align_unchecked(SIZE.load(Relaxed) as usize, 8) }
}

extern "C" fn take() {
    // SAFETY: the size is not zero.
    TAKEN.store(unsafe { alloc::alloc(layout()) } as u64, Relaxed);
}

extern "C" fn give() {
    // SAFETY: the block came from `take`, with this layout.
    unsafe { alloc::dealloc(TAKEN.load(Relaxed) as *mut u8, layout()) };
    TAKEN.store(0, Relaxed);
}

/// Calls a function on another stack. Gives 0, or 1 if that overflowed.
#[unsafe(naked)]
unsafe extern "C" fn call_on(stack: u64, function: extern "C" fn()) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "lea rax, [rip + 2f]",
        "mov [rip + {back}], rax",
        "mov [rip + {saved}], rsp",
        "mov rsp, rdi",
        "call rsi",
        "mov rsp, [rip + {saved}]",
        "xor eax, eax",
        "jmp 3f",
        "2: mov eax, 1",
        "3: add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        back = sym RETURN,
        saved = sym STACK,
    )
}

fn overflowed(exception: &mut Exception<'_>) -> Verdict {
    if !exception.address.is_some_and(|address| machine::main_stack_guard().contains(&address)) {
        return Verdict::Unhandled;
    }
    exception.context.rip = RETURN.load(Relaxed);
    exception.context.rsp = STACK.load(Relaxed);
    Verdict::Resume
}

/// Calls with every depth of stack, until it succeeds. Gives how many overflowed.
fn until_it_fits(function: extern "C" fn()) -> u64 {
    let bottom = machine::main_stack().start;
    let mut overflows = 0;
    loop {
        let before = heap::statistics();
        // SAFETY: the bottom of the main stack is far below what is in use of it, and the handler
        // brings an overflow back.
        if unsafe { call_on(bottom + 16 * overflows, function) } == 0 {
            return overflows;
        }
        overflows += 1;
        assert_eq!(heap::statistics(), before, "an overflow has changed the heap");
        // It works on: for small blocks, and for large ones, which need the lock.
        assert!(Block::new(40, 8, 1).is_some() && Block::new(4000, 8, 1).is_some());
    }
}

/// Takes and frees blocks of different sizes on a stack that is first too short, then by 16 bytes longer
/// each time.
pub(crate) fn overflow() -> Result<(), String> {
    exception::set_handler(Some(overflowed));
    let before = heap::statistics();
    let mut fewest = u64::MAX;
    // Fresh classes: each needs a slab from the list. 2000 and more is the list itself.
    for size in [24, 40, 400, 1000, 2000, 9000] {
        SIZE.store(size, Relaxed);
        fewest = fewest.min(until_it_fits(take));
        assert!(TAKEN.load(Relaxed) != 0);
        fewest = fewest.min(until_it_fits(give));
    }
    println!("every operation overflowed at many depths: {}", fewest >= 128);
    println!("{}", leaked(before));
    Ok(())
}
