//! Room: what finds none, and how it is made.

use super::*;
use crate::read_write_lock::Access::Read;
use crate::table::Full;

/// The kernel's own policy is one.
static POLICY: Policy = Policy::new();

#[test]
fn a_new_policy_has_room_for_nothing() {
    assert!(POLICY.shortage(Kind::Thread).is_some());
    let mut policy = Policy::new();
    assert_eq!(policy.create_thread(Priority::NORMAL, None), Err(Full));
    assert_eq!(policy.create_mutex(), Err(Full));
    assert_eq!(policy.create_semaphore(0, 1), Err(Full));
    assert_eq!(policy.create_condition(), Err(Full));
    assert_eq!(policy.create_read_write_lock(), Err(Full));
    assert_eq!(policy.create_barrier(1), Err(Full));
    assert_eq!(policy.create_event_group(), Err(Full));
    assert_eq!(policy.create_timer(), Err(Full));
}

#[test]
fn the_shortage_of_each_kind_is_what_keeps_it_from_being_created() {
    let mut policy = roomy();
    let threads = (0..).take_while(|_| policy.create_thread(Priority::NORMAL, None).is_ok()).count();
    assert_eq!(threads, 64);
    make_room(&mut policy, Kind::Thread);
    assert!(policy.create_thread(Priority::NORMAL, None).is_ok());
    let mutexes = (0..).take_while(|_| policy.create_mutex().is_ok()).count();
    assert_eq!(mutexes, 64);
    make_room(&mut policy, Kind::Mutex);
    assert!(policy.create_mutex().is_ok());
}

/// Each table has room for 64, and so has the timeout queue.
#[test]
fn each_thread_and_each_timer_has_room_for_its_deadline() {
    let mut policy = roomy();
    for _ in 0..63 {
        assert!(policy.create_thread(Priority::NORMAL, None).is_ok());
    }
    assert!(policy.create_timer().is_ok());
    assert_eq!(policy.create_timer(), Err(Full));
    assert_eq!(policy.create_thread(Priority::NORMAL, None), Err(Full));
    make_room(&mut policy, Kind::Timer);
    assert!(policy.create_timer().is_ok());
    assert!(policy.create_thread(Priority::NORMAL, None).is_ok());
}

#[test]
fn room_that_somebody_else_has_made_comes_back() {
    let mut policy = Policy::new();
    let shortage = policy.shortage(Kind::Mutex).unwrap();
    let [one, other] = [(); 2].map(|()| Room::allocate(shortage).unwrap());
    assert!(policy.add_room(one).is_ok());
    assert!(policy.add_room(other).is_err());
    assert_eq!(policy.shortage(Kind::Mutex), None);
}

#[test]
fn without_room_for_a_hold_a_lock_is_refused_and_nothing_changes() {
    let mut policy = roomy();
    let lock = policy.create_read_write_lock().unwrap();
    spawn(&mut policy, 10, 0);
    for _ in 0..64 {
        assert_eq!(policy.try_lock_read_write(lock, Read), Ok(true));
    }
    assert_eq!(policy.try_lock_read_write(lock, Read), Err(Full));
    assert_eq!(policy.lock_read_write(lock, Read, None, 0), Err(Full));
    assert_eq!(policy.read_write_lock(lock).readers(), 64);
    make_room(&mut policy, Kind::Hold);
    assert_eq!(policy.lock_read_write(lock, Read, None, 0), Ok(Attempt::Done));
}

#[test]
fn a_deadline_takes_forty_bytes() {
    use crate::policy::Due;
    use crate::table::Slot;
    use crate::timeout::{Entry, Position};
    assert_eq!(size_of::<Entry<Due>>() + size_of::<Slot<Position>>(), 40);
}
