//! What the threads do.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::{Channel, Condvar, EventGroup, Events, Mutex, RwLock, Semaphore};
use libvcpu::thread::{self, Priority};
use libvcpu::time::{Duration, Instant, Timer};

static MUTEXES: [Mutex<u64>; 4] = [const { Mutex::new(0) }; 4];
static LOCK: RwLock<u64> = RwLock::new(0);
static SEMAPHORE: Semaphore = Semaphore::new(3);
static CONDITION: Condvar = Condvar::new();
static GROUP: EventGroup = EventGroup::new();
static CHANNEL: Channel<u64, 16> = Channel::new();
static TIMER: Timer = Timer::new();

/// The longest wait for something that may never come.
const PATIENCE: Duration = Duration::from_micros(300);

/// Pseudo-random numbers (xorshift), of each thread its own.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// With which a thread begins.
pub(crate) fn priority(number: u64) -> Priority {
    Priority::new(20 + (number % 12) as u8)
}

/// Does one thing after another until it is to stop.
pub(crate) fn at_random(number: u64, stop: &AtomicBool) {
    let mut random = Random(number * 0x9e37_79b9_7f4a_7c15 + 1);
    while !stop.load(Relaxed) {
        operation(&mut random);
    }
}

fn operation(random: &mut Random) {
    const SOUND: &str = "no worker dies";
    match random.below(20) {
        0..=2 => {
            // Always in this order, so that nobody waits for ever.
            let first = random.below(3) as usize;
            let mut one = MUTEXES[first].lock().expect(SOUND);
            let mut other = MUTEXES[first + 1].lock().expect(SOUND);
            *one += 1;
            if random.below(4) == 0 {
                thread::yield_now();
            }
            *other += 1;
        }
        3 => *LOCK.write().expect(SOUND) += 1,
        4 | 5 => drop(LOCK.read().expect(SOUND)),
        6 => {
            if let Ok(_permit) = SEMAPHORE.acquire_timeout(PATIENCE) {
                thread::yield_now();
            }
        }
        7 | 8 => {
            let guard = MUTEXES[0].lock().expect(SOUND);
            drop(CONDITION.wait_timeout(guard, PATIENCE).expect(SOUND));
        }
        9 if random.below(8) == 0 => CONDITION.notify_all(),
        9 => CONDITION.notify_one(),
        10 | 11 => {
            // Late is as good as in time.
            let _ = GROUP.wait_timeout(Events::any(7).cleared(), PATIENCE);
        }
        12 => GROUP.set(1 << random.below(3)),
        13 => {
            let _ = CHANNEL.send_timeout(random.below(100), PATIENCE);
        }
        14 => {
            let _ = CHANNEL.recv_timeout(PATIENCE);
        }
        15 => thread::sleep(Duration::from_micros(random.below(200))),
        16 => {
            let mut blocks: Vec<Vec<u8>> = Vec::new();
            for _ in 0..random.below(8) {
                let limit = if random.below(8) == 0 { 20_000 } else { 1_500 };
                blocks.push(Vec::with_capacity(random.below(limit) as usize));
            }
        }
        17 if random.below(8) == 0 => {
            let child = thread::Builder::new().stack_size(thread::MINIMUM_STACK).spawn(|| {});
            child.expect("there is memory for a thread").join().expect(SOUND);
        }
        17 => thread::current().set_priority(priority(random.below(12))),
        18 => {
            TIMER.start_at(Instant::now());
            let _ = TIMER.wait_timeout(PATIENCE);
        }
        _ => compute(random),
    }
}

/// Is interrupted sooner or later.
fn compute(random: &mut Random) {
    for _ in 0..random.below(5_000) {
        core::hint::black_box(random.below(2));
    }
}
