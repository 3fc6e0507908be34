//! Mutexes and what is inherited through them.

extern crate std;

use super::*;
use crate::policy::Deadlock;
use crate::table::Id;
use std::vec::Vec;

/// Threads of these levels, each of which is to own the mutex of its number. Each runs when it is created,
/// takes its mutex, and parks.
fn owners<const N: usize>(policy: &mut Policy, levels: [u8; N]) -> ([ThreadId; N], [MutexId; N]) {
    let mutexes = [(); N].map(|()| policy.create_mutex().unwrap());
    let mut mutex = mutexes.into_iter();
    let threads = levels.map(|level| {
        let thread = spawn(policy, level, 0);
        assert!(policy.lock_uncontended(mutex.next().unwrap()));
        let _ = park(policy, 0);
        thread
    });
    (threads, mutexes)
}

/// Lets a thread that parks, and is the most important then, wait for a mutex.
fn let_lock(policy: &mut Policy, thread: ThreadId, mutex: MutexId, deadline: Option<u64>) {
    assert_eq!(policy.unpark(thread, 0).run, Some(thread));
    let _ = lock_contended(policy, mutex, deadline, 0);
}

#[test]
fn importance_passes_through_a_chain_of_owners() {
    let mut policy = policy();
    let ([c, b, a], [of_c, of_b, _]) = owners(&mut policy, [5, 20, 60]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, None);
    assert_eq!([a, b, c].map(|thread| level(&policy, thread)), [60, 60, 60]);
    assert_eq!(policy.chain(a).collect::<Vec<_>>(), [a, b, c]);
}

/// FreeRTOS 261: not only with the last mutex.
#[test]
fn what_was_inherited_is_gone_with_the_mutex_it_came_through() {
    let mut policy = policy();
    let one = policy.create_mutex().unwrap();
    let two = policy.create_mutex().unwrap();
    let owner = spawn(&mut policy, 5, 0);
    assert!(policy.lock_uncontended(one) && policy.lock_uncontended(two));
    let middle = spawn(&mut policy, 20, 0);
    let _ = lock_contended(&mut policy, one, None, 0);
    let important = spawn(&mut policy, 40, 0);
    let _ = lock_contended(&mut policy, two, None, 0);
    assert_eq!((policy.running(), level(&policy, owner)), (Some(owner), 40));
    assert_eq!(policy.unlock(two, 0).run, Some(important));
    assert_eq!(level(&policy, owner), 20, "the other mutex is still wanted");
    let _ = policy.exit(0);
    assert_eq!(policy.unlock(one, 0).run, Some(middle));
    assert_eq!(level(&policy, owner), 5);
}

#[test]
fn a_waiter_that_times_out_takes_its_importance_with_it_along_the_chain() {
    let mut policy = policy();
    let ([c, b, a], [of_c, of_b, _]) = owners(&mut policy, [5, 20, 60]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, Some(500));
    assert_eq!(policy.alarm(500).run, Some(a));
    assert_eq!(outcome(&policy, a), (State::Running, Outcome::TimedOut));
    assert_eq!([b, c].map(|thread| level(&policy, thread)), [20, 20]);
}

#[test]
fn a_waiter_whose_priority_changes_hands_on_the_new_one() {
    let mut policy = policy();
    let ([c, b, a], [of_c, of_b, _]) = owners(&mut policy, [5, 20, 60]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, None);
    for (set_to, expected) in [(30, 30), (10, 20), (63, 63)] {
        let _ = policy.set_priority(a, Priority::new(set_to), 0);
        assert_eq!([b, c].map(|thread| level(&policy, thread)), [expected; 2]);
    }
    // The owner's own priority counts as well, and does not hide what it inherits.
    let _ = policy.set_priority(c, Priority::new(1), 0);
    assert_eq!((level(&policy, c), policy.thread(c).base_priority().level()), (63, 1));
}

#[test]
fn the_most_important_waiter_gets_the_mutex_and_of_equals_the_first() {
    let mut policy = policy();
    let ([owner], [mutex]) = owners(&mut policy, [5]);
    let waiters = [20, 30, 30, 25].map(|level| {
        let waiter = spawn(&mut policy, level, 0);
        let _ = lock_contended(&mut policy, mutex, None, 0);
        waiter
    });
    let _ = policy.unpark(owner, 0);
    let mut order = Vec::new();
    while let Some(owner) = policy.mutex(mutex).owner() {
        order.push(owner);
        let _ = policy.unlock(mutex, 0);
        let _ = policy.suspend(owner, 0);
    }
    assert_eq!(order, [owner, waiters[1], waiters[2], waiters[3], waiters[0]]);
}

#[test]
fn nobody_overtakes_who_was_given_the_mutex() {
    let mut policy = policy();
    let ([owner], [mutex]) = owners(&mut policy, [40]);
    let waiter = spawn(&mut policy, 20, 0);
    let _ = lock_contended(&mut policy, mutex, None, 0);
    let _ = policy.unpark(owner, 0);
    assert_eq!(policy.unlock(mutex, 0).run, Some(owner), "it is more important and goes on");
    assert!(!policy.lock_uncontended(mutex), "but the mutex belongs to the waiter already");
    assert_eq!(policy.mutex(mutex).owner(), Some(waiter));
}

#[test]
fn the_quick_ways_do_not_pass_over_anybody() {
    let mut policy = policy();
    let mutex = policy.create_mutex().unwrap();
    let _owner = spawn(&mut policy, 5, 0);
    assert!(
        policy.lock_uncontended(mutex) && policy.unlock_uncontended(mutex) && policy.lock_uncontended(mutex)
    );
    let waiter = spawn(&mut policy, 6, 0);
    let _ = lock_contended(&mut policy, mutex, None, 0);
    assert!(!policy.unlock_uncontended(mutex));
    assert_eq!(policy.unlock(mutex, 0).run, Some(waiter));
}

#[test]
fn what_a_dead_thread_owned_is_poisoned_and_goes_to_the_next() {
    let mut policy = policy();
    let one = policy.create_mutex().unwrap();
    let two = policy.create_mutex().unwrap();
    let victim = spawn(&mut policy, 5, 0);
    assert!(policy.lock_uncontended(one) && policy.lock_uncontended(two));
    let waiter = spawn(&mut policy, 20, 0);
    let _ = lock_contended(&mut policy, one, None, 0);
    assert_eq!(policy.running(), Some(victim));
    assert_eq!(policy.exit(0).run, Some(waiter));
    assert_eq!(policy.held_mutexes(waiter).collect::<Vec<_>>(), [one]);
    assert!(policy.mutex(one).is_poisoned() && policy.mutex(two).is_poisoned());
    assert_eq!(policy.mutex(two).owner(), None);
    policy.set_mutex_poisoned(one, false);
    assert!(!policy.mutex(one).is_poisoned());
    policy.remove_thread(victim);
}

#[test]
fn a_wait_that_would_never_end_is_refused_and_the_circle_can_be_named() {
    let mut policy = policy();
    let ([c, b, a], [of_c, of_b, of_a]) = owners(&mut policy, [60, 50, 40]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, None);
    let _ = policy.unpark(c, 0);
    assert_eq!(policy.lock(of_a, None, 0), Err(Deadlock { mutex: of_a, owner: a }));
    assert_eq!(policy.chain(a).collect::<Vec<_>>(), [a, b, c]);
    assert_eq!(policy.running(), Some(c), "nothing changed");
    assert_eq!(policy.lock(of_c, None, 0), Err(Deadlock { mutex: of_c, owner: c }), "nor for itself");
}

#[test]
fn a_circle_that_a_deadline_will_open_is_no_deadlock_and_heals() {
    let mut policy = policy();
    let ([b, a], [of_b, of_a]) = owners(&mut policy, [50, 40]);
    let_lock(&mut policy, a, of_b, Some(500));
    let_lock(&mut policy, b, of_a, None);
    assert_eq!([a, b].map(|thread| level(&policy, thread)), [50, 50]);
    assert!(!policy.is_stalled());
    // While the circle is closed, they count for each other.
    let _ = policy.set_priority(b, Priority::new(10), 0);
    assert_eq!(policy.alarm(500).run, Some(a));
    assert_eq!([a, b].map(|thread| level(&policy, thread)), [40, 10], "as soon as it opens, all is exact");
    assert_eq!(policy.unlock(of_a, 500).run, Some(a));
    assert_eq!(policy.mutex(of_a).owner(), Some(b));
}

#[test]
fn waiting_for_a_deadlock_is_a_deadlock() {
    let mut policy = policy();
    let condition = policy.create_condition().unwrap();
    // A waits on a condition with mutex 1 and keeps mutex 2; B takes 1 and waits for 2; then A, notified,
    // waits for 1. Nobody can be told, since both wait already; but who comes later can.
    let one = policy.create_mutex().unwrap();
    let two = policy.create_mutex().unwrap();
    let a = spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(one) && policy.lock_uncontended(two));
    let _ = switch(policy.wait_condition(condition, one, None, 0));
    let _b = spawn(&mut policy, 20, 0);
    assert!(policy.lock_uncontended(one));
    let _ = lock_contended(&mut policy, two, None, 0);
    let _ = policy.notify_one(condition, 0);
    assert!(policy.is_stalled());
    spawn(&mut policy, 30, 0);
    assert_eq!(policy.lock(two, None, 0), Err(Deadlock { mutex: two, owner: a }));
}

#[test]
fn an_owner_of_whom_the_policy_is_told_late_inherits() {
    let mut policy = policy();
    let mutex = policy.create_mutex().unwrap();
    let owner = spawn(&mut policy, 5, 0);
    let important = spawn(&mut policy, 40, 0);
    policy.note_owner(mutex, owner);
    let _ = lock_contended(&mut policy, mutex, None, 0);
    assert_eq!((policy.running(), level(&policy, owner)), (Some(owner), 40));
    assert_eq!(policy.unlock(mutex, 0).run, Some(important));
    assert_eq!(level(&policy, owner), 5);
}

#[test]
#[should_panic(expected = "is owned already")]
fn the_policy_is_told_of_no_second_owner() {
    let mut policy = policy();
    let (_, [mutex]) = owners(&mut policy, [10]);
    let other = spawn(&mut policy, 5, 0);
    policy.note_owner(mutex, other);
}

#[test]
fn a_mutex_that_is_owned_cannot_be_removed() {
    let mut policy = policy();
    let mutex = policy.create_mutex().unwrap();
    spawn(&mut policy, 10, 0);
    assert!(policy.lock_uncontended(mutex));
    assert!(policy.remove_mutex(mutex).is_err());
    assert!(policy.unlock_uncontended(mutex));
    assert_eq!(policy.remove_mutex(mutex), Ok(()));
    assert_eq!(policy.create_mutex().map(Id::index), Ok(mutex.index()));
}

#[test]
#[should_panic(expected = "is not the running thread's")]
fn only_the_owner_unlocks() {
    let mut policy = policy();
    let (_, [mutex]) = owners(&mut policy, [10]);
    spawn(&mut policy, 5, 0);
    let _ = policy.unlock(mutex, 0);
}

#[test]
fn without_inheritance_nobody_is_raised() {
    let mut policy = policy();
    let _ = policy.inheritance(false, 0);
    let ([c, b, a], [of_c, of_b, _]) = owners(&mut policy, [5, 20, 60]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, None);
    assert_eq!([a, b, c].map(|thread| level(&policy, thread)), [60, 20, 5]);
    // The inversion that this is for: somebody in the middle keeps the owner from running.
    let _ = policy.unpark(c, 0);
    let middle = spawn(&mut policy, 40, 0);
    assert_eq!(policy.running(), Some(middle));
}

#[test]
fn switching_inheritance_counts_at_once() {
    let mut policy = policy();
    let ([c, b, a], [of_c, of_b, _]) = owners(&mut policy, [5, 20, 60]);
    let_lock(&mut policy, b, of_c, None);
    let_lock(&mut policy, a, of_b, None);
    let _ = policy.unpark(c, 0);
    let middle = spawn(&mut policy, 40, 0);
    assert_eq!(policy.running(), Some(c));
    assert_eq!(policy.inheritance(false, 0).run, Some(middle));
    assert_eq!([b, c].map(|thread| level(&policy, thread)), [20, 5]);
    assert_eq!(policy.inheritance(true, 0).run, Some(c));
    assert_eq!([b, c].map(|thread| level(&policy, thread)), [60, 60]);
}

#[test]
#[should_panic(expected = "is not the running thread's")]
fn only_the_owner_unlocks_the_quick_way() {
    let mut policy = policy();
    let (_, [mutex]) = owners(&mut policy, [10]);
    spawn(&mut policy, 5, 0);
    let _ = policy.unlock_uncontended(mutex);
}
