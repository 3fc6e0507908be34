//! Random operations on the whole policy: a million of them against the model in a test run, and a quarter
//! of a million more without it.
//!
//! [`operation`] makes numbers into operations that are legal at that moment, [`model`] is the same policy
//! again without any data structure but vectors that are searched from end to end, and [`invariants`]
//! looks into the policy and says what must hold after each step. The machine's timer is played by
//! [`Machine`].

mod invariants;
mod model;
mod operation;

extern crate std;

use crate::policy::{Alarm, Attempt, Decision};
use crate::priority::Priority;
use crate::read_write_lock::Access;
use crate::thread::ThreadId;
use model::Model;
use operation::{Answer, Operation, World};
use proptest::prelude::*;
use std::vec::Vec;

/// The machine's one-shot timer, and the time.
#[derive(Debug, Default)]
struct Machine {
    now: u64,
    set_to: Option<u64>,
}

impl Machine {
    fn carry_out(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Keep => {}
            Alarm::Set(time) => self.set_to = Some(time),
            Alarm::Clear => self.set_to = None,
        }
    }
}

/// The policy, the timer, and the model if there is one.
struct Run {
    world: World,
    model: Option<Model>,
    machine: Machine,
}

impl Run {
    fn new(with_model: bool) -> Run {
        let world = World::new();
        let model = with_model.then(|| Model::new(&world));
        Run { world, model, machine: Machine::default() }
    }

    /// Does an operation. With a model, it must come out the same in both.
    fn step(&mut self, operation: Operation) {
        let Run { world, model, machine } = self;
        let answer = operation::apply(&operation, world, machine.now);
        if operation == Operation::Alarm {
            machine.set_to = None;
        }
        let alarm = match answer {
            Answer::Decided(Decision { alarm, .. })
            | Answer::Tried(Attempt::Switch(Decision { alarm, .. })) => Some(alarm),
            _ => None,
        };
        machine.carry_out(alarm.unwrap_or(Alarm::Keep));
        invariants::check(world);
        if let Some(model) = model {
            let expected = model.apply(&operation, world, machine.now);
            compare(&operation, &answer, &expected, world, model);
            if let Some(alarm) = alarm {
                check_alarm(alarm, machine, model.wanted_alarm(machine.now), model.running.is_none());
            }
        }
    }
}

/// Does the operations that the numbers stand for.
fn run(numbers: &[u32], with_model: bool) {
    let mut run = Run::new(with_model);
    for number in numbers {
        let Some(operation) = operation::choose(*number, &run.world, &run.machine, with_model) else {
            continue;
        };
        run.machine.now = operation::time_after(*number, &operation, &run.machine);
        run.step(operation);
    }
}

/// The timer fires in time, is never set for nothing, and while nobody runs fires only for something.
fn check_alarm(alarm: Alarm, machine: &Machine, wanted: Option<u64>, is_idle: bool) {
    match wanted {
        Some(wanted) => assert!(machine.set_to.is_some_and(|set_to| set_to <= wanted), "the timer is late"),
        None => assert!(!matches!(alarm, Alarm::Set(_)), "the timer is set for nothing"),
    }
    if is_idle {
        assert_eq!(machine.set_to, wanted, "an idle guest is woken for nothing");
    }
    if let Alarm::Set(time) = alarm {
        assert_eq!(Some(time), wanted);
    }
}

fn compare(operation: &Operation, answer: &Answer, expected: &model::Answer, world: &World, model: &Model) {
    let policy = &world.policy;
    let is_same = match (answer, expected) {
        (Answer::Nothing, model::Answer::Nothing) => true,
        (Answer::Tried(Attempt::Done), model::Answer::Done) => true,
        (Answer::Tried(Attempt::TimedOut), model::Answer::TimedOut) => true,
        (Answer::Tried(Attempt::Interrupted), model::Answer::Interrupted) => true,
        (Answer::Deadlock, model::Answer::Deadlock) => true,
        (Answer::Refused, model::Answer::Refused) => true,
        (Answer::Decided(decision) | Answer::Tried(Attempt::Switch(decision)), model::Answer::Decided) => {
            decision.run.map(|thread| world.number(thread)) == model.running
        }
        _ => false,
    };
    assert!(is_same, "{operation:?} gave {answer:?}, expected {expected:?}");
    let numbers = |threads: Vec<ThreadId>| -> Vec<usize> {
        threads.into_iter().map(|thread| world.number(thread)).collect()
    };
    let scheduler = &policy.scheduler;
    let mut ready = numbers(scheduler.ready().iter(&scheduler.threads).collect());
    // The running thread stands at the head of all; the model has it nowhere.
    assert_eq!(ready.first().copied(), model.running);
    if !ready.is_empty() {
        ready.remove(0);
    }
    assert_eq!(ready, model.ready_in_order(), "who is ready, after {operation:?}");
    for (number, thread) in world.threads.iter().enumerate() {
        let (record, expected) = (policy.thread(*thread), &model.threads[number]);
        let actual = (record.base, record.effective, record.state, record.waiting);
        let wanted = (expected.base, expected.effective, expected.state, expected.waiting);
        assert_eq!(actual, wanted, "thread {number} after {operation:?}");
        assert_eq!((record.outcome, record.value), (expected.outcome, expected.value), "after {operation:?}");
        assert_eq!(record.rest, expected.rest, "rest of slice of thread {number} after {operation:?}");
    }
    for waiting in world.queues() {
        let queue = world.waiters(waiting);
        assert_eq!(numbers(queue), model.waiters_in_order(waiting), "{waiting:?} after {operation:?}");
    }
    let poisoned: Vec<bool> = (0..3).map(|mutex| world.is_poisoned(mutex)).collect();
    assert_eq!(poisoned, model.mutexes.iter().map(|mutex| mutex.is_poisoned).collect::<Vec<_>>());
}

/// Threads of one level that only compute, and a more important one that comes and goes.
///
/// Gives the time that each has run after each step.
fn compute(threads: usize, steps: &[(u64, u64)], slice: u64) -> Vec<Vec<u64>> {
    use crate::policy::tests::roomy;
    use crate::time_slice::TimeSlice;
    let mut policy = roomy();
    policy.set_slice(TimeSlice::from_nanoseconds(slice));
    let mut machine = Machine::default();
    let important = policy.create_thread(Priority::new(50), None).unwrap();
    let mut decision = policy.resume(important, 0);
    machine.carry_out(decision.alarm);
    let computing: Vec<_> =
        (0..threads).map(|_| policy.create_thread(Priority::new(7), None).unwrap()).collect();
    for thread in &computing {
        decision = policy.resume(*thread, 0);
        machine.carry_out(decision.alarm);
    }
    let mut ran = std::vec![0; threads];
    let mut history = Vec::new();
    for (works, sleeps) in steps {
        // The important one works a while, then sleeps; the others get what is left.
        machine.now += works;
        let wakes_at = machine.now + sleeps;
        let Attempt::Switch(mut decision) = policy.sleep(wakes_at, machine.now) else { continue };
        machine.carry_out(decision.alarm);
        while decision.run != Some(important) {
            let fires_at = machine.set_to.take().expect("the important one must be woken");
            let index = computing.iter().position(|thread| decision.run == Some(*thread)).unwrap();
            ran[index] += fires_at - machine.now;
            machine.now = fires_at;
            decision = policy.alarm(machine.now);
            machine.carry_out(decision.alarm);
        }
        history.push(ran.clone());
    }
    history
}

/// Found by a random run, when the model fixed the number before it began.
#[test]
fn who_is_admitted_to_a_lock_while_the_released_become_ready_is_in_the_same_batch() {
    use Operation::{Create, LockReadWrite, LockUncontended, NotifyAll, Park, WaitCondition};
    let level = |level| Create(Priority::new(level), None);
    let mut run = Run::new(true);
    for operation in [
        // One reads and parks, one wants to write.
        level(20),
        LockReadWrite(Access::Read, None),
        Park(None),
        level(20),
        LockReadWrite(Access::Write, None),
        // An important one waits on the condition, and gave up the mutex for that.
        level(63),
        LockUncontended(0),
        WaitCondition(0, None),
        // The mutex's owner wants to read and stands behind the writer.
        level(20),
        LockUncontended(0),
        LockReadWrite(Access::Read, None),
        // Notified, the important one waits for the mutex. Its owner is raised, so it passes the writer and
        // may read at once.
        level(0),
        NotifyAll,
    ] {
        run.step(operation);
    }
    assert_eq!(run.model.unwrap().running, Some(3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_400, ..ProptestConfig::default() })]

    #[test]
    fn every_step_is_what_the_naive_model_says(numbers in prop::collection::vec(any::<u32>(), 400..600)) {
        run(&numbers, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Without the model's restrictions: closed chains that a deadline opens, conditions waited on with
    /// several mutexes held.
    #[test]
    fn invariants_hold_after_every_step(numbers in prop::collection::vec(any::<u32>(), 400..600)) {
        run(&numbers, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn round_robin_is_fair_to_one_slice(
        threads in 2..6usize,
        steps in prop::collection::vec((0..30u64, 1..30u64), 1..100),
        slice in 1..25u64,
    ) {
        for ran in compute(threads, &steps, slice) {
            let (least, most) = (ran.iter().min().unwrap(), ran.iter().max().unwrap());
            prop_assert!(most - least <= slice, "{:?} with slices of {}", ran, slice);
        }
    }
}
