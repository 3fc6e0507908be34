//! Events: timers, waiting, lines that the host raises, virtual time, and what an upcall leaves untouched.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use vcpu_host::ClockMode;
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

fn scenario(name: &str, backend: BackendKind) -> Guest {
    Guest::new("guest-events", backend).arguments([name])
}

fn run(name: &str, clock: ClockMode, backend: BackendKind) -> Ended {
    scenario(name, backend).with(|config| config.clock = clock).run()
}

/// Runs a scenario with either clock: what it prints must not depend on it.
#[track_caller]
fn check(name: &str, expected: &str, backend: BackendKind) {
    for clock in [ClockMode::Real, ClockMode::Virtual] {
        run(name, clock, backend).assert_output(expected);
    }
}

fn a_timer_comes_once_and_not_before_its_deadline(backend: BackendKind) {
    check("one-shot", "came 1 times, too early: false\n", backend);
}

fn a_handler_can_set_its_timer_again(backend: BackendKind) {
    check("rearm", "came 5 times\n", backend);
}

fn setting_a_timer_replaces_the_one_before(backend: BackendKind) {
    check("replace", "came 1 times\n", backend);
}

fn a_timer_that_is_moved_when_it_comes_is_not_early(backend: BackendKind) {
    let ended = run("moved", ClockMode::Real, backend);
    ended.assert_output("came at all: true, always: false, 0 too early\n");
}

fn timers_that_overtake_each_other_all_come(backend: BackendKind) {
    check("eight", "300 times each, 0 too early\n", backend);
}

fn a_timer_ends_a_wait_through_the_trap_page(backend: BackendKind) {
    check("trap-wait", "woken 20 times\n", backend);
}

fn a_disarmed_timer_does_not_come(backend: BackendKind) {
    check("disarm", "came 0 and 1 times\n", backend);
}

fn a_deadline_in_the_past_raises_the_line_at_once(backend: BackendKind) {
    check("past", "came 1 times\n", backend);
}

fn every_line_has_a_timer_of_its_own(backend: BackendKind) {
    check("all-lines", "all lines came\n", backend);
}

fn waiting_ends_at_its_deadline_or_at_an_event_and_says_which(backend: BackendKind) {
    let expected = "Err(TimedOut), too early: false\nin the past: Err(TimedOut)\nOk(()) after 1 events\n";
    check("time-out", expected, backend);
}

fn timers_come_in_the_order_of_their_deadlines(backend: BackendKind) {
    run("order", ClockMode::Virtual, backend).assert_output("order 090407\n");
}

fn an_hour_of_virtual_time_is_exactly_an_hour(backend: BackendKind) {
    run("hour", ClockMode::Virtual, backend).assert_output("from 0 ns to 3600000000000 ns\n");
}

fn in_virtual_time_every_run_is_the_same(backend: BackendKind) {
    let first = run("diary", ClockMode::Virtual, backend);
    assert_eq!(first.status(), 0, "{first}");
    // Fifty ticks of 1 ms from 0, up to 49 ms, with those of 1.7 ms and of 2.5 ms among them.
    assert_eq!(first.output_text().lines().count(), 50 + 29 + 20 + 1, "{first}");
    assert!(first.output_text().ends_with("49ms since 1970\n"), "{first}");
    for _ in 0..3 {
        assert_eq!(run("diary", ClockMode::Virtual, backend).output, first.output);
    }
}

fn ticks_arrive_while_the_program_computes(backend: BackendKind) {
    let ended = Guest::new("ticker", backend).arguments(["5"]).run();
    assert_eq!(ended.status(), 0, "{ended}");
    assert!(ended.output_text().starts_with("5 ticks while computing; found "), "{ended}");
}

fn an_event_waits_while_events_are_off(backend: BackendKind) {
    let mut live = scenario("kept-for-later", backend).start();
    let mut ready = [0; 6];
    live.output.read_exact(&mut ready).unwrap();
    live.lines.raise(1);
    live.input.write_all(b"x").unwrap();
    live.end(b"").assert_output("before false, after true\n");
}

/// The guest acknowledges each run of a line's handler. Each line is raised again only after that: so it
/// must run exactly as often as it was raised, whatever the guest is doing when it is raised.
fn raise(lines_used: u32, times: u32, pin: bool, backend: BackendKind) {
    const STOP: u32 = 1;
    const FIRST: u32 = 10;
    const LINES: usize = 4;
    let mut live = scenario("acknowledge", backend).with(|config| config.pin = pin).start();
    let lines = live.lines.clone();
    let mut output = live.output.try_clone().unwrap();
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    thread::scope(|scope| {
        let mut tell = HashMap::new();
        for line in 0..lines_used {
            let (acknowledge, acknowledged) = mpsc::channel::<()>();
            tell.insert(b'a' + line as u8, acknowledge);
            let lines = lines.clone();
            scope.spawn(move || {
                for time in 0..times {
                    lines.raise(FIRST + line);
                    acknowledged.recv().expect("every raise is acknowledged");
                    // Different distances between the acknowledgement and the next raise.
                    for _ in 0..(time * 7919 + line * 104_729) % 3000 {
                        std::hint::spin_loop();
                    }
                }
            });
        }
        let mut left = lines_used * times;
        let mut bytes = [0; 64];
        while left > 0 {
            let count = output.read(&mut bytes).unwrap();
            assert!(count > 0, "the guest has ended with {left} acknowledgements to come");
            for letter in &bytes[..count] {
                // A thread that has all of its acknowledgements hears no more; then there is one too many.
                tell[letter].send(()).expect("no line comes twice");
            }
            left -= count as u32;
        }
    });
    live.lines.raise(STOP);
    live.output = output;
    let expected: [u32; LINES] =
        std::array::from_fn(|line| if line < lines_used as usize { times } else { 0 });
    live.end(b"").assert_output(&format!("\n{expected:?}\n"));
}

fn no_raised_line_is_lost_and_none_comes_twice(backend: BackendKind) {
    // Alone, since the next event would bring a lost one with it.
    raise(1, 4000, true, backend);
}

fn no_raised_line_is_lost_where_guest_and_host_run_at_once(backend: BackendKind) {
    raise(1, 4000, false, backend);
    raise(4, 1000, false, backend);
}

fn lines_that_are_raised_at_once_do_not_disturb_each_other(backend: BackendKind) {
    raise(4, 1500, true, backend);
}

fn nothing_changes_for_code_that_is_interrupted(backend: BackendKind) {
    let ended = Guest::new("guest-registers", backend).arguments(["2000"]).run();
    assert_eq!(ended.status(), 0, "{ended}");
    assert!(ended.output_text().ends_with("\nflags: nothing changed\nrcx: nothing changed\n"), "{ended}");
}

fn handlers_find_the_usual_control_words_and_code_keeps_its_own(backend: BackendKind) {
    let ended = run("control", ClockMode::Virtual, backend);
    ended.assert_output("[1f80, 37f, 1f80, 37f]\n[5fc0, 87f] kept\n");
}

on_every_backend!(
    a_timer_comes_once_and_not_before_its_deadline,
    a_handler_can_set_its_timer_again,
    setting_a_timer_replaces_the_one_before,
    a_disarmed_timer_does_not_come,
    a_timer_that_is_moved_when_it_comes_is_not_early,
    timers_that_overtake_each_other_all_come,
    a_timer_ends_a_wait_through_the_trap_page,
    a_deadline_in_the_past_raises_the_line_at_once,
    every_line_has_a_timer_of_its_own,
    waiting_ends_at_its_deadline_or_at_an_event_and_says_which,
    timers_come_in_the_order_of_their_deadlines,
    an_hour_of_virtual_time_is_exactly_an_hour,
    in_virtual_time_every_run_is_the_same,
    ticks_arrive_while_the_program_computes,
    an_event_waits_while_events_are_off,
    no_raised_line_is_lost_and_none_comes_twice,
    no_raised_line_is_lost_where_guest_and_host_run_at_once,
    lines_that_are_raised_at_once_do_not_disturb_each_other,
    nothing_changes_for_code_that_is_interrupted,
    handlers_find_the_usual_control_words_and_code_keeps_its_own,
);
