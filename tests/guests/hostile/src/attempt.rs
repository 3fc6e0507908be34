//! Catching exceptions: jump anywhere with any registers, and come back when that faults or returns.
//!
//! As in `apps/faults`, whose `attempt` calls functions; here a jump has chosen registers.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use libvcpu::abi::cause::Cause;
use libvcpu::exception::{Exception, Verdict, set_handler};

/// General registers with which to jump. All others point to a scratch area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) r10: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
}

/// How a jump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By a return to the caller.
    Returned,
    /// By an exception.
    Caught(Cause),
}

/// Where stray stores of the code that is jumped into may go.
#[repr(C, align(4096))]
struct Scratch(UnsafeCell<[u8; 8192]>);

// SAFETY: nobody reads it.
unsafe impl Sync for Scratch {}

static SCRATCH: Scratch = Scratch(UnsafeCell::new([0; 8192]));
static STACK_POINTER: AtomicU64 = AtomicU64::new(0);
static CAUSE: AtomicU32 = AtomicU32::new(NOTHING);

/// No cause has this number.
const NOTHING: u32 = u32::MAX;

/// Flags with which ordinary code does not run: trap, direction, nested task, alignment check.
const UNWANTED_FLAGS: u64 = 1 << 8 | 1 << 10 | 1 << 14 | 1 << 18;

/// Jumps to `target` as a call would, with these registers.
pub(crate) fn jump(target: u64, registers: &Registers) -> Ending {
    CAUSE.store(NOTHING, Relaxed);
    set_handler(Some(catch));
    // SAFETY: whatever the target does ends in an exception, which leads back here, or in a return. It may
    // store to where its registers point, which is nothing of ours but the scratch area.
    unsafe { launch(registers, target, (&raw const SCRATCH).cast::<u8>().add(4096) as u64) };
    set_handler(None);
    match Cause::from_number(CAUSE.load(Relaxed)) {
        Some(cause) => Ending::Caught(cause),
        None => Ending::Returned,
    }
}

/// Calls a function, and comes back whatever it does.
pub(crate) fn attempt(function: extern "C" fn()) -> Ending {
    jump(function as *const () as u64, &Registers::default())
}

/// The exception handler: notes the cause, and continues at `recovered`.
fn catch(exception: &mut Exception<'_>) -> Verdict {
    CAUSE.store(exception.cause as u32, Relaxed);
    exception.context.rip = recovered as *const () as u64;
    exception.context.rsp = STACK_POINTER.load(Relaxed);
    exception.context.rflags &= !UNWANTED_FLAGS;
    Verdict::Resume
}

/// Loads the registers in `rdi` and calls `rsi`; all other registers are `rdx`. The stack is as in
/// `apps/faults`; below it lies room that the target may write over.
///
/// # Safety
///
/// As `jump` says.
#[unsafe(naked)]
unsafe extern "C" fn launch(registers: *const Registers, target: u64, scratch: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rip + {stack_pointer}], rsp",
        // The target's stack is not directly below, so that it cannot reach the words above by accident.
        "sub rsp, 1024",
        "mov r11, rsi",
        "mov rbx, rdx",
        "mov rbp, rdx",
        "mov rcx, rdx",
        "mov r12, rdx",
        "mov r13, rdx",
        "mov r14, rdx",
        "mov r15, rdx",
        "mov rax, [rdi]",
        "mov rsi, [rdi + 16]",
        "mov rdx, [rdi + 24]",
        "mov r10, [rdi + 32]",
        "mov r8, [rdi + 40]",
        "mov r9, [rdi + 48]",
        "mov rdi, [rdi + 8]",
        "call r11",
        "jmp {recovered}",
        stack_pointer = sym STACK_POINTER,
        recovered = sym recovered,
    )
}

/// The end of `launch`, wherever the stack pointer is.
#[unsafe(naked)]
unsafe extern "C" fn recovered() {
    naked_asm!(
        "mov rsp, [rip + {stack_pointer}]",
        "add rsp, 8",
        // The flags of ordinary code, whatever the target has loaded.
        "push 2",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        stack_pointer = sym STACK_POINTER,
    )
}
