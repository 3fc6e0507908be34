//! Catching an exception: run a function, and if it faults, continue as if it had returned.
//!
//! ```text
//!  attempt ──▶ guarded: callee-saved registers to the stack ──▶ case
//!                                                                │ fault
//!                                            catch, on the upcall stack: what it was; then
//!                                                 rip := recovered, rsp := where `guarded` had it
//!                                                                │
//!  attempt ◀── recovered: callee-saved registers from the stack ◀┘
//! ```
//!
//! This is C's `setjmp` and `longjmp`: whatever the function held is leaked, nothing is dropped.

use core::arch::naked_asm;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use libvcpu::abi::cause::Cause;
use libvcpu::exception::{Exception, Verdict, set_handler};

/// An exception that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    cause: Cause,
    /// The address that could not be accessed, for a page fault.
    address: Option<u64>,
}

impl fmt::Display for Caught {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(formatter, "{} at {address:#x}", self.cause),
            None => write!(formatter, "{}", self.cause),
        }
    }
}

/// The stack pointer of `guarded` while the function runs.
static STACK_POINTER: AtomicU64 = AtomicU64::new(0);

/// What the handler saw. `CAUSE` holds [`NOTHING`] until then.
static CAUSE: AtomicU32 = AtomicU32::new(NOTHING);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static HAS_ADDRESS: AtomicBool = AtomicBool::new(false);

/// No cause has this number.
const NOTHING: u32 = u32::MAX;

/// The alignment-check and the direction flag, with which ordinary code does not run.
const UNWANTED_FLAGS: u64 = 1 << 18 | 1 << 10;

/// Runs a function and gives the exception that ended it, or `None` if it returned.
pub(crate) fn attempt(function: extern "C" fn()) -> Option<Caught> {
    CAUSE.store(NOTHING, Relaxed);
    set_handler(Some(catch));
    // SAFETY: the handler that continues at `recovered` is set until `guarded` is over.
    unsafe { guarded(function) };
    set_handler(None);
    let cause = Cause::from_number(CAUSE.load(Relaxed))?;
    Some(Caught { cause, address: HAS_ADDRESS.load(Relaxed).then(|| ADDRESS.load(Relaxed)) })
}

/// The exception handler: notes what it was, and continues at `recovered`.
fn catch(exception: &mut Exception<'_>) -> Verdict {
    CAUSE.store(exception.cause as u32, Relaxed);
    HAS_ADDRESS.store(exception.address.is_some(), Relaxed);
    ADDRESS.store(exception.address.unwrap_or(0), Relaxed);
    exception.context.rip = recovered as *const () as u64;
    exception.context.rsp = STACK_POINTER.load(Relaxed);
    exception.context.rflags &= !UNWANTED_FLAGS;
    Verdict::Resume
}

/// Calls the function in `rdi`. Returns when it returns, or by way of `recovered`.
///
/// ```text
///  rsp + 0x38  return address of `guarded`
///        0x30  rbp   ◀─ rbp, for debuggers
///        0x28  rbx
///        0x20  r12
///        0x18  r13
///        0x10  r14
///        0x08  r15
///        0x00  (keeps the stack aligned)   ◀─ STACK_POINTER
/// ```
///
/// # Safety
///
/// `recovered` continues this call and no other; it must not be over by then.
#[unsafe(naked)]
unsafe extern "C" fn guarded(function: extern "C" fn()) {
    naked_asm!(
        ".cfi_startproc",
        // 1. What the calling convention lets the function change only for itself, and a fault
        //    therefore leaves changed.
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        // 2. The one thing that `recovered` cannot find by itself.
        "mov [rip + {stack_pointer}], rsp",
        "call rdi",
        "jmp {recovered}",
        ".cfi_endproc",
        stack_pointer = sym STACK_POINTER,
        recovered = sym recovered,
    )
}

/// The end of `guarded`. On entry `rsp` is [`STACK_POINTER`]; all other registers are free.
#[unsafe(naked)]
unsafe extern "C" fn recovered() {
    naked_asm!("add rsp, 8", "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret")
}
