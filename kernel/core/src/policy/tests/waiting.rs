//! Everything else that threads wait for.

extern crate std;

use super::*;
use crate::alarm::Alarm;
use crate::policy::Busy;
use crate::read_write_lock::Access::{Read, Write};
use crate::semaphore::TooManyPermits;
use crate::thread::Wanted;
use core::num::NonZeroU64;
use std::vec::Vec;

#[test]
fn an_unpark_before_the_park_is_not_lost_and_counts_once() {
    let mut policy = policy();
    let thread = spawn(&mut policy, 10, 0);
    let _ = policy.unpark(thread, 0);
    let _ = policy.unpark(thread, 0);
    assert_eq!(policy.park(None, 0), Attempt::Done);
    assert_eq!(park(&mut policy, 0).run, None);
}

#[test]
fn deadlines_end_waits_in_order_and_those_of_equal_time_as_they_came() {
    let mut policy = policy();
    let mut sleepers = Vec::new();
    for deadline in [300, 100, 200, 100] {
        sleepers.push(spawn(&mut policy, 10, 0));
        let _ = switch(policy.sleep(deadline, 0));
    }
    // Two at a time: the alarm wants to come again at once while more are due.
    while policy.alarm(300).alarm == Alarm::Set(200) {}
    let order: Vec<_> = (0..4).filter_map(|_| policy.yield_now(300).run).collect();
    // The first to end its wait has yielded first, so it comes last.
    assert_eq!(order, [sleepers[3], sleepers[2], sleepers[0], sleepers[1]]);
}

#[test]
fn a_deadline_that_is_past_does_not_wait() {
    let mut policy = policy();
    let semaphore = policy.create_semaphore(0, 1).unwrap();
    spawn(&mut policy, 10, 0);
    assert_eq!(policy.acquire(semaphore, Some(70), 70), Attempt::TimedOut);
    assert_eq!(policy.sleep(70, 71), Attempt::TimedOut);
}

#[test]
fn a_permit_belongs_to_who_waits_before_it_runs() {
    let mut policy = policy();
    let semaphore = policy.create_semaphore(1, 1).unwrap();
    let waiter = spawn(&mut policy, 10, 0);
    assert_eq!(policy.acquire(semaphore, None, 0), Attempt::Done);
    let _ = switch(policy.acquire(semaphore, None, 0));
    spawn(&mut policy, 20, 0);
    let _ = policy.release(semaphore, 0).unwrap();
    assert!(!policy.try_acquire(semaphore), "the more important one comes too late");
    assert_eq!(outcome(&policy, waiter), (State::Ready, Outcome::Done));
    assert!(policy.release(semaphore, 0).is_ok());
    assert_eq!(policy.release(semaphore, 0), Err(TooManyPermits));
    assert_eq!(policy.semaphore(semaphore).permits(), 1);
}

#[test]
fn the_quick_release_does_not_pass_over_anybody() {
    let mut policy = policy();
    let semaphore = policy.create_semaphore(0, 1).unwrap();
    let waiter = spawn(&mut policy, 10, 0);
    assert_eq!(policy.release_uncontended(semaphore), Ok(true));
    assert_eq!(policy.release_uncontended(semaphore), Err(TooManyPermits));
    assert!(policy.try_acquire(semaphore));
    let _ = switch(policy.acquire(semaphore, None, 0));
    assert_eq!(policy.release_uncontended(semaphore), Ok(false));
    assert_eq!(policy.semaphore(semaphore).permits(), 0, "nothing changed");
    assert_eq!(policy.release(semaphore, 0).unwrap().run, Some(waiter));
}

#[test]
fn an_acquired_permit_has_no_deadline_left() {
    let mut policy = policy();
    let semaphore = policy.create_semaphore(0, 1).unwrap();
    let waiter = spawn(&mut policy, 10, 0);
    assert_eq!(switch(policy.acquire(semaphore, Some(500), 0)).alarm, Alarm::Set(500));
    assert_eq!(policy.release(semaphore, 100).unwrap().run, Some(waiter));
    assert_eq!(policy.alarm(500), Decision { run: Some(waiter), alarm: Alarm::Keep });
    assert_eq!(outcome(&policy, waiter), (State::Running, Outcome::Done));
}

#[test]
fn a_notified_thread_is_not_woken_before_it_owns_the_mutex_and_inherits_meanwhile() {
    let mut policy = policy();
    let (condition, mutex) = (policy.create_condition().unwrap(), policy.create_mutex().unwrap());
    let waiter = spawn(&mut policy, 30, 0);
    assert!(policy.lock_uncontended(mutex));
    assert!(!policy.is_awaited(condition));
    let _ = switch(policy.wait_condition(condition, mutex, Some(500), 0));
    assert!(policy.is_awaited(condition));
    let notifier = spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex), "it was given up");
    assert_eq!(policy.notify_one(condition, 0).run, Some(notifier));
    assert_eq!((policy.thread(waiter).state(), level(&policy, notifier)), (State::Blocked, 30));
    assert_eq!(policy.alarm(500).run, Some(notifier), "the deadline was for the notification");
    assert_eq!(policy.unlock(mutex, 600).run, Some(waiter));
    assert_eq!(policy.mutex(mutex).owner(), Some(waiter));
    assert_eq!(outcome(&policy, waiter), (State::Running, Outcome::Done));
}

#[test]
fn a_wait_on_a_condition_that_times_out_still_needs_the_mutex() {
    let mut policy = policy();
    let (condition, mutex) = (policy.create_condition().unwrap(), policy.create_mutex().unwrap());
    let waiter = spawn(&mut policy, 30, 0);
    assert!(policy.lock_uncontended(mutex));
    let _ = switch(policy.wait_condition(condition, mutex, Some(500), 0));
    let holder = spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex));
    assert_eq!(policy.alarm(500).run, Some(holder));
    assert_eq!(policy.unlock(mutex, 600).run, Some(waiter));
    assert_eq!(outcome(&policy, waiter), (State::Running, Outcome::TimedOut));
    assert_eq!(policy.mutex(mutex).owner(), Some(waiter));
}

#[test]
fn notifying_all_lets_them_through_one_by_one() {
    let mut policy = policy();
    let (condition, mutex) = (policy.create_condition().unwrap(), policy.create_mutex().unwrap());
    let waiters = [10, 30, 20].map(|level| {
        let waiter = spawn(&mut policy, level, 0);
        assert!(policy.lock_uncontended(mutex));
        let _ = switch(policy.wait_condition(condition, mutex, None, 0));
        waiter
    });
    let mut next = policy.notify_all(condition, 0).run;
    let mut order = Vec::new();
    while let Some(owner) = next {
        assert_eq!(policy.mutex(mutex).owner(), Some(owner));
        order.push(owner);
        let _ = policy.unlock(mutex, 0);
        next = policy.exit(0).run;
    }
    assert_eq!(order, [waiters[1], waiters[2], waiters[0]]);
}

/// However readers keep coming, a writer of their level gets its turn, and they get theirs.
#[test]
fn neither_readers_nor_writers_starve() {
    let mut policy = policy();
    let lock = policy.create_read_write_lock().unwrap();
    let reader = spawn(&mut policy, 10, 0);
    assert_eq!(policy.lock_read_write(lock, Read, None, 0), Ok(Attempt::Done));
    let _ = park(&mut policy, 0);
    let waits = [Write, Read, Read, Write].map(|access| {
        let thread = spawn(&mut policy, 10, 0);
        let _ = switch(policy.lock_read_write(lock, access, None, 0).unwrap());
        thread
    });
    let states = |policy: &Policy| waits.map(|thread| policy.thread(thread).state() != State::Blocked);
    assert_eq!(states(&policy), [false, false, false, false], "readers wait behind the writer");
    assert_eq!(policy.unpark(reader, 0).run, Some(reader));
    let _ = policy.unlock_read_write(lock, 0);
    assert_eq!(states(&policy), [true, false, false, false]);
    assert_eq!(policy.exit(0).run, Some(waits[0]));
    let _ = policy.unlock_read_write(lock, 0);
    assert_eq!(states(&policy), [true, true, true, false], "the readers together");
    // A more important reader comes before the waiting writer.
    spawn(&mut policy, 20, 0);
    assert_eq!(policy.try_lock_read_write(lock, Read), Ok(true));
    assert_eq!(policy.read_write_lock(lock).readers(), 3);
}

#[test]
fn readers_enter_when_the_writer_before_them_gives_up_or_becomes_less_important() {
    for times_out in [true, false] {
        let mut policy = policy();
        let lock = policy.create_read_write_lock().unwrap();
        spawn(&mut policy, 10, 0);
        assert_eq!(policy.try_lock_read_write(lock, Read), Ok(true));
        let _ = park(&mut policy, 0);
        let writer = spawn(&mut policy, 10, 0);
        let _ = switch(policy.lock_read_write(lock, Write, Some(500), 0).unwrap());
        let reader = spawn(&mut policy, 10, 0);
        let _ = switch(policy.lock_read_write(lock, Read, None, 0).unwrap());
        if times_out {
            let _ = policy.alarm(500);
            assert_eq!(outcome(&policy, writer).1, Outcome::TimedOut);
        } else {
            let _ = policy.set_priority(writer, Priority::new(9), 0);
            assert_eq!(policy.thread(writer).state(), State::Blocked);
        }
        assert_ne!(policy.thread(reader).state(), State::Blocked);
        assert_eq!(policy.read_write_lock(lock).readers(), 2);
    }
}

#[test]
fn a_dead_reader_leaves_and_a_dead_writer_leaves_poison() {
    let mut policy = policy();
    let lock = policy.create_read_write_lock().unwrap();
    for (access, is_poisoned) in [(Read, false), (Write, true)] {
        let victim = spawn(&mut policy, 10, 0);
        assert_eq!(policy.try_lock_read_write(lock, access), Ok(true));
        let waiter = spawn(&mut policy, 20, 0);
        let _ = switch(policy.lock_read_write(lock, Write, None, 0).unwrap());
        assert_eq!(policy.running(), Some(victim));
        assert_eq!(policy.exit(0).run, Some(waiter));
        assert_eq!(policy.read_write_lock(lock).is_poisoned(), is_poisoned);
        assert!(policy.read_write_lock(lock).has_writer());
        let _ = policy.unlock_read_write(lock, 0);
        let _ = policy.exit(0);
    }
    policy.set_read_write_lock_poisoned(lock, false);
    assert!(!policy.read_write_lock(lock).is_poisoned());
}

#[test]
fn a_lock_that_is_waited_for_is_not_held() {
    let mut policy = policy();
    let [one, other] = [(); 2].map(|()| policy.create_read_write_lock().unwrap());
    let writer = spawn(&mut policy, 10, 0);
    assert_eq!(policy.try_lock_read_write(other, Write), Ok(true));
    let _ = park(&mut policy, 0);
    let reader = spawn(&mut policy, 10, 0);
    assert_eq!(policy.try_lock_read_write(one, Read), Ok(true));
    let _ = switch(policy.lock_read_write(other, Read, None, 0).unwrap());
    let held = |policy: &Policy, thread| policy.held_read_write_locks(thread).collect::<Vec<_>>();
    assert_eq!(held(&policy, writer), [other]);
    assert_eq!(held(&policy, reader), [one]);
    let _ = policy.unpark(writer, 0);
    let _ = policy.unlock_read_write(other, 0);
    assert_eq!(held(&policy, writer), []);
    assert_eq!(held(&policy, reader), [other, one]);
}

#[test]
fn the_last_to_arrive_at_a_barrier_opens_it_and_who_left_has_not_arrived() {
    let mut policy = policy();
    let barrier = policy.create_barrier(3).unwrap();
    let left = spawn(&mut policy, 10, 0);
    let _ = switch(policy.wait_barrier(barrier, Some(500), 0));
    assert_eq!(policy.alarm(500).run, Some(left));
    assert_eq!((outcome(&policy, left).1, policy.barrier(barrier).arrived()), (Outcome::TimedOut, 0));
    let _ = policy.exit(500);
    let others = [(); 2].map(|()| {
        let other = spawn(&mut policy, 10, 500);
        let _ = switch(policy.wait_barrier(barrier, None, 500));
        other
    });
    assert_eq!(policy.remove_barrier(barrier), Err(Busy));
    let last = spawn(&mut policy, 10, 500);
    assert_eq!(switch(policy.wait_barrier(barrier, None, 500)).run, Some(last));
    assert_eq!(policy.thread(last).value(), 1);
    assert_eq!(
        others.map(|other| (policy.thread(other).state(), policy.thread(other).value())),
        [(State::Ready, 0); 2]
    );
    assert_eq!(policy.remove_barrier(barrier), Ok(()));
}

#[test]
fn many_that_are_woken_at_once_become_ready_in_batches_and_none_is_forgotten() {
    let mut policy = policy();
    let barrier = policy.create_barrier(101).unwrap();
    for number in 0..100 {
        spawn(&mut policy, 10 + number % 20, 0);
        // The deadline of those that are not ready yet comes, and no longer counts.
        let _ = switch(policy.wait_barrier(barrier, Some(5), 0));
    }
    spawn(&mut policy, 5, 0);
    let decision = switch(policy.wait_barrier(barrier, None, 1));
    assert_eq!(decision.run.map(|first| level(&policy, first)), Some(29), "the most important come first");
    assert_eq!(decision.alarm, Alarm::Set(1));
    let mut alarms = 0;
    while !policy.released.is_empty() {
        let _ = policy.alarm(5);
        alarms += 1;
    }
    assert!(alarms < 100 / BATCH + 1);
    let mut ended = 0;
    while let Some(thread) = policy.running() {
        assert_eq!(policy.thread(thread).outcome(), Outcome::Done);
        let _ = policy.exit(5);
        ended += 1;
    }
    assert_eq!(ended, 101);
}

#[test]
fn any_or_all_events_and_clearing_after_all_have_looked() {
    let mut policy = policy();
    let group = policy.create_event_group().unwrap();
    let wants = [(0b001, false, true), (0b011, true, true), (0b101, true, false), (0b100, false, false)];
    let threads = wants.map(|(events, all, clear)| {
        let thread = spawn(&mut policy, 10, 0);
        let _ = switch(policy.wait_events(group, Wanted { events, all, clear }, None, 0));
        thread
    });
    let is_woken = |policy: &Policy| threads.map(|thread| policy.thread(thread).state() != State::Blocked);
    let _ = policy.set_events(group, 0b010, 0);
    assert_eq!(is_woken(&policy), [false; 4]);
    let _ = policy.set_events(group, 0b001, 0);
    assert_eq!(is_woken(&policy), [true, true, false, false], "both saw the event that both clear");
    assert_eq!(policy.thread(threads[1]).value(), 0b011, "as it was before clearing");
    assert_eq!(policy.event_group(group).events(), 0);
    let _ = policy.set_events(group, 0b101, 0);
    assert_eq!(is_woken(&policy), [true; 4]);
    assert_eq!(policy.event_group(group).events(), 0b101);
    let wanted = Wanted { events: 0b110, all: false, clear: true };
    assert_eq!(policy.wait_events(group, wanted, None, 0), Attempt::Done);
    assert_eq!(policy.event_group(group).events(), 0b001);
    policy.clear_events(group, 0b001);
    assert_eq!(policy.event_group(group).events(), 0);
}

#[test]
fn a_periodic_timer_loses_no_expiry() {
    let mut policy = policy();
    let timer = policy.create_timer().unwrap();
    let thread = spawn(&mut policy, 10, 0);
    assert_eq!(policy.start_timer(timer, 100, NonZeroU64::new(50), 0).alarm, Alarm::Set(100));
    assert_eq!(policy.alarm(100).alarm, Alarm::Set(150));
    assert_eq!(policy.alarm(260).alarm, Alarm::Set(300));
    assert_eq!(policy.wait_timer(timer, None, 260), Attempt::Done);
    assert_eq!(policy.thread(thread).value(), 4);
    let _ = switch(policy.wait_timer(timer, None, 270));
    assert_eq!(policy.remove_timer(timer), Err(Busy));
    assert_eq!(policy.alarm(300).run, Some(thread));
    assert_eq!(policy.thread(thread).value(), 1);
    policy.stop_timer(timer);
    assert!(!policy.timer(timer).is_started());
    let _ = park(&mut policy, 310);
    assert!(policy.is_stalled());
    assert_eq!(policy.remove_timer(timer), Ok(()));
}

#[test]
fn an_interrupt_ends_a_wait_that_allows_it_and_its_deadline_never_comes() {
    let mut policy = policy();
    let semaphore = policy.create_semaphore(0, 1).unwrap();
    let waiter = spawn(&mut policy, 10, 0);
    policy.allow_interrupts();
    let _ = switch(policy.acquire(semaphore, Some(500), 0));
    assert_eq!(policy.interrupt(waiter, 100).run, Some(waiter));
    assert_eq!(outcome(&policy, waiter), (State::Running, Outcome::Interrupted));
    assert_eq!(policy.alarm(500), Decision { run: Some(waiter), alarm: Alarm::Keep });
    let _ = policy.release(semaphore, 500).unwrap();
    assert_eq!(policy.semaphore(semaphore).permits(), 1, "it waits no more");
}

#[test]
fn an_interrupt_before_the_wait_is_not_lost_and_is_forgotten_with_the_permission() {
    let mut policy = policy();
    let thread = spawn(&mut policy, 10, 0);
    policy.allow_interrupts();
    let _ = policy.interrupt(thread, 0);
    assert_eq!(policy.sleep(500, 0), Attempt::Interrupted);
    assert!(policy.forbid_interrupts());
    policy.allow_interrupts();
    assert!(!policy.forbid_interrupts());
    let _ = switch(policy.sleep(500, 0));
}

#[test]
fn who_does_not_allow_interrupts_waits_on() {
    let mut policy = policy();
    let waiter = spawn(&mut policy, 10, 0);
    let _ = park(&mut policy, 0);
    assert_eq!(policy.interrupt(waiter, 0).run, None);
    assert_eq!(policy.thread(waiter).state(), State::Blocked);
    assert_eq!(policy.unpark(waiter, 0).run, Some(waiter));
    assert!(!policy.forbid_interrupts());
}

#[test]
fn who_waits_for_a_lock_or_at_a_barrier_is_not_interrupted() {
    let mut policy = policy();
    let mutex = policy.create_mutex().unwrap();
    let lock = policy.create_read_write_lock().unwrap();
    let barrier = policy.create_barrier(5).unwrap();
    spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex));
    assert!(policy.try_lock_read_write(lock, Write).unwrap());
    let _ = switch(policy.wait_barrier(barrier, None, 0));
    let wait: [fn(&mut Policy, _, _, _) -> Attempt; 4] = [
        |policy, mutex, _, _| policy.lock(mutex, None, 0).unwrap(),
        |policy, _, lock, _| policy.lock_read_write(lock, Read, None, 0).unwrap(),
        |policy, _, lock, _| policy.lock_read_write(lock, Write, None, 0).unwrap(),
        |policy, _, _, barrier| policy.wait_barrier(barrier, None, 0),
    ];
    for wait in wait {
        let waiter = spawn(&mut policy, 20, 0);
        policy.allow_interrupts();
        let _ = policy.interrupt(waiter, 0);
        let _ = switch(wait(&mut policy, mutex, lock, barrier));
        assert_eq!(policy.interrupt(waiter, 0).run, None);
        assert_eq!(policy.thread(waiter).state(), State::Blocked);
    }
}

#[test]
fn an_interrupted_wait_on_a_condition_still_needs_the_mutex() {
    let mut policy = policy();
    let (condition, mutex) = (policy.create_condition().unwrap(), policy.create_mutex().unwrap());
    let waiter = spawn(&mut policy, 30, 0);
    assert!(policy.lock_uncontended(mutex));
    policy.allow_interrupts();
    let _ = switch(policy.wait_condition(condition, mutex, None, 0));
    let holder = spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex));
    assert_eq!(policy.interrupt(waiter, 0).run, Some(holder));
    assert_eq!(policy.unlock(mutex, 0).run, Some(waiter));
    assert_eq!(outcome(&policy, waiter), (State::Running, Outcome::Interrupted));
}

#[test]
fn who_reads_may_read_again_though_a_writer_waits() {
    let mut policy = policy();
    let lock = policy.create_read_write_lock().unwrap();
    let writer = spawn(&mut policy, 10, 0);
    let reader = spawn(&mut policy, 20, 0);
    assert!(policy.try_lock_read_write(lock, Read).unwrap());
    let _ = park(&mut policy, 0);
    let _ = switch(policy.lock_read_write(lock, Write, None, 0).unwrap());
    let _ = policy.unpark(reader, 0);
    assert_eq!(policy.held_access(writer, lock), None, "it only waits");
    policy.read_again(lock).unwrap();
    assert_eq!(policy.unlock_read_write(lock, 0).run, Some(reader));
    assert_eq!(policy.held_access(reader, lock), Some(Read));
    assert_eq!(policy.read_write_lock(lock).readers(), 1);
    let _ = policy.unlock_read_write(lock, 0);
    let _ = park(&mut policy, 0);
    assert_eq!(policy.running(), Some(writer));
}
