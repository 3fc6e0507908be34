//! Unusual contents of what the host saves and restores: flags, segments, stack pointer.

use crate::attempt::{Ending, Registers, attempt, jump};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::abi::cause::Cause;
use libvcpu::abi::info::Features;
use libvcpu::exception::{Exception, Verdict, set_handler};
use libvcpu::prelude::*;
use libvcpu::{call, machine};

extern "C" fn invalid_opcode() {
    // SAFETY: raises an exception, which is the purpose.
    unsafe { asm!("ud2") };
}

/// Makes the host read and write all registers: by an exception that is handled, and by calls. One of
/// them has an upcall, one changes the access of a page.
fn bother_host() {
    static PAGE: Page = Page([0; 4096]);
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    assert_eq!(attempt(invalid_opcode), Ending::Caught(Cause::InvalidOpcode));
    call::null();
    let page = (&raw const PAGE.0) as u64;
    let read = libvcpu::abi::call::Access::READ;
    // SAFETY: the page is a constant, which is only read; it has this access already.
    unsafe { call::protect(page..page + 4096, read) }.expect("the page is RAM");
    call::timer_set(1, Some(0)).expect("the line exists");
    libvcpu::event::wait_until(None, || libvcpu::event::take(1));
}

/// Sets the trap flag: every instruction that follows is an exception, those of the gate too.
pub(crate) fn trap_flag() {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    fn step(exception: &mut Exception<'_>) -> Verdict {
        assert_eq!(exception.cause, Cause::Debug);
        STEPS.fetch_add(1, Relaxed);
        Verdict::Resume
    }
    set_handler(Some(step));
    let answer: i64;
    // SAFETY: sets and clears one flag by the stack, which has room; between that is a call that does
    // nothing. What the gate changes is named.
    unsafe {
        asm!(
            "pushfq",
            "or dword ptr [rsp], 0x100",
            "popfq",
            "xor edi, edi",
            "mov eax, 0x12000",
            "call rax",
            "pushfq",
            "and dword ptr [rsp], 0xfffffeff",
            "popfq",
            out("rax") answer,
            out("rdi") _,
            clobber_abi("C"),
        );
    }
    set_handler(None);
    let steps = STEPS.load(Relaxed);
    println!("answer {answer}, stepped: {}", steps >= 8);
}

/// Loads every segment register with every selector that the processor takes.
pub(crate) fn selectors() {
    extern "C" fn load_ds(selector: u64) {
        // SAFETY: in 64-bit mode the register has no effect on accesses.
        unsafe { asm!("mov ds, {0:e}", in(reg) selector) };
    }
    extern "C" fn load_es(selector: u64) {
        // SAFETY: as above.
        unsafe { asm!("mov es, {0:e}", in(reg) selector) };
    }
    extern "C" fn load_fs(selector: u64) {
        // SAFETY: nothing in a guest uses this register.
        unsafe { asm!("mov fs, {0:e}", in(reg) selector) };
    }
    extern "C" fn load_gs(selector: u64) {
        // SAFETY: as above.
        unsafe { asm!("mov gs, {0:e}", in(reg) selector) };
    }
    let mut loaded = 0;
    for load in [load_ds, load_es, load_fs, load_gs] {
        // The whole of the global table, then the local one.
        for selector in (0..=0x7f).chain([0xff, 0xfff7, 0xffff]) {
            let registers = Registers { rdi: selector, ..Registers::default() };
            if jump(load as *const () as u64, &registers) == Ending::Returned {
                loaded += 1;
                bother_host();
            }
        }
        load(0);
    }
    println!("survived, selectors were loaded: {}", loaded > 0);
}

/// Loads the segment bases with addresses that no program has.
pub(crate) fn segment_bases() {
    if !machine::features().contains(Features::FSGSBASE) {
        println!("not possible");
        return;
    }
    extern "C" fn load_fs(base: u64) {
        // SAFETY: nothing in a guest uses this register.
        unsafe { asm!("wrfsbase {}", in(reg) base) };
    }
    extern "C" fn load_gs(base: u64) {
        // SAFETY: as above.
        unsafe { asm!("wrgsbase {}", in(reg) base) };
    }
    fn bases() -> [u64; 2] {
        let (fs, gs): (u64, u64);
        // SAFETY: the machine has the feature.
        unsafe { asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs) };
        [fs, gs]
    }
    for (index, load) in [load_fs, load_gs].into_iter().enumerate() {
        for base in [0, 0x20_0000, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, u64::MAX] {
            let registers = Registers { rdi: base, ..Registers::default() };
            assert_eq!(jump(load as *const () as u64, &registers), Ending::Returned, "{base:#x}");
            bother_host();
            assert_eq!(bases()[index], base, "the host has changed the base");
        }
        load(0);
        let registers = Registers { rdi: 1 << 63, ..Registers::default() };
        assert_eq!(
            jump(load as *const () as u64, &registers),
            Ending::Caught(Cause::GeneralProtection),
            "a base that is no address"
        );
    }
    println!("survived");
}

/// Stack pointers that lead nowhere.
const STACK_POINTERS: [u64; 8] =
    [0, 8, 0x1_2000, 0x1_4008, 0x8000_0000_0000_0000, 0xffff_8000_0000_0000, u64::MAX, u64::MAX - 7];

extern "C" fn push_at(stack_pointer: u64) {
    // SAFETY: faults, which is the purpose; who calls this restores the stack pointer.
    unsafe { asm!("mov rsp, {}", "push rax", "ud2", in(reg) stack_pointer, options(noreturn)) };
}

/// Faults with each of them; the handler runs on its own stack.
pub(crate) fn stack_pointers() {
    for stack_pointer in STACK_POINTERS {
        let registers = Registers { rdi: stack_pointer, ..Registers::default() };
        let ending = jump(push_at as *const () as u64, &registers);
        println!("{stack_pointer:#x}: {ending:?}");
    }
}

/// Faults with this one, and handles nothing.
pub(crate) fn stack_pointer(stack_pointer: u64) {
    push_at(stack_pointer);
}
