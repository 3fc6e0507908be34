//! Channels.

use crate::{let_others_run, milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::mpsc::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, sync_channel,
};
use libvcpu::sync::{Arc, Channel};
use libvcpu::thread;
use libvcpu::time::Instant;

/// Values come in the order in which they were sent; a full channel is waited for, and an empty one.
pub(crate) fn order() {
    static CHANNEL: Channel<u32, 4> = Channel::new();
    let sender = spawn(60, || {
        for number in 0..10 {
            CHANNEL.send(number).unwrap();
        }
        println!("all sent");
    });
    println!("{CHANNEL:?}");
    let received: Vec<_> = (0..10).map(|_| CHANNEL.recv().unwrap()).collect();
    println!("{received:?}");
    sender.join().unwrap();
    let receiver = spawn(60, || CHANNEL.recv());
    CHANNEL.send(7).unwrap();
    println!("{:?}", receiver.join().unwrap());
    let begin = Instant::now();
    assert_eq!(CHANNEL.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(CHANNEL.recv_timeout(milliseconds(5)), Err(RecvTimeoutError::Timeout));
    assert_eq!(CHANNEL.recv_until(begin), Err(RecvTimeoutError::Timeout));
    println!("gave up receiving after {:?}", begin.elapsed());
    while CHANNEL.try_send(1).is_ok() {}
    assert_eq!((CHANNEL.len(), CHANNEL.try_send(2)), (4, Err(TrySendError::Full(2))));
    assert_eq!(CHANNEL.send_timeout(3, milliseconds(5)), Err(SendTimeoutError::Timeout(3)));
    assert_eq!(CHANNEL.send_until(4, begin), Err(SendTimeoutError::Timeout(4)));
    println!("gave up sending after {:?}", begin.elapsed());
    println!("{}", CHANNEL.try_iter().count());
}

/// Many to many: nothing is lost, nothing doubled, and what one sends one receives in order.
pub(crate) fn many() {
    const SENDERS: usize = 5;
    const EACH: usize = 1000;
    static CHANNEL: Channel<Box<(usize, usize)>, 7> = Channel::new();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            spawn(30 + sender as u8 % 3, move || {
                for number in 0..EACH {
                    match number % 3 {
                        0 => CHANNEL.send(Box::new((sender, number))).unwrap(),
                        1 => {
                            let mut value = Box::new((sender, number));
                            while let Err(TrySendError::Full(back)) = CHANNEL.try_send(value) {
                                value = back;
                                thread::sleep(milliseconds(1));
                            }
                        }
                        _ => {
                            let mut value = Box::new((sender, number));
                            while let Err(SendTimeoutError::Timeout(back)) =
                                CHANNEL.send_timeout(value, milliseconds(1))
                            {
                                value = back;
                            }
                        }
                    }
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..3)
        .map(|receiver| {
            spawn(30 + receiver, move || {
                let mut next = [0; SENDERS];
                let mut received = Vec::new();
                loop {
                    match CHANNEL.recv_timeout(milliseconds(u64::from(receiver))) {
                        Ok(value) => {
                            let (sender, number) = *value;
                            assert!(number >= next[sender], "in order");
                            next[sender] = number + 1;
                            received.push(sender * EACH + number);
                            if number % 5 == 0 {
                                thread::yield_now();
                            }
                        }
                        Err(RecvTimeoutError::Timeout) => thread::sleep(milliseconds(1)),
                        Err(RecvTimeoutError::Disconnected) => return received,
                    }
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    CHANNEL.close();
    let mut all: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..SENDERS * EACH), "{} received", all.len());
    println!("{} received, once each", all.len());
}

/// Closing ends all waits; what is in the channel can still be received.
pub(crate) fn close() {
    let channel = Arc::new(Channel::<u32, 2>::new());
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let theirs = channel.clone();
            spawn(60, move || theirs.recv())
        })
        .collect();
    channel.close();
    channel.close();
    let results: Vec<_> = receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect();
    println!("{results:?}");
    let channel = Arc::new(Channel::<u32, 2>::new());
    (1..=2).for_each(|number| channel.send(number).unwrap());
    let senders: Vec<_> = (3..6)
        .map(|number| {
            let theirs = channel.clone();
            spawn(60, move || theirs.send(number))
        })
        .collect();
    channel.close();
    let results: Vec<_> =
        senders.into_iter().map(|sender| sender.join().unwrap().map_err(|SendError(value)| value)).collect();
    println!("{results:?}");
    assert_eq!(channel.try_send(6), Err(TrySendError::Disconnected(6)));
    assert_eq!(channel.send_timeout(6, milliseconds(5)), Err(SendTimeoutError::Disconnected(6)));
    println!("{:?}", channel.iter().collect::<Vec<_>>());
    assert_eq!(channel.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(channel.recv_timeout(milliseconds(5)), Err(RecvTimeoutError::Disconnected));
    // What is left is dropped with the channel.
    let value = Arc::new(());
    let channel = Channel::<_, 8>::new();
    (0..5).for_each(|_| channel.send(value.clone()).unwrap());
    drop(channel);
    println!("{} left", Arc::strong_count(&value));
}

/// Channels with ends: they end with the last sender, or with the receiver.
pub(crate) fn ends() {
    let (sender, receiver) = sync_channel(3);
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let sender = sender.clone();
            spawn(30, move || (0..100).for_each(|other| sender.send(number * 100 + other).unwrap()))
        })
        .collect();
    drop(sender);
    let mut all: Vec<i32> = receiver.iter().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..400));
    println!("{:?} {:?}", receiver.recv(), receiver.try_recv());
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_eq!(receiver.recv(), Err(RecvError));

    let value = Arc::new(());
    let (sender, receiver) = sync_channel(2);
    (0..2).for_each(|_| sender.send(value.clone()).unwrap());
    let (theirs, extra) = (sender.clone(), value.clone());
    let waiter = spawn(60, move || theirs.send(extra).is_err());
    assert_eq!(Arc::strong_count(&value), 4);
    drop(receiver);
    println!("refused: {} {}", waiter.join().unwrap(), sender.send(value.clone()).is_err());
    println!("{} left", Arc::strong_count(&value));

    let (sender, receiver) = sync_channel::<u32>(1);
    let waiter = spawn(60, move || receiver.into_iter().sum::<u32>());
    sender.send(4).unwrap();
    sender.send(5).unwrap();
    let_others_run();
    drop(sender);
    println!("{}", waiter.join().unwrap());
}
