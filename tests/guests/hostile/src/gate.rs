//! Jumps into the gate page.
//!
//! Its code holds system call instructions: the gate's, the host's own for `protect`, and those with which
//! the process was prepared. Each is tried with every system call number and with arguments that would do
//! harm; then every byte of the page is jumped to, also between two instructions.

use crate::attempt::{Ending, Registers, jump};
use core::arch::asm;
use core::cell::UnsafeCell;
use libvcpu::abi::call::{Call, STREAM_OUTPUT};
use libvcpu::abi::cause::Cause;
use libvcpu::abi::layout::{GATE, INFO_PAGE, PAGE_SIZE, RAM_BASE, VCPU_PAGE};
use libvcpu::abi::page::EVENT_LINES;
use libvcpu::prelude::*;
use libvcpu::{call, clock, machine};

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// More than the highest number that Linux has.
const NUMBERS: u64 = 500;

/// Numbers that would do most: `write`, `mmap`, `mprotect`, `munmap`, `exit`, `exit_group`, `execve`,
/// `kill`; and two that are no numbers, of which the gate uses the second.
const WORST: [u64; 10] = [1, 9, 10, 11, 60, 231, 59, 62, u64::MAX, 0xffff_ffff];

/// A page of the program's own, for `mprotect`, between two others that stray stores may go to.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u8; PAGE_SIZE as usize]; 3]>);

// SAFETY: only addresses inside and, at the end, one byte are used.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([[0; PAGE_SIZE as usize]; 3]));

/// The address of the page.
fn own_page() -> u64 {
    PAGES.0.get() as u64 + PAGE_SIZE
}

/// Arguments that would do harm if a system call with them were carried out, or if the host's `mprotect`
/// went beyond what `protect` allows. None of the first ones is the number of a call, but zero (`null`).
fn harmful() -> [[u64; 6]; 12] {
    const READ: u64 = 1;
    const READ_WRITE: u64 = 3;
    const ALL: u64 = 7;
    /// Private, anonymous, fixed.
    const MAP: u64 = 0x32;
    let page = own_page();
    let end = RAM_BASE + machine::info().ram_size;
    let none = u64::MAX;
    [
        [VCPU_PAGE, PAGE_SIZE, ALL, MAP, none, 0],
        [GATE, PAGE_SIZE, READ_WRITE, MAP, none, 0],
        [INFO_PAGE, PAGE_SIZE, READ_WRITE, MAP, none, 0],
        [RAM_BASE, PAGE_SIZE, READ_WRITE, MAP, none, 0],
        [page, PAGE_SIZE, ALL, MAP, none, 0],
        [end - PAGE_SIZE, 2 * PAGE_SIZE, READ, MAP, none, 0],
        [RAM_BASE - PAGE_SIZE, 2 * PAGE_SIZE, READ, MAP, none, 0],
        [page, page.wrapping_neg(), READ, MAP, none, 0],
        [page, 1 << 63, READ, MAP, none, 0],
        [page, PAGE_SIZE, READ | 1 << 32, MAP, none, 0],
        [0, end, 0, MAP, none, 0],
        // A descriptor, a buffer and its length; or a process and a signal.
        [10, page, 16, 0, 0, 0],
    ]
}

/// Numbers that Linux carries out in the gate page whatever a filter says, since it uses them itself
/// (`uretprobe` and `uprobe`). For anybody else they do nothing: an invalid opcode, or an error.
const EXEMPT: [u64; 2] = [335, 336];

/// The number that the gate uses.
const GATE_NUMBER: u32 = u32::MAX;

const MPROTECT: u64 = 10;

/// `rt_sigreturn`
const SIGNAL_RETURN: u64 = 15;

/// Jumps with these registers; gives how that ended.
fn jump_with(target: u64, number: u64, arguments: [u64; 6]) -> Ending {
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    jump(target, &Registers { rax: number, rdi, rsi, rdx, r10, r8, r9 })
}

/// Whether a system call instruction may end like that.
fn is_right(ending: Ending, number: u64, at_gate: bool, at_protect: bool) -> bool {
    match ending {
        Ending::Caught(Cause::OutsideCall) => true,
        // A call, which was answered.
        Ending::Returned if at_gate && number as u32 == GATE_NUMBER => true,
        // What the filter lets pass there the system refused, or it was no more than `protect` allows; a
        // breakpoint follows.
        Ending::Caught(Cause::Breakpoint) if at_protect && number == MPROTECT => true,
        // Or the answer to a request that nobody made, and no way back.
        Ending::Caught(Cause::PageFault) if at_protect && number == MPROTECT => true,
        // Whoever jumps into the middle of something may find no way back behind it, or any registers.
        Ending::Caught(Cause::InvalidOpcode | Cause::Breakpoint | Cause::PageFault | Cause::Left64Bit)
        | Ending::Returned => EXEMPT.contains(&number),
        _ => false,
    }
}

fn page() -> &'static [u8] {
    // SAFETY: the machine maps the page, readable, for as long as the guest runs.
    unsafe { core::slice::from_raw_parts(GATE as *const u8, PAGE_SIZE as usize) }
}

/// Bytes of the page that hold code.
pub(crate) fn length() -> usize {
    page().iter().rposition(|byte| *byte != 0xcc).map_or(0, |last| last + 1)
}

/// The number that `mov eax, ...` right before a system call instruction loads, if that is there.
fn own_number(site: usize) -> Option<u64> {
    const MOVE: u8 = 0xb8;
    let [MOVE, number @ ..] = page()[..site].last_chunk::<5>()? else { return None };
    Some(u32::from_le_bytes(*number).into())
}

/// Lets the test look at the process, and goes on when it has.
fn pause(text: &str) {
    println!("{text}");
    let mut line = [0];
    libvcpu::io::Read::read(&mut libvcpu::io::stdin(), &mut line).expect("the test answers");
    // A jump into the middle of the gate can make the last call once more; that is not to be a wait.
    call::null();
}

/// What an attack must not have changed inside.
fn check() {
    // SAFETY: the page is the program's own.
    unsafe { (own_page() as *mut u8).write_volatile(1) };
    // SAFETY: the call does nothing.
    let answer = unsafe { call::raw(0, 0, 0, 0, 0) };
    assert_eq!(answer, 0, "the gate still works");
}

fn numbers() -> impl Iterator<Item = u64> {
    /// Marks a number as one of the x32 interface.
    const X32: u64 = 1 << 30;
    (0..NUMBERS).chain(WORST).chain(WORST.map(|number| number | X32))
}

/// Every system call instruction in the page, with every number and all arguments.
pub(crate) fn calls() {
    pause("before");
    let starts = |offset: &usize| page()[*offset..].starts_with(&SYSCALL);
    let sites: Vec<usize> = (0..page().len()).filter(starts).collect();
    let (mut jumps, mut wrong) = (0u64, 0u64);
    let is_traced = own_number(sites[0]) == Some(GATE_NUMBER.into());
    for (site, offset) in sites.into_iter().enumerate() {
        let own = own_number(offset);
        let is_gate = own == Some(GATE_NUMBER.into());
        // With a tracer it is the second one, whose number the host sets.
        let is_protect = if is_traced { site == 1 } else { own == Some(MPROTECT) };
        for number in numbers() {
            // Does what a frame says that is not there; another attack makes one.
            if own == Some(SIGNAL_RETURN) && number == SIGNAL_RETURN {
                continue;
            }
            for arguments in harmful() {
                let ending = jump_with(GATE + offset as u64, number, arguments);
                jumps += 1;
                if !is_right(ending, number, is_gate, is_protect) {
                    println!("offset {offset:#x}, number {number:#x}, {arguments:x?}: {ending:?}");
                    wrong += 1;
                }
            }
        }
    }
    check();
    println!("{jumps} jumps");
    println!("{wrong} wrong");
    pause("after");
}

/// The program's own system call instructions, with every number and all arguments.
pub(crate) fn own_calls() {
    extern "C" fn int80() {
        // SAFETY: as in `syscall`.
        unsafe { asm!("int 0x80") };
    }
    pause("before");
    let mut wrong = 0u64;
    for number in numbers() {
        for arguments in harmful() {
            let ending = jump_with(syscall as *const () as u64, number, arguments);
            if ending != Ending::Caught(Cause::OutsideCall) {
                println!("syscall {number:#x}, {arguments:x?}: {ending:?}");
                wrong += 1;
            }
            let ending = jump_with(int80 as *const () as u64, number, arguments);
            if !matches!(ending, Ending::Caught(Cause::OutsideCall | Cause::GeneralProtection)) {
                println!("int 0x80 {number:#x}, {arguments:x?}: {ending:?}");
                wrong += 1;
            }
        }
    }
    check();
    println!("{wrong} wrong");
    pause("after");
}

/// Every byte of the page. Between two instructions lie others that store to where `rdi` points, so that is
/// not the vCPU page here, which is the program's own.
pub(crate) fn bytes() {
    pause("before");
    let code = length();
    let mut jumps = 0u64;
    for offset in 0..page().len() {
        let numbers: &[u64] = if offset < code { &WORST } else { &WORST[..1] };
        for number in numbers {
            for arguments in harmful().into_iter().filter(|arguments| arguments[0] != VCPU_PAGE) {
                // However it ends: the test looks at what it has done.
                jump_with(GATE + offset as u64, *number, arguments);
                jumps += 1;
            }
        }
    }
    check();
    println!("{jumps} jumps");
    pause("after");
}

/// One byte of the page, with everything, while timers of both halves of the lines come. There may be no way
/// back: to jump into the handlers of signals is to make oneself any registers.
pub(crate) fn byte(offset: u64) {
    for (number, line) in WORST.into_iter().zip(1..) {
        // Whatever was jumped into may have lost what the gate needs.
        let soon = clock::now() + u64::from(line) * 4000;
        let _ = call::timer_set(line, Some(soon));
        let _ = call::timer_set(line + EVENT_LINES / 2, Some(soon + 2000));
        for arguments in harmful() {
            jump_with(GATE + offset, number, arguments);
        }
    }
}

/// A return from a signal that never came, with a frame of its own making: all registers, no stack for
/// signals, all signals blocked. Then it faults (0), or computes for ever (1).
pub(crate) fn forge(then: u64) {
    extern "C" fn fault() -> ! {
        // SAFETY: raises an exception, which is the purpose.
        unsafe { asm!("ud2", options(noreturn)) }
    }
    extern "C" fn compute() -> ! {
        // SAFETY: does nothing for ever.
        unsafe { asm!("2: jmp 2b", options(noreturn)) }
    }
    /// Words of a context: flags, link, the stack for signals (3), registers (23), then others, and the
    /// set of blocked signals.
    const WORDS: usize = 64;
    /// Of the stack for signals: there is none.
    const SS_DISABLE: u64 = 2;
    let mut frame = [0u64; WORDS];
    frame[3] = SS_DISABLE;
    frame[5 + 15] = (&raw const frame) as u64;
    frame[5 + 16] = if then == 0 { fault as *const () as u64 } else { compute as *const () as u64 };
    frame[5 + 17] = 0x202;
    frame[5 + 18] = 0x33 | 0x2b << 48;
    // Behind the registers: a pointer to the extended state, of which there is none, and eight words.
    frame[5 + 23 + 9] = u64::MAX;
    // The last `mov eax, 15; syscall` in the page.
    const RETURN: [u8; 7] = [0xb8, 15, 0, 0, 0, 0x0f, 0x05];
    let Some(at) = page().windows(RETURN.len()).position(|bytes| bytes == RETURN) else {
        println!("nothing returns from signals here");
        return;
    };
    // SAFETY: the registers that the frame holds make it end as the test expects.
    unsafe {
        asm!("mov rsp, {0}", "jmp {1}", in(reg) frame.as_ptr(), in(reg) GATE + at as u64, options(noreturn))
    }
}

/// Makes a call, and after it tries to end the process by a system call of its own: by its own instruction,
/// or by one of those in the page. Without a host nobody is there to catch that.
pub(crate) fn after_call(site: u64) {
    const EXIT_GROUP: u64 = 231;
    let starts = |offset: &usize| page()[*offset..].starts_with(&SYSCALL);
    let at_gate = (0..page().len()).filter(starts).nth(site as usize);
    // SAFETY: what is written is ours; the answer does not matter.
    unsafe { call::raw(Call::ConsoleWrite as u32, STREAM_OUTPUT, c"x".as_ptr() as u64, 1, 0) };
    let target = at_gate.map_or(syscall as *const () as u64, |offset| GATE + offset as u64);
    jump_with(target, EXIT_GROUP, [42, 0, 0, 0, 0, 0]);
}

extern "C" fn syscall() {
    // SAFETY: raises an exception, which is the purpose; nothing else is done if it does not.
    unsafe { asm!("syscall", out("rcx") _, out("r11") _) };
}
