//! Limits on what a guest uses: its output, its calls, the processor's time.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use vcpu_host::{Outcome, Report};
use vcpu_tests::{BackendKind, Guest, on_every_backend};

fn guest<A: ToString>(backend: BackendKind, arguments: impl IntoIterator<Item = A>) -> Guest {
    let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.to_string()).collect();
    Guest::new("guest-limits", backend).arguments(arguments)
}

#[track_caller]
fn assert_time_was_over(outcome: &Outcome, sentence: &str) {
    match outcome {
        Outcome::TimeLimit(Report { sentence: said, registers: Some(_), .. }) => assert_eq!(said, sentence),
        other => panic!("{other:?}"),
    }
    assert_eq!(outcome.status(), 124);
}

const CPU_TIME_OVER: &str = "the guest has used all the processor's time that it may use";

fn who_computes_too_long_is_ended(backend: BackendKind) {
    let begin = Instant::now();
    let guest = guest(backend, ["compute"]).with(|config| config.cpu_time = Some(Duration::from_millis(100)));
    assert_time_was_over(&guest.run().outcome, CPU_TIME_OVER);
    assert!(begin.elapsed() >= Duration::from_millis(100), "its time cannot have been over");
}

fn who_only_calls_is_ended_too(backend: BackendKind) {
    let guest = guest(backend, ["call", "1000000000000"])
        .with(|config| config.cpu_time = Some(Duration::from_millis(50)));
    assert_time_was_over(&guest.run().outcome, CPU_TIME_OVER);
}

fn who_rests_uses_no_time_of_the_processor(backend: BackendKind) {
    let guest =
        guest(backend, ["rest", "1000"]).with(|config| config.cpu_time = Some(Duration::from_millis(500)));
    assert_eq!(guest.run().status(), 0);
}

fn the_limit_that_is_reached_first_is_named(backend: BackendKind) {
    let guest = guest(backend, ["compute"]).with(|config| {
        config.time_limit = Some(Duration::from_millis(50));
        config.cpu_time = Some(Duration::from_secs(3600));
    });
    assert_time_was_over(&guest.run().outcome, "the guest's time was over");
}

fn output_ends_at_its_limit_and_the_guest_is_told(backend: BackendKind) {
    let ended = guest(backend, ["write", "95"]).with(|config| config.output_limit = Some(95)).run();
    assert_eq!(ended.status(), 0, "{ended}");
    assert_eq!((ended.output.len(), ended.errors.len()), (50, 45), "{ended}");
    let ended = guest(backend, ["write", "0"]).with(|config| config.output_limit = Some(0)).run();
    assert_eq!((ended.status(), ended.output.len()), (0, 0), "{ended}");
}

fn calls_that_come_too_fast_are_answered_later(backend: BackendKind) {
    const RATE: u32 = 2000;
    let begin = Instant::now();
    let ended =
        guest(backend, ["call", "3000"]).with(|config| config.calls_per_second = NonZeroU32::new(RATE)).run();
    assert_eq!(ended.status(), 0, "{ended}");
    // A second's calls may come at once; the guest makes a few more when it begins and ends.
    assert!(begin.elapsed() >= Duration::from_millis(500), "{:?}", begin.elapsed());
}

fn a_call_that_waits_for_its_turn_does_not_outlive_the_time_limit(backend: BackendKind) {
    let guest = guest(backend, ["call", "1000000"]).with(|config| {
        config.calls_per_second = NonZeroU32::new(1);
        config.time_limit = Some(Duration::from_millis(50));
    });
    assert_time_was_over(&guest.run().outcome, "the guest's time was over");
}

fn events_come_while_calls_wait_for_their_turn(backend: BackendKind) {
    // Sleeping is made of calls and events.
    let ended =
        guest(backend, ["rest", "100"]).with(|config| config.calls_per_second = NonZeroU32::new(20)).run();
    assert_eq!(ended.status(), 0, "{ended}");
}

on_every_backend!(
    who_computes_too_long_is_ended,
    who_only_calls_is_ended_too,
    who_rests_uses_no_time_of_the_processor,
    the_limit_that_is_reached_first_is_named,
    output_ends_at_its_limit_and_the_guest_is_told,
    calls_that_come_too_fast_are_answered_later,
    a_call_that_waits_for_its_turn_does_not_outlive_the_time_limit,
    events_come_while_calls_wait_for_their_turn,
);
