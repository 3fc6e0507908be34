//! Locks, signals, channels and timers between threads (tests/guests/sync).
//!
//! With the clock under the machine's control, each scenario has exactly one course: what is printed, and in
//! which order, is what the rules say.

use vcpu_host::{ClockMode, Outcome};
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

fn run(name: &str, clock: ClockMode, backend: BackendKind) -> Ended {
    Guest::new("guest-sync", backend).arguments([name]).with(|config| config.clock = clock).run()
}

#[track_caller]
fn check(name: &str, expected: &str, backend: BackendKind) {
    run(name, ClockMode::Virtual, backend).assert_output(expected);
}

/// Threads also take turns by time, at whatever moment it comes: what is printed must not depend on it.
#[track_caller]
fn check_with_either_clock(name: &str, expected: &str, backend: BackendKind) {
    for clock in [ClockMode::Real, ClockMode::Virtual] {
        run(name, clock, backend).assert_output(expected);
    }
}

/// Runs a scenario in which threads die, and gives its output without the places in the source.
fn deaths(name: &str, backend: BackendKind) -> String {
    let ended = run(name, ClockMode::Virtual, backend);
    assert_eq!(ended.status(), 0, "{ended}");
    let without_place = |line: &str| match line.strip_prefix("panicked at ") {
        Some(rest) => rest.split_once(": ").expect("a place and a message").1.to_string() + "\n",
        None => line.to_string() + "\n",
    };
    ended.output_text().lines().map(without_place).collect()
}

const DEADLOCK: &str =
    "deadlock: this thread would wait for ever, because the mutex's owner is or waits for it\n";

fn types_may_be_sent_and_shared_as_those_of_std(backend: BackendKind) {
    check("bounds", "as in std\n", backend);
}

fn a_mutex_goes_to_the_most_important_who_waits_and_its_owner_inherits_until_then(backend: BackendKind) {
    check("mutex-order", "owner: 40\nb\nc\na\nd\nowner: 20\n", backend);
}

fn a_mutex_lets_one_in_at_a_time(backend: BackendKind) {
    check_with_either_clock("mutex-count", "2000\n", backend);
}

fn importance_goes_along_a_chain_and_is_given_back_at_once(backend: BackendKind) {
    let expected = "begun: 20 20\n\
        a third one waits: 40 40\n\
        it gave up: 20 20\n\
        two others wait: 45 45\n\
        one mutex was unlocked: 30 45\n\
        the chain is undone: 30 20\n";
    check("mutex-chain", expected, backend);
}

fn waiting_for_a_mutex_ends_at_the_deadline(backend: BackendKind) {
    let expected = "Mutex { data: <locked>, poisoned: false, .. }\n\
        gave up after 5ms\n\
        had waited for 5ms\n\
        locked after 19ms\n\
        7 false\n\
        Mutex { data: 7, poisoned: false, .. }\n";
    check("mutex-timeout", expected, backend);
}

fn a_wait_that_could_never_end_is_a_panic(backend: BackendKind) {
    let expected =
        format!("{DEADLOCK}{DEADLOCK}waited for one that died: true\nwith a deadline: WouldBlock\n");
    assert_eq!(deaths("mutex-deadlock", backend), expected);
}

fn a_mutex_is_poisoned_by_who_dies_with_it(backend: BackendKind) {
    let expected = "the waiter got 2\n\
        Mutex { data: 2, poisoned: true, .. }\n\
        after a fault: true\n\
        3 references\n";
    assert_eq!(deaths("mutex-poison", backend), expected);
}

fn nobody_need_know_who_has_a_mutex_until_somebody_wants_it(backend: BackendKind) {
    let expected = "asked: true\n\
        tried: Some(Poisoned(..))\n\
        locked: Some(PoisonError { .. })\n\
        locked with events off: true\n\
        well again: Ok(4)\n\
        [true, true, true, true, false]\n";
    assert_eq!(deaths("mutex-unseen", backend), expected);
}

fn mutexes_move_leave_no_trace_and_can_be_dropped_while_locked(backend: BackendKind) {
    check("mutex-forget", "0 bytes more\nothers are free: true\n", backend);
}

fn a_reader_waits_for_writers_before_it_unless_it_is_more_important(backend: BackendKind) {
    let expected = "early reads 0\n\
        important reads 0\n\
        the first reader ends with 0\n\
        writes\n\
        late reads 1\n\
        RwLock { data: 1, poisoned: false, .. }\n";
    check("rw-lock-order", expected, backend);
}

fn a_writer_that_gives_up_lets_readers_in(backend: BackendKind) {
    let expected = "the writer gave up after 5ms\nthe reader reads after 5ms\nwritten after 19ms\n";
    check("rw-lock-timeout", expected, backend);
}

fn a_lock_is_poisoned_by_who_dies_while_writing(backend: BackendKind) {
    let expected = "Ok(1)\n\
        RwLock { data: 2, poisoned: true, .. } Err(PoisonError { .. })\n\
        Ok(2)\n";
    assert_eq!(deaths("rw-lock-poison", backend), expected);
}

fn there_is_room_for_as_many_locks_and_readers_as_are_wanted(backend: BackendKind) {
    check("rw-lock-many", "44850\n", backend);
}

fn one_is_notified_or_all_and_each_has_the_mutex(backend: BackendKind) {
    let expected = "b finds 1\n\
        one was notified\n\
        all were notified\n\
        c finds 2\n\
        a finds 2\n\
        d finds 2\n\
        5 is enough\n";
    check("condvar-order", expected, backend);
}

fn waiting_on_a_condition_ends_at_the_deadline_with_the_mutex(backend: BackendKind) {
    let expected = "timed out: true, after 5ms\n\
        timed out: true, after 5ms\n\
        1, timed out: true, after 20ms\n\
        3, timed out: false, after 35ms\n\
        timed out: true, after 11ms\n";
    check("condvar-timeout", expected, backend);
}

fn who_waits_on_a_condition_is_warned_if_somebody_died_with_the_mutex(backend: BackendKind) {
    assert_eq!(deaths("condvar-poison", backend), "warned: true\n");
}

fn a_semaphore_admits_as_many_as_it_has_permits(backend: BackendKind) {
    let expected = "at most 3 inside, 3 permits at the end\n\
        free: 0\n\
        b\n\
        c\n\
        a\n\
        gave up after 5ms\n\
        Semaphore { permits: 2 }\n";
    check("semaphore", expected, backend);
}

fn a_barrier_opens_when_all_have_arrived_and_one_leads(backend: BackendKind) {
    check("barrier", "3 leaders in 3 rounds\ntrue and false\nalone: true true\n", backend);
}

fn events_satisfy_all_who_wait_for_them_before_they_are_cleared(backend: BackendKind) {
    let expected = "set 8\n\
        any of 3: 0b1010\n\
        set 2\n\
        all of 3: 0b1111\n\
        all of 6, cleared: 0b1111\n\
        set 5, left 0b1001\n\
        EventGroup { events: 0x0 }, gave up after 5ms\n";
    check("event-group", expected, backend);
}

fn of_many_one_initialises(backend: BackendKind) {
    check("once", "[0, 0, 0, 0, 0] Err(9) \"computed 1 times\"\n1 left\n", backend);
}

fn who_dies_while_initialising_poisons(backend: BackendKind) {
    let expected = "a thread died while it initialised this `Once`\n\
        poisoned: true\n\
        None 5\n\
        a thread died while it computed this `LazyLock`\n";
    assert_eq!(deaths("once-death", backend), expected.to_string() + DEADLOCK);
}

fn initialisation_can_be_waited_for(backend: BackendKind) {
    let expected = "[3, 3] 3\na thread died while it initialised this `Once`\n";
    assert_eq!(deaths("once-wait", backend), expected);
}

fn who_initialises_inherits_importance(backend: BackendKind) {
    check("once-inherit", "60\n62\n1 1\n10\n", backend);
}

fn a_channel_keeps_the_order_and_its_bound(backend: BackendKind) {
    let expected = "Channel { len: 4, capacity: 4, closed: false }\n\
        all sent\n\
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n\
        Ok(7)\n\
        gave up receiving after 5ms\n\
        gave up sending after 10ms\n\
        4\n";
    check("channel-order", expected, backend);
}

fn from_many_to_many_nothing_is_lost_and_nothing_doubled(backend: BackendKind) {
    check_with_either_clock("channel-many", "5000 received, once each\n", backend);
}

fn closing_a_channel_ends_all_waits_and_loses_nothing(backend: BackendKind) {
    let expected = "[Err(RecvError), Err(RecvError), Err(RecvError)]\n\
        [Err(3), Err(4), Err(5)]\n\
        [1, 2]\n\
        1 left\n";
    check("channel-close", expected, backend);
}

fn a_channel_ends_with_its_last_sender_or_its_receiver(backend: BackendKind) {
    let expected = "Err(RecvError) Err(Disconnected)\nrefused: true true\n1 left\n9\n";
    check("channel-ends", expected, backend);
}

fn a_timer_counts_what_was_missed_and_does_not_drift(backend: BackendKind) {
    let expected = "1 after 5ms\n\
        1 after 20ms\n\
        1 after 30ms\n\
        3 after 65ms\n\
        1 after 70ms\n\
        Some(1) and None after it was stopped\n\
        1 at the deadline: true\n";
    check("timer", expected, backend);
}

fn a_handler_wakes_threads_and_takes_no_lock_that_is_taken(backend: BackendKind) {
    let expected = "a permit\n\
        Ok(7)\n\
        events 1\n\
        a notification\n\
        back\n\
        1 expiry\n\
        1, 1, 0\n\
        1, 1, 1\n\
        1, 1, 2\n";
    // In virtual time nothing would come while a thread computes.
    run("handler", ClockMode::Real, backend).assert_output(expected);
}

fn a_handler_that_would_have_to_wait_for_a_lock_ends_the_guest(backend: BackendKind) {
    let ended = run("handler-wait", ClockMode::Virtual, backend);
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.contains("a handler, or a section without events, tried to wait"), "{ended}");
}

on_every_backend!(
    types_may_be_sent_and_shared_as_those_of_std,
    a_mutex_goes_to_the_most_important_who_waits_and_its_owner_inherits_until_then,
    a_mutex_lets_one_in_at_a_time,
    importance_goes_along_a_chain_and_is_given_back_at_once,
    waiting_for_a_mutex_ends_at_the_deadline,
    a_wait_that_could_never_end_is_a_panic,
    a_mutex_is_poisoned_by_who_dies_with_it,
    nobody_need_know_who_has_a_mutex_until_somebody_wants_it,
    mutexes_move_leave_no_trace_and_can_be_dropped_while_locked,
    a_reader_waits_for_writers_before_it_unless_it_is_more_important,
    a_writer_that_gives_up_lets_readers_in,
    a_lock_is_poisoned_by_who_dies_while_writing,
    there_is_room_for_as_many_locks_and_readers_as_are_wanted,
    one_is_notified_or_all_and_each_has_the_mutex,
    waiting_on_a_condition_ends_at_the_deadline_with_the_mutex,
    who_waits_on_a_condition_is_warned_if_somebody_died_with_the_mutex,
    a_semaphore_admits_as_many_as_it_has_permits,
    a_barrier_opens_when_all_have_arrived_and_one_leads,
    events_satisfy_all_who_wait_for_them_before_they_are_cleared,
    of_many_one_initialises,
    who_dies_while_initialising_poisons,
    initialisation_can_be_waited_for,
    who_initialises_inherits_importance,
    a_channel_keeps_the_order_and_its_bound,
    from_many_to_many_nothing_is_lost_and_nothing_doubled,
    closing_a_channel_ends_all_waits_and_loses_nothing,
    a_channel_ends_with_its_last_sender_or_its_receiver,
    a_timer_counts_what_was_missed_and_does_not_drift,
    a_handler_wakes_threads_and_takes_no_lock_that_is_taken,
    a_handler_that_would_have_to_wait_for_a_lock_ends_the_guest,
);
