//! From the machine's first instruction to a C program's `main`, and out again.
//!
//! `libvcpu/libc/c/start.c` has the other half. Sizes of RAM and main stack are numbers that `vcpu cc` gives the
//! linker as symbols.

use crate::thread;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use libvcpu::entry::{BuildFlags, INTERFACE_VERSION, KernelHeap};
use vcpu_kernel::{boot, clock, machine, tls};

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

libvcpu::__panic_handler!();

unsafe extern "C" {
    /// Runs `main` and what was registered for the end.
    fn __vcpu_run_main(arguments: c_int, argument: *mut *mut c_char) -> !;
}

// The note says what entry! says in Rust; its numbers are the linker's.
core::arch::global_asm!(
    ".pushsection .note.vcpu, \"a\", @note",
    ".long 8, 16, 1",
    ".asciz \"libvcpu\"",
    ".long {version}, {flags}",
    ".quad __vcpu_memory",
    ".popsection",
    ".pushsection .text.vcpu_entry, \"ax\", @progbits",
    ".globl vcpu_entry",
    ".type vcpu_entry, @function",
    "vcpu_entry:",
    "lea rsp, [rip + __main_stack_top]",
    "lea rdi, [rip + {program}]",
    "call {start}",
    "ud2",
    ".popsection",
    version = const INTERFACE_VERSION,
    flags = const if cfg!(target_os = "none") { BuildFlags::CUSTOM_TARGET.bits() } else { 0 },
    program = sym program,
    start = sym boot::start,
);

/// A list as C wants it: pointers to strings, and a null pointer behind them. It lives for ever.
fn list<'a>(strings: impl Iterator<Item = &'a [u8]>) -> *mut *mut c_char {
    let string = |bytes: &[u8]| {
        let mut owned = Vec::with_capacity(bytes.len() + 1);
        owned.extend_from_slice(bytes);
        owned.push(0);
        Box::leak(owned.into_boxed_slice()).as_mut_ptr().cast()
    };
    let pointers: Vec<*mut c_char> = strings.map(string).chain([null_mut()]).collect();
    Box::leak(pointers.into_boxed_slice()).as_mut_ptr()
}

/// The environment, as the variable `environ` has it. Called once, before every constructor.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_environment() -> *mut *mut c_char {
    let joined = |(name, value): (&[u8], &[u8])| [name, b"=", value].concat();
    let variables: Vec<_> = machine::environment().map(joined).collect();
    list(variables.iter().map(Vec::as_slice))
}

fn program() -> u8 {
    thread::init();
    let arguments = list(machine::arguments());
    // SAFETY: the pointers lead to strings that live for ever, and as many as there are arguments.
    unsafe { __vcpu_run_main(machine::arguments().count() as c_int, arguments) }
}

/// Ends the guest.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_exit_group(status: i64) -> i64 {
    boot::finish(status as u8)
}

/// As [`__vcpu_sys_exit_group`]: threads end by other means.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_exit(status: i64) -> i64 {
    __vcpu_sys_exit_group(status)
}

/// Gives the stack protector its canary, a number that cannot be foretold where the processor has random
/// numbers. Its lowest byte is zero, which ends a string.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_set_canary() {
    const RDRAND: u32 = 1 << 30;
    let mut random = clock::now().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if __cpuid(1).ecx & RDRAND != 0 {
        // SAFETY: the processor has the instruction. If it has no number just now, the clock's stays.
        unsafe { asm!("rdrand {0}", "cmovnc {0}, {1}", out(reg) random, in(reg) random) };
    }
    tls::set_canary(random << 8);
}
