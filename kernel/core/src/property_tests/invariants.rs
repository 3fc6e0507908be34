//! What must hold after every step, whatever was done.

extern crate std;

use super::operation::World;
use crate::inherit;
use crate::mutex;
use crate::priority::{LEVELS, Priority};
use crate::thread::{State, ThreadId, Waiting};
use std::vec::Vec;

pub(super) fn check(world: &World) {
    the_running_thread_is_a_most_important_one(world);
    the_bitmap_agrees_with_the_lists(world);
    everyone_is_in_the_one_queue_where_they_belong(world);
    wait_queues_are_sorted(world);
    importance_is_inherited_transitively(world);
    owners_and_mutexes_agree(world);
    nobody_waits_for_what_could_be_had(world);
    deadlines_belong_to_someone(world);
    joiners_wait_for_whom_they_join(world);
}

fn the_running_thread_is_a_most_important_one(world: &World) {
    let policy = &world.policy;
    let effective = |thread: &ThreadId| policy.thread(*thread).effective_priority();
    let ready: Vec<_> =
        world.threads.iter().filter(|it| policy.thread(**it).state() == State::Ready).collect();
    match policy.running() {
        None => assert!(ready.is_empty(), "nobody runs, but {ready:?} could"),
        Some(running) => {
            let is_passed_over =
                |thread: &&ThreadId| effective(thread).is_more_important_than(effective(&running));
            assert_eq!(ready.into_iter().find(is_passed_over), None);
        }
    }
    let running: Vec<_> =
        world.threads.iter().filter(|it| policy.thread(**it).state() == State::Running).copied().collect();
    assert_eq!(running, policy.running().into_iter().collect::<Vec<_>>());
}

fn the_bitmap_agrees_with_the_lists(world: &World) {
    let scheduler = &world.policy.scheduler;
    let mut used = [false; LEVELS];
    for thread in scheduler.ready().iter(&scheduler.threads) {
        used[usize::from(scheduler.threads[thread].effective.level())] = true;
    }
    for (level, is_used) in used.into_iter().enumerate() {
        assert_eq!(scheduler.ready().is_occupied(Priority::new(level as u8)), is_used, "level {level}");
    }
}

fn everyone_is_in_the_one_queue_where_they_belong(world: &World) {
    let scheduler = &world.policy.scheduler;
    let threads = &scheduler.threads;
    let mut places: Vec<(ThreadId, Option<Waiting>)> = Vec::new();
    places.extend(scheduler.ready().iter(threads).map(|thread| (thread, None)));
    let queues_of_world = world.queues();
    for queue in queues_of_world.iter().copied() {
        places.extend(world.waiters(queue).into_iter().map(|thread| (thread, Some(queue))));
    }
    let released = world.policy.released.iter(threads);
    places.extend(released.map(|thread| (thread, Some(threads[thread].waiting))));
    for thread in &world.threads {
        let mut queues = places.iter().filter(|(other, _)| other == thread).map(|(_, queue)| *queue);
        let expected = match (threads[*thread].state, threads[*thread].waiting) {
            (State::Ready | State::Running, Waiting::Nothing) => Some(None),
            (State::Suspended | State::Exited, Waiting::Nothing) => None,
            (
                State::Blocked | State::BlockedSuspended,
                Waiting::Sleep | Waiting::Unpark | Waiting::Line | Waiting::Exit(_),
            ) => None,
            (State::Blocked | State::BlockedSuspended, Waiting::Released(mutex)) => {
                Some(Some(Waiting::Released(mutex)))
            }
            (State::Blocked | State::BlockedSuspended, waiting) => {
                Some(queues_of_world.iter().copied().find(|queue| is_same_queue(*queue, waiting)))
            }
            (state, waiting) => panic!("{thread:?} is {state:?} and waits for {waiting:?}"),
        };
        assert_eq!(queues.next(), expected, "{thread:?}");
        assert_eq!(queues.next(), None, "{thread:?} is in two queues");
    }
}

/// Whether two threads that wait for these stand in the same queue.
pub(super) fn is_same_queue(one: Waiting, other: Waiting) -> bool {
    use Waiting::{Condition, Events, Read, Write};
    match (one, other) {
        (Condition(one, _), Condition(other, _)) => one == other,
        (Events(one, _), Events(other, _)) => one == other,
        (Read(one) | Write(one), Read(other) | Write(other)) => one == other,
        (Waiting::Nothing | Waiting::Sleep | Waiting::Unpark | Waiting::Line | Waiting::Exit(_), _) => false,
        (one, other) => one == other,
    }
}

fn wait_queues_are_sorted(world: &World) {
    for queue in world.queues() {
        for pair in world.waiters(queue).windows(2) {
            let effective = |thread| world.policy.thread(thread).effective_priority();
            assert!(!effective(pair[1]).is_more_important_than(effective(pair[0])), "{queue:?}");
        }
    }
}

fn importance_is_inherited_transitively(world: &World) {
    let (threads, mutexes) = (&world.policy.scheduler.threads, &world.policy.objects.mutexes);
    let count = world.threads.len();
    let mut exact: Vec<Priority> = world.threads.iter().map(|thread| threads[*thread].base).collect();
    let mut is_in_circle = std::vec![false; count];
    for (number, thread) in world.threads.iter().enumerate() {
        let mut member = *thread;
        for _ in 0..count {
            let Some(next) = inherit::holder(threads, mutexes, member) else { break };
            if !world.policy.inherits {
                break;
            }
            is_in_circle[number] |= next == *thread;
            let held_up = world.number(next);
            exact[held_up] = exact[held_up].or_more_important(threads[*thread].base);
            member = next;
        }
    }
    for (number, thread) in world.threads.iter().enumerate() {
        let effective = threads[*thread].effective;
        if is_in_circle[number] {
            assert!(!exact[number].is_more_important_than(effective), "{thread:?} in a circle");
        } else {
            assert_eq!(effective, exact[number], "{thread:?}");
        }
    }
}

fn owners_and_mutexes_agree(world: &World) {
    let (threads, mutexes) = (&world.policy.scheduler.threads, &world.policy.objects.mutexes);
    for thread in &world.threads {
        let mut held: Vec<_> = mutex::held(mutexes, threads, *thread).map(|mutex| mutex.index()).collect();
        held.sort_unstable();
        let owned: Vec<_> = (world.mutexes.iter())
            .filter(|mutex| mutexes[**mutex].owner() == Some(*thread))
            .map(|mutex| mutex.index())
            .collect();
        assert_eq!(held, owned, "{thread:?}");
    }
    for (mutex, unseen) in world.mutexes.iter().zip(world.unseen) {
        assert!(unseen.is_none() || mutexes[*mutex].owner().is_none(), "{mutex:?} has two owners");
    }
}

fn nobody_waits_for_what_could_be_had(world: &World) {
    let (policy, threads) = (&world.policy, &world.policy.scheduler.threads);
    for mutex in &world.mutexes {
        let mutex = policy.mutex(*mutex);
        assert!(mutex.owner().is_some() || mutex.waiters.is_empty());
    }
    let semaphore = policy.semaphore(world.semaphore);
    assert!(semaphore.permits() == 0 || semaphore.waiters.is_empty());
    let lock = policy.read_write_lock(world.lock);
    assert!(!lock.has_writer() || lock.readers() == 0);
    match lock.waiters.first().map(|first| threads[first].waiting) {
        Some(Waiting::Write(_)) => assert!(lock.has_writer() || lock.readers() > 0),
        Some(_) => assert!(lock.has_writer()),
        None => {}
    }
    let lock_holds = lock.readers() as usize + usize::from(lock.has_writer());
    let lock_waits = lock.waiters.iter(threads).count();
    assert_eq!(policy.objects.holds.len(), lock_holds + lock_waits);
    let barrier = policy.barrier(world.barrier);
    let at_barrier = barrier.waiters.iter(threads).count();
    assert!(at_barrier == barrier.arrived() as usize && at_barrier < 3);
    let group = policy.event_group(world.events);
    for thread in group.waiters.iter(threads) {
        let Waiting::Events(_, wanted) = threads[thread].waiting else { panic!("{thread:?} does not wait") };
        assert!(!wanted.is_satisfied_by(group.events()));
    }
}

fn deadlines_belong_to_someone(world: &World) {
    let policy = &world.policy;
    let of_threads = world.threads.iter().filter(|thread| policy.thread(**thread).timeout.is_some()).count();
    let of_timer = usize::from(policy.timer(world.timer).is_started());
    assert_eq!(policy.timeouts.len(), of_threads + of_timer);
}

fn joiners_wait_for_whom_they_join(world: &World) {
    let policy = &world.policy;
    for thread in &world.threads {
        let mut joiners = world.threads.iter().filter(|joiner| {
            let joiner = policy.thread(**joiner);
            joiner.waiting == Waiting::Exit(*thread)
        });
        assert_eq!(policy.thread(*thread).joiner, joiners.next().copied(), "who joins {thread:?}");
        assert_eq!(joiners.next(), None);
        let is_joined = policy.thread(*thread).joiner.is_some();
        assert!(!is_joined || policy.thread(*thread).state != State::Exited, "{thread:?} is over");
    }
}
