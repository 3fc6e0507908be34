//! vCPU calls, one function each. What they mean is said in [`vcpu_abi::call`].

use core::arch::asm;
use core::ops::Range;
use vcpu_abi::call::{Access, Call, Error, NEVER};
use vcpu_abi::layout::{GATE, TRAP_INSTRUCTION};

type Gate = extern "C" fn(u32, u64, u64, u64, u64) -> i64;

/// Makes any call, with any number and arguments, and gives the raw answer.
///
/// The functions below are what programs use; this one is for those who try the machine itself.
///
/// # Safety
///
/// A call that writes memory ([`Call::ConsoleRead`]) or changes access ([`Call::Protect`]) obeys the
/// arguments: the caller owns that memory.
#[inline(always)]
pub unsafe fn raw(number: u32, a: u64, b: u64, c: u64, d: u64) -> i64 {
    // SAFETY: the machine put a function of this type at this address.
    let gate: Gate = unsafe { core::mem::transmute(GATE) };
    gate(number, a, b, c, d)
}

/// As [`raw`], by the one instruction with which a store to the trap page is a call.
///
/// # Safety
///
/// As for [`raw`].
#[inline(always)]
pub unsafe fn raw_by_trap(number: u32, a: u64, b: u64, c: u64, d: u64) -> i64 {
    let answer;
    // SAFETY: the machine takes the instruction for a call, which changes nothing but rax and what the
    // caller answers for.
    unsafe {
        asm!(
            ".byte {}, {}, {}, {}, {}, {}, {}",
            const TRAP_INSTRUCTION[0],
            const TRAP_INSTRUCTION[1],
            const TRAP_INSTRUCTION[2],
            const TRAP_INSTRUCTION[3],
            const TRAP_INSTRUCTION[4],
            const TRAP_INSTRUCTION[5],
            const TRAP_INSTRUCTION[6],
            in("edi") number,
            in("rsi") a,
            in("rdx") b,
            in("rcx") c,
            in("r8") d,
            lateout("rax") answer,
            options(nostack, preserves_flags),
        );
    }
    answer
}

#[inline(always)]
fn call(call: Call, a: u64, b: u64, c: u64) -> i64 {
    // SAFETY: the functions below own the memory that their arguments name.
    unsafe { raw(call as u32, a, b, c, 0) }
}

/// Does nothing; the round trip that benchmarks measure.
#[inline(always)]
pub fn null() {
    call(Call::Null, 0, 0, 0);
}

/// Ends the guest with this status.
pub fn exit(status: u8) -> ! {
    call(Call::Exit, u64::from(status), 0, 0);
    unreachable!("the machine answered `exit`")
}

/// Ends the guest with a report that holds `message`, as a panic does.
pub fn panic(message: &str) -> ! {
    call(Call::Panic, message.as_ptr() as u64, message.len() as u64, 0);
    exit(101)
}

/// Ends the guest because nobody handles the exception that the state save area describes. The report quotes
/// `message`, which may be empty.
pub fn fault(message: &str) -> ! {
    call(Call::Fault, message.as_ptr() as u64, message.len() as u64, 0);
    exit(101)
}

/// Writes bytes to a stream and gives how many were taken.
///
/// # Errors
///
/// [`Error::Again`], [`Error::Closed`], [`Error::Io`], or [`Error::BadArgument`] for a stream that
/// cannot be written.
pub fn console_write(stream: u64, bytes: &[u8]) -> Result<usize, Error> {
    Error::check(call(Call::ConsoleWrite, stream, bytes.as_ptr() as u64, bytes.len() as u64))
        .map(|count| count as usize)
}

/// Reads bytes from a stream and gives how many; 0 is its end.
///
/// # Errors
///
/// [`Error::Again`], [`Error::Io`], or [`Error::BadArgument`] for a stream that cannot be read.
pub fn console_read(stream: u64, buffer: &mut [u8]) -> Result<usize, Error> {
    Error::check(call(Call::ConsoleRead, stream, buffer.as_mut_ptr() as u64, buffer.len() as u64))
        .map(|count| count as usize)
}

/// Enables events and sleeps until one was taken or the clock has reached `deadline` (ns; `None`:
/// for ever). Events are enabled when it returns.
///
/// # Errors
///
/// [`Error::TimedOut`] if the deadline came first.
pub fn wait(deadline: Option<u64>) -> Result<(), Error> {
    Error::check(call(Call::Wait, deadline.unwrap_or(NEVER), 0, 0)).map(drop)
}

/// Has `line` raised once the clock has reached `deadline` (ns), or never if it is `None`.
///
/// # Errors
///
/// [`Error::BadArgument`] if there is no such line.
pub fn timer_set(line: u32, deadline: Option<u64>) -> Result<(), Error> {
    Error::check(call(Call::TimerSet, u64::from(line), deadline.unwrap_or(NEVER), 0)).map(drop)
}

/// Changes what may be done with pages of RAM.
///
/// # Safety
///
/// Nothing uses these pages in a way that `access` forbids.
///
/// # Errors
///
/// [`Error::BadAddress`], [`Error::BadArgument`] for addresses that are not page-aligned,
/// [`Error::Denied`] for the image's text.
pub unsafe fn protect(pages: Range<u64>, access: Access) -> Result<(), Error> {
    let length = pages.end.saturating_sub(pages.start);
    Error::check(call(Call::Protect, pages.start, length, access.bits())).map(drop)
}

/// The clock in ns, from the machine.
pub fn clock() -> u64 {
    Error::check(call(Call::Clock, 0, 0, 0)).unwrap_or(0)
}

/// Gives the host the reply to its last request, and waits for the next, which is written to `mailbox`. Gives the
/// request's length; if that is more than the mailbox's, nothing was written, and the caller makes a larger one.
///
/// # Errors
///
/// [`Error::Denied`] where nobody makes requests.
pub fn serve(reply: &[u8], mailbox: &mut [u8]) -> Result<usize, Error> {
    exchange(Call::Serve, reply, mailbox)
}

/// Calls a function of the host's with a request, and gives the reply's length; if that is more than `reply`
/// has, nothing was written, and [`host_reply`] fetches it.
///
/// # Errors
///
/// [`Error::Denied`] where the host has no functions, [`Error::BadArgument`] if the request is longer than
/// [`MESSAGE_MAX`](vcpu_abi::exchange::MESSAGE_MAX).
pub fn host_call(request: &[u8], reply: &mut [u8]) -> Result<usize, Error> {
    exchange(Call::HostCall, request, reply)
}

/// Writes the reply for which the last [`host_call`] had no room, and gives its length.
///
/// # Errors
///
/// [`Error::BadArgument`] if there is none, or it does not fit.
pub fn host_reply(reply: &mut [u8]) -> Result<usize, Error> {
    Error::check(call(Call::HostReply, reply.as_mut_ptr() as u64, reply.len() as u64, 0))
        .map(|length| length as usize)
}

fn exchange(call: Call, given: &[u8], taken: &mut [u8]) -> Result<usize, Error> {
    let (given, given_length) = (given.as_ptr() as u64, given.len() as u64);
    // SAFETY: the machine reads the first range and writes the second, which are ours to give.
    let answer =
        unsafe { raw(call as u32, given, given_length, taken.as_mut_ptr() as u64, taken.len() as u64) };
    Error::check(answer).map(|length| length as usize)
}

/// What a register of a device holds: the number of a [`Register`](vcpu_abi::device::Register), or one from
/// [`CONFIG`](vcpu_abi::device::CONFIG) on.
///
/// # Errors
///
/// [`Error::BadArgument`] if there is no such device, or nothing to be read there.
pub fn device_read(device: u32, register: u64) -> Result<u64, Error> {
    Error::check(call(Call::DeviceRead, u64::from(device), register, 0))
}

/// Writes a register of a device.
///
/// # Safety
///
/// It may tell the device where its queues are: they are valid for as long as the device uses them.
///
/// # Errors
///
/// [`Error::BadArgument`] if there is no such device, or nothing to be written there.
pub unsafe fn device_write(device: u32, register: u64, value: u64) -> Result<(), Error> {
    Error::check(call(Call::DeviceWrite, u64::from(device), register, value)).map(drop)
}

/// Tells a device that there are new buffers in a queue.
///
/// # Safety
///
/// The caller owns the memory of all buffers in that queue, until the device has used them.
///
/// # Errors
///
/// [`Error::BadArgument`] if there is no such device, or no such queue.
pub unsafe fn device_notify(device: u32, queue: u16) -> Result<(), Error> {
    Error::check(call(Call::DeviceNotify, u64::from(device), u64::from(queue), 0)).map(drop)
}
