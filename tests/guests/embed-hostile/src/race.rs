//! Changing a reply while the host takes it: with the `seccomp` backend a guest can publish a call without waiting.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use libvcpu::abi::call::Call;
use libvcpu::abi::layout::{GATE, PAGE_SIZE};
use libvcpu::clock;
use libvcpu::prelude::*;

const MILLISECOND: u64 = 1_000_000;

/// What follows these bytes in the gate's code, as a 32-bit number.
fn find(bytes: &[u8]) -> Option<u64> {
    // SAFETY: the machine maps the page, readable, for as long as the guest runs.
    let code = unsafe { core::slice::from_raw_parts(GATE as *const u8, PAGE_SIZE as usize) };
    let found = code.windows(bytes.len() + 4).find(|code| code.starts_with(bytes))?;
    found.last_chunk().map(|number| u32::from_le_bytes(*number).into())
}

fn word(address: u64) -> &'static AtomicU32 {
    // SAFETY: only words of the vCPU page and of the host's page are asked for, which stay mapped.
    unsafe { &*(address as *const AtomicU32) }
}

fn long(address: u64) -> &'static AtomicU64 {
    // SAFETY: as above.
    unsafe { &*(address as *const AtomicU64) }
}

/// Makes of a text another one, or something that is none, byte by byte.
fn change(reply: &[AtomicU8], turn: u8) {
    let length = if turn.is_multiple_of(16) { 200 } else { reply.len() as u8 - 2 };
    let letter = if turn % 16 == 1 { 0xff } else { b'a' + turn % 26 };
    for (index, byte) in reply.iter().enumerate() {
        let value = match index {
            0 => 0,
            1 => length,
            _ => letter,
        };
        byte.store(value, Relaxed);
    }
}

/// Replies that change all the time.
pub(crate) fn race(mailbox: &mut [u8]) -> ! {
    // `lock add dword ptr [request], 2` and `cmp [reply], edx`: the two words.
    let words = find(&[0xf0, 0x83, 0x04, 0x25]).zip(find(&[0x39, 0x14, 0x25]));
    let bytes: Vec<AtomicU8> = (0..64).map(|_| AtomicU8::new(0)).collect();
    let (reply, room) = ((bytes.as_ptr() as u64, bytes.len() as u64), super::range(mailbox));
    let Some((request, answered)) = words else {
        // Where the machine stops the guest there is nothing to race with.
        super::endlessly(|| super::serve(reply, room))
    };
    let mut turn = 0u8;
    loop {
        word(request + 4).store(1, Relaxed);
        word(request + 8).store(Call::Serve as u32, Relaxed);
        for (index, argument) in [reply.0, reply.1, room.0, room.1].into_iter().enumerate() {
            long(request + 16 + 8 * index as u64).store(argument, Relaxed);
        }
        let count = word(request).fetch_add(2, SeqCst).wrapping_add(2) & !1;
        let end = clock::now() + 5 * MILLISECOND;
        while word(answered).load(SeqCst) != count {
            turn = turn.wrapping_add(1);
            change(&bytes, turn);
            if clock::now() > end {
                // The host sleeps, and has to be woken.
                super::serve(reply, room);
                break;
            }
        }
    }
}
