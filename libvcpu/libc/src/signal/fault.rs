//! Faults of the program as signals.
//!
//! The kernel's exception handler cannot run the program's handler itself: it is on the upcall stack, with events
//! off. It writes what was interrupted on the thread's own stack, below the 128 bytes that belong to the
//! interrupted function, and has the thread go on in [`entered`]. When the handler returns, the thread goes on
//! with the registers that are in its `ucontext_t` then.

use super::{
    Action, IGNORE, Information, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, State, action, action_once, bit,
    run,
};
use crate::thread;
use core::arch::{naked_asm, x86_64::__cpuid_count};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_kernel::abi::cause::Cause;
use vcpu_kernel::exception::{self, Exception, Verdict};
use vcpu_kernel::{call, context::Context, pop_general};

/// Bytes below a stack pointer that belong to a function that calls none.
const RED_ZONE: u64 = 128;

/// What is put on the thread's stack.
#[repr(C)]
struct Frame {
    context: Context,
    information: Information,
}

/// Bytes of extended state, a multiple of 64; 0 before [`watch`].
static STATE_SIZE: AtomicU64 = AtomicU64::new(0);

/// Whether the signal can come from a fault.
pub(super) fn is_of_processor(signal: i64) -> bool {
    matches!(signal, SIGILL | SIGTRAP | SIGBUS | SIGFPE | SIGSEGV)
}

/// Has faults become signals.
pub(super) fn watch() {
    if STATE_SIZE.load(Relaxed) == 0 {
        let size = u64::from(__cpuid_count(0xd, 0).ebx);
        STATE_SIZE.store(size.next_multiple_of(64), Relaxed);
        exception::set_handler(Some(handle));
    }
}

/// The signal of a fault, and its `si_code`.
fn signal_of(exception: &Exception<'_>) -> Option<(i64, i32)> {
    const PRESENT: u32 = 1;
    Some(match exception.cause {
        Cause::PageFault if exception.error_code.is_some_and(|code| code & PRESENT != 0) => (SIGSEGV, 2),
        Cause::PageFault | Cause::GeneralProtection | Cause::StackFault => (SIGSEGV, 1),
        Cause::AlignmentCheck => (SIGBUS, 1),
        Cause::DivideError => (SIGFPE, 1),
        Cause::X87 | Cause::Simd => (SIGFPE, 7),
        Cause::InvalidOpcode => (SIGILL, 2),
        Cause::Breakpoint => (SIGTRAP, 1),
        Cause::Debug => (SIGTRAP, 2),
        _ => return None,
    })
}

/// Looks at a fault, on the upcall stack.
fn handle(exception: &mut Exception<'_>) -> Verdict {
    let Some((signal, code)) = signal_of(exception) else { return Verdict::Unhandled };
    let state: &State = &thread::current().signals;
    let found: Action = action(signal, |_| {});
    if found.handler <= IGNORE || state.blocked() & bit(signal) != 0 || !exception.context.events_were_on() {
        // A program in C ends with its first thread that faults.
        if exception.context.events_were_on() && !thread::current().is_main() {
            call::fault("a thread faulted");
        }
        return Verdict::Unhandled;
    }
    let address = exception.address.unwrap_or(exception.context.rip);
    let context: &mut Context = exception.context;
    // If the fault was of the stack itself, its handler wants another one.
    let top = state.stack_for(found.flags).unwrap_or(context.rsp - RED_ZONE);
    let frame = (top - size_of::<Frame>() as u64) & !63;
    // SAFETY: free memory of the thread's stack, or of the one for signals. If there is none, this is a double
    // fault, which ends the guest.
    unsafe {
        let information = Information::new(signal, code, address);
        (frame as *mut Frame).write(Frame { context: *context, information });
    }
    context.rip = entered as *const () as u64;
    context.rsp = frame;
    Verdict::Resume
}

/// Where a thread goes on that faulted, with its stack pointer at the frame and all other registers as they were:
/// saves the extended ones, has the handler run, and goes back.
#[unsafe(naked)]
unsafe extern "C" fn entered() {
    naked_asm!(
        "mov rbx, rsp",
        "sub rsp, [rip + {size}]",
        "xor eax, eax",
        // The header that XSAVE only completes.
        "lea rdi, [rsp + 512]",
        "mov ecx, 8",
        "rep stosq",
        "mov eax, -1",
        "mov edx, -1",
        "xsave64 [rsp]",
        "mov rdi, rbx",
        "cld",
        "call {carry_out}",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [rsp]",
        // Below the red zone: flags, and where to go on.
        "mov rcx, [rbx + {rsp}]",
        "sub rcx, 144",
        "mov rax, [rbx + {rflags}]",
        "mov [rcx], rax",
        "mov rax, [rbx + {rip}]",
        "mov [rcx + 8], rax",
        "mov [rbx + {rsp}], rcx",
        "mov rsp, rbx",
        pop_general!(),
        // Now at the place of rip; the stack pointer lies three words further.
        "mov rsp, [rsp + 24]",
        "popfq",
        "ret 128",
        size = sym STATE_SIZE,
        carry_out = sym carry_out,
        rsp = const core::mem::offset_of!(Context, rsp),
        rip = const core::mem::offset_of!(Context, rip),
        rflags = const core::mem::offset_of!(Context, rflags),
    )
}

/// Numbers in `gregs` of the registers of a context, in its order.
const NUMBERS: [usize; 15] = [7, 6, 5, 4, 3, 2, 1, 0, 10, 8, 9, 12, 14, 11, 13];
const RSP: usize = 15;
const RIP: usize = 16;
const FLAGS: usize = 17;

/// Where `ucontext_t` has the registers, in words.
const REGISTERS: usize = 5;

/// Runs the handler of a fault, on the thread's stack with events on.
unsafe extern "C" fn carry_out(frame: *mut Frame) {
    // SAFETY: `handle` wrote it there, and it is the thread's own.
    let frame = unsafe { &mut *frame };
    let signal = i64::from(frame.information.signal);
    let mut words = [0_u64; super::CONTEXT_WORDS];
    {
        let registers = &mut words[REGISTERS..];
        for (number, value) in NUMBERS.into_iter().zip(frame.context.general) {
            registers[number] = value;
        }
        registers[RSP] = frame.context.rsp;
        registers[RIP] = frame.context.rip;
        registers[FLAGS] = frame.context.rflags;
    }
    let found = action_once(signal);
    run(signal, found.handler, &found, &mut frame.information, words.as_mut_ptr().cast());
    let registers = &words[REGISTERS..];
    for (number, value) in NUMBERS.into_iter().zip(&mut frame.context.general) {
        *value = registers[number];
    }
    frame.context.rsp = registers[RSP];
    frame.context.rip = registers[RIP];
    frame.context.rflags = registers[FLAGS];
}
