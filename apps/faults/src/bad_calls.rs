//! Calls with every argument wrong. None is a fault: the machine answers with an error and has changed
//! nothing. (`Null`, `Exit`, `Wait` and `Clock` are missing, since they take any argument.)

use core::cell::UnsafeCell;
use libvcpu::abi::call::{Call, Error, NEVER};
use libvcpu::abi::layout::{GATE, INFO_PAGE, PAGE_SIZE, RAM_BASE, TRAP_PAGE, VCPU_PAGE};
use libvcpu::call::raw;
use libvcpu::prelude::*;

/// A page of the program's own, whose access the calls try to change.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

// SAFETY: there is one thread, and no handler uses the page.
unsafe impl Sync for Page {}

static OWN_PAGE: Page = Page(UnsafeCell::new([0; PAGE_SIZE as usize]));

/// Makes a call and prints it as it is written here, with the answer.
macro_rules! try_call {
    ($call:ident($($argument:expr),*)) => {
        show(concat!(stringify!($call), "(", stringify!($($argument),*), ")"), Call::$call as u32, &[$($argument),*])
    };
}

/// Makes a call without a name.
macro_rules! try_number {
    ($number:expr) => {
        show(concat!("call ", stringify!($number), "()"), $number, &[])
    };
}

fn show(text: &str, number: u32, arguments: &[u64]) {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: what a correct machine obeys of these calls it refuses; and the reads and changes of access
    // that it must refuse concern memory that is not used while this case runs.
    let answer = unsafe { raw(number, argument(0), argument(1), argument(2), argument(3)) };
    match Error::check(answer) {
        Ok(value) => println!("{text} = {value}"),
        Err(error) => println!("{text} = {error:?}"),
    }
}

#[inline(never)]
pub(crate) extern "C" fn bad_calls() {
    let text = RAM_BASE;
    let page = OWN_PAGE.0.get() as u64;
    let end = RAM_BASE + libvcpu::machine::info().ram_size;

    unknown_numbers();
    console_write(page, end);
    console_read(page, text, end);
    timers();
    protect(page, text, end);
    devices();
    exchange(page, text, end);
    endings(end);

    // SAFETY: the page is this module's own and nothing else uses it.
    unsafe { OWN_PAGE.0.get().write_volatile([1; PAGE_SIZE as usize]) };
    println!("the program's own page can still be written");
}

fn unknown_numbers() {
    try_number!(16);
    try_number!(1000);
    try_number!(0x8000_0000);
    try_number!(u32::MAX);
}

fn console_write(page: u64, end: u64) {
    // No such stream, or none that can be written. The last would be stream 1 if it were cut to 32 bits.
    try_call!(ConsoleWrite(0, page, 1));
    try_call!(ConsoleWrite(3, page, 1));
    try_call!(ConsoleWrite(u64::MAX, page, 1));
    try_call!(ConsoleWrite(0x1_0000_0001, page, 1));
    // Not in RAM.
    try_call!(ConsoleWrite(1, 0, 1));
    try_call!(ConsoleWrite(1, VCPU_PAGE, 1));
    try_call!(ConsoleWrite(1, GATE, 1));
    try_call!(ConsoleWrite(1, TRAP_PAGE, 1));
    try_call!(ConsoleWrite(1, INFO_PAGE, 1));
    try_call!(ConsoleWrite(1, RAM_BASE - 1, 1));
    try_call!(ConsoleWrite(1, end, 1));
    try_call!(ConsoleWrite(1, u64::MAX, 1));
    try_call!(ConsoleWrite(1, 0xffff_8000_0000_0000, 1));
    // Partly in RAM.
    try_call!(ConsoleWrite(1, RAM_BASE - 1, 2));
    try_call!(ConsoleWrite(1, end - 1, 2));
    // Too long, up to sums that overflow.
    try_call!(ConsoleWrite(1, page, 1 << 40));
    try_call!(ConsoleWrite(1, page, 1 << 63));
    try_call!(ConsoleWrite(1, page, u64::MAX));
    try_call!(ConsoleWrite(1, page, u64::MAX - page + 1));
    try_call!(ConsoleWrite(1, u64::MAX, u64::MAX));
    try_call!(ConsoleWrite(2, 0, 1));
}

fn console_read(page: u64, text: u64, end: u64) {
    try_call!(ConsoleRead(1, page, 1));
    try_call!(ConsoleRead(2, page, 1));
    try_call!(ConsoleRead(3, page, 1));
    try_call!(ConsoleRead(u64::MAX, page, 1));
    try_call!(ConsoleRead(0x1_0000_0000, page, 1));
    // Not in RAM, or not to be written.
    try_call!(ConsoleRead(0, 0, 1));
    try_call!(ConsoleRead(0, VCPU_PAGE, 1));
    try_call!(ConsoleRead(0, GATE, 1));
    try_call!(ConsoleRead(0, TRAP_PAGE, 1));
    try_call!(ConsoleRead(0, INFO_PAGE, 1));
    try_call!(ConsoleRead(0, text, 1));
    try_call!(ConsoleRead(0, end, 1));
    try_call!(ConsoleRead(0, end - 1, 2));
    try_call!(ConsoleRead(0, u64::MAX, 1));
    try_call!(ConsoleRead(0, page, 1 << 63));
    try_call!(ConsoleRead(0, page, u64::MAX));
    try_call!(ConsoleRead(0, page, u64::MAX - page + 1));
}

fn timers() {
    try_call!(TimerSet(64, NEVER));
    try_call!(TimerSet(64, 0));
    try_call!(TimerSet(u64::MAX, NEVER));
    try_call!(TimerSet(0x1_0000_0000, NEVER));
}

fn protect(page: u64, text: u64, end: u64) {
    // Rights that do not exist: written without being read, executed without, written and executed.
    try_call!(Protect(page, PAGE_SIZE, 2));
    try_call!(Protect(page, PAGE_SIZE, 4));
    try_call!(Protect(page, PAGE_SIZE, 6));
    try_call!(Protect(page, PAGE_SIZE, 7));
    try_call!(Protect(page, PAGE_SIZE, 8));
    try_call!(Protect(page, PAGE_SIZE, u64::MAX));
    try_call!(Protect(page, PAGE_SIZE, 0x1_0000_0001));
    // Misaligned.
    try_call!(Protect(page + 1, PAGE_SIZE, 1));
    try_call!(Protect(page + 8, PAGE_SIZE, 1));
    try_call!(Protect(page, PAGE_SIZE - 1, 1));
    try_call!(Protect(page, 1, 1));
    // Sealed text, alone and at the beginning of more.
    try_call!(Protect(text, PAGE_SIZE, 0));
    try_call!(Protect(text, PAGE_SIZE, 3));
    try_call!(Protect(text, end - text, 3));
    // Not in RAM, or partly.
    try_call!(Protect(0, PAGE_SIZE, 3));
    try_call!(Protect(VCPU_PAGE, PAGE_SIZE, 1));
    try_call!(Protect(GATE, PAGE_SIZE, 3));
    try_call!(Protect(TRAP_PAGE, PAGE_SIZE, 3));
    try_call!(Protect(INFO_PAGE, PAGE_SIZE, 3));
    try_call!(Protect(end, PAGE_SIZE, 1));
    try_call!(Protect(end - PAGE_SIZE, 2 * PAGE_SIZE, 1));
    try_call!(Protect(RAM_BASE - PAGE_SIZE, 2 * PAGE_SIZE, 1));
    try_call!(Protect(page, 1 << 63, 1));
    try_call!(Protect(page, u64::MAX - page + 1, 1));
    try_call!(Protect(0xffff_ffff_ffff_f000, PAGE_SIZE, 1));
    try_call!(Protect(0xffff_ffff_ffff_f000, 2 * PAGE_SIZE, 1));
}

/// There is no device.
fn devices() {
    try_call!(DeviceRead(0, 0));
    try_call!(DeviceRead(0, 0x100));
    try_call!(DeviceRead(u64::MAX, u64::MAX));
    try_call!(DeviceRead(0x1_0000_0000, 3));
    try_call!(DeviceWrite(0, 3, 0));
    try_call!(DeviceWrite(u64::MAX, u64::MAX, u64::MAX));
    try_call!(DeviceNotify(0, 0));
    try_call!(DeviceNotify(u64::MAX, u64::MAX));
}

/// Nobody makes requests of this guest, and there are no functions of the host's.
fn exchange(page: u64, text: u64, end: u64) {
    try_call!(Serve(page, 0, page, PAGE_SIZE));
    try_call!(Serve(page, 1, text, 1));
    try_call!(Serve(end, 1, page, 1));
    try_call!(Serve(page, u64::MAX, page, u64::MAX));
    try_call!(HostCall(page, 8, page, 8));
    try_call!(HostCall(page, 0x100_0001, page, 8));
    try_call!(HostCall(end - 1, 2, page, 8));
    try_call!(HostCall(page, 8, text, 8));
    try_call!(HostCall(page, u64::MAX, page, u64::MAX));
    try_call!(HostReply(page, 8));
    try_call!(HostReply(end, u64::MAX));
}

/// Calls that end the guest, if their arguments are right.
fn endings(end: u64) {
    try_call!(Panic(0, 1));
    try_call!(Panic(end, 1));
    try_call!(Panic(u64::MAX, u64::MAX));
    try_call!(Fault(0, 1));
    try_call!(Fault(end, 1));
    try_call!(Fault(u64::MAX, u64::MAX));
}
