//! Producers and consumers: several threads send through one bounded channel, several receive.
//!
//! `producer-consumer [PER_PRODUCER]`: four producers send so many numbers each (default 10,000), all
//! different, through a channel that has room for sixteen; three consumers take them out. Whoever finds the
//! channel full, or empty, waits. When the producers are done, the channel is closed, which ends the
//! consumers' loops once it is empty. In the end each number must have come out exactly once, and each
//! consumer must have seen the numbers of each producer in order.

#![no_std]
#![no_main]

use libvcpu::prelude::*;
use libvcpu::sync::Channel;
use libvcpu::thread;

entry!(main);

const PRODUCERS: usize = 4;
const CONSUMERS: usize = 3;

/// A number, and who sent it.
#[derive(Clone, Copy)]
struct Item {
    producer: usize,
    number: usize,
}

static CHANNEL: Channel<Item, 16> = Channel::new();

fn main() -> u8 {
    let mut arguments = libvcpu::env::args().skip(1);
    let each = arguments.next().map_or(Ok(10_000), |text| text.parse::<usize>());
    let (Ok(each), None) = (each, arguments.next()) else {
        eprintln!("producer-consumer: expected [PER_PRODUCER], how many numbers each producer sends");
        return 2;
    };

    let received: Vec<Vec<Item>> = thread::scope(|scope| {
        let consumers: Vec<_> =
            (0..CONSUMERS).map(|_| scope.spawn(|| CHANNEL.iter().collect::<Vec<Item>>())).collect();
        let producers: Vec<_> =
            (0..PRODUCERS).map(|producer| scope.spawn(move || produce(producer, each))).collect();
        for producer in producers {
            producer.join().expect("a producer ends well");
        }
        CHANNEL.close();
        consumers.into_iter().map(|consumer| consumer.join().expect("a consumer ends well")).collect()
    });

    let count: usize = received.iter().map(Vec::len).sum();
    println!("{} sent by {PRODUCERS} producers, {count} received by {CONSUMERS} consumers", PRODUCERS * each);

    let mut seen = vec![0u32; PRODUCERS * each];
    for item in received.iter().flatten() {
        seen[item.producer * each + item.number] += 1;
    }
    let lost = seen.iter().filter(|times| **times == 0).count();
    let doubled = seen.iter().filter(|times| **times > 1).count();
    let disordered = received.iter().filter(|items| !is_in_order(items)).count();
    println!("{lost} lost, {doubled} doubled, {disordered} consumers saw them out of order");
    u8::from(lost + doubled + disordered > 0)
}

fn produce(producer: usize, each: usize) {
    for number in 0..each {
        CHANNEL.send(Item { producer, number }).expect("nobody closes the channel before this ends");
    }
}

/// Whether the numbers of each producer rise.
fn is_in_order(items: &[Item]) -> bool {
    (0..PRODUCERS).all(|producer| {
        let own = items.iter().filter(|item| item.producer == producer);
        own.is_sorted_by(|before, after| before.number < after.number)
    })
}
