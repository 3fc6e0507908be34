//! Five philosophers, five forks, and each needs two to eat: deadlock, avoided, refused and noticed.
//!
//! `philosophers` takes the forks in order of their number, whoever sits where. Then there is always one
//! who has all that he can wait for, and all of them eat.
//!
//! `philosophers --circle` takes the left fork first. Once all have one, each waits for the next: a circle.
//! Of mutexes the kernel knows the owners, so it does not let the last philosopher wait for ever: that
//! thread panics, and dies alone. His fork goes to his neighbour, with the warning that its owner died
//! (the mutex is *poisoned*), and the others eat.
//!
//! `philosophers --deadlock` does the same with reader-writer locks, which can have many owners and are not
//! searched for circles. Now all five wait for ever, and the main thread for them. When nothing can ever run
//! again, the kernel says who waits for what and who holds it, and the run ends with status 101.

#![no_std]
#![no_main]

use libvcpu::prelude::*;
use libvcpu::sync::{Barrier, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use libvcpu::thread::{Builder, JoinHandle};

entry!(main);

const NAMES: [&str; 5] = ["Hypatia", "Kant", "Spinoza", "Arendt", "Laozi"];

const SEATS: usize = NAMES.len();

/// How often each of them eats.
const MEALS: usize = 100;

/// Has all of them take their first fork before anybody takes a second. Without it a circle would close
/// only some day, which is the worst of deadlocks.
static ALL_HAVE_ONE: Barrier = Barrier::new(SEATS);

static MUTEXES: [Mutex<()>; SEATS] = [const { Mutex::new(()) }; SEATS];
static LOCKS: [RwLock<()>; SEATS] = [const { RwLock::new(()) }; SEATS];

/// What one can eat with.
trait Fork: Sync {
    /// The fork in the hand; dropped, it lies on the table again.
    type InHand<'a>
    where
        Self: 'a;

    fn take(&self) -> Self::InHand<'_>;
}

impl Fork for Mutex<()> {
    type InHand<'a> = MutexGuard<'a, ()>;

    fn take(&self) -> MutexGuard<'_, ()> {
        // A fork is as good as ever, whoever died with it.
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fork for RwLock<()> {
    type InHand<'a> = RwLockWriteGuard<'a, ()>;

    fn take(&self) -> RwLockWriteGuard<'_, ()> {
        self.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let philosophers = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => seat(&MUTEXES, eat_in_order),
        ["--circle"] => seat(&MUTEXES, eat_left_first),
        ["--deadlock"] => seat(&LOCKS, eat_left_first),
        _ => {
            eprintln!("philosophers: expected nothing, `--circle` or `--deadlock`");
            return 2;
        }
    };
    for (name, philosopher) in NAMES.iter().zip(philosophers) {
        match philosopher.join() {
            Ok(meals) => println!("{name} has eaten {meals} times"),
            Err(_) => println!("{name} has died of hunger"),
        }
    }
    0
}

/// A thread for each philosopher.
fn seat<F: Fork>(
    forks: &'static [F; SEATS],
    eat: fn(&[F; SEATS], usize) -> usize,
) -> [JoinHandle<usize>; SEATS] {
    core::array::from_fn(|seat| {
        let philosopher = Builder::new().name(NAMES[seat].to_owned());
        philosopher.spawn(move || eat(forks, seat)).expect("there is memory for five threads")
    })
}

fn eat_in_order<F: Fork>(forks: &[F; SEATS], seat: usize) -> usize {
    let (left, right) = (seat, (seat + 1) % SEATS);
    let mut meals = 0;
    while meals < MEALS {
        let _first = forks[left.min(right)].take();
        // A chance for others to take what is missing here.
        libvcpu::thread::yield_now();
        let _second = forks[left.max(right)].take();
        meals += 1;
    }
    meals
}

fn eat_left_first<F: Fork>(forks: &[F; SEATS], seat: usize) -> usize {
    let mut meals = 0;
    while meals < MEALS {
        let _left = forks[seat].take();
        if meals == 0 {
            ALL_HAVE_ONE.wait();
        }
        let _right = forks[(seat + 1) % SEATS].take();
        meals += 1;
    }
    meals
}
