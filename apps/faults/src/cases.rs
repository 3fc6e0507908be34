//! Code that faults, a function a case, named after it: the host's backtrace shows the name.
//!
//! The faults are made in assembly. In Rust most of them are undefined behaviour, and a compiler may
//! take away what cannot happen in a correct program.

use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::AtomicU8;
use libvcpu::abi::layout::TRAP_PAGE;
use libvcpu::exception::{self, Exception, Verdict};
use libvcpu::prelude::*;

/// `getpid` in the three system call tables: harmless, should it ever get through.
const GETPID_64: u64 = 39;
const GETPID_32: u32 = 20;

/// Linux' vsyscall page; its first function is `gettimeofday(tv, tz)`.
const VSYSCALL_PAGE: u64 = 0xffff_ffff_ff60_0000;

/// An address whose upper bits do not repeat bit 47 (or 56, with five-level paging).
const NON_CANONICAL: u64 = 0x8000_0000_0000_0000;

/// The alignment-check flag in `rflags`.
const ALIGNMENT_CHECK: u32 = 1 << 18;

#[inline(never)]
pub(crate) extern "C" fn null() {
    // SAFETY: faults, which is the purpose; it reads and changes nothing.
    unsafe { asm!("mov {value}, [{address}]", value = out(reg) _, address = in(reg) 0u64) };
}

#[inline(never)]
pub(crate) extern "C" fn write_text() {
    // SAFETY: faults, which is the purpose. Were it to succeed, it would put back the byte it read.
    unsafe {
        asm!("mov {byte}, [{address}]", "mov [{address}], {byte}", byte = out(reg_byte) _,
            address = in(reg) write_text as *const ());
    }
}

#[inline(never)]
pub(crate) extern "C" fn execute_data() {
    /// Lies with the writable data; the byte is the instruction `ret`.
    static FUNCTION: AtomicU8 = AtomicU8::new(0xc3);
    // SAFETY: faults, which is the purpose. Were it to succeed, it would return at once.
    unsafe { asm!("call {function}", function = in(reg) &FUNCTION, clobber_abi("C")) };
}

#[inline(never)]
pub(crate) extern "C" fn divide() {
    // SAFETY: faults, which is the purpose; it changes two registers.
    unsafe { asm!("div {zero}", zero = in(reg) 0u64, inout("rax") 1u64 => _, inout("rdx") 0u64 => _) };
}

#[inline(never)]
pub(crate) extern "C" fn invalid_opcode() {
    // SAFETY: faults, which is the purpose.
    unsafe { asm!("ud2") };
}

#[inline(never)]
pub(crate) extern "C" fn breakpoint() {
    // SAFETY: traps, which is the purpose; it changes nothing.
    unsafe { asm!("int3") };
}

#[inline(never)]
pub(crate) extern "C" fn misaligned() {
    // SAFETY: faults, which is the purpose. It reads inside two words that it has pushed itself; were it
    // to succeed, flags and stack pointer would be as before.
    unsafe {
        asm!(
            "pushfq",
            "pushfq",
            "or dword ptr [rsp], {flag}",
            "popfq",
            "mov {value:e}, [rsp + 1]",
            "popfq",
            flag = const ALIGNMENT_CHECK,
            value = out(reg) _,
        );
    }
}

#[inline(never)]
pub(crate) extern "C" fn non_canonical() {
    // SAFETY: faults, which is the purpose; it reads and changes nothing.
    unsafe { asm!("mov {value}, [{address}]", value = out(reg) _, address = in(reg) NON_CANONICAL) };
}

#[inline(never)]
pub(crate) extern "C" fn stack_overflow() {
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        let local = black_box([depth; 32]);
        // The condition always holds; the compiler does not know it.
        if black_box(true) { deeper(depth + 1) + local[0] } else { 0 }
    }
    black_box(deeper(0));
}

#[inline(never)]
pub(crate) extern "C" fn syscall() {
    // SAFETY: raises an exception, which is the purpose; names the registers that the instruction changes.
    unsafe { asm!("syscall", inout("rax") GETPID_64 => _, out("rcx") _, out("r11") _) };
}

#[inline(never)]
pub(crate) extern "C" fn int80() {
    // SAFETY: raises an exception, which is the purpose.
    unsafe {
        asm!("int 0x80", inout("eax") GETPID_32 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
}

#[inline(never)]
pub(crate) extern "C" fn sysenter() {
    // SAFETY: raises an exception, which is the purpose. It would not come back here in any case.
    unsafe { asm!("sysenter", in("eax") GETPID_32, clobber_abi("C")) };
}

#[inline(never)]
pub(crate) extern "C" fn vsyscall() {
    // SAFETY: raises an exception, which is the purpose. Both arguments are null: it would write nothing.
    unsafe {
        asm!("call {page}", page = in(reg) VSYSCALL_PAGE, in("rdi") 0u64, in("rsi") 0u64, clobber_abi("C"));
    }
}

#[inline(never)]
pub(crate) extern "C" fn trap_page_read() {
    // SAFETY: faults, which is the purpose; it reads and changes nothing.
    unsafe { asm!("mov {value}, [{address}]", value = out(reg) _, address = in(reg) TRAP_PAGE) };
}

#[inline(never)]
pub(crate) extern "C" fn trap_page_wrong() {
    // SAFETY: faults, which is the purpose: the address is right, the instruction's encoding is not. Were
    // it taken for a call, it would be `null`.
    unsafe { asm!("mov [{address}], edi", address = in(reg) TRAP_PAGE, in("edi") 0, lateout("rax") _) };
}

#[inline(never)]
pub(crate) extern "C" fn fault_in_handler() {
    fn faulty(_: &mut Exception<'_>) -> Verdict {
        null();
        Verdict::Resume
    }
    exception::set_handler(Some(faulty));
    invalid_opcode();
}

#[inline(never)]
pub(crate) extern "C" fn loop_events_off() {
    libvcpu::event::disable();
    loop {
        core::hint::spin_loop();
    }
}

#[inline(never)]
pub(crate) extern "C" fn panic() {
    let numbers = [2, 3, 5, 7];
    black_box(numbers[black_box(4)]);
}

#[inline(never)]
pub(crate) extern "C" fn out_of_memory() {
    const PIECE: usize = 1 << 20;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    // A program that can do without the memory asks with `try_reserve` and gets an error.
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() || pieces.try_reserve(1).is_err() {
            break;
        }
        pieces.push(black_box(piece));
    }
    println!("handled: out of memory");
    // Everything else panics.
    black_box(Box::<[u8; PIECE]>::new_uninit());
    black_box(pieces);
}
