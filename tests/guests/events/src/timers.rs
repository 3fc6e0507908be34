//! Timers and deadlines.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::abi::call::{Call, Error, NEVER};
use libvcpu::abi::page::EVENT_LINES;
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant, set_timer, sleep};
use libvcpu::{call, event, machine};

const LINE: u32 = 3;

/// How often the handler of each line ran.
static COUNTS: [AtomicU64; EVENT_LINES as usize] = [const { AtomicU64::new(0) }; EVENT_LINES as usize];

/// The lines whose handlers ran, a byte each, the latest in the lowest byte.
static LATEST: AtomicU64 = AtomicU64::new(0);

fn count<const LINE: u32>() {
    COUNTS[LINE as usize].fetch_add(1, Relaxed);
    LATEST.store(LATEST.load(Relaxed) << 8 | u64::from(LINE), Relaxed);
}

fn counted(line: u32) -> u64 {
    COUNTS[line as usize].load(Relaxed)
}

fn after(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

/// A timer raises its line once, not before its deadline.
pub(crate) fn one_shot() {
    event::set_handler(LINE, Some(count::<LINE>));
    let deadline = Instant::now() + Duration::from_millis(5);
    set_timer(LINE, Some(deadline));
    event::wait_until(None, || counted(LINE) > 0);
    let early = Instant::now() < deadline;
    sleep(Duration::from_millis(20));
    println!("came {} times, too early: {early}", counted(LINE));
}

/// A handler sets its timer anew.
pub(crate) fn rearm() {
    fn again() {
        count::<LINE>();
        set_timer(LINE, (counted(LINE) < 5).then(|| Instant::now() + Duration::from_millis(1)));
    }
    event::set_handler(LINE, Some(again));
    set_timer(LINE, after(1));
    event::wait_until(None, || counted(LINE) == 5);
    sleep(Duration::from_millis(20));
    println!("came {} times", counted(LINE));
}

/// Setting a timer replaces the one that the line had.
pub(crate) fn replace() {
    event::set_handler(LINE, Some(count::<LINE>));
    set_timer(LINE, after(3_600_000));
    set_timer(LINE, after(1));
    event::wait_until(None, || counted(LINE) == 1);
    set_timer(LINE, after(10));
    set_timer(LINE, after(3_600_000));
    sleep(Duration::from_millis(30));
    println!("came {} times", counted(LINE));
}

/// A timer that is disarmed does not come; another line's does.
pub(crate) fn disarm() {
    event::set_handler(LINE, Some(count::<LINE>));
    event::set_handler(LINE + 1, Some(count::<{ LINE + 1 }>));
    // Set and disarmed with events off: it cannot come in between.
    event::without(|| {
        set_timer(LINE, after(10));
        set_timer(LINE + 1, after(10));
        set_timer(LINE, None);
    });
    sleep(Duration::from_millis(30));
    println!("came {} and {} times", counted(LINE), counted(LINE + 1));
}

/// A deadline that has passed already raises the line at once.
pub(crate) fn past() {
    event::set_handler(LINE, Some(count::<LINE>));
    sleep(Duration::from_millis(1));
    call::timer_set(LINE, Some(0)).expect("the line exists");
    event::wait_until(None, || counted(LINE) > 0);
    println!("came {} times", counted(LINE));
}

/// A timer that is moved about when it comes has come before that, or does not come before its new time.
pub(crate) fn moved() {
    let pending = &machine::page().pending;
    let spin = |nanoseconds| {
        let start = Instant::now();
        while Instant::now() < start + Duration::from_nanos(nanoseconds) {
            core::hint::spin_loop();
        }
    };
    let (mut came, mut early) = (0, 0);
    event::without(|| {
        for round in 0..ROUNDS {
            // Some are moved in time also where a call takes long.
            let distance = if round % 64 == 63 { 100_000_000 } else { round * 37 % 20_000 };
            set_timer(LINE, Some(Instant::now() + Duration::from_nanos(distance)));
            spin(round * 53 % 40_000);
            set_timer(LINE, after(3_600_000));
            came += pending.fetch_and(!(1 << LINE), Relaxed) >> LINE & 1;
            spin(30_000);
            early += pending.load(Relaxed) >> LINE & 1;
        }
    });
    println!("came at all: {}, always: {}, {early} too early", came > 0, came == ROUNDS);
}

/// Rounds of [`moved`].
const ROUNDS: u64 = 3000;

/// Eight lines, each of which sets its timer again when it comes, so that they overtake each other.
pub(crate) fn eight() {
    event::set_handler(1, Some(again::<1>));
    event::set_handler(2, Some(again::<2>));
    event::set_handler(3, Some(again::<3>));
    event::set_handler(4, Some(again::<4>));
    event::set_handler(5, Some(again::<5>));
    event::set_handler(6, Some(again::<6>));
    event::set_handler(7, Some(again::<7>));
    event::set_handler(8, Some(again::<8>));
    event::without(|| (1..=8).for_each(set_again));
    event::wait_until(None, || (1..=8).all(|line| counted(line) == TIMES));
    println!("{TIMES} times each, {} too early", EARLY.load(Relaxed));
}

/// How often each line of [`eight`] comes.
const TIMES: u64 = 300;

/// When each of them is to come, in ns.
static DEADLINES: [AtomicU64; 9] = [const { AtomicU64::new(0) }; 9];
static EARLY: AtomicU64 = AtomicU64::new(0);

fn again<const LINE: u32>() {
    if Instant::now().as_nanos() < DEADLINES[LINE as usize].load(Relaxed) {
        EARLY.fetch_add(1, Relaxed);
    }
    count::<LINE>();
    if counted(LINE) < TIMES {
        set_again(LINE);
    }
}

fn set_again(line: u32) {
    let distance = (counted(line) * 7919 + u64::from(line) * 104_729) % 900_000;
    let deadline = Instant::now() + Duration::from_nanos(20_000 + distance);
    DEADLINES[line as usize].store(deadline.as_nanos(), Relaxed);
    set_timer(line, Some(deadline));
}

/// Waits by a call through the trap page, for a timer that was set before.
pub(crate) fn trap_wait() {
    event::set_handler(LINE, Some(count::<LINE>));
    for round in 1..=20 {
        event::disable();
        set_timer(LINE, after(1));
        // SAFETY: the call writes no memory of the program's.
        let result = unsafe { call::raw_by_trap(Call::Wait as u32, NEVER, 0, 0, 0) };
        assert_eq!((result, counted(LINE)), (0, round));
    }
    println!("woken 20 times");
}

/// Sleeps 300 times; says when it begins and when it is over, and waits for an answer each time.
pub(crate) fn sleep_often() {
    let pause = |text| {
        println!("{text}");
        let mut line = [0];
        libvcpu::io::Read::read(&mut libvcpu::io::stdin(), &mut line).expect("the test answers");
    };
    pause("before");
    for _ in 0..300 {
        sleep(Duration::from_millis(1));
    }
    pause("after");
}

/// Timers come in the order of their deadlines, not of their numbers or of their setting.
pub(crate) fn order() {
    event::set_handler(9, Some(count::<9>));
    event::set_handler(4, Some(count::<4>));
    event::set_handler(7, Some(count::<7>));
    let start = Instant::now();
    for (line, milliseconds) in [(7, 300), (9, 100), (4, 200)] {
        set_timer(line, Some(start + Duration::from_millis(milliseconds)));
    }
    event::wait_until(None, || counted(7) > 0);
    println!("order {:06x}", LATEST.load(Relaxed));
}

/// Every line has a timer of its own; all can come at the same moment.
pub(crate) fn all_lines() {
    // Lines without a handler are noted, and asked for.
    let deadline = Instant::now() + Duration::from_millis(5);
    for line in 0..event::ALARM_LINE {
        set_timer(line, Some(deadline));
    }
    let mut came = 0u64;
    event::wait_until(None, || {
        let new =
            (0..event::ALARM_LINE).filter(|line| event::take(*line)).fold(0, |new, line| new | 1 << line);
        assert_eq!(came & new, 0, "a line came twice");
        came |= new;
        came == (1 << event::ALARM_LINE) - 1
    });
    println!("all lines came");
}

/// Waiting ends at the deadline if nothing comes, and says so; at an event, it says that.
pub(crate) fn time_out() {
    let deadline = Instant::now() + Duration::from_millis(5);
    let result = call::wait(Some(deadline.as_nanos()));
    println!("{:?}, too early: {}", result, Instant::now() < deadline);
    println!("in the past: {:?}", call::wait(Some(0)));
    event::set_handler(LINE, Some(count::<LINE>));
    event::disable();
    set_timer(LINE, after(1));
    let result = call::wait(after(3_600_000).map(Instant::as_nanos));
    println!("{:?} after {} events", result, counted(LINE));
    assert_eq!(call::wait(Some(0)), Err(Error::TimedOut));
}

/// Sleeps for an hour. Only for virtual time.
pub(crate) fn hour() {
    let start = Instant::now();
    sleep(Duration::from_secs(3600));
    println!("from {} ns to {} ns", start.as_nanos(), Instant::now().as_nanos());
}

/// Three timers of different periods, and what time it was each time. Only for virtual time.
pub(crate) fn diary() {
    fn tick<const LINE: u32, const PERIOD: u64>() {
        count::<LINE>();
        let now = Instant::now();
        println!("{} ns: line {LINE}, time {}", now.as_nanos(), counted(LINE));
        set_timer(LINE, Some(now + Duration::from_micros(PERIOD)));
    }
    event::set_handler(5, Some(tick::<5, 1000>));
    event::set_handler(6, Some(tick::<6, 1700>));
    event::set_handler(7, Some(tick::<7, 2500>));
    for line in [5, 6, 7] {
        set_timer(line, Some(Instant::now()));
    }
    event::wait_until(None, || counted(5) >= 50);
    println!(
        "{:?} since 1970",
        libvcpu::time::SystemTime::now().duration_since(libvcpu::time::UNIX_EPOCH).unwrap()
    );
}
