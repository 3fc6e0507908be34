//! Crates that know nothing of virtual CPUs run on one (tests/guests/ecosystem), by the conventions that
//! libvcpu keeps for them.

use std::io::{Read, pipe};
use vcpu_host::{ClockMode, Streams};
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

fn scenario(name: &str, backend: BackendKind) -> Guest {
    Guest::new("guest-ecosystem", backend).arguments([name])
}

/// In virtual time, so that each moment is exact.
fn run(name: &str, backend: BackendKind) -> Ended {
    scenario(name, backend).with(|config| config.clock = ClockMode::Virtual).run()
}

fn a_critical_section_has_events_off_and_nests(backend: BackendKind) {
    let expected = "inside: false\n\
        still inside: false\n\
        outside: true\n\
        off before, off after: false\n\
        initialised inside: [false, false, false]\n";
    run("section", backend).assert_output(expected);
}

fn a_critical_section_keeps_threads_and_handlers_out(backend: BackendKind) {
    // In virtual time nobody would come while a thread computes.
    scenario("section-shared", backend).run().assert_output("0 lost, ticks came: true\n");
}

fn logged(level: Option<&str>, backend: BackendKind) -> String {
    let environment =
        level.map(|level| (b"RUST_LOG".to_vec(), level.as_bytes().to_vec())).into_iter().collect();
    let ended = scenario("log", backend).with(|config| config.environment = environment).run();
    ended.assert_output("decoded: true\na second logger: false\n");
    ended.errors_text().to_string()
}

const COMPLAINT: &str =
    "[ERROR decoder zune_qoi::decoder] Unknown/invalid colorspace value 9, expected 0 or 1\n";

const FROM_MAIN: &str = "[INFO  main guest_ecosystem::logging] from main\n";

fn what_crates_log_is_shown_with_level_thread_and_target(backend: BackendKind) {
    assert_eq!(logged(None, backend), COMPLAINT.to_string() + FROM_MAIN);
    assert_eq!(logged(Some("off"), backend), FROM_MAIN);
    let all = logged(Some("Trace"), backend);
    let details = "[TRACE decoder zune_qoi::decoder] Image width: 7\n\
        [TRACE decoder zune_qoi::decoder] Image height: 5\n";
    assert!(all.starts_with(&(COMPLAINT.to_string() + details)), "{all}");
    assert!(all.ends_with(FROM_MAIN), "{all}");
}

fn a_level_that_does_not_exist_is_named(backend: BackendKind) {
    let remark = "RUST_LOG: `loud` is none of off, error, warn, info, debug, trace\n";
    assert_eq!(logged(Some("loud"), backend), remark.to_string() + COMPLAINT + FROM_MAIN);
}

fn an_event_handler_can_log(backend: BackendKind) {
    let ended = run("log-handler", backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let line = ended.errors_text();
    assert!(line.starts_with("[ERROR "), "{ended}");
    assert!(line.ends_with(" guest_ecosystem::logging] line 5 was raised 1 time\n"), "{ended}");
}

/// A frame of MAVLink 2 with this text, as the guest's dialect has it.
fn frame(sequence: u8, text: &[u8]) -> Vec<u8> {
    const EXTRA: u8 = 0x5a;
    let mut frame = vec![0xfd, text.len() as u8, 0, 0, sequence, 42, 7, 0x03, 0x02, 0x01];
    frame.extend(text);
    let mut checksum = 0xffffu16;
    for byte in frame[1..].iter().chain(&[EXTRA]) {
        checksum ^= u16::from(*byte);
        for _ in 0..8 {
            checksum = if checksum & 1 == 1 { checksum >> 1 ^ 0x8408 } else { checksum >> 1 };
        }
    }
    frame.extend(checksum.to_le_bytes());
    frame
}

fn a_crate_speaks_its_protocol_over_the_standard_streams(backend: BackendKind) {
    let texts: [&[u8]; 3] = [b"a virtual CPU", b"x", &[b'-'; 255]];
    let frames = |reverse: bool| -> Vec<u8> {
        let frame = |(number, text): (usize, &&[u8])| {
            let mut text = text.to_vec();
            if reverse {
                text.reverse();
            }
            frame(number as u8, &text)
        };
        texts.iter().enumerate().flat_map(frame).collect()
    };
    let ended = scenario("streams", backend).input(frames(false)).run();
    assert_eq!(ended.status(), 0, "{ended}");
    assert_eq!(ended.errors_text(), "3 messages\n", "{ended}");
    assert!(ended.output == frames(true), "{ended}");
}

fn a_closed_stream_is_a_broken_pipe(backend: BackendKind) {
    let (mut errors, stderr) = pipe().unwrap();
    let streams =
        Streams { output: pipe().unwrap().1.into(), errors: stderr.into(), ..Streams::null().unwrap() };
    let guest = scenario("streams-closed", backend).with(|config| config.streams = Some(streams));
    guest.here(|mut sandbox| sandbox.run()).unwrap();
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(text, "BrokenPipe: the other end of the stream is gone\n");
}

fn a_foreign_heap_works_under_the_kernels_mutex(backend: BackendKind) {
    scenario("lock", backend).run().assert_output("4 threads, 8000 blocks\n");
}

fn foreign_locks_keep_deadlines_readers_and_owners_and_inherit(backend: BackendKind) {
    let expected = "mutex: false after 5ms\n\
        inherited: true\n\
        lock: true false after 5ms\n\
        values: 1 1\n\
        again: true, another: false\n\
        free again: true\n";
    run("lock-time", backend).assert_output(expected);
}

fn threads_meet_at_an_async_channel(backend: BackendKind) {
    run("channel", backend).assert_output("1000 received, in order: true\n");
}

fn a_handler_wakes_a_future(backend: BackendKind) {
    run("signal", backend).assert_output("1 after 5ms\n2 after 5ms\n3 after 5ms\n");
}

fn a_future_can_be_given_up_and_leaves_nothing_behind(backend: BackendKind) {
    let expected = "Err(TimedOut) after 5ms, 0 bytes more\npolled 10 times; parked for 5ms\n";
    run("time-out", backend).assert_output(expected);
}

on_every_backend!(
    a_critical_section_has_events_off_and_nests,
    a_critical_section_keeps_threads_and_handlers_out,
    what_crates_log_is_shown_with_level_thread_and_target,
    a_level_that_does_not_exist_is_named,
    an_event_handler_can_log,
    a_crate_speaks_its_protocol_over_the_standard_streams,
    a_closed_stream_is_a_broken_pipe,
    a_foreign_heap_works_under_the_kernels_mutex,
    foreign_locks_keep_deadlines_readers_and_owners_and_inherit,
    threads_meet_at_an_async_channel,
    a_handler_wakes_a_future,
    a_future_can_be_given_up_and_leaves_nothing_behind,
);
