//! Functions that do not come back.

use core::hint::black_box;
use guest_embed::End;
use libvcpu::abi::call::{Call, NEVER};
use libvcpu::prelude::*;
use libvcpu::time::Duration;
use libvcpu::{call, embed, event, process, thread};

/// Ends, or goes on for ever.
pub(crate) fn end(end: End) {
    match end {
        End::Panic => panic!("the function has panicked"),
        End::Fault => {
            // SAFETY: nothing is there, which is the point.
            unsafe { black_box(core::ptr::null_mut::<u8>()).write_volatile(1) }
        }
        End::StackOverflow => assert_ne!(deeper(black_box(1)), 0),
        End::OutOfMemory => {
            let mut all = Vec::new();
            loop {
                all.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        End::Exit(status) => process::exit(status),
        End::Spin => loop {
            core::hint::spin_loop();
        },
        End::Sleep => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        End::Wait => drop(event::wait_until(None, || false)),
        End::Flood => loop {
            call::null();
        },
        End::FloodByTrap => loop {
            by_trap(Call::Null, 0);
        },
        End::WaitByTrap => loop {
            by_trap(Call::Wait, NEVER);
        },
        End::Print => loop {
            println!("and so on");
        },
        End::CallHost => loop {
            let _ = embed::call::<_, u32>("double", &1u32);
        },
    }
}

fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if depth == 0 { 0 } else { deeper(depth + 1) + room[depth as usize % 64] }
}

fn by_trap(call: Call, a: u64) {
    // SAFETY: neither call touches memory.
    unsafe { call::raw_by_trap(call as u32, a, 0, 0, 0) };
}
