//! Drivers that break the rules: the device stops and says why, the host goes on, and a reset helps.

use super::*;
use std::sync::atomic::AtomicBool;
use vcpu_abi::device::{QUEUE_SIZE_MAX, REQUEST_MAX};
use vcpu_abi::layout::VCPU_PAGE;

fn machine() -> Machine {
    Machine::started(Resource::Entropy)
}

/// Notifies, expects that the device has stopped, and shows that it works again after a reset.
fn stops(machine: &Machine, because: &str) {
    assert!(machine.notify(0).is_none());
    assert!(machine.has_stopped(), "{because}");
    let report = machine.devices.reports().pop().unwrap();
    assert!(report.contains("\"it\"") && report.contains(because), "{report}");
    machine.start(0);
    machine.put(0, &[(BUFFERS, 8, WRITE)]);
    machine.notify(0);
    assert_eq!(machine.used(0), (1, Some((0, 8))));
}

#[test]
fn a_loop_of_descriptors_stops_the_device() {
    let machine = machine();
    for entries in [
        &[(BUFFERS, 8, WRITE | NEXT, 0)][..],
        &[(BUFFERS, 8, WRITE | NEXT, 1), (BUFFERS, 8, WRITE | NEXT, 2), (BUFFERS, 8, WRITE | NEXT, 1)],
        &[(BUFFERS, 0, WRITE | NEXT, 1), (BUFFERS, 0, WRITE | NEXT, 0)],
    ] {
        machine.put_raw(0, entries);
        machine.offer(0, 0);
        stops(&machine, "does not end");
    }
}

#[test]
fn indices_out_of_range_stop_the_device() {
    let machine = machine();
    for head in [SIZE, SIZE + 1, u16::MAX] {
        machine.put_raw(0, &[(BUFFERS, 8, WRITE, 0)]);
        machine.offer(0, head);
        stops(&machine, "not in the queue");
    }
    for next in [SIZE, u16::MAX] {
        machine.put_raw(0, &[(BUFFERS, 8, WRITE | NEXT, next)]);
        machine.offer(0, 0);
        stops(&machine, "not in the queue");
    }
}

#[test]
fn an_index_of_available_buffers_that_jumps_stops_the_device() {
    let machine = machine();
    for index in [SIZE + 1, u16::MAX, 0x8000] {
        machine.put_raw(0, &[(BUFFERS, 8, WRITE, 0)]);
        machine.memory().write_obj(index, machine.available(0, 1)).unwrap();
        stops(&machine, "rings");
    }
}

#[test]
fn buffers_that_are_not_ram_stop_the_device() {
    let machine = machine();
    for (address, length) in [
        (0, 8),
        (VCPU_PAGE, 8),
        (VCPU_PAGE + 64, 4096),
        (RAM_BASE - 1, 2),
        (RAM_BASE - 8, 8),
        (TEXT - 1, 2),
        (TEXT, 1),
        (TEXT - 4, 0x4008),
        (END - 1, 2),
        (END, 1),
        (u64::MAX, 1),
        (u64::MAX - 3, 8),
        (1 << 63, 8),
    ] {
        for flags in [0, WRITE] {
            machine.put(0, &[(BUFFERS, 8, WRITE & flags), (address, length, flags)]);
            stops(&machine, "not wholly in RAM");
        }
    }
}

#[test]
fn lengths_that_overflow_stop_the_device() {
    let machine = machine();
    machine.put(0, &[(BUFFERS, u32::MAX, WRITE)]);
    stops(&machine, "not wholly in RAM");
    // The same memory again and again.
    let most = [(BUFFERS, REQUEST_MAX / 2, WRITE); 3];
    machine.put(0, &most);
    stops(&machine, "longer than");
    machine.put(0, &[(BUFFERS, 8, WRITE), (BUFFERS, u32::MAX - 7, WRITE), (BUFFERS, 8, WRITE)]);
    stops(&machine, "");
}

#[test]
fn the_longest_request_is_served() {
    let machine = machine();
    machine.put(0, &[(BUFFERS, REQUEST_MAX, WRITE)]);
    machine.notify(0);
    assert_eq!(machine.used(0), (1, Some((0, REQUEST_MAX))));
}

#[test]
fn a_readable_buffer_behind_a_writable_one_stops_the_device() {
    let machine = machine();
    machine.put(0, &[(BUFFERS, 8, WRITE), (BUFFERS + 8, 8, 0)]);
    stops(&machine, "behind a writable one");
}

#[test]
fn a_table_of_descriptors_that_is_not_offered_moves_nothing_out_of_ram() {
    const INDIRECT: u16 = 4;
    let machine = machine();
    for (address, length) in
        [(TEXT, 64), (VCPU_PAGE, 64), (u64::MAX - 15, 64), (BUFFERS, 0), (BUFFERS, 17), (BUFFERS, u32::MAX)]
    {
        machine.put_raw(0, &[(address, length, INDIRECT, 0)]);
        machine.offer(0, 0);
        stops(&machine, "");
    }
    // A table in a table.
    let entry = |address: u64, length: u32, flags: u16| {
        [&address.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &[0; 2]].concat()
    };
    machine.fill(BUFFERS + 0x1000, &entry(BUFFERS + 0x1000, 16, INDIRECT));
    machine.put_raw(0, &[(BUFFERS + 0x1000, 16, INDIRECT, 0)]);
    machine.offer(0, 0);
    stops(&machine, "");
    // More entries than the queue has.
    let many: Vec<u8> = (1..=200u8)
        .flat_map(|next| {
            let mut entry = entry(BUFFERS, 1, WRITE | NEXT);
            entry[14] = next;
            entry
        })
        .collect();
    machine.fill(BUFFERS + 0x1000, &many);
    machine.put_raw(0, &[(BUFFERS + 0x1000, many.len() as u32, INDIRECT, 0)]);
    machine.offer(0, 0);
    stops(&machine, "more descriptors");
}

#[test]
fn rings_that_are_not_in_ram_stop_the_device() {
    let registers = [Register::QueueDescriptors, Register::QueueDriver, Register::QueueDevice];
    for register in registers {
        for address in [0, VCPU_PAGE, TEXT, TEXT - 16, END - 16, END, 1 << 62, i64::MAX as u64 & !15] {
            let machine = machine();
            machine.write(Register::QueueSelect, 0);
            machine.write(Register::QueueReady, 0);
            machine.write(register, address);
            // It stops here, or at the latest when it looks into them.
            machine.write(Register::QueueReady, 1);
            if machine.read(Register::QueueReady) == 1 {
                machine.put(0, &[(BUFFERS, 8, WRITE)]);
                machine.notify(0);
            }
            let stopped = machine.has_stopped();
            assert!(stopped || machine.used(0).0 == 0, "{register:?} {address:#x}");
        }
    }
}

#[test]
fn misaligned_rings_and_sizes_that_are_none_are_refused() {
    let machine = Machine::new(Resource::Entropy);
    machine.write(Register::QueueSelect, 0);
    for (register, value) in [
        (Register::QueueDescriptors, RAM_BASE + 8),
        (Register::QueueDescriptors, RAM_BASE + 1),
        (Register::QueueDriver, RAM_BASE + 1),
        (Register::QueueDevice, RAM_BASE + 2),
        (Register::QueueSize, 0),
        (Register::QueueSize, 3),
        (Register::QueueSize, u64::from(QUEUE_SIZE_MAX) * 2),
        (Register::QueueSize, 0x1_0000),
        (Register::QueueReady, 2),
        (Register::Status, 0x100),
        (Register::Kind, 4),
        (Register::Features, 0),
    ] {
        assert_eq!(
            machine.try_write(register, value),
            Err(CallError::BadArgument),
            "{register:?} {value:#x}"
        );
    }
    machine.write(Register::QueueSelect, 1);
    assert_eq!(machine.read(Register::QueueSizeMax), 0);
    assert_eq!(machine.try_write(Register::QueueReady, 1), Err(CallError::BadArgument));
    assert_eq!(machine.try_write(Register::QueueSize, 16), Err(CallError::BadArgument));
    let register = |number| machine.devices.read(0, number);
    for number in [2, 4, 6, 12, 0xff, 0x200, u64::MAX] {
        assert_eq!(register(number), Err(CallError::BadArgument), "{number}");
    }
    assert_eq!(register(0x1ff), Ok(0));
    for device in [1, 16, u64::MAX] {
        assert_eq!(machine.devices.read(device, 0), Err(CallError::BadArgument));
        assert_eq!(machine.devices.write(device, 3, 0), Err(CallError::BadArgument));
        assert!(machine.devices.notify(device, 0).is_err());
    }
    for queue in [1, u64::MAX] {
        assert!(machine.devices.notify(0, queue).is_err());
    }
}

#[test]
fn a_driver_must_say_what_it_takes_before_it_starts() {
    let machine = Machine::new(Resource::Entropy);
    // Without the version, with a feature that is not offered, and not at all.
    for features in [0, VERSION_1 | 1, VERSION_1 | 1 << 29, u64::MAX] {
        machine.write(Register::Status, 0);
        machine.write(Register::Status, 3);
        machine.write(Register::DriverFeatures, features);
        machine.write(Register::Status, 3 | 8);
        assert_eq!(machine.read(Register::Status), 3);
        machine.write(Register::Status, 3 | 8 | 4);
        assert_eq!(machine.read(Register::Status), 3);
    }
    machine.write(Register::DriverFeatures, VERSION_1);
    machine.write(Register::Status, 3 | 8 | 4 | NEEDS_RESET);
    assert_eq!(machine.read(Register::Status), 3 | 8 | 4);
    assert_eq!(machine.try_write(Register::DriverFeatures, 0), Err(CallError::BadArgument));
    machine.write(Register::Status, 0);
    assert_eq!(machine.read(Register::Status), 0);
    assert_eq!(machine.read(Register::QueueReady), 0);
}

#[test]
fn nothing_happens_before_the_driver_is_ready() {
    let machine = Machine::new(Resource::Entropy);
    machine.set_queue(0);
    machine.put(0, &[(BUFFERS, 8, WRITE)]);
    machine.notify(0);
    machine.write(Register::QueueReady, 1);
    machine.notify(0);
    assert_eq!(machine.bytes(BUFFERS, 8), [0; 8]);
    assert!(!machine.raised());
}

#[test]
fn a_driver_that_is_always_wrong_does_not_fill_the_host() {
    let machine = machine();
    for _ in 0..1000 {
        machine.put(0, &[(0, 8, WRITE)]);
        machine.notify(0);
        assert!(machine.has_stopped());
        machine.start(0);
    }
    assert!(machine.devices.reports().len() < 20);
}

#[test]
fn a_guest_whose_time_is_over_gets_nothing_more() {
    let machine = machine();
    machine.put(0, &[(BUFFERS, 8, WRITE)]);
    machine.events.stop();
    machine.notify(0);
    assert_eq!(machine.used(0).0, 0);
}

#[test]
fn rings_that_change_while_they_are_read_hurt_nobody() {
    let machine = machine();
    let stop = AtomicBool::new(false);
    // What devices must not touch, and can see: the end of RAM behind the text.
    let witness = END - 4096;
    std::thread::scope(|scope| {
        let (stop, machine) = (&stop, &machine);
        scope.spawn(move || {
            let word =
                |word, value: u16| machine.memory().write_obj(value, machine.available(0, word)).unwrap();
            let mut seed = 1u64;
            while !stop.load(SeqCst) {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let address = [BUFFERS, TEXT - 4, VCPU_PAGE, u64::MAX - 4][(seed >> 33) as usize % 4];
                let length = [0, 8, 4096, u32::MAX][(seed >> 40) as usize % 4];
                let (flags, next) = ((seed >> 50) as u16 & 7, (seed >> 45) as u16 % 20);
                machine.put_entry(0, (seed >> 60) as u16, (address, length, flags, next));
                word(2 + (seed >> 55) % 16, (seed >> 35) as u16 % 20);
                word(1, (seed >> 20) as u16 % 16);
            }
        });
        for _ in 0..3000 {
            machine.start(0);
            machine.put(0, &[(BUFFERS, 8, WRITE), (BUFFERS + 8, 8, WRITE), (BUFFERS + 64, 8, WRITE)]);
            machine.notify(0);
        }
        assert!(machine.devices.reports().len() > 1, "it was never wrong");
        stop.store(true, SeqCst);
    });
    assert_eq!(machine.bytes(witness, 4096), [0; 4096]);
    machine.start(0);
    machine.put(0, &[(BUFFERS, 8, WRITE)]);
    machine.notify(0);
    assert_eq!(machine.used(0), (1, Some((0, 8))));
}
