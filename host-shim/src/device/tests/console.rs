//! The console device.

use super::*;
use crate::clock::{Clock, ClockMode};
use crate::timers::{Action, Timers};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::time::{Duration, Instant};
use vcpu_abi::device::{CONSOLE_CLOSED, CONSOLE_INPUT_ENDED, CONSOLE_OUTPUT_CLOSED};

const INPUT: u64 = 0;
const OUTPUT: u64 = 1;

/// A console, what feeds it and what takes its output.
fn console() -> (Machine, PipeWriter, PipeReader) {
    let (input, feed) = pipe().unwrap();
    let (take, output) = pipe().unwrap();
    let resource = Resource::Console { input: input.into(), output: output.into() };
    (Machine::started(resource), feed, take)
}

/// Watches streams for a machine, as a sandbox does.
fn timers(machine: &Machine) -> Timers {
    Timers::new(machine.events.clone(), Clock::start(ClockMode::Real, 0), None).unwrap()
}

fn wait_until(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn watch(timers: &mut Timers, waits: Waits) {
    timers.watch(waits.stream, Action::Serve(waits.device, waits.queue)).unwrap();
}

#[test]
fn bytes_go_both_ways() {
    let (machine, mut feed, mut take) = console();
    assert_eq!(machine.read(Register::Kind), 3);
    feed.write_all(b"hello").unwrap();
    machine.put(INPUT, &[(BUFFERS, 3, WRITE), (BUFFERS + 8, 100, WRITE)]);
    assert!(machine.notify(INPUT).is_none());
    assert_eq!(machine.used(INPUT), (1, Some((0, 5))));
    assert_eq!(machine.bytes(BUFFERS, 3), b"hel");
    assert_eq!(machine.bytes(BUFFERS + 8, 2), b"lo");
    machine.fill(BUFFERS, b"world");
    machine.put(OUTPUT, &[(BUFFERS, 2, 0), (BUFFERS + 2, 3, 0)]);
    assert!(machine.notify(OUTPUT).is_none());
    assert_eq!(machine.used(OUTPUT), (1, Some((0, 0))));
    let mut word = [0; 5];
    take.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"world");
}

#[test]
fn input_that_comes_later_is_an_event() {
    let (machine, mut feed, _take) = console();
    let mut timers = timers(&machine);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    watch(&mut timers, machine.notify(INPUT).expect("there is nothing yet"));
    assert_eq!(machine.used(INPUT).0, 0);
    feed.write_all(b"later").unwrap();
    wait_until(|| machine.used(INPUT) == (1, Some((0, 5))));
    wait_until(|| machine.raised());
    assert_eq!(machine.bytes(BUFFERS, 5), b"later");
}

#[test]
fn the_end_of_the_input_is_told_once() {
    let (machine, feed, _take) = console();
    drop(feed);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    assert!(machine.notify(INPUT).is_none());
    assert_eq!(machine.used(INPUT), (1, Some((0, 0))));
    assert_eq!(machine.config(CONSOLE_CLOSED), CONSOLE_INPUT_ENDED);
    assert_eq!(machine.read(Register::ConfigGeneration), 1);
    machine.offer(INPUT, 0);
    assert!(machine.notify(INPUT).is_none());
    assert_eq!(machine.used(INPUT).0, 1);
}

#[test]
fn a_full_pipe_takes_the_rest_later_in_order() {
    let (machine, _feed, mut take) = console();
    let mut timers = timers(&machine);
    // More than any pipe holds, in requests that it cuts anywhere.
    let bytes: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
    machine.fill(BUFFERS, &bytes);
    machine.put(OUTPUT, &[(BUFFERS, 1_000_000, 0), (BUFFERS + 1_000_000, 2_000_000, 0)]);
    watch(&mut timers, machine.notify(OUTPUT).expect("a pipe does not hold so much"));
    let mut read = vec![0; bytes.len()];
    take.read_exact(&mut read).unwrap();
    assert!(read == bytes);
    wait_until(|| machine.used(OUTPUT).0 == 1);
    assert_eq!(machine.used(OUTPUT), (1, Some((0, 0))));
}

#[test]
fn output_that_nobody_reads_is_dropped_and_the_driver_can_see_it() {
    let (machine, _feed, take) = console();
    drop(take);
    machine.needs_no_interrupts(OUTPUT);
    machine.put(OUTPUT, &[(BUFFERS, 100, 0)]);
    assert!(machine.notify(OUTPUT).is_none());
    assert_eq!(machine.used(OUTPUT), (1, Some((0, 0))));
    assert_eq!(machine.config(CONSOLE_CLOSED), CONSOLE_OUTPUT_CLOSED);
    assert!(machine.raised(), "a change of the configuration is always said");
}

#[test]
fn a_pipe_that_is_closed_while_it_is_full_ends_the_wait() {
    let (machine, _feed, take) = console();
    let mut timers = timers(&machine);
    machine.put(OUTPUT, &[(BUFFERS, 3_000_000, 0)]);
    watch(&mut timers, machine.notify(OUTPUT).unwrap());
    drop(take);
    wait_until(|| machine.used(OUTPUT).0 == 1);
    assert_eq!(machine.config(CONSOLE_CLOSED), CONSOLE_OUTPUT_CLOSED);
}

#[test]
fn buffers_that_point_the_wrong_way_stop_it() {
    for (queue, flags) in [(INPUT, 0), (OUTPUT, WRITE)] {
        let (machine, mut feed, _take) = console();
        feed.write_all(b"hello").unwrap();
        machine.put(queue, &[(BUFFERS, 5, flags)]);
        machine.notify(queue);
        assert!(machine.has_stopped());
        assert_eq!(machine.bytes(BUFFERS, 5), [0; 5]);
    }
}

#[test]
fn a_reset_while_it_waits_is_obeyed() {
    let (machine, mut feed, _take) = console();
    let mut timers = timers(&machine);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    watch(&mut timers, machine.notify(INPUT).unwrap());
    machine.write(Register::Status, 0);
    feed.write_all(b"later").unwrap();
    machine.start(0);
    // Whoever comes first, the buffer of before the reset is not used.
    machine.put(INPUT, &[(BUFFERS + 0x1000, 100, WRITE)]);
    machine.notify(INPUT);
    wait_until(|| machine.used(INPUT).0 == 1);
    assert_eq!(machine.bytes(BUFFERS, 5), [0; 5]);
    assert_eq!(machine.bytes(BUFFERS + 0x1000, 5), b"later");
}

/// Another guest goes on from these states, with the devices of one that is dead and with rings that are empty.
fn reset(machine: Machine, states: &[State]) -> Machine {
    let Machine { devices, view, events, pages } = machine;
    let models = devices.into_models();
    view.regions().write_slice(&[0; 0x2000], GuestAddress(RAM_BASE)).unwrap();
    let (devices, _) = Devices::resume_with(models, states, &view, &events).unwrap();
    Machine { devices, view, events, pages }
}

#[test]
fn what_one_guest_has_half_written_is_no_part_of_what_the_next_writes() {
    let (machine, _feed, mut take) = console();
    let states = machine.devices.hold().states().unwrap();
    let length = 1 << 20;
    machine.fill(BUFFERS, &vec![b'a'; length]);
    machine.put(OUTPUT, &[(BUFFERS, length as u32, 0)]);
    machine.notify(OUTPUT).expect("a pipe does not take so much at once");
    let machine = reset(machine, &states);
    let mut before = vec![0; length];
    let count = take.read(&mut before).unwrap();
    assert!(before[..count].iter().all(|byte| *byte == b'a'));
    machine.fill(BUFFERS, b"begin");
    machine.put(OUTPUT, &[(BUFFERS, 5, 0)]);
    assert!(machine.notify(OUTPUT).is_none());
    drop(machine);
    let mut rest = Vec::new();
    take.read_to_end(&mut rest).unwrap();
    assert!(
        rest.ends_with(b"begin"),
        "only {:?} came",
        String::from_utf8_lossy(&rest[rest.len().saturating_sub(5)..])
    );
}

#[test]
fn the_next_guest_is_told_of_an_end_that_another_was_told_of() {
    let (machine, feed, take) = console();
    let states = machine.devices.hold().states().unwrap();
    drop(feed);
    drop(take);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    machine.put(OUTPUT, &[(BUFFERS, 5, 0)]);
    machine.notify(INPUT);
    machine.notify(OUTPUT);
    assert_eq!(machine.config(CONSOLE_CLOSED), CONSOLE_INPUT_ENDED | CONSOLE_OUTPUT_CLOSED);
    assert!(machine.raised());
    let machine = reset(machine, &states);
    machine.needs_no_interrupts(INPUT);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    assert!(machine.notify(INPUT).is_none());
    assert_eq!(machine.used(INPUT), (1, Some((0, 0))));
    assert_eq!(machine.config(CONSOLE_CLOSED), CONSOLE_INPUT_ENDED);
    assert!(machine.raised(), "the configuration has changed");
}

#[test]
fn nothing_happens_while_states_are_looked_at() {
    let (machine, mut feed, _take) = console();
    let mut timers = timers(&machine);
    machine.put(INPUT, &[(BUFFERS, 100, WRITE)]);
    watch(&mut timers, machine.notify(INPUT).expect("there is nothing yet"));
    let still = machine.devices.hold();
    feed.write_all(b"later").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(machine.used(INPUT).0, 0);
    drop(still);
    wait_until(|| machine.used(INPUT) == (1, Some((0, 5))));
}
