//! The source of entropy.

use super::*;

#[test]
fn it_fills_all_of_a_buffer_and_no_more() {
    let machine = Machine::started(Resource::Entropy);
    assert_eq!(machine.read(Register::Kind), 4);
    // Over the end of a piece of memory is nothing, but up to it is all right, and parts may be apart.
    machine.put(0, &[(TEXT - 4096, 4096, WRITE), (BUFFERS, 100, WRITE), (BUFFERS + 200, 1, WRITE)]);
    assert!(machine.notify(0).is_none());
    assert_eq!(machine.used(0), (1, Some((0, 4197))));
    assert!(machine.raised());
    assert!(machine.bytes(TEXT - 4096, 4096).chunks(16).all(|chunk| chunk != [0; 16]));
    assert_ne!(machine.bytes(BUFFERS, 100), [0; 100]);
    assert_eq!(machine.bytes(BUFFERS + 100, 100), [0; 100]);
    let first = machine.bytes(TEXT - 4096, 4096);
    machine.offer(0, 0);
    machine.notify(0);
    assert_ne!(machine.bytes(TEXT - 4096, 4096), first);
}

#[test]
fn a_driver_that_looks_for_itself_is_not_interrupted() {
    let machine = Machine::started(Resource::Entropy);
    machine.needs_no_interrupts(0);
    machine.put(0, &[(BUFFERS, 8, WRITE)]);
    machine.notify(0);
    assert_eq!(machine.used(0).0, 1);
    assert!(!machine.raised());
}

#[test]
fn a_buffer_that_cannot_be_filled_stops_it() {
    for buffers in [&[(BUFFERS, 8, 0)][..], &[(BUFFERS, 0, WRITE)], &[(BUFFERS, 8, 0), (BUFFERS, 8, WRITE)]] {
        let machine = Machine::started(Resource::Entropy);
        machine.put(0, buffers);
        machine.notify(0);
        assert!(machine.has_stopped());
        assert_eq!(machine.bytes(BUFFERS, 8), [0; 8]);
    }
}

#[test]
fn a_guest_whose_time_is_over_is_not_served_to_its_end() {
    let machine = Machine::started(Resource::Entropy);
    for index in 0..SIZE {
        machine.put_entry(0, index, (BUFFERS, 64, WRITE, 0));
        machine.offer(0, index);
    }
    machine.events.set_limit(1);
    machine.notify(0);
    assert!(machine.used(0).0 <= 1);
    assert!(machine.events.over());
}
