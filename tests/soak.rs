//! A soak (tests/guests/soak): 200 threads do random operations, and every invariant holds.
//!
//! `VCPU_SOAK_SECONDS` says for how long, one minute otherwise; `VCPU_SOAK_SEED` with which seed, a new one
//! each time otherwise. The output has it, for doing it again.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

/// Seconds that the soak takes.
const SECONDS: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn soak(seed: u64, seconds: u64, more: &[&str], backend: BackendKind) -> Ended {
    let numbers = [seed.to_string(), seconds.to_string()];
    let arguments = numbers.iter().map(String::as_str).chain(more.iter().copied());
    let guest = Guest::new("guest-soak", backend).arguments(arguments);
    guest.with(|config| config.time_limit = Some(Duration::from_secs(seconds + 120))).run()
}

fn two_hundred_threads_do_random_things_and_every_invariant_holds(backend: BackendKind) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let seed = number("VCPU_SOAK_SEED").unwrap_or(since.as_secs() % 1_000_000);
    let ended = soak(seed, number("VCPU_SOAK_SECONDS").unwrap_or(SECONDS), &[], backend);
    // Seen even if the test passes.
    writeln!(io::stdout(), "{}", String::from_utf8_lossy(&ended.output))
        .expect("somebody reads what tests say");
    assert_eq!(ended.status(), 0, "{ended}");
    assert_eq!(ended.errors_text(), "", "{ended}");
    assert!(ended.output_text().ends_with("\nleft over: 0 threads, 0 bytes\n"), "{ended}");
}

fn a_lock_that_is_left_out_is_noticed(backend: BackendKind) {
    let ended = soak(1, 20, &["--broken"], backend);
    assert_eq!(ended.status(), 1, "{ended}");
    let last = ended.output_text().lines().last().expect("it says what is wrong");
    let noticed = [
        "seed 1: two threads have the same mutex",
        "seed 1: somebody else was in the critical section",
        "seed 1: the accounts do not add up",
    ];
    assert!(noticed.contains(&last), "{ended}");
}

on_every_backend!(
    two_hundred_threads_do_random_things_and_every_invariant_holds,
    a_lock_that_is_left_out_is_noticed,
);
