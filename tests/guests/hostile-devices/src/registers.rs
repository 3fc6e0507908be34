//! Calls with numbers that do not exist.

use crate::after_reset;
use libvcpu::abi::call::Error;
use libvcpu::abi::device::{CONFIG, CONFIG_SIZE_MAX, Register};
use libvcpu::prelude::*;
use libvcpu::{call, devices};

const READ: u32 = 10;
const WRITE: u32 = 11;
const NOTIFY: u32 = 12;

fn make(number: u32, a: u64, b: u64, c: u64) -> Result<u64, Error> {
    // SAFETY: no device is told of a queue here, so none writes memory.
    Error::check(unsafe { call::raw(number, a, b, c, 0) })
}

/// Tries what is not there, and prints what was not refused.
pub(crate) fn all() {
    let count = devices::names().count() as u64;
    let absurd = [count, count + 1, 16, 64, u64::from(u32::MAX), 1 << 32, 1 << 63, u64::MAX];
    for device in absurd {
        for number in [READ, WRITE, NOTIFY] {
            for register in (0..12).chain([CONFIG]) {
                refused("device", device, register, make(number, device, register, 0));
            }
        }
    }
    for device in 0..count {
        for register in [12, 13, 0xff, CONFIG + CONFIG_SIZE_MAX, 0x1000, 1 << 32, 1 << 63, u64::MAX] {
            refused("register to read", device, register, make(READ, device, register, 0));
            refused("register to write", device, register, make(WRITE, device, register, 0));
        }
        let read_only =
            [Register::Kind, Register::Features, Register::QueueSizeMax, Register::ConfigGeneration];
        for register in read_only.map(|register| register as u64).into_iter().chain([CONFIG, CONFIG + 4]) {
            refused("read-only register", device, register, make(WRITE, device, register, 1));
        }
        let write_only = [
            Register::DriverFeatures,
            Register::QueueSelect,
            Register::QueueSize,
            Register::QueueDescriptors,
            Register::QueueDriver,
            Register::QueueDevice,
        ];
        for register in write_only {
            refused("write-only register", device, register as u64, make(READ, device, register as u64, 0));
        }
        for queue in [2, 64, 0xffff, 0x1_0000, 1 << 32, u64::MAX] {
            refused("queue", device, queue, make(NOTIFY, device, queue, 0));
        }
        // Whatever is written where something may be: the device is to bear it.
        for register in 0..12 {
            for value in [0, 1, 2, 3, 0xff, 0xffff, 1 << 31, u64::from(u32::MAX), 1 << 62, 1 << 63, u64::MAX]
            {
                let _ = make(WRITE, device, register, value);
                let _ = make(NOTIFY, device, 0, 0);
            }
        }
        // Nothing is behind a configuration's end but zeros.
        for offset in 0..CONFIG_SIZE_MAX {
            let _ = make(READ, device, CONFIG + offset, 0);
        }
        println!("{device}: {}", after_reset(device as u32));
    }
}

fn refused(what: &str, device: u64, number: u64, answer: Result<u64, Error>) {
    if answer != Err(Error::BadArgument) {
        println!("{what} {number:#x} of device {device:#x}: {answer:?}");
    }
}
