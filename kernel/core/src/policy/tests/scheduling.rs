//! Whose turn it is, and when slices are timed.

extern crate std;

use super::*;
use crate::alarm::Alarm;
use std::vec::Vec;

#[test]
fn a_more_important_thread_preempts_and_an_equal_one_does_not() {
    let mut policy = policy();
    let first = spawn(&mut policy, 10, 0);
    let equal = spawn(&mut policy, 10, 0);
    assert_eq!(policy.running(), Some(first));
    let important = spawn(&mut policy, 11, 0);
    assert_eq!(policy.running(), Some(important));
    assert_eq!(policy.thread(equal).state(), State::Ready);
}

/// NuttX 4989, CMSIS_5 228: otherwise a thread that is preempted once a slice starves its level.
#[test]
fn a_preempted_thread_keeps_the_rest_of_its_slice_and_its_place() {
    let mut policy = policy();
    let first = spawn(&mut policy, 10, 0);
    let second = spawn(&mut policy, 10, 0);
    // After 70 ns of 100, somebody more important runs for 500 ns.
    let important = spawn(&mut policy, 20, 70);
    assert_eq!(policy.running(), Some(important));
    assert_eq!(park(&mut policy, 570).run, Some(first));
    assert_eq!(policy.alarm(599).run, Some(first));
    assert_eq!(policy.alarm(600).run, Some(second), "the rest was 30 ns");
}

#[test]
fn whose_slice_ended_goes_to_the_tail_with_a_whole_one() {
    let mut policy = policy();
    let threads = [(); 3].map(|()| spawn(&mut policy, 10, 0));
    let order: Vec<_> = (1..=6).map(|turn| policy.alarm(turn * SLICE).run.unwrap()).collect();
    assert_eq!(order, [threads[1], threads[2], threads[0], threads[1], threads[2], threads[0]]);
}

#[test]
fn a_slice_that_ends_while_somebody_more_important_comes_is_over() {
    let mut policy = policy();
    let _first = spawn(&mut policy, 10, 0);
    let second = spawn(&mut policy, 10, 0);
    let _important = spawn(&mut policy, 20, SLICE);
    assert_eq!(park(&mut policy, SLICE).run, Some(second));
}

#[test]
fn a_lone_thread_and_an_idle_guest_are_not_timed() {
    let mut policy = policy();
    let thread = policy.create_thread(Priority::NORMAL, None).unwrap();
    assert_eq!(policy.resume(thread, 0), Decision { run: Some(thread), alarm: Alarm::Keep });
    let less = policy.create_thread(Priority::LEAST, None).unwrap();
    assert_eq!(policy.resume(less, 0).alarm, Alarm::Keep, "it does not share the level");
    assert_eq!(policy.yield_now(5_000), Decision { run: Some(thread), alarm: Alarm::Keep });
    assert_eq!(park(&mut policy, 6_000).run, Some(less));
    assert_eq!(park(&mut policy, 7_000), Decision { run: None, alarm: Alarm::Keep });
    assert!(policy.is_stalled());
}

/// NuttX 20047, Zephyr 7193: each of these kernels forgot one.
mod a_slice_is_armed_when_sharing_begins {
    use super::*;

    #[test]
    fn by_a_new_thread() {
        let mut policy = policy();
        spawn(&mut policy, 10, 0);
        let second = policy.create_thread(Priority::new(10), None).unwrap();
        assert_eq!(policy.resume(second, 1_000).alarm, Alarm::Set(1_000 + SLICE));
    }

    #[test]
    fn by_a_wake() {
        let mut policy = policy();
        let sleeper = spawn(&mut policy, 10, 0);
        let _ = park(&mut policy, 0);
        spawn(&mut policy, 10, 0);
        assert_eq!(policy.unpark(sleeper, 1_000).alarm, Alarm::Set(1_000 + SLICE));
    }

    #[test]
    fn by_a_deadline() {
        let mut policy = policy();
        spawn(&mut policy, 10, 0);
        let _ = switch(policy.sleep(1_000, 0));
        let other = spawn(&mut policy, 10, 0);
        let expected = Decision { run: Some(other), alarm: Alarm::Set(1_000 + SLICE) };
        assert_eq!(policy.alarm(1_000), expected);
    }

    #[test]
    fn by_a_change_of_priority_of_a_ready_thread() {
        let mut policy = policy();
        spawn(&mut policy, 10, 0);
        let less = spawn(&mut policy, 5, 0);
        let decision = policy.set_priority(less, Priority::new(10), 1_000);
        assert_eq!(decision.alarm, Alarm::Set(1_000 + SLICE));
    }

    #[test]
    fn by_a_change_of_priority_of_the_running_thread() {
        let mut policy = policy();
        let running = spawn(&mut policy, 10, 0);
        spawn(&mut policy, 5, 0);
        let decision = policy.set_priority(running, Priority::new(5), 1_000);
        assert_eq!(decision, Decision { run: Some(running), alarm: Alarm::Set(1_000 + SLICE) });
    }

    #[test]
    fn by_inheritance() {
        let mut policy = policy();
        let mutex = policy.create_mutex().unwrap();
        let owner = spawn(&mut policy, 5, 0);
        assert!(policy.lock_uncontended(mutex));
        spawn(&mut policy, 20, 0);
        let equal = spawn(&mut policy, 20, 0);
        // The first of level 20 is over; the second meets the mutex, and its owner runs at level 20.
        let _ = policy.exit(0);
        assert_eq!(policy.running(), Some(equal));
        let third = spawn(&mut policy, 20, 0);
        let _ = policy.alarm(SLICE);
        assert_eq!(policy.running(), Some(third));
        let _ = policy.exit(SLICE);
        assert_eq!(policy.running(), Some(equal));
        let late = spawn(&mut policy, 20, SLICE);
        let _ = lock_contended(&mut policy, mutex, None, SLICE);
        assert_eq!(policy.running(), Some(late));
        let _ = policy.alarm(2 * SLICE);
        assert_eq!(policy.running(), Some(owner), "its turn at the inherited level");
        let _ = policy.alarm(3 * SLICE);
        assert_eq!(policy.running(), Some(late), "and its slice is timed there");
    }

    #[test]
    fn by_a_more_important_thread_that_waits_again() {
        let mut policy = policy();
        spawn(&mut policy, 20, 0);
        let first = spawn(&mut policy, 10, 0);
        spawn(&mut policy, 10, 0);
        assert_eq!(park(&mut policy, 1_000), Decision { run: Some(first), alarm: Alarm::Set(1_000 + SLICE) });
    }

    #[test]
    fn by_a_turn() {
        let mut policy = policy();
        let first = spawn(&mut policy, 10, 0);
        let second = spawn(&mut policy, 10, 0);
        assert_eq!(policy.alarm(SLICE), Decision { run: Some(second), alarm: Alarm::Set(2 * SLICE) });
        assert_eq!(policy.yield_now(SLICE + 50).run, Some(first));
        // The alarm is still set to 200; when it fires there for nothing, it is set to the right time.
        let expected = Decision { run: Some(first), alarm: Alarm::Set(SLICE + 50 + SLICE) };
        assert_eq!(policy.alarm(2 * SLICE), expected);
    }

    #[test]
    fn by_a_resume() {
        let mut policy = policy();
        let first = spawn(&mut policy, 10, 0);
        let second = spawn(&mut policy, 10, 0);
        let _ = policy.suspend(second, 0);
        assert_eq!(policy.alarm(SLICE), Decision { run: Some(first), alarm: Alarm::Keep });
        assert_eq!(policy.resume(second, 1_000).alarm, Alarm::Set(1_000 + SLICE));
    }
}

#[test]
fn a_thousand_switches_within_a_slice_set_the_timer_once() {
    let mut policy = policy();
    spawn(&mut policy, 10, 0);
    let second = policy.create_thread(Priority::new(10), None).unwrap();
    let mut alarms: Vec<_> = [policy.resume(second, 0).alarm].into();
    alarms.extend((0..1_000).map(|turn| policy.yield_now(turn / 20).alarm));
    alarms.retain(|alarm| *alarm != Alarm::Keep);
    assert_eq!(alarms, [Alarm::Set(SLICE)]);
}

#[test]
fn threads_may_have_slices_of_their_own() {
    let mut policy = policy();
    let short = policy.create_thread(Priority::new(10), Some(TimeSlice::from_nanoseconds(10))).unwrap();
    let endless = policy.create_thread(Priority::new(10), Some(TimeSlice::UNLIMITED)).unwrap();
    let _ = policy.resume(short, 0);
    assert_eq!(policy.resume(endless, 0).alarm, Alarm::Set(10));
    assert_eq!(policy.alarm(10), Decision { run: Some(endless), alarm: Alarm::Keep });
    assert_eq!(policy.alarm(1 << 40).run, Some(endless));
    policy.set_thread_slice(endless, Some(TimeSlice::from_nanoseconds(20)));
    assert_eq!(policy.yield_now(1 << 40).run, Some(short));
    assert_eq!(policy.alarm((1 << 40) + 10).alarm, Alarm::Set((1 << 40) + 30));
}

#[test]
fn raised_goes_to_the_tail_and_lowered_to_the_head() {
    let mut policy = policy();
    spawn(&mut policy, 50, 0);
    let at_ten = spawn(&mut policy, 10, 0);
    let raised = spawn(&mut policy, 9, 0);
    let lowered = spawn(&mut policy, 11, 0);
    let _ = policy.set_priority(raised, Priority::new(10), 0);
    let _ = policy.set_priority(lowered, Priority::new(10), 0);
    let order: Vec<_> = (0..3).map(|_| policy.exit(0).run.unwrap()).collect();
    assert_eq!(order, [lowered, at_ten, raised]);
}

#[test]
fn who_is_lowered_to_the_level_of_the_running_thread_does_not_displace_it() {
    let mut policy = policy();
    let mutex = policy.create_mutex().unwrap();
    let owner = spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex));
    let _ = switch(policy.sleep(500, 0));
    let waiter = spawn(&mut policy, 30, 0);
    let _ = lock_contended(&mut policy, mutex, Some(500), 0);
    let running = spawn(&mut policy, 10, 0);
    // The owner wakes at the level it inherits, and before anybody runs, that is given back.
    assert_eq!(policy.alarm(500).run, Some(waiter));
    assert_eq!(level(&policy, owner), 10);
    assert_eq!(policy.exit(500).run, Some(running));
    assert_eq!(policy.yield_now(500).run, Some(owner));
}

#[test]
fn a_woken_thread_begins_a_whole_slice() {
    let mut policy = policy();
    let first = spawn(&mut policy, 10, 0);
    let second = spawn(&mut policy, 10, 0);
    // 70 ns of its slice are gone when it waits.
    assert_eq!(policy.alarm(70).run, Some(first));
    assert_eq!(park(&mut policy, 70).run, Some(second));
    let _ = policy.unpark(first, 80);
    assert_eq!(policy.yield_now(100).run, Some(first));
    assert_eq!(policy.alarm(199).run, Some(first));
    assert_eq!(policy.alarm(200).run, Some(second));
}

#[test]
fn a_suspended_thread_does_not_run_wherever_it_was() {
    let mut policy = policy();
    let blocked = spawn(&mut policy, 20, 0);
    let _ = park(&mut policy, 0);
    let running = spawn(&mut policy, 10, 0);
    let ready = spawn(&mut policy, 5, 0);
    for thread in [blocked, running, ready] {
        let _ = policy.suspend(thread, 0);
    }
    assert_eq!(policy.running(), None);
    assert_eq!(policy.thread(blocked).state(), State::BlockedSuspended);
    // The wait ends while it is suspended.
    assert_eq!(policy.unpark(blocked, 0).run, None);
    assert_eq!(policy.thread(blocked).state(), State::Suspended);
    assert_eq!(policy.resume(ready, 0).run, Some(ready));
    assert_eq!(policy.resume(running, 0).run, Some(running));
    assert_eq!(policy.resume(blocked, 0).run, Some(blocked));
}

#[test]
fn a_number_is_taken_until_the_thread_is_removed() {
    let mut policy = policy();
    let thread = spawn(&mut policy, 10, 0);
    let _ = policy.exit(0);
    assert_eq!(policy.thread(thread).state(), State::Exited);
    let _ = policy.unpark(thread, 0);
    assert_eq!(policy.resume(thread, 0).run, None);
    assert_eq!(policy.threads().count(), 1);
    policy.remove_thread(thread);
    assert_eq!(policy.create_thread(Priority::NORMAL, None), Ok(thread));
}

#[test]
#[should_panic(expected = "cannot be removed")]
fn a_thread_that_could_run_cannot_be_removed() {
    let mut policy = policy();
    let thread = spawn(&mut policy, 10, 0);
    policy.remove_thread(thread);
}

#[test]
fn ten_thousand_threads_pass_the_processor_on() {
    let mut policy = policy();
    let threads: Vec<_> = (0..10_000).map(|_| spawn(&mut policy, 10, 0)).collect();
    for thread in &threads {
        assert_eq!(policy.running(), Some(*thread));
        let _ = switch(policy.sleep(1_000, 0));
    }
    // All of them are due at once, and come in batches between which other events have a chance.
    let mut alarms = 0;
    while !policy.timeouts.is_empty() {
        let decision = policy.alarm(1_000);
        assert_eq!(decision.run, Some(threads[0]));
        if !policy.timeouts.is_empty() {
            assert_eq!(decision.alarm, Alarm::Set(1_000));
        }
        alarms += 1;
    }
    assert_eq!(alarms, 10_000 / BATCH);
}
