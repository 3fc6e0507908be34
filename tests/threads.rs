//! Threads (tests/guests/threads): their life and their death, who runs when, and event handler threads.
//!
//! With the clock under the machine's control, each scenario has exactly one course: what is printed, and in
//! which order, is what the rules say.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use vcpu_host::{ClockMode, Outcome};
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend, proc};

fn scenario(name: &str, backend: BackendKind) -> Guest {
    Guest::new("guest-threads", backend).arguments([name])
}

fn run(name: &str, backend: BackendKind) -> Ended {
    scenario(name, backend).with(|config| config.clock = ClockMode::Virtual).run()
}

#[track_caller]
fn check(name: &str, expected: &str, backend: BackendKind) {
    run(name, backend).assert_output(expected);
}

/// For scenarios in which time passes while threads compute; they measure nothing.
#[track_caller]
fn check_with_real_clock(name: &str, expected: &str, backend: BackendKind) {
    scenario(name, backend).run().assert_output(expected);
}

/// A line with a panic's place in the source cut out, since that changes with every line above.
fn without_place(line: &str) -> String {
    match line.split_once("panicked at ") {
        Some((before, rest)) => {
            let (place, message) = rest.split_once(": ").expect("a place and a message");
            assert!(place.starts_with("tests/guests/") || place.starts_with("libvcpu/"), "{line}");
            format!("{before}panicked: {message}\n")
        }
        None => format!("{line}\n"),
    }
}

/// Runs a scenario in which threads die: what they say, and what is said of them.
#[track_caller]
fn deaths(name: &str, errors: &str, output: &str, backend: BackendKind) {
    let ended = run(name, backend);
    assert_eq!(ended.status(), 0, "{ended}");
    assert_eq!(ended.errors_text().lines().map(without_place).collect::<String>(), errors, "{ended}");
    assert_eq!(ended.output_text().lines().map(without_place).collect::<String>(), output, "{ended}");
}

/// Runs a scenario that ends in a panic of the guest, and gives what it says.
#[track_caller]
fn panic(name: &str, backend: BackendKind) -> (String, Ended) {
    let ended = run(name, backend);
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    (report.sentence.clone(), ended)
}

fn a_thread_gives_its_result_to_who_joins_it(backend: BackendKind) {
    check("join", "Some(42)\nSome(\"text\")\n", backend);
}

fn joining_with_a_timeout_gives_the_handle_back(backend: BackendKind) {
    check("join-timeout", "Some(7)\n", backend);
}

fn two_can_wait_for_the_same_end(backend: BackendKind) {
    check("join-twice", "js\n", backend);
}

fn a_detached_thread_goes_on_and_its_result_is_dropped(backend: BackendKind) {
    check("detach", "ab, dropped 1, 1 threads\n", backend);
}

fn exit_ends_a_thread_without_destructors(backend: BackendKind) {
    let expected = "Some(\"the thread exited without a result\"), dropped 0, \"\"\n";
    check("exit", expected, backend);
}

fn exit_in_main_ends_the_program(backend: BackendKind) {
    check("exit-main", "before\n", backend);
}

fn threads_have_names_and_numbers_that_are_not_used_again(backend: BackendKind) {
    let expected = "[(1, Some(\"main\")), (2, Some(\"decode\")), (3, None)]\n3, then 4\n1 left\n";
    check("identity", expected, backend);
}

fn a_thread_can_begin_suspended(backend: BackendKind) {
    check("begin-suspended", "mwm\n", backend);
}

fn when_main_returns_the_others_end_with_it(backend: BackendKind) {
    check("main-returns", "returns\n", backend);
}

fn equals_run_round_robin_when_they_yield(backend: BackendKind) {
    check("yield", "abcabcabcm\n", backend);
}

fn sleepers_wake_in_the_order_of_their_deadlines(backend: BackendKind) {
    check("sleep", "edbca\n", backend);
}

fn one_unpark_that_comes_early_is_kept(backend: BackendKind) {
    check("park", "mwmwmw\n", backend);
}

fn a_more_important_thread_runs_before_the_call_returns(backend: BackendKind) {
    check("priority", "h12H3l\n", backend);
}

fn a_change_of_priority_holds_before_the_call_returns(backend: BackendKind) {
    check("priority-change", "1ll2L34e5\n", backend);
}

fn who_is_woken_by_a_handler_function_preempts(backend: BackendKind) {
    check("preempt-by-handler", "mm()pmp|mm()m|p\n", backend);
}

fn who_wakes_by_time_preempts(backend: BackendKind) {
    check("preempt-by-thread", "m2h1m2h1m2h1m1\n", backend);
}

fn code_that_makes_no_call_is_preempted(backend: BackendKind) {
    check_with_real_clock("preempt-computing", "preempted\n", backend);
}

fn a_suspended_thread_does_not_run_until_it_is_resumed(backend: BackendKind) {
    check("suspend", "w3m1w7\n", backend);
    check("suspend-itself", "wmW\n", backend);
    check("suspend-waiting", "msmp\n", backend);
}

fn equals_take_turns_of_a_slice(backend: BackendKind) {
    check("turns", "a10b10c10a10b10c5a5b5|1a2b2a2b2a1b1\n", backend);
}

fn a_threads_own_slice_goes_before_the_systems(backend: BackendKind) {
    check("own-slices", "a3b10a3b10a5b10a10b10a3b4\n", backend);
    check("unlimited", "a10b50c10a5c5\n", backend);
}

fn who_is_preempted_keeps_place_and_rest_of_the_slice(backend: BackendKind) {
    check("rest-of-slice", "a4h3a4h3a2b10a5\n", backend);
}

fn nothing_is_timed_for_a_lone_thread(backend: BackendKind) {
    check("lone", "m100a1b1m100 0 alarms, then 0\n", backend);
    check_with_real_clock("lone-computing", "0 alarms\n", backend);
}

fn the_slice_is_timed_however_sharing_begins(backend: BackendKind) {
    // From 3 ms on, where `b` comes.
    let expected = "a13b10a10b5a2\n";
    check("shared-by-spawn", expected, backend);
    check("shared-by-resume", expected, backend);
    check("shared-by-unpark", expected, backend);
    check("shared-by-sleep", expected, backend);
    check("shared-by-line", expected, backend);
    check("shared-by-raise", expected, backend);
    check("shared-by-lowering", expected, backend);
    check("shared-by-end", "x3a10b10a10b5a5\n", backend);
    // `b` inherits at 14 ms.
    check("shared-by-inheritance", "b1a23b10a2b4w1\n", backend);
}

fn code_that_makes_no_call_takes_turns(backend: BackendKind) {
    check_with_real_clock("turns-computing", "took turns: true\n", backend);
}

fn a_guest_whose_threads_all_wait_uses_no_processor_time(backend: BackendKind) {
    let mut live = scenario("idle", backend).start();
    let mut ready = [0; 6];
    live.output.read_exact(&mut ready).unwrap();
    // Nanoseconds on the processor, and how often it got it.
    let used = || {
        let text = proc::read(live.pid, "schedstat");
        let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        (numbers.next().unwrap(), text)
    };
    let is_asleep =
        || matches!(proc::status(live.pid, "State").as_deref(), Some(state) if !state.starts_with('R'));
    proc::wait_until("the guest sleeps", || {
        let before = used().0;
        thread::sleep(Duration::from_millis(20));
        is_asleep() && used().0 == before
    });
    let before = used();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(used().1, before.1, "the guest ran while everybody waited");
    live.lines.raise(3);
    live.end(b"").assert_output("woken true\n");
}

fn each_thread_has_its_own_thread_local_values(backend: BackendKind) {
    let expected = "Some((10, [10, 1]))\nSome((20, [20, 1]))\nSome((30, [30, 1]))\n7 [7, 2]\n";
    check("local", expected, backend);
}

fn thread_local_values_are_dropped_at_a_threads_end_but_not_at_its_death(backend: BackendKind) {
    let ended = run("local-order", backend);
    ended.assert_output("12fgns||1\n");
    // Nor if it exits: a scoped thread borrows one from it.
    check("local-exit", "xmf\n", backend);
}

fn a_thread_local_value_that_needs_itself_kills_its_thread_only(backend: BackendKind) {
    check("local-recursion", "died: true\n", backend);
}

fn handler_functions_have_no_access_to_thread_local_values(backend: BackendKind) {
    check("local-handler", "e 3\n", backend);
}

fn c_has_its_thread_local_variables(backend: BackendKind) {
    let ended = Guest::new("guest-thread-local", backend).run();
    ended.assert_output(
        "in a constructor 42, in main 44, well: 1\n\
         Some((1, true))\nSome((2, true))\nSome((3, true))\nSome((4, true))\n\
         in main 44, well: 1\n",
    );
}

fn scoped_threads_borrow(backend: BackendKind) {
    check("scope", "8 [10, 20, 30, 40] 1100\n", backend);
}

fn a_scope_panics_if_a_thread_died_that_nobody_joined(backend: BackendKind) {
    check("scope-death", "o true\n", backend);
    check("scope-joined-death", "e\n", backend);
}

fn what_scoped_threads_borrow_stays_when_their_owner_is_gone(backend: BackendKind) {
    check("scope-owner-dies", "wwwww 1 abandoned\n", backend);
    check("scope-owner-exits", "wwwww 1 abandoned\n", backend);
}

fn a_panic_kills_its_thread_only(backend: BackendKind) {
    deaths(
        "panic",
        "thread 'worker' panicked: no more\nthread '<unnamed>' panicked: 1 of 2\n",
        "panicked: no more\npanicked: 1 of 2\n",
        backend,
    );
}

fn a_fault_kills_its_thread_only(backend: BackendKind) {
    let ended = run("fault", backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let said: Vec<_> = ended.errors_text().lines().collect();
    let given: Vec<_> = ended.output_text().lines().collect();
    let expected = [
        ("reader", "died by a fault: page fault at address 0x10, instruction 0x"),
        ("illegal", "died by a fault: invalid opcode, instruction 0x"),
        ("divider", "died by a fault: divide error, instruction 0x"),
        ("caller", "died by a fault: attempted system call of the world outside, instruction 0x"),
    ];
    assert_eq!((said.len(), given.len()), (expected.len(), expected.len()), "{ended}");
    for ((said, given), (name, text)) in said.iter().zip(given).zip(expected) {
        assert!(given.starts_with(text), "{ended}");
        assert_eq!(*said, format!("thread '{name}' {given}"));
    }
}

fn a_stack_overflow_kills_its_thread_only_and_is_said_by_name(backend: BackendKind) {
    let sizes = [("decode", 64), ("small", 8), ("large", 1024), ("frame", 64), ("yielding", 64)];
    let given = sizes.map(|(_, size)| format!("overflowed its stack of {size} KiB\n"));
    let said: String =
        sizes.iter().zip(&given).map(|((name, _), text)| format!("thread '{name}' {text}")).collect();
    deaths("overflow", &said, &given.concat(), backend);
}

fn the_locks_of_a_dead_thread_are_released_and_poisoned(backend: BackendKind) {
    check("poison", "p\n", backend);
}

fn stacks_of_those_who_died_or_exited_are_kept(backend: BackendKind) {
    check("abandoned", "10 abandoned\n", backend);
}

fn what_dead_threads_left_on_the_heap_is_counted(backend: BackendKind) {
    let ended = run("left", backend);
    assert_eq!((ended.status(), ended.output_text()), (0, "2 ended, 1 died\n"), "{ended}");
}

fn a_panic_in_main_ends_the_guest(backend: BackendKind) {
    let (sentence, ended) = panic("panic-main", backend);
    assert!(sentence.ends_with(": this is main"), "{ended}");
    assert_eq!(ended.output_text(), "", "{ended}");
}

fn a_fault_in_a_handler_function_ends_the_guest(backend: BackendKind) {
    let ended = run("fault-handler", backend);
    assert!(!matches!(ended.outcome, Outcome::Exited(_)), "{ended}");
    assert!(ended.report().sentence.contains("page fault at address 0x18"), "{ended}");
    let (sentence, ended) = panic("panic-handler", backend);
    assert!(sentence.ends_with(": in a handler"), "{ended}");
}

fn a_handler_function_cannot_wait(backend: BackendKind) {
    let (sentence, ended) = panic("wait-handler", backend);
    assert!(sentence.ends_with(": a handler, or a section without events, tried to wait"), "{ended}");
}

fn what_is_known_of_a_thread_is_plausible(backend: BackendKind) {
    check("statistics", "plausible\n", backend);
}

fn without_memory_for_a_thread_spawning_is_an_error(backend: BackendKind) {
    let guest = scenario("out-of-memory", backend);
    let guest = guest.with(|config| (config.clock, config.memory) = (ClockMode::Virtual, Some(32 << 20)));
    guest.run().assert_output("there is no memory for another thread\nthe same again: true\n");
}

fn memory_that_was_used_before_serves_as_a_stack(backend: BackendKind) {
    check_with_real_clock("reused-memory", "well\n", backend);
}

fn there_can_be_ten_thousand_threads(backend: BackendKind) {
    check("ten-thousand", "10000 threads\n10000 ran, 0 left\n", backend);
}

/// Runs a scenario into a deadlock, and gives its report with the objects' numbers cut out.
#[track_caller]
fn deadlock(name: &str, expected: &str, threads: u32, backend: BackendKind) {
    let (sentence, ended) = panic(name, backend);
    assert!(sentence.contains(&format!("deadlock: none of {threads} threads can ever run again")), "{ended}");
    assert_eq!(ended.errors_text(), expected, "{ended}");
}

fn a_deadlock_is_reported_with_who_waits_for_what(backend: BackendKind) {
    let expected = "thread 'main' (1) is parked\n\
        thread 'a' (2) waits for the end of thread 'b' (3)\n\
        thread 'b' (3) waits for the end of thread 'a' (2)\n";
    deadlock("deadlock-join", expected, 3, backend);
    let expected =
        "thread 'main' (1) waits for the end of thread 'parked' (2)\nthread 'parked' (2) is parked\n";
    deadlock("deadlock-park", expected, 2, backend);
    let expected = "thread 'main' (1) waits for the end of thread 'late' (2)\n\
        thread 'late' (2) is suspended, waits for nothing\n\
        thread '<unnamed>' (3) is suspended, waits for nothing\n\
        thread '<unnamed>' (4) is suspended, is parked\n";
    deadlock("deadlock-suspended", expected, 4, backend);
    let (sentence, ended) = panic("deadlock-mutex", backend);
    assert!(sentence.contains("deadlock: none of 2 threads can ever run again"), "{ended}");
    let lines: Vec<_> = ended.errors_text().lines().collect();
    assert!(lines[0].starts_with("thread 'main' (1) waits for mutex "), "{ended}");
    assert!(lines[0].ends_with(", held by thread 'holder' (2)"), "{ended}");
    assert_eq!(lines[1..], ["thread 'holder' (2) is parked"], "{ended}");
}

fn who_would_close_a_circle_of_mutexes_dies(backend: BackendKind) {
    let ended = run("deadlock-mutexes", backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let mut lines: Vec<_> = ended.output_text().lines().map(without_place).collect();
    lines.sort();
    let expected =
        "panicked: deadlock: this thread would wait for ever, because the mutex's owner is or waits for it\n";
    assert_eq!(lines, [expected, "went on, poisoned: true\n"]);
}

/// Each line is raised again only when its event was acknowledged: so each must come exactly as often as it
/// was raised, whatever the guest does meanwhile.
fn event_handler_threads_miss_nothing_and_get_nothing_twice(backend: BackendKind) {
    const STOP: u32 = 1;
    const FIRST: u32 = 10;
    const LINES: u32 = 4;
    const TIMES: u32 = 1500;
    let mut live = scenario("lines-storm", backend).start();
    let mut output = live.output.try_clone().unwrap();
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    thread::scope(|scope| {
        let mut tell = HashMap::new();
        for line in 0..LINES {
            let (acknowledge, acknowledged) = mpsc::channel::<()>();
            tell.insert(b'a' + line as u8, acknowledge);
            let lines = live.lines.clone();
            scope.spawn(move || {
                for time in 0..TIMES {
                    lines.raise(FIRST + line);
                    acknowledged.recv().expect("every raise is acknowledged");
                    // Different distances between the acknowledgement and the next raise.
                    for _ in 0..(time * 7919 + line * 104_729) % 3000 {
                        std::hint::spin_loop();
                    }
                }
            });
        }
        let mut left = LINES * TIMES;
        let mut bytes = [0; 64];
        while left > 0 {
            let count = output.read(&mut bytes).unwrap();
            assert!(count > 0, "the guest has ended with {left} acknowledgements to come");
            for letter in &bytes[..count] {
                // A thread that has all of its acknowledgements hears no more; then there is one too many.
                tell[letter].send(()).expect("no event comes twice");
            }
            left -= count as u32;
        }
    });
    live.lines.raise(STOP);
    live.output = output;
    live.end(b"").assert_output(&format!("\n{:?}\n", [TIMES; LINES as usize]));
}

fn a_line_has_one_listener(backend: BackendKind) {
    let expected = "event line 4 has a listener already, or is none that can have one\nListener(0x28)\n";
    check("lines-taken", expected, backend);
}

fn events_of_a_masked_line_are_kept_as_one(backend: BackendKind) {
    check("lines-mask", "3a4b3c3 3 1\n3a4b3c3d7e\n", backend);
}

fn a_listener_waits_until_its_deadline(backend: BackendKind) {
    check("lines-wait", "0x8\n0x18\n0x10 at 8ms\n0x8 at 12ms\n", backend);
}

fn one_thread_waits_for_input_and_another_for_room_at_the_output(backend: BackendKind) {
    let mut live = scenario("console", backend).start();
    // Both wait: the pipe is full, and nothing was written to the input.
    proc::wait_until(
        "the guest sleeps",
        || matches!(proc::status(live.pid, "State").as_deref(), Some(state) if !state.starts_with('R')),
    );
    thread::sleep(Duration::from_millis(50));
    let mut errors = [0; 12];
    // The end of the input reaches the reader while the writer waits ...
    let mut input = live.input.try_clone().unwrap();
    input.write_all(b"12345").unwrap();
    drop(input);
    drop(std::mem::replace(&mut live.input, std::io::pipe().unwrap().1));
    live.errors.read_exact(&mut errors).unwrap();
    assert_eq!(&errors, b"input ended\n");
    // ... and then the writer goes on.
    let ended = live.end(b"");
    assert_eq!(ended.status(), 0, "{ended}");
    assert_eq!(ended.errors_text(), "output written\nSome(5)\n");
    let expected: Vec<u8> = (0..1 << 20).map(|number: u32| number as u8).collect();
    assert!(ended.output == expected, "the output is not what was written");
}

fn all_registers_survive_preemption(backend: BackendKind) {
    let ended = scenario("registers", backend).arguments(["3000"]).run();
    assert_eq!(ended.status(), 0, "{ended}");
    let lines: Vec<_> = ended.output_text().lines().collect();
    assert!(lines[0].starts_with("vector registers: "), "{ended}");
    assert_eq!(lines[1..], ["nothing changed; several rounds: true"; 4], "{ended}");
}

on_every_backend!(
    a_thread_gives_its_result_to_who_joins_it,
    joining_with_a_timeout_gives_the_handle_back,
    two_can_wait_for_the_same_end,
    a_detached_thread_goes_on_and_its_result_is_dropped,
    exit_ends_a_thread_without_destructors,
    exit_in_main_ends_the_program,
    threads_have_names_and_numbers_that_are_not_used_again,
    a_thread_can_begin_suspended,
    when_main_returns_the_others_end_with_it,
    equals_run_round_robin_when_they_yield,
    sleepers_wake_in_the_order_of_their_deadlines,
    one_unpark_that_comes_early_is_kept,
    a_more_important_thread_runs_before_the_call_returns,
    a_change_of_priority_holds_before_the_call_returns,
    who_is_woken_by_a_handler_function_preempts,
    who_wakes_by_time_preempts,
    code_that_makes_no_call_is_preempted,
    a_suspended_thread_does_not_run_until_it_is_resumed,
    equals_take_turns_of_a_slice,
    a_threads_own_slice_goes_before_the_systems,
    who_is_preempted_keeps_place_and_rest_of_the_slice,
    nothing_is_timed_for_a_lone_thread,
    the_slice_is_timed_however_sharing_begins,
    code_that_makes_no_call_takes_turns,
    a_guest_whose_threads_all_wait_uses_no_processor_time,
    each_thread_has_its_own_thread_local_values,
    thread_local_values_are_dropped_at_a_threads_end_but_not_at_its_death,
    a_thread_local_value_that_needs_itself_kills_its_thread_only,
    handler_functions_have_no_access_to_thread_local_values,
    c_has_its_thread_local_variables,
    scoped_threads_borrow,
    a_scope_panics_if_a_thread_died_that_nobody_joined,
    what_scoped_threads_borrow_stays_when_their_owner_is_gone,
    a_panic_kills_its_thread_only,
    a_fault_kills_its_thread_only,
    a_stack_overflow_kills_its_thread_only_and_is_said_by_name,
    the_locks_of_a_dead_thread_are_released_and_poisoned,
    stacks_of_those_who_died_or_exited_are_kept,
    what_dead_threads_left_on_the_heap_is_counted,
    a_panic_in_main_ends_the_guest,
    a_fault_in_a_handler_function_ends_the_guest,
    a_handler_function_cannot_wait,
    what_is_known_of_a_thread_is_plausible,
    without_memory_for_a_thread_spawning_is_an_error,
    memory_that_was_used_before_serves_as_a_stack,
    there_can_be_ten_thousand_threads,
    a_deadlock_is_reported_with_who_waits_for_what,
    who_would_close_a_circle_of_mutexes_dies,
    event_handler_threads_miss_nothing_and_get_nothing_twice,
    a_line_has_one_listener,
    events_of_a_masked_line_are_kept_as_one,
    a_listener_waits_until_its_deadline,
    one_thread_waits_for_input_and_another_for_room_at_the_output,
    all_registers_survive_preemption,
);
