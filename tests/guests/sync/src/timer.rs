//! Timers and moments.

use crate::{milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::TimedOut;
use libvcpu::thread;
use libvcpu::time::{Duration, Instant, SystemTime, Timer, UNIX_EPOCH};

pub(crate) fn timer() {
    static TIMER: Timer = Timer::new();
    let begin = Instant::now();
    assert_eq!(TIMER.try_wait(), None);
    TIMER.start(milliseconds(5));
    assert!(TIMER.is_started() && TIMER.try_wait().is_none());
    println!("{} after {:?}", TIMER.wait(), begin.elapsed());
    assert!(!TIMER.is_started());
    assert_eq!(TIMER.wait_timeout(milliseconds(5)), Err(TimedOut), "it was due once");

    TIMER.start_periodic_at(begin + milliseconds(20), milliseconds(10));
    println!("{} after {:?}", TIMER.wait(), begin.elapsed());
    println!("{} after {:?}", TIMER.wait(), begin.elapsed());
    thread::sleep(milliseconds(35));
    println!("{} after {:?}", TIMER.wait(), begin.elapsed());
    println!("{} after {:?}", TIMER.wait(), begin.elapsed());
    assert_eq!(TIMER.wait_until(begin + milliseconds(72)), Err(TimedOut));
    thread::sleep(milliseconds(10));
    TIMER.cancel();
    thread::sleep(milliseconds(100));
    println!("{:?} and {:?} after it was stopped", TIMER.try_wait(), TIMER.try_wait());

    TIMER.start_periodic(milliseconds(1));
    thread::sleep(milliseconds(5));
    // Started anew: what was not taken is forgotten.
    let deadline = Instant::now() + milliseconds(3);
    TIMER.start_at(deadline);
    let waiter = spawn(60, || TIMER.wait());
    println!("{} at the deadline: {}", waiter.join().unwrap(), Instant::now() == deadline);
    TIMER.start(Duration::MAX);
    assert_eq!(TIMER.wait_timeout(milliseconds(5)), Err(TimedOut));
    // One that is dropped does no harm.
    let dropped = Timer::new();
    dropped.start(milliseconds(1));
    drop(dropped);
    thread::sleep(milliseconds(5));

    let (early, late) = (begin, begin + milliseconds(1500));
    assert_eq!((late - early, early - late), (milliseconds(1500), Duration::ZERO));
    assert_eq!(
        (late.checked_duration_since(early), early.checked_duration_since(late)),
        (Some(milliseconds(1500)), None)
    );
    assert_eq!(
        (begin.checked_add(Duration::MAX), (late - Duration::from_secs(1)) - early),
        (None, milliseconds(500))
    );
    let day = UNIX_EPOCH + Duration::from_secs(86_400);
    assert_eq!(day.duration_since(UNIX_EPOCH).unwrap(), Duration::from_secs(86_400));
    assert_eq!(UNIX_EPOCH.duration_since(day).unwrap_err().duration(), Duration::from_secs(86_400));
    assert_eq!(UNIX_EPOCH.checked_sub(Duration::from_nanos(1)), None);
    assert!(day < SystemTime::now() || SystemTime::now().elapsed().is_ok());
}
