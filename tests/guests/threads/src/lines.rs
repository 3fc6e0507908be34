//! Event handler threads: threads that listen to event lines.

use crate::trace::{letters, note};
use crate::{HIGH, LOW, ms, spawn};
use libvcpu::event::{self, LineTaken, Listener};
use libvcpu::io::{Write, stdout};
use libvcpu::prelude::*;
use libvcpu::sync::TimedOut;
use libvcpu::thread::{self, Builder, HandlerError, Priority};
use libvcpu::time::{Instant, set_timer};

/// The lines that the host raises, from this one on.
const FIRST: u32 = 10;

/// How many there are.
const COUNT: u32 = 4;

/// Ends the storm.
const STOP: u32 = 1;

/// Two handler threads serve two lines each, while others compute at both sides of their priority. Each
/// acknowledges by a letter what came; the host raises a line again only after that. In the end the counts.
pub(crate) fn storm() {
    for (lines, level) in [([FIRST, FIRST + 1], HIGH), ([FIRST + 2, FIRST + 3], LOW + 1)] {
        let handler = Builder::new().priority(Priority::new(level)).spawn_handler(&lines, move |came| {
            for line in lines.into_iter().filter(|line| came >> line & 1 != 0) {
                let letter = b'a' + (line - FIRST) as u8;
                stdout().write_all(&[letter]).expect("the host reads");
            }
        });
        handler.expect("the lines are free");
    }
    for _ in 0..2 {
        spawn(LOW, || {
            loop {
                core::hint::spin_loop();
            }
        });
    }
    let mut stop = Listener::bind(&[STOP]).expect("the line is free");
    println!("ready");
    stop.wait(None).expect("there is no deadline");
    let counts: Vec<u64> = (FIRST..FIRST + COUNT).map(event::count).collect();
    println!("\n{counts:?}");
}

/// A line has one listener at most, and the kernel's own has none; when a listener goes, its lines are free.
pub(crate) fn taken() {
    let first = Listener::bind(&[3, 4]).expect("the lines are free");
    assert_eq!(Listener::bind(&[5, 4]).err(), Some(LineTaken(4)));
    // Nothing of the refused one was bound.
    let second = Listener::bind(&[5]).expect("the line is free");
    assert_eq!(Listener::bind(&[63]).err(), Some(LineTaken(63)));
    assert_eq!(Listener::bind(&[64]).err(), Some(LineTaken(64)));
    assert_eq!(Listener::bind(&[1000]).err(), Some(LineTaken(1000)));
    let handler = Builder::new().spawn_handler(&[5], |_| ());
    assert_eq!(handler.err(), Some(HandlerError::Line(LineTaken(5))));
    println!("{}", LineTaken(4));
    drop(first);
    let third = Listener::bind(&[4, 4]).expect("the line is free again");
    drop((second, third));
    println!("{:?}", Listener::bind(&[3, 5]).expect("the lines are free again"));
}

fn now(line: u32) {
    set_timer(line, Some(Instant::now()));
}

/// Events of a masked line are kept, as one, and others are not. Unmasking delivers before it returns.
pub(crate) fn mask() {
    let mut listener = Listener::bind(&[3, 4]).expect("the lines are free");
    spawn(HIGH, move || {
        loop {
            let came = listener.wait(None).expect("there is no deadline");
            note(if came == 1 << 3 { '3' } else { '4' });
        }
    });
    now(3);
    event::mask(3);
    event::mask(3);
    note('a');
    now(3);
    now(3);
    now(4);
    note('b');
    event::unmask(3);
    note('c');
    event::unmask(3);
    now(3);
    println!("{} {} {}", letters(), event::count(3), event::count(4));
    // The same with a handler function.
    event::set_handler(7, Some(|| note('7')));
    event::mask(7);
    now(7);
    note('d');
    event::unmask(7);
    note('e');
    println!("{}", letters());
}

/// Deadlines of a listener; and what came before anybody waited is not lost.
pub(crate) fn wait() {
    // It comes before anybody is bound.
    now(3);
    thread::sleep(ms(1));
    let mut listener = Listener::bind(&[3, 4]).expect("the lines are free");
    println!("{:#x}", listener.wait(None).expect("it came"));
    let begin = Instant::now();
    let deadline = |milliseconds| Some((begin + ms(milliseconds)).as_nanos());
    assert_eq!(listener.wait(deadline(0)), Err(TimedOut));
    assert_eq!(listener.wait(deadline(5)), Err(TimedOut));
    assert_eq!(begin.elapsed(), ms(5));
    // The deadline is past again.
    assert_eq!(listener.wait(deadline(5)), Err(TimedOut));
    // Several on one line are one; of two lines, both are told.
    now(4);
    now(4);
    now(3);
    println!("{:#x}", listener.wait(deadline(0)).expect("they came"));
    set_timer(4, Some(begin + ms(8)));
    println!("{:#x} at {:?}", listener.wait(deadline(10)).expect("it comes"), begin.elapsed());
    // At the same moment as its deadline.
    set_timer(3, Some(begin + ms(12)));
    let result = listener.wait(deadline(12)).or_else(|_| listener.wait(deadline(12)));
    println!("{:#x} at {:?}", result.expect("it came, one way or the other"), begin.elapsed());
}
