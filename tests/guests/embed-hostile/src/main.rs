//! A library that lies about its replies and its room, in a way that its first argument names.
//!
//! It makes the calls by itself, without `serve`. Where a lie is refused at once it counts that, and tells the host
//! the count as the result of the call.

#![no_std]
#![no_main]

mod race;

use libvcpu::abi::call::{Access, Call, Error};
use libvcpu::abi::exchange::MESSAGE_MAX;
use libvcpu::abi::layout::{GATE, INFO_PAGE, PAGE_SIZE, RAM_BASE, TRAP_PAGE, VCPU_PAGE};
use libvcpu::prelude::*;
use libvcpu::{call, env, machine};

entry!(main);

/// A range: address and length.
type Range = (u64, u64);

const NOTHING: Range = (0, 0);

fn main() {
    let attack = env::args().nth(1).unwrap_or_default();
    let number = env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut mailbox = vec![0u8; 4096];
    let room = range(&mut mailbox);
    serve(NOTHING, room);
    match attack.as_str() {
        "ranges" => ranges(room),
        "text" => endlessly(|| serve((RAM_BASE, 16), room)),
        "long" => {
            let mut reply = vec![0u8; MESSAGE_MAX as usize + 1];
            let reply = range(&mut reply);
            endlessly(|| serve(reply, room))
        }
        "no-room" => endlessly(|| serve(NOTHING, (room.0, 1))),
        "more-room-never" => {
            let mut calls = 0;
            endlessly(|| {
                calls += 1;
                serve(NOTHING, (room.0, calls % 2))
            })
        }
        "empty" => endlessly(|| serve(NOTHING, room)),
        "same" => endlessly(|| serve(room, room)),
        "garbage" => garbage(number, room),
        "lengths" => lengths(number, room),
        "host-calls" => host_calls(room),
        "rights" => rights(room),
        "race" => race::race(&mut mailbox),
        _ => panic!("there is no such attack"),
    }
}

fn endlessly(mut action: impl FnMut() -> i64) -> ! {
    loop {
        action();
    }
}

fn range(bytes: &mut [u8]) -> Range {
    (bytes.as_mut_ptr() as u64, bytes.len() as u64)
}

/// Gives a reply and takes a request; the raw answer.
fn serve(reply: Range, mailbox: Range) -> i64 {
    // SAFETY: what is written is a mailbox, which nobody else uses, or what must not be written.
    unsafe { call::raw(Call::Serve as u32, reply.0, reply.1, mailbox.0, mailbox.1) }
}

/// Tells the host a count, for ever.
fn tell(count: u32, room: Range) -> ! {
    let mut reply = vec![0u8];
    let mut rest = count;
    while rest >= 0x80 {
        reply.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    reply.push(rest as u8);
    endlessly(|| serve(range(&mut reply), room))
}

/// Ranges that are not all in RAM.
fn wrong_ranges() -> Vec<Range> {
    let end = RAM_BASE + machine::info().ram_size;
    vec![
        (0, 1),
        (RAM_BASE - 1, 2),
        (end - 1, 2),
        (end, 1),
        (RAM_BASE, u64::MAX),
        (u64::MAX, 1),
        (u64::MAX - 1, u64::MAX),
        (RAM_BASE, machine::info().ram_size + 1),
        (1 << 47, 8),
        (VCPU_PAGE, 8),
        (GATE, 8),
        (TRAP_PAGE, 8),
        (INFO_PAGE, 8),
        (0x18_0000, 8),
    ]
}

/// Replies and mailboxes that are not there are refused, and nothing else happens.
fn ranges(room: Range) {
    let mut refused = 0;
    for wrong in wrong_ranges() {
        refused += u32::from(serve(wrong, room) == Error::BadAddress as i64);
        refused += u32::from(serve(NOTHING, wrong) == Error::BadAddress as i64);
    }
    // The text cannot be written.
    refused += u32::from(serve(NOTHING, (RAM_BASE, 16)) == Error::BadAddress as i64);
    tell(refused, room);
}

/// Replies of random bytes.
fn garbage(seed: u64, room: Range) -> ! {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut reply = vec![0u8; 256];
    endlessly(|| {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let length = next() % 256;
        reply.iter_mut().for_each(|byte| *byte = next() as u8);
        // Most are to be decoded, not refused for their first byte.
        reply[0] = if next() % 8 == 0 { next() as u8 } else { 0 };
        let start = range(&mut reply).0;
        serve((start, length), room)
    })
}

/// A reply that says that very many things follow: this number, as `postcard` encodes it.
fn lengths(number: u64, room: Range) -> ! {
    let mut reply = vec![0u8];
    let mut rest = number;
    while rest >= 0x80 {
        reply.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    reply.push(rest as u8);
    reply.extend([7; 16]);
    endlessly(|| serve(range(&mut reply), room))
}

/// Calls of the host's functions with ranges that are not there, requests that are too long, and replies that
/// nobody has given.
fn host_calls(room: Range) {
    let raw = |call: Call, given: Range, taken: Range| {
        // SAFETY: as for `serve`.
        unsafe { call::raw(call as u32, given.0, given.1, taken.0, taken.1) }
    };
    let mut request = b"\x05bytes\x80\x01".to_vec();
    let request = range(&mut request);
    let mut refused = 0;
    let mut expect = |answer: i64, error: Error| refused += u32::from(answer == error as i64);
    for wrong in wrong_ranges() {
        let error = if wrong.1 > MESSAGE_MAX { Error::BadArgument } else { Error::BadAddress };
        expect(raw(Call::HostCall, wrong, room), error);
        expect(raw(Call::HostCall, request, wrong), Error::BadAddress);
    }
    // No reply waits, then one of 131 bytes does: a status, a length and 128 bytes.
    expect(raw(Call::HostReply, room, NOTHING), Error::BadArgument);
    let length = raw(Call::HostCall, request, NOTHING);
    assert_eq!(length, 131);
    expect(raw(Call::HostReply, (room.0, 130), NOTHING), Error::BadArgument);
    expect(raw(Call::HostReply, (0, 131), NOTHING), Error::BadAddress);
    assert_eq!(raw(Call::HostReply, (room.0, 131), NOTHING), length);
    expect(raw(Call::HostReply, room, NOTHING), Error::BadArgument);
    // What was asked before is forgotten.
    raw(Call::HostCall, request, NOTHING);
    raw(Call::HostCall, request, room);
    expect(raw(Call::HostReply, room, NOTHING), Error::BadArgument);
    tell(refused, room);
}

/// Pages that the guest itself may not read or write.
fn rights(room: Range) {
    let mut other = vec![0u8; 3 * PAGE_SIZE as usize];
    let own = range(&mut other).0.next_multiple_of(PAGE_SIZE);
    let protect = |access: Access| {
        // SAFETY: nobody uses the page but the calls below.
        unsafe { call::protect(own..own + PAGE_SIZE, access) }.expect("the page is ours");
    };
    let mut refused = 0;
    let mut expect = |answer: i64| refused += u32::from(answer == Error::BadAddress as i64);
    protect(Access::READ);
    expect(serve(NOTHING, (own, 16)));
    protect(Access::empty());
    expect(serve(NOTHING, (own, 16)));
    expect(serve((own, 16), room));
    protect(Access::READ | Access::WRITE);
    tell(refused, room);
}
