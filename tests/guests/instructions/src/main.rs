//! Scenarios into which a test injects events, on lines 8 and 9, after each single instruction.
//!
//! A scenario lies between the first two `null` calls that the program makes. What it prints afterwards
//! must not depend on where the events came.

#![no_std]
#![no_main]

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::abi::call::{Access, NEVER};
use libvcpu::abi::layout::{PAGE_SIZE, RAM_BASE};
use libvcpu::abi::page::State;
use libvcpu::prelude::*;
use libvcpu::{call, env, event, machine};

entry!(main);

/// The line on which the test injects its event, that of a second event, which need not come, and the one on
/// which the scenario has its own.
const INJECTED: u32 = 8;
const SECOND: u32 = 9;
const OWN: u32 = 7;

static INJECTED_COUNT: AtomicU32 = AtomicU32::new(0);
static SECOND_COUNT: AtomicU32 = AtomicU32::new(0);
static OWN_COUNT: AtomicU32 = AtomicU32::new(0);

fn main() -> Result<(), &'static str> {
    event::set_handler(INJECTED, Some(|| count(&INJECTED_COUNT)));
    event::set_handler(SECOND, Some(|| count(&SECOND_COUNT)));
    event::set_handler(OWN, Some(|| count(&OWN_COUNT)));
    let scenario = env::args().nth(1).ok_or("which scenario?")?;
    let result = match scenario.as_str() {
        "compute" => compute(),
        "enable" => enable(event::enable),
        "enable-broken" => enable(enable_without_looking),
        "without" => without(),
        "wait" => wait(),
        "protect" => protect(),
        _ => return Err("there is no such scenario"),
    };
    call::null();
    // Events are on, so an event is taken by now, wherever in the scenario it came.
    if SECOND_COUNT.load(Relaxed) > 1 {
        return Err("the second event was taken twice");
    }
    let (injected, own) = (INJECTED_COUNT.load(Relaxed), OWN_COUNT.load(Relaxed));
    println!("{scenario}: result {result:#x}, {injected} injected, {own} own");
    Ok(())
}

fn count(counter: &AtomicU32) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

/// Code whose registers, flags and red zone all hold distinctive values. The test also raises the
/// scenario's own line at its first instruction, so the whole way of an upcall lies in the window.
fn compute() -> u64 {
    call::null();
    u64::from(registers_survive())
}

/// Events are off, on, off, on.
fn enable(enable: fn()) -> u64 {
    call::null();
    for _ in 0..2 {
        event::disable();
        core::hint::black_box(());
        enable();
    }
    0
}

/// Sets IRQ and does not look whether something came before: loses events, which the test must notice.
fn enable_without_looking() {
    machine::page().state.store((State::EXCEPTIONS | State::IRQ).bits(), Relaxed);
}

/// Sections without events, one in another.
fn without() -> u64 {
    call::null();
    event::without(|| event::without(|| core::hint::black_box(1)) + 1)
}

/// A sleep that the scenario's own timer ends.
fn wait() -> u64 {
    call::null();
    call::timer_set(OWN, Some(1_000_000))
        .map_or(1, |()| u64::from(!event::wait_until(Some(NEVER), || OWN_COUNT.load(Relaxed) == 1)))
}

/// Pages of the program's own lose the right to be written, get it again, and lose it for good.
fn protect() -> u64 {
    const PAGES: u64 = 2 * PAGE_SIZE;
    let begin = RAM_BASE + machine::info().ram_size - PAGES;
    let set = |access| {
        // SAFETY: nothing lies there: the heap hands out low addresses first.
        u64::from(unsafe { call::protect(begin..begin + PAGES, access) }.is_err())
    };
    let word = (begin + PAGE_SIZE) as *mut u64;
    // SAFETY: as above; the page can be written here, and again below.
    unsafe { word.write_volatile(1) };
    call::null();
    let mut failed = set(Access::READ);
    failed += set(Access::READ | Access::WRITE);
    // SAFETY: as above.
    unsafe { word.write_volatile(word.read_volatile() + 1) };
    failed += set(Access::READ);
    // SAFETY: as above, and the page can still be read.
    failed << 32 | unsafe { word.read_volatile() }
}

/// Fills registers, flags and red zone, spends some instructions, and compares. Zero if all is as it was.
#[unsafe(naked)]
extern "C" fn registers_survive() -> u32 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rax, 0x0101010101010101",
        "mov [rsp - 8], rax",
        "mov [rsp - 128], rax",
        "movq xmm0, rax",
        "movq xmm15, rax",
        "mov ebx, 0x22222222",
        "mov ecx, 0x33333333",
        "mov edx, 0x44444444",
        "mov esi, 0x55555555",
        "mov edi, 0x66666666",
        "mov ebp, 0x77777777",
        "mov r8d, 0x08080808",
        "mov r9d, 0x09090909",
        "mov r10d, 0x10101010",
        "mov r11d, 0x11111111",
        "mov r12d, 0x12121212",
        "mov r13d, 0x13131313",
        "mov r14d, 0x14141414",
        "mov r15d, 0x15151515",
        // The direction flag and the carry are set until the comparison.
        "std",
        "stc",
        ".rept 16",
        "nop",
        ".endr",
        "jnc 2f",
        "pushfq",
        "cld",
        "test dword ptr [rsp], 0x400",
        "lea rsp, [rsp + 8]",
        "jz 2f",
        // The push has overwritten the first word of the red zone, not the last.
        "cmp [rsp - 128], rax",
        "jne 2f",
        "cmp ebx, 0x22222222",
        "jne 2f",
        "cmp ecx, 0x33333333",
        "jne 2f",
        "cmp edx, 0x44444444",
        "jne 2f",
        "cmp esi, 0x55555555",
        "jne 2f",
        "cmp edi, 0x66666666",
        "jne 2f",
        "cmp ebp, 0x77777777",
        "jne 2f",
        "cmp r8d, 0x08080808",
        "jne 2f",
        "cmp r9d, 0x09090909",
        "jne 2f",
        "cmp r10d, 0x10101010",
        "jne 2f",
        "cmp r11d, 0x11111111",
        "jne 2f",
        "cmp r12d, 0x12121212",
        "jne 2f",
        "cmp r13d, 0x13131313",
        "jne 2f",
        "cmp r14d, 0x14141414",
        "jne 2f",
        "cmp r15d, 0x15151515",
        "jne 2f",
        "movq rbx, xmm0",
        "cmp rbx, rax",
        "jne 2f",
        "movq rbx, xmm15",
        "cmp rbx, rax",
        "jne 2f",
        "mov rbx, 0x0101010101010101",
        "cmp rbx, rax",
        "jne 2f",
        "xor eax, eax",
        "jmp 3f",
        "2: cld",
        "mov eax, 1",
        "3: pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
