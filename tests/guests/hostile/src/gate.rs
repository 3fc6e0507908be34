//! Jumps into the gate page.
//!
//! Its code holds system call instructions: the gate's, the host's own for `protect`, and those with which
//! the process was prepared. Each is tried with every system call number and with arguments that would do
//! harm; then every byte of the page is jumped to, also between two instructions.

use crate::attempt::{Ending, Registers, jump};
use core::cell::UnsafeCell;
use libvcpu::abi::call::Error;
use libvcpu::abi::cause::Cause;
use libvcpu::abi::layout::{GATE, INFO_PAGE, PAGE_SIZE, RAM_BASE, VCPU_PAGE};
use libvcpu::prelude::*;
use libvcpu::{call, machine};

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// More than the highest number that Linux has.
const NUMBERS: u64 = 500;

/// Numbers that would do most: `write`, `mmap`, `mprotect`, `munmap`, `exit`, `exit_group`, `execve`,
/// `kill`; and two that are no numbers, of which the gate uses the second.
const WORST: [u64; 10] = [1, 9, 10, 11, 60, 231, 59, 62, u64::MAX, 0xffff_ffff];

/// A page of the program's own, for `mprotect`.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

// SAFETY: only its address and, at the end, one byte are used.
unsafe impl Sync for Page {}

static OWN_PAGE: Page = Page(UnsafeCell::new([0; PAGE_SIZE as usize]));

/// Arguments that would do harm if a system call with them were carried out, or if the host's `mprotect`
/// went beyond what `protect` allows. None of the first ones is the number of a call, but zero (`null`).
fn harmful() -> [[u64; 6]; 12] {
    const READ: u64 = 1;
    const READ_WRITE: u64 = 3;
    const ALL: u64 = 7;
    /// Private, anonymous, fixed.
    const MAP: u64 = 0x32;
    let page = OWN_PAGE.0.get() as u64;
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

/// How jumps ended.
#[derive(Default)]
struct Tally {
    jumps: u64,
    refused: u64,
    other: u64,
}

impl Tally {
    fn jump(&mut self, target: u64, number: u64, arguments: [u64; 6]) {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let ending = jump(target, &Registers { rax: number, rdi, rsi, rdx, r10, r8, r9 });
        self.jumps += 1;
        match ending {
            Ending::Caught(Cause::OutsideCall) => self.refused += 1,
            _ => self.other += 1,
        }
    }
}

fn page() -> &'static [u8] {
    // SAFETY: the machine maps the page, readable, for as long as the guest runs.
    unsafe { core::slice::from_raw_parts(GATE as *const u8, PAGE_SIZE as usize) }
}

/// Lets the test look at the process, and goes on when it has.
fn pause(text: &str) {
    println!("{text}");
    let mut line = [0];
    libvcpu::io::Read::read(&mut libvcpu::io::stdin(), &mut line).expect("the test answers");
}

/// What an attack must not have changed inside.
fn check() {
    // SAFETY: the page is the program's own.
    unsafe { OWN_PAGE.0.get().cast::<u8>().write_volatile(1) };
    assert_eq!(Error::check(unsafe_null()), Ok(0), "the gate still works");
}

fn unsafe_null() -> i64 {
    // SAFETY: the call does nothing.
    unsafe { call::raw(0, 0, 0, 0, 0) }
}

/// Every system call instruction in the page, with every number and all arguments.
pub(crate) fn calls() {
    pause("before");
    let mut sites = 0;
    let mut tally = Tally::default();
    for offset in 0..page().len() - 1 {
        if page()[offset..].starts_with(&SYSCALL) {
            sites += 1;
            for number in (0..NUMBERS).chain(WORST).chain(WORST.map(|number| number | 1 << 30)) {
                for arguments in harmful() {
                    tally.jump(GATE + offset as u64, number, arguments);
                }
            }
        }
    }
    check();
    // The gate's own number at the gate is a call, and answered; `mprotect` at the host's site that the
    // filter lets pass is refused by the system, since text is sealed.
    println!("{sites} sites, {} jumps, {} not refused by the filter", tally.jumps, tally.other);
    pause("after");
}

/// Every byte of the page. Between two instructions lie others that store to where `rdi` points, so that is
/// not the vCPU page here, which is the program's own.
pub(crate) fn bytes() {
    pause("before");
    let mut tally = Tally::default();
    let code = page().iter().rposition(|byte| *byte != 0xcc).map_or(0, |last| last + 1);
    for offset in 0..page().len() {
        let numbers: &[u64] = if offset < code { &WORST } else { &WORST[..1] };
        for number in numbers {
            for arguments in harmful().into_iter().filter(|arguments| arguments[0] != VCPU_PAGE) {
                tally.jump(GATE + offset as u64, *number, arguments);
            }
        }
    }
    check();
    println!("{} jumps", tally.jumps);
    pause("after");
}
