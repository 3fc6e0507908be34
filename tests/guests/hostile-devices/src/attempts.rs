//! What a driver can do wrong with queues, whatever the device is. Each attempt is made on queue 0.

use crate::rings::{INDIRECT, NEXT, Rings, SIZE, WRITE, finish, negotiate, notify, set_queue, set_up, write};
use libvcpu::abi::call::Error;
use libvcpu::abi::device::{REQUEST_MAX, Register};
use libvcpu::abi::layout::{GATE, INFO_PAGE, RAM_BASE, TRAP_PAGE, VCPU_PAGE};
use libvcpu::machine;

type Attempt = fn(u32, &mut Rings) -> Result<(), Error>;

pub(crate) const ALL: [(&str, Attempt); 45] = [
    ("nothing wrong, for a disk", |device, rings| touch(device, rings, rings.buffer(2), 512)),
    ("chain that is a loop of one", |device, rings| {
        one(device, rings, |rings| rings.describe(0, rings.buffer(0), 16, NEXT, 0))
    }),
    ("chain that is a loop of three", |device, rings| {
        one(device, rings, |rings| {
            for index in 0..3 {
                rings.describe(index, rings.buffer(0), 16, NEXT, (index + 1) % 3);
            }
        })
    }),
    ("chain that leaves the table", |device, rings| {
        one(device, rings, |rings| rings.describe(0, rings.buffer(0), 16, NEXT, 999))
    }),
    ("head outside of the table", |device, rings| {
        set_up(device, 0, rings)?;
        rings.offer(0, SIZE);
        rings.set_index(1);
        notify(device, 0)
    }),
    ("head far outside of the table", |device, rings| {
        set_up(device, 0, rings)?;
        rings.offer(0, 0xffff);
        rings.set_index(1);
        notify(device, 0)
    }),
    ("more requests than entries", |device, rings| {
        set_up(device, 0, rings)?;
        rings.set_index(SIZE + 1);
        notify(device, 0)
    }),
    ("index that goes back", |device, rings| {
        set_up(device, 0, rings)?;
        rings.set_index(0xffff);
        notify(device, 0)
    }),
    ("length that overflows the address", |device, rings| touch(device, rings, u64::MAX - 100, 4096)),
    ("largest address", |device, rings| touch(device, rings, u64::MAX, 1)),
    ("largest length", |device, rings| touch(device, rings, RAM_BASE, u32::MAX)),
    ("null", |device, rings| touch(device, rings, 0, 16)),
    ("vCPU page", |device, rings| touch(device, rings, VCPU_PAGE, 16)),
    ("gate", |device, rings| touch(device, rings, GATE, 16)),
    ("trap page", |device, rings| touch(device, rings, TRAP_PAGE, 16)),
    ("information page", |device, rings| touch(device, rings, INFO_PAGE, 16)),
    ("a backend's area", |device, rings| touch(device, rings, 0x18_0000, 16)),
    ("text", |device, rings| touch(device, rings, touch as *const () as u64, 16)),
    ("first byte of the image", |device, rings| touch(device, rings, RAM_BASE, 16)),
    ("below RAM", |device, rings| touch(device, rings, RAM_BASE - 8, 16)),
    ("beyond RAM", |device, rings| touch(device, rings, ram_end(), 16)),
    ("half beyond RAM", |device, rings| touch(device, rings, ram_end() - 8, 16)),
    ("half a canonical address", |device, rings| touch(device, rings, 1 << 63 | rings.buffer(0), 16)),
    ("no bytes", |device, rings| touch(device, rings, rings.buffer(0), 0)),
    ("readable behind writable", |device, rings| {
        one(device, rings, |rings| {
            rings.describe(0, rings.buffer(0), 16, WRITE | NEXT, 1);
            rings.describe(1, rings.buffer(1), 16, 0, 0);
        })
    }),
    ("indirect descriptors", |device, rings| {
        one(device, rings, |rings| rings.describe(0, rings.buffer(0), 16, INDIRECT, 0))
    }),
    ("indirect descriptors in a chain", |device, rings| {
        one(device, rings, |rings| {
            rings.describe(0, rings.buffer(0), 16, NEXT, 1);
            rings.describe(1, rings.addresses()[0], 4096, INDIRECT | NEXT, 0);
        })
    }),
    ("unknown flags", |device, rings| {
        one(device, rings, |rings| rings.describe(0, rings.buffer(0), 16, 0xfff8, 0))
    }),
    ("request that is too large", |device, rings| {
        one(device, rings, |rings| {
            for index in 0..16 {
                let flags = WRITE | if index < 15 { NEXT } else { 0 };
                // The buffers overlap, which a device must bear.
                rings.describe(index, machine::free_ram().start, REQUEST_MAX / 8, flags, index + 1);
            }
        })
    }),
    ("size that is no power of two", |device, rings| sized(device, rings, 3)),
    ("size of nothing", |device, rings| sized(device, rings, 0)),
    ("size that is too large", |device, rings| sized(device, rings, 512)),
    ("size of all bits", |device, rings| sized(device, rings, u64::MAX >> 1)),
    ("table at an odd address", |device, rings| placed(device, rings, [8, 0, 0])),
    ("available ring at an odd address", |device, rings| placed(device, rings, [0, 1, 0])),
    ("used ring at an odd address", |device, rings| placed(device, rings, [0, 0, 2])),
    ("table in the vCPU page", |device, rings| somewhere(device, rings, 0, VCPU_PAGE)),
    ("available ring beyond RAM", |device, rings| somewhere(device, rings, 1, ram_end() - 64)),
    ("used ring in the text", |device, rings| somewhere(device, rings, 2, RAM_BASE + 0x1000)),
    ("used ring in the vCPU page", |device, rings| somewhere(device, rings, 2, VCPU_PAGE)),
    ("used ring upon the table", |device, rings| somewhere(device, rings, 2, rings.addresses()[0])),
    ("notifying before there is a driver", |device, rings| {
        write(device, Register::Status, 0)?;
        set_queue(device, 0, u64::from(SIZE), rings.addresses())?;
        rings.submit(device, 0)
    }),
    ("notifying a queue that is not ready", |device, rings| {
        negotiate(device)?;
        finish(device)?;
        rings.submit(device, 0)
    }),
    ("queue that moves while it is in use", |device, rings| {
        set_up(device, 0, rings)?;
        rings.describe(0, rings.buffer(0), 16, WRITE, 0);
        write(device, Register::QueueSelect, 0)?;
        write(device, Register::QueueDevice, VCPU_PAGE)?;
        write(device, Register::QueueSize, 256)?;
        rings.submit(device, 0)
    }),
    ("driver without features", |device, rings| {
        write(device, Register::Status, 0)?;
        write(device, Register::DriverFeatures, u64::MAX >> 1)?;
        write(device, Register::Status, 1 | 2 | 8)?;
        set_queue(device, 0, u64::from(SIZE), rings.addresses())?;
        write(device, Register::Status, 4)?;
        rings.submit(device, 0)
    }),
];

fn ram_end() -> u64 {
    RAM_BASE + machine::info().ram_size
}

/// One request, with the descriptors that `describe` writes.
fn one(device: u32, rings: &Rings, describe: impl FnOnce(&Rings)) -> Result<(), Error> {
    set_up(device, 0, rings)?;
    describe(rings);
    rings.submit(device, 0)
}

/// One request that has a disk write its first block to this place.
fn touch(device: u32, rings: &mut Rings, address: u64, length: u32) -> Result<(), Error> {
    set_up(device, 0, rings)?;
    rings.describe(0, rings.buffer(0), 16, NEXT, 1);
    rings.describe(1, address, length, WRITE | NEXT, 2);
    rings.describe(2, rings.buffer(1), 1, WRITE, 0);
    rings.submit(device, 0)
}

/// A queue of this size.
fn sized(device: u32, rings: &Rings, size: u64) -> Result<(), Error> {
    negotiate(device)?;
    set_queue(device, 0, size, rings.addresses())?;
    finish(device)?;
    rings.describe(0, rings.buffer(0), 16, WRITE, 0);
    rings.submit(device, 0)
}

/// A queue whose parts are so many bytes off.
fn placed(device: u32, rings: &Rings, offsets: [u64; 3]) -> Result<(), Error> {
    negotiate(device)?;
    let addresses = rings.addresses();
    set_queue(device, 0, u64::from(SIZE), core::array::from_fn(|part| addresses[part] + offsets[part]))?;
    finish(device)?;
    rings.submit(device, 0)
}

/// A queue of which one part is somewhere else.
fn somewhere(device: u32, rings: &Rings, part: usize, address: u64) -> Result<(), Error> {
    negotiate(device)?;
    let mut addresses = rings.addresses();
    addresses[part] = address;
    set_queue(device, 0, u64::from(SIZE), addresses)?;
    finish(device)?;
    rings.describe(0, rings.buffer(0), 16, WRITE, 0);
    rings.submit(device, 0)
}
