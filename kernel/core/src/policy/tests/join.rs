//! Waiting for the end of a thread, and for event lines.

extern crate std;

use super::*;
use crate::alarm::Alarm;
use crate::thread::Waiting;

#[test]
fn a_joiner_goes_on_when_the_thread_is_over() {
    let mut policy = policy();
    let worker = spawn(&mut policy, 10, 0);
    let joiner = spawn(&mut policy, 20, 0);
    assert_eq!(switch(policy.join(worker, None, 0)).run, Some(worker));
    assert_eq!(policy.thread(joiner).waiting(), Waiting::Exit(worker));
    assert_eq!(policy.exit(0).run, Some(joiner));
    assert_eq!(outcome(&policy, joiner), (State::Running, Outcome::Done));
    policy.remove_thread(worker);
}

#[test]
fn who_joins_what_is_over_does_not_wait() {
    let mut policy = policy();
    let worker = spawn(&mut policy, 10, 0);
    let _ = policy.exit(0);
    let joiner = spawn(&mut policy, 10, 0);
    assert_eq!(policy.join(worker, Some(0), 0), Attempt::Done, "though the deadline is past");
    assert_eq!(policy.running(), Some(joiner));
}

#[test]
fn a_joiner_that_times_out_leaves_nothing_behind() {
    let mut policy = policy();
    let worker = spawn(&mut policy, 10, 0);
    let joiner = spawn(&mut policy, 20, 0);
    assert_eq!(policy.join(worker, Some(50), 50), Attempt::TimedOut);
    assert_eq!(switch(policy.join(worker, Some(500), 50)).alarm, Alarm::Set(500));
    assert_eq!(policy.alarm(500).run, Some(joiner));
    assert_eq!(outcome(&policy, joiner), (State::Running, Outcome::TimedOut));
    let _ = park(&mut policy, 500);
    assert_eq!(policy.exit(500).run, None, "nobody joins any more");
    assert_eq!(policy.thread(joiner).waiting(), Waiting::Unpark);
}

#[test]
fn a_thread_can_be_joined_again_when_the_first_joiner_has_left() {
    let mut policy = policy();
    let worker = spawn(&mut policy, 10, 0);
    let _first = spawn(&mut policy, 20, 0);
    let _ = switch(policy.join(worker, Some(500), 0));
    let _ = policy.alarm(500);
    let _ = park(&mut policy, 500);
    let second = spawn(&mut policy, 20, 500);
    let _ = switch(policy.join(worker, None, 500));
    assert_eq!(policy.exit(500).run, Some(second));
}

#[test]
#[should_panic(expected = "already")]
fn a_thread_has_one_joiner() {
    let mut policy = policy();
    let worker = spawn(&mut policy, 10, 0);
    spawn(&mut policy, 20, 0);
    let _ = switch(policy.join(worker, None, 0));
    spawn(&mut policy, 20, 0);
    let _ = policy.join(worker, None, 0);
}

#[test]
#[should_panic(expected = "its own end")]
fn a_thread_cannot_join_itself() {
    let mut policy = policy();
    let thread = spawn(&mut policy, 10, 0);
    let _ = policy.join(thread, None, 0);
}

#[test]
#[should_panic(expected = "cannot be removed")]
fn a_thread_that_is_joined_cannot_be_removed() {
    let mut policy = policy();
    let worker = policy.create_thread(Priority::NORMAL, None).unwrap();
    spawn(&mut policy, 10, 0);
    let _ = switch(policy.join(worker, None, 0));
    policy.remove_thread(worker);
}

#[test]
fn a_line_wakes_its_handler_and_nobody_who_waits_for_something_else() {
    let mut policy = policy();
    let handler = spawn(&mut policy, 20, 0);
    let computing = policy.create_thread(Priority::new(10), None).unwrap();
    let _ = policy.resume(computing, 0);
    assert_eq!(policy.line_came(handler, 0).run, Some(handler), "it runs, and nothing is remembered");
    assert_eq!(switch(policy.wait_line(None, 0)).run, Some(computing));
    assert_eq!(policy.thread(handler).waiting(), Waiting::Line);
    assert_eq!(policy.unpark(handler, 0).run, Some(computing), "an unpark is for a park");
    assert_eq!(policy.line_came(handler, 0).run, Some(handler));
    assert_eq!(outcome(&policy, handler), (State::Running, Outcome::Done));
    let _ = switch(policy.sleep(500, 0));
    assert_eq!(policy.line_came(handler, 0).run, Some(computing), "it sleeps");
}

#[test]
fn a_wait_for_a_line_has_a_deadline() {
    let mut policy = policy();
    let handler = spawn(&mut policy, 20, 0);
    assert_eq!(policy.wait_line(Some(50), 50), Attempt::TimedOut);
    let _ = switch(policy.wait_line(Some(500), 50));
    assert_eq!(policy.alarm(500).run, Some(handler));
    assert_eq!(outcome(&policy, handler), (State::Running, Outcome::TimedOut));
}
