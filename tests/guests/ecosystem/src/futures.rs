//! `async`: threads meet at a channel of `embassy-sync`, and an event handler function wakes one.

use crate::{LINE, spawn};
use core::future::{pending, poll_fn};
use core::task::Poll;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::task::{block_on, block_on_timeout};
use libvcpu::thread;
use libvcpu::time::{Duration, Instant, set_timer};

/// One thread sends, the other receives, and each must wait for the other again and again.
pub(crate) fn channel() {
    const NUMBERS: u32 = 1000;
    static CHANNEL: Channel<CriticalSectionRawMutex, u32, 3> = Channel::new();
    let sender = spawn("sender", || {
        block_on(async {
            for number in 0..NUMBERS {
                CHANNEL.send(number).await;
            }
        });
    });
    let receiver = spawn("receiver", || {
        block_on(async {
            let mut is_in_order = true;
            for number in 0..NUMBERS {
                is_in_order &= CHANNEL.receive().await == number;
            }
            is_in_order
        })
    });
    sender.join().unwrap();
    println!("{NUMBERS} received, in order: {}", receiver.join().unwrap());
}

/// The handler signals; the thread sleeps until then. The last waker may be dropped in the handler.
pub(crate) fn signal() {
    static SIGNAL: Signal<CriticalSectionRawMutex, u64> = Signal::new();
    fn tick() {
        SIGNAL.signal(event::count(LINE));
    }
    event::set_handler(LINE, Some(tick));
    for _ in 0..3 {
        let begin = Instant::now();
        set_timer(LINE, Some(begin + Duration::from_millis(5)));
        let count = block_on(SIGNAL.wait());
        println!("{count} after {:?}", begin.elapsed());
    }
}

/// A future that never ends is given up, and nothing of it stays: neither memory nor a wake-up for others.
pub(crate) fn time_out() {
    let used = || libvcpu::heap::statistics().used;
    let begin = Instant::now();
    let before = used();
    let result = block_on_timeout(pending::<()>(), Duration::from_millis(5));
    println!("{result:?} after {:?}, {} bytes more", begin.elapsed(), used() - before);

    // It asks to be polled again, twice before it waits.
    let mut polls = 0;
    let value = block_on(poll_fn(|context| {
        polls += 1;
        context.waker().wake_by_ref();
        context.waker().wake_by_ref();
        if polls < 10 { Poll::Pending } else { Poll::Ready(polls) }
    }));
    let begin = Instant::now();
    thread::park_timeout(Duration::from_millis(5));
    println!("polled {value} times; parked for {:?}", begin.elapsed());
}
