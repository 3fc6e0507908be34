//! The words by which guest and host speak in the `seccomp` backend, and those of the process's timers.
//!
//! Where they lie is read from the gate's code, as an attacker would.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use libvcpu::abi::call::Call;
use libvcpu::abi::layout::{GATE, PAGE_SIZE, VCPU_PAGE};
use libvcpu::prelude::*;
use libvcpu::{call, clock, event};

/// The line by which the test ends a wait.
const END_LINE: u32 = 9;
/// Lines of the program's own timers.
const LINES: [u32; 2] = [4, 5];

const MILLISECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MILLISECOND;

fn code() -> &'static [u8] {
    // SAFETY: the machine maps the page, readable, for as long as the guest runs.
    unsafe { core::slice::from_raw_parts(GATE as *const u8, PAGE_SIZE as usize) }
}

/// Where in the gate's code these bytes are, and what follows them as a 32-bit number.
fn find(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let found = code().windows(bytes.len() + 4).enumerate().filter(move |(_, code)| code.starts_with(bytes));
    found.map(|(offset, code)| {
        let number = code.last_chunk().map_or(0, |number| u32::from_le_bytes(*number));
        (GATE + offset as u64, number.into())
    })
}

/// `lock add dword ptr [request], 2` and `cmp [reply], edx`: the two words.
fn words() -> Option<(u64, u64)> {
    let (request, reply) = (&[0xf0, 0x83, 0x04, 0x25], &[0x39, 0x14, 0x25]);
    Some((find(request).next()?.1, find(reply).next()?.1))
}

/// The sites that set the first timer to an absolute time, and where that lies: `mov edi, 0`,
/// `mov esi, TIMER_ABSTIME`, `mov edx, time`. That of the gate is the first, that of the handler the other.
fn sites() -> [(u64, u64); 2] {
    let mut sites = find(&[0xbf, 0, 0, 0, 0, 0xbe, 1, 0, 0, 0, 0xba]);
    [sites.next(), sites.next()].map(|site| site.expect("the timer is set in two ways"))
}

fn word(address: u64) -> &'static AtomicU32 {
    // SAFETY: only words of the vCPU page and of the host's page are asked for, which stay mapped.
    unsafe { &*(address as *const AtomicU32) }
}

fn long(address: u64) -> &'static AtomicU64 {
    // SAFETY: as above.
    unsafe { &*(address as *const AtomicU64) }
}

/// Sets a timer as the gate does, but leaves out what the answer asks for. Tries until the host looks by
/// itself; it does for a moment after a call.
fn timer_set_by_hand(line: u32, deadline: u64) {
    let (request, reply) = words().expect("the gate has the words");
    const KIND: u64 = 4;
    const NUMBER: u64 = 8;
    const ARGUMENTS: u64 = 16;
    loop {
        call::null();
        word(request + NUMBER).store(Call::TimerSet as u32, Relaxed);
        long(request + ARGUMENTS).store(line.into(), Relaxed);
        long(request + ARGUMENTS + 8).store(deadline, Relaxed);
        word(request + KIND).store(1, Relaxed);
        let count = word(request).fetch_add(2, SeqCst).wrapping_add(2) & !1;
        let end = clock::now() + 20 * MILLISECOND;
        while clock::now() < end {
            if word(reply).load(SeqCst) == count {
                return;
            }
        }
        // It sleeps. `mov edi, request` and what follows wakes it, and then arms.
        let [a, b, c, d] = (request as u32).to_le_bytes();
        continue_at(find(&[0xbf, a, b, c, d]).next().expect("the gate wakes the host").0);
    }
}

/// Continues in the middle of the gate, until that takes its answer.
fn continue_at(site: u64) {
    // SAFETY: the code changes no other registers than a call may and continues where `r9` points.
    unsafe { asm!("lea r9, [rip + 2f]", "jmp rax", "2:", inout("rax") site => _, clobber_abi("C")) };
}

/// Between an answer that says that there is a new deadline and the setting of the timer the handler of
/// signals may run, and set the timer itself: to whatever comes next then.
pub(crate) fn as_the_handler() {
    let [(arm, _), (_, time)] = sites();
    timer_set_by_hand(LINES[0], clock::now() + 20 * MILLISECOND);
    // Seconds, behind the interval.
    long(time + 16).store(u64::MAX >> 33, Relaxed);
    continue_at(arm);
    event::wait_until(None, || event::take(LINES[0]));
    println!("it came");
}

/// The timer fires after the host has made a new table and before the gate sets the timer to it.
pub(crate) fn stale_signal() {
    let [(arm, _), _] = sites();
    let soon = clock::now() + 50 * MILLISECOND;
    call::timer_set(LINES[0], Some(soon)).expect("the line exists");
    timer_set_by_hand(LINES[1], soon + HOUR);
    while clock::now() < soon + MILLISECOND {}
    continue_at(arm);
    assert!(event::take(LINES[0]));
    println!("waits");
    event::wait_until(None, || event::take(END_LINE));
}

/// Is in one state for ever: computes (0), sleeps until an event (1), makes calls (2), waits for a deadline
/// (3), is at its first instructions (4).
pub(crate) fn idle(state: u64) {
    if state != 4 {
        println!("goes on");
    }
    loop {
        match state {
            1 => _ = event::wait_until(None, || false),
            2 => call::null(),
            3 => _ = event::wait_until(Some(clock::now() + HOUR), || false),
            _ => core::hint::spin_loop(),
        }
    }
}

/// Reads the clock by calls, through gate and trap page: no answer may be one that was not asked for.
pub(crate) fn clocks() {
    for _ in 0..20 {
        assert!(call::clock() > 0);
        // SAFETY: the call writes no memory of the program's.
        assert!(unsafe { call::raw_by_trap(Call::Clock as u32, 0, 0, 0, 0) } > 0);
    }
}

/// Writes random words over everything that the gate and the handlers keep in memory, and makes calls, waits
/// and timers meanwhile.
pub(crate) fn scribble(seed: u64) {
    /// The slot is the end of the vCPU page, the stack of the handlers lies behind the host's page.
    const SLOT: core::ops::Range<u64> = VCPU_PAGE + PAGE_SIZE - 256..VCPU_PAGE + PAGE_SIZE;
    const STACK: core::ops::Range<u64> = 0x18_1000..0x18_9000;
    let is_alone = words().is_some();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut fields = [0; 4];
    loop {
        for _ in 0..next() % 8 {
            let range = if is_alone && next() % 4 == 0 { STACK } else { SLOT };
            let at = range.start + next() % (range.end - range.start) / 8 * 8;
            // Small numbers, numbers with few bits and addresses mean more than others.
            let value = match next() % 6 {
                0 => next() % 4,
                1 => 1 << (next() % 64),
                2 => STACK.start + next() % 0x8000 / 8 * 8,
                3 => (next() % 4) | ((next() % 4) << 32),
                4 => next() % 1_000_000_000,
                _ => next(),
            };
            long(at).store(value, Relaxed);
        }
        for field in &mut fields {
            *field = if next() % 2 == 0 { next() % 64 } else { clock::now() + next() % 100_000 };
        }
        let [a, b, c, d] = fields;
        let number = [Call::Null, Call::Wait, Call::TimerSet, Call::TimerSet, Call::Clock, Call::Protect];
        let number = number[(next() % 6) as usize];
        if is_alone && next() % 4 == 0 {
            // Publishes what stands there, and does not wait.
            word(SLOT.start).fetch_add(2, SeqCst);
            continue;
        }
        // A wait without end would be one.
        // SAFETY: no call but `protect` does anything to memory, and that has no address in RAM here.
        unsafe { call::raw(number as u32, a, b, c, d) };
    }
}
