//! The apps that show threads: each shows what its header says.

use std::time::Duration;
use vcpu_host::Outcome;
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

fn run<const N: usize>(app: &str, arguments: [&str; N], backend: BackendKind) -> Ended {
    Guest::new(app, backend).arguments(arguments).run()
}

#[track_caller]
fn check_refused<const N: usize>(app: &str, arguments: [&str; N], backend: BackendKind) {
    let ended = run(app, arguments, backend);
    assert_eq!(ended.status(), 2, "{ended}");
    assert!(ended.errors_text().starts_with(&format!("{app}: expected ")), "{ended}");
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .filter_map(|word| word.trim_end_matches('.').parse().ok())
        .collect()
}

fn philosophers_who_take_forks_in_order_all_eat(backend: BackendKind) {
    let expected = "Hypatia has eaten 100 times\n\
        Kant has eaten 100 times\n\
        Spinoza has eaten 100 times\n\
        Arendt has eaten 100 times\n\
        Laozi has eaten 100 times\n";
    run("philosophers", [], backend).assert_output(expected);
}

fn a_circle_of_mutexes_costs_the_life_of_the_one_who_would_close_it(backend: BackendKind) {
    let ended = run("philosophers", ["--circle"], backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let dead = ended.output_text().lines().filter(|line| line.ends_with(" has died of hunger")).count();
    let fed = ended.output_text().lines().filter(|line| line.ends_with(" has eaten 100 times")).count();
    assert_eq!((dead, fed), (1, 4), "{ended}");
    assert!(ended.errors_text().contains(": deadlock: this thread would wait for ever"), "{ended}");
}

fn a_deadlock_of_philosophers_is_reported_with_who_waits_for_whom(backend: BackendKind) {
    let ended = run("philosophers", ["--deadlock"], backend);
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.ends_with("deadlock: none of 6 threads can ever run again"), "{ended}");
    let line = |number: usize, name: &str, fork: usize, owner: usize, owner_name: &str| {
        let owner = format!("held by thread '{owner_name}' ({owner})");
        format!("thread '{name}' ({number}) waits to write under lock #{fork}, {owner}\n")
    };
    let expected = [
        "thread 'main' (1) waits for the end of thread 'Hypatia' (2)\n".to_string(),
        line(2, "Hypatia", 1, 3, "Kant"),
        line(3, "Kant", 2, 4, "Spinoza"),
        line(4, "Spinoza", 3, 5, "Arendt"),
        line(5, "Arendt", 4, 6, "Laozi"),
        line(6, "Laozi", 0, 2, "Hypatia"),
    ];
    assert_eq!(ended.errors_text(), expected.concat(), "{ended}");
}

fn inheritance_keeps_the_busy_thread_from_delaying_the_important_one(backend: BackendKind) {
    let ratio = || {
        let ended = run("priority-inversion", ["100"], backend);
        assert_eq!(ended.status(), 0, "{ended}");
        let lines: Vec<&str> = ended.output_text().lines().collect();
        let [off, on, ratio] = lines[..] else { panic!("{ended}") };
        assert!(off.starts_with("inheritance off: 100 of 100 units of work came first, "), "{ended}");
        assert!(on.starts_with("inheritance on: 0 of 100 units of work came first, "), "{ended}");
        let [ratio] = numbers(ratio)[..] else { panic!("{ended}") };
        ratio
    };
    // It is eleven times the work. The time can be told wrong, where the host has more to do than this.
    assert!((0..10).any(|_| ratio() > 2.0), "the wait was no longer with eleven times the work");
}

fn between_producers_and_consumers_nothing_is_lost_and_nothing_doubled(backend: BackendKind) {
    let expected = "8000 sent by 4 producers, 8000 received by 3 consumers\n\
        0 lost, 0 doubled, 0 consumers saw them out of order\n";
    run("producer-consumer", ["2000"], backend).assert_output(expected);
}

fn ten_thousand_threads_pass_a_token(backend: BackendKind) {
    let ended = run("ring", ["3"], backend);
    ended.assert_output("30000 hops between 10000 threads\n");
    let [.., nanoseconds, cycles] = numbers(ended.errors_text())[..] else { panic!("{ended}") };
    assert!(nanoseconds > 0.0 && cycles > 0.0, "{ended}");
}

fn a_ring_may_have_one_member(backend: BackendKind) {
    run("ring", ["5", "1"], backend).assert_output("5 hops between 1 threads\n");
}

fn latency_is_told_for_each_load_with_all_samples(backend: BackendKind) {
    const SAMPLES: usize = 30;
    let ended = run("latency", ["30"], backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let mut loads = Vec::new();
    // Of each load, what the histogram counts.
    let mut counts = Vec::new();
    for line in ended.output_text().lines() {
        if line.contains(" threads compute: ") {
            // The 99 is that of "p99".
            let [load, min, median, 99.0, p99, max] = numbers(line)[..] else { panic!("{line}\n{ended}") };
            assert!(0.0 < min && min <= median && median <= p99 && p99 <= max, "{ended}");
            loads.push(load as usize);
            counts.push(0);
        } else if let Some(cycles) = line.strip_prefix("the guest's part of the median: ") {
            assert!(numbers(cycles)[0] > 0.0, "{ended}");
        } else {
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok());
            *counts.last_mut().expect("a load") += count.unwrap_or_else(|| panic!("{line}\n{ended}"));
        }
    }
    assert_eq!((loads, counts), (vec![0, 1, 10, 100], vec![SAMPLES; 4]), "{ended}");
}

/// The numbers, one a line, that an app has printed.
fn samples(ended: &Ended) -> Vec<u64> {
    assert_eq!(ended.status(), 0, "{ended}");
    let number = |line: &str| line.parse().unwrap_or_else(|_| panic!("{line}\n{ended}"));
    ended.output_text().lines().map(number).collect()
}

/// What the app `measure` measures while its line is raised again and again.
fn raised<const N: usize>(arguments: [&str; N], backend: BackendKind) -> Vec<u64> {
    const LINE: u32 = 4;
    let guest = Guest::new("measure", backend).arguments(arguments).start();
    while !guest.outcome.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
        guest.lines.raise(LINE);
    }
    samples(&guest.end(b""))
}

fn every_event_that_was_asked_for_is_measured(backend: BackendKind) {
    // SAFETY: every x86-64 processor has the instruction.
    let counter = || unsafe { std::arch::x86_64::_rdtsc() };
    let begin = counter();
    let first = begin.to_string();
    let running = raised(["raise", "20", "1"], backend);
    let sleeping = raised(["raise", "20", "0"], backend);
    let waiting = raised(["await", "20", &first, "1000000", "1000", "50000"], backend);
    let end = counter();
    for taken in [running, sleeping, waiting] {
        assert_eq!(taken.len(), 20);
        assert!(taken.is_sorted() && begin < taken[0] && taken[19] < end, "{begin} {taken:?} {end}");
    }
    for threads in ["0", "100"] {
        assert_eq!(samples(&run("measure", ["timer", "20", threads, "1"], backend)).len(), 20);
    }
}

/// What the app `compute` says that its last call gave.
#[track_caller]
fn computed<const N: usize>(arguments: [&str; N], backend: BackendKind) -> u64 {
    let ended = run("compute", arguments, backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let result = ended.output_text().lines().find_map(|line| line.strip_prefix("result "));
    result.and_then(|result| result.parse().ok()).unwrap_or_else(|| panic!("{ended}"))
}

fn the_functions_of_the_benchmark_compute_what_they_say(backend: BackendKind) {
    assert_eq!(computed(["fib", "20", "1", "1"], backend), 6765);
    // The chain comes by every line of the 64 MiB once before it comes back, and a walk goes on where the
    // last one has ended.
    assert_eq!(computed(["memory", "1048576", "1", "1"], backend), 0);
    assert_eq!(computed(["memory", "524288", "1", "2"], backend), 0);
    assert_ne!(computed(["memory", "524288", "1", "1"], backend), 0);
    // The last element of three times the product of two matrices of 32 rows, row by row in one list.
    let element = |index: usize| (index * 7 % 5) as f32 - 2.0;
    let product: f32 = (0..32).map(|k| element(31 * 32 + k) * element(1024 + k * 32 + 31)).sum();
    assert_eq!(computed(["vector", "3", "1", "1"], backend), u64::from((3.0 * product).to_bits()));
}

fn a_stream_is_copied_as_it_is(backend: BackendKind) {
    let bytes: Vec<u8> = (0..1_000_003u32).map(|at| (at ^ (at >> 8)) as u8).collect();
    let ended = Guest::new("stream", backend).arguments(["copy"]).input(&*bytes).run();
    assert_eq!((ended.status(), ended.output == bytes), (0, true), "{ended}");
}

fn arguments_that_make_no_sense_are_refused(backend: BackendKind) {
    check_refused("philosophers", ["--circle", "--deadlock"], backend);
    check_refused("priority-inversion", ["many"], backend);
    check_refused("producer-consumer", ["1", "2"], backend);
    check_refused("ring", ["0"], backend);
    check_refused("ring", ["1", "0"], backend);
    check_refused("latency", ["0"], backend);
    check_refused("measure", ["raise", "0", "1"], backend);
    check_refused("measure", ["timer", "1", "100000", "1"], backend);
    check_refused("measure", ["timer", "1", "1", "0"], backend);
    check_refused("measure", ["await", "1", "100", "10", "5", "4"], backend);
    check_refused("compute", ["fib", "20", "1"], backend);
    check_refused("compute", ["fib", "20", "1", "0"], backend);
    check_refused("compute", ["sleep", "20", "1", "1"], backend);
    check_refused("stream", ["share"], backend);
    check_refused("stream", ["share", "much"], backend);
}

on_every_backend!(
    philosophers_who_take_forks_in_order_all_eat,
    a_circle_of_mutexes_costs_the_life_of_the_one_who_would_close_it,
    a_deadlock_of_philosophers_is_reported_with_who_waits_for_whom,
    inheritance_keeps_the_busy_thread_from_delaying_the_important_one,
    between_producers_and_consumers_nothing_is_lost_and_nothing_doubled,
    ten_thousand_threads_pass_a_token,
    a_ring_may_have_one_member,
    latency_is_told_for_each_load_with_all_samples,
    every_event_that_was_asked_for_is_measured,
    the_functions_of_the_benchmark_compute_what_they_say,
    a_stream_is_copied_as_it_is,
    arguments_that_make_no_sense_are_refused,
);
