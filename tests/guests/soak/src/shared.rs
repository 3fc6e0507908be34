//! What the threads share, with the invariant of each structure.
//!
//! The numbers under the locks are atomics that are only loaded and stored, so a lock that is missing is
//! noticed and nothing worse happens.

use crate::random::Random;
use crate::{BROKEN, ensure, fail, unpoisoned};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::{
    Barrier, Channel, Condvar, EventGroup, Events, Mutex, MutexGuard, RwLock, Semaphore, TryLockError,
};
use libvcpu::thread;
use libvcpu::time::Duration;

/// Lets all begin at once.
pub(crate) static START: EventGroup = EventGroup::new();
pub(crate) const BEGIN: u32 = 1;

/// How to take a lock or a permit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Wait,
    Try,
    Timeout(Duration),
}

impl Way {
    pub(crate) fn random(random: &mut Random) -> Way {
        match random.below(4) {
            0 => Way::Try,
            1 => Way::Timeout(random.time(500)),
            _ => Way::Wait,
        }
    }
}

// Accounts, each under its mutex: money moves, and none is lost.

pub(crate) const ACCOUNTS: usize = 8;
const MONEY: i64 = 1000;

struct Account {
    mutex: Mutex<()>,
    balance: AtomicI64,
    is_busy: AtomicBool,
}

static BANK: [Account; ACCOUNTS] = [const {
    Account { mutex: Mutex::new(()), balance: AtomicI64::new(MONEY), is_busy: AtomicBool::new(false) }
}; ACCOUNTS];

/// An account that nobody else uses meanwhile.
struct Own<'a> {
    account: &'a Account,
    _guard: Option<MutexGuard<'a, ()>>,
}

impl<'a> Own<'a> {
    fn lock(number: usize, way: Way) -> Option<Own<'a>> {
        let account = &BANK[number];
        let is_left_out = number == 0 && BROKEN.load(Relaxed);
        let guard = if is_left_out { None } else { Some(locked(&account.mutex, way)?) };
        ensure(!account.is_busy.swap(true, Relaxed), "two threads have the same mutex");
        Some(Own { account, _guard: guard })
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        ensure(self.account.is_busy.swap(false, Relaxed), "somebody else was in the critical section");
    }
}

fn locked(mutex: &Mutex<()>, way: Way) -> Option<MutexGuard<'_, ()>> {
    let result = match way {
        Way::Wait => return Some(unpoisoned(mutex.lock())),
        Way::Try => mutex.try_lock(),
        Way::Timeout(time) => mutex.lock_timeout(time),
    };
    match result {
        Ok(guard) => Some(guard),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Poisoned(_)) => fail("a mutex is poisoned, and nobody died"),
    }
}

/// Moves money between two accounts, locked in the order of their numbers. In between others may run.
pub(crate) fn transfer(random: &mut Random) -> bool {
    let first = random.below(ACCOUNTS as u64 - 1);
    let second = first + 1 + random.below(ACCOUNTS as u64 - 1 - first);
    let Some(from) = Own::lock(first as usize, Way::random(random)) else { return false };
    let Some(to) = Own::lock(second as usize, Way::random(random)) else { return false };
    let amount = random.below(100) as i64 - 50;
    let balances = [&from, &to].map(|own| own.account.balance.load(Relaxed));
    match random.below(8) {
        0 => thread::yield_now(),
        1 => thread::sleep(random.time(200)),
        _ => spin(random),
    }
    from.account.balance.store(balances[0] - amount, Relaxed);
    to.account.balance.store(balances[1] + amount, Relaxed);
    true
}

fn spin(random: &mut Random) {
    for _ in 0..random.below(300) {
        core::hint::spin_loop();
    }
}

// Two numbers under a reader-writer lock: they are equal.

static PAIR: RwLock<[AtomicU64; 2]> = RwLock::new([const { AtomicU64::new(0) }; 2]);
static READERS: AtomicU32 = AtomicU32::new(0);
static WRITERS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn read(random: &mut Random) -> bool {
    let guard = match Way::random(random) {
        Way::Wait => Ok(unpoisoned(PAIR.read())),
        Way::Try => PAIR.try_read(),
        Way::Timeout(time) => PAIR.read_timeout(time),
    };
    let Ok(pair) = guard else { return false };
    READERS.fetch_add(1, Relaxed);
    let first = pair[0].load(Relaxed);
    spin(random);
    ensure(pair[1].load(Relaxed) == first, "a reader saw half a change");
    ensure(WRITERS.load(Relaxed) == 0, "a reader and a writer have the same lock");
    READERS.fetch_sub(1, Relaxed);
    true
}

pub(crate) fn write(random: &mut Random) -> bool {
    let guard = match Way::random(random) {
        Way::Wait => Ok(unpoisoned(PAIR.write())),
        Way::Try => PAIR.try_write(),
        Way::Timeout(time) => PAIR.write_timeout(time),
    };
    let Ok(pair) = guard else { return false };
    ensure(WRITERS.fetch_add(1, Relaxed) == 0, "two writers have the same lock");
    ensure(READERS.load(Relaxed) == 0, "a writer and a reader have the same lock");
    let value = random.next();
    pair[0].store(value, Relaxed);
    spin(random);
    pair[1].store(value, Relaxed);
    WRITERS.fetch_sub(1, Relaxed);
    true
}

// A semaphore: no more are in than it has permits.

const PERMITS: u32 = 5;
static SEMAPHORE: Semaphore = Semaphore::new(PERMITS);
static INSIDE: AtomicU32 = AtomicU32::new(0);

pub(crate) fn permit(random: &mut Random) -> bool {
    let permit = match Way::random(random) {
        Way::Wait => Some(SEMAPHORE.acquire()),
        Way::Try => SEMAPHORE.try_acquire(),
        Way::Timeout(time) => SEMAPHORE.acquire_timeout(time).ok(),
    };
    let Some(_permit) = permit else { return false };
    ensure(INSIDE.fetch_add(1, Relaxed) < PERMITS, "more are in than the semaphore has permits");
    if random.once_in(4) {
        thread::sleep(random.time(300));
    }
    spin(random);
    INSIDE.fetch_sub(1, Relaxed);
    true
}

// A channel: what comes out went in.

static CHANNEL: Channel<u64, 16> = Channel::new();
/// What went in less what came out: how many, and their sum.
static UNDERWAY: AtomicI64 = AtomicI64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn send(random: &mut Random) -> bool {
    let value = random.next();
    // Counted before, since it may come out before this thread runs again.
    UNDERWAY.fetch_add(1, Relaxed);
    SUM.fetch_add(value, Relaxed);
    let is_sent = match Way::random(random) {
        Way::Try => CHANNEL.try_send(value).is_ok(),
        _ => CHANNEL.send_timeout(value, random.time(1000)).is_ok(),
    };
    if !is_sent {
        UNDERWAY.fetch_sub(1, Relaxed);
        SUM.fetch_sub(value, Relaxed);
    }
    is_sent
}

pub(crate) fn receive(random: &mut Random) -> bool {
    let received = match Way::random(random) {
        Way::Try => CHANNEL.try_recv().ok(),
        _ => CHANNEL.recv_timeout(random.time(1000)).ok(),
    };
    let Some(value) = received else { return false };
    UNDERWAY.fetch_sub(1, Relaxed);
    SUM.fetch_sub(value, Relaxed);
    true
}

// Tokens under a mutex with a condition variable: those that were put and not taken are there.

static TOKENS: Mutex<u64> = Mutex::new(0);
static FILLED: Condvar = Condvar::new();
static PUT: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn put(random: &mut Random) -> bool {
    let count = 1 + random.below(3);
    *unpoisoned(TOKENS.lock()) += count;
    PUT.fetch_add(count, Relaxed);
    if count == 1 {
        FILLED.notify_one()
    } else {
        FILLED.notify_all()
    }
    true
}

pub(crate) fn take(random: &mut Random) -> bool {
    let guard = unpoisoned(TOKENS.lock());
    let time = random.time(1000);
    let (mut tokens, result) = unpoisoned(FILLED.wait_timeout_while(guard, time, |tokens| *tokens == 0));
    if result.timed_out() {
        return false;
    }
    ensure(*tokens > 0, "a wait has ended without its condition");
    *tokens -= 1;
    TAKEN.fetch_add(1, Relaxed);
    true
}

// Events: each that is set ends at most one wait that clears it.

const EVENTS: usize = 8;
static GROUP: EventGroup = EventGroup::new();
static SET: [AtomicU64; EVENTS] = [const { AtomicU64::new(0) }; EVENTS];
static CLEARED: [AtomicU64; EVENTS] = [const { AtomicU64::new(0) }; EVENTS];

pub(crate) fn set_event(random: &mut Random) -> bool {
    let event = random.below(EVENTS as u64) as usize;
    SET[event].fetch_add(1, Relaxed);
    GROUP.set(1 << event);
    true
}

pub(crate) fn wait_event(random: &mut Random) -> bool {
    let event = random.below(EVENTS as u64) as usize;
    let wanted = Events::any(1 << event).cleared();
    let happened = match Way::random(random) {
        Way::Try => GROUP.try_wait(wanted),
        _ => GROUP.wait_timeout(wanted, random.time(1000)).ok(),
    };
    let Some(happened) = happened else { return false };
    ensure(happened >> event & 1 == 1, "a wait has ended without its event");
    CLEARED[event].fetch_add(1, Relaxed);
    true
}

// A barrier: of each round one leads.

const ROUND: u64 = 4;
static BARRIER: Barrier = Barrier::new(ROUND as usize);
static PASSED: AtomicU64 = AtomicU64::new(0);
static LED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn meet(random: &mut Random) -> bool {
    let Ok(result) = BARRIER.wait_timeout(random.time(2000)) else { return false };
    PASSED.fetch_add(1, Relaxed);
    LED.fetch_add(u64::from(result.is_leader()), Relaxed);
    true
}

// All of it.

/// Uses everything once. So many do this at once that all of them wait at the same time.
pub(crate) fn touch() {
    let mut random = Random::new(0, thread::current().id().as_u64().get());
    let guard = unpoisoned(PAIR.read());
    START.wait_timeout(Events::any(BEGIN), Duration::from_millis(200)).ok();
    drop(guard);
    for operation in [transfer, read, write, permit, send, receive, put, take, set_event, wait_event, meet] {
        operation(&mut random);
    }
}

/// What must hold at any moment that no other thread can see.
pub(crate) fn check() {
    ensure(INSIDE.load(Relaxed) <= PERMITS, "more are in than the semaphore has permits");
    ensure(WRITERS.load(Relaxed) <= 1, "two writers have the same lock");
    let all: Vec<_> = (0..ACCOUNTS).map(|number| Own::lock(number, Way::Wait)).collect();
    let sum: i64 = BANK.iter().map(|account| account.balance.load(Relaxed)).sum();
    ensure(sum == ACCOUNTS as i64 * MONEY, "the accounts do not add up");
    drop(all);
}

/// What must hold when all threads have ended.
pub(crate) fn check_end() {
    check();
    let in_use = [&INSIDE, &READERS, &WRITERS].map(|count| count.load(Relaxed));
    ensure(in_use == [0; 3], "something is in use still");
    ensure(SEMAPHORE.permits() == PERMITS, "permits were lost, or there are too many");
    ensure(PAIR.try_write().is_ok(), "the reader-writer lock is locked still");
    let left: Vec<u64> = CHANNEL.try_iter().collect();
    ensure(UNDERWAY.load(Relaxed) == left.len() as i64, "the channel has lost values, or has too many");
    let sum = left.iter().fold(0u64, |sum, value| sum.wrapping_add(*value));
    ensure(SUM.load(Relaxed) == sum, "the channel has other values than were sent");
    let (put, taken) = (PUT.load(Relaxed), TAKEN.load(Relaxed));
    ensure(*unpoisoned(TOKENS.lock()) == put - taken, "tokens were lost, or there are too many");
    for (event, (set, cleared)) in SET.iter().zip(&CLEARED).enumerate() {
        let left = u64::from(GROUP.get() >> event & 1);
        ensure(cleared.load(Relaxed) + left <= set.load(Relaxed), "an event came more often than it was set");
    }
    let (passed, led) = (PASSED.load(Relaxed), LED.load(Relaxed));
    ensure(passed == led * ROUND, "a round at the barrier had not one leader");
}
