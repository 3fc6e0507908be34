//! Nothing can ever run again: the report names everybody.

use crate::{HIGH, LOW, ms, named, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::{Arc, Mutex};
use libvcpu::thread::{self, Builder, JoinHandle};

/// Threads that wait for each other's end.
pub(crate) fn joins() {
    static HANDLES: [Mutex<Option<JoinHandle<()>>>; 2] = [const { Mutex::new(None) }; 2];
    fn join(index: usize) {
        thread::sleep(ms(1));
        let other = HANDLES[index].lock().ok().and_then(|mut handle| handle.take());
        let _ = other.expect("it is there").join();
    }
    for (index, name) in ["a", "b"].into_iter().enumerate() {
        let thread = named(name, LOW, move || join(1 - index));
        *HANDLES[index].lock().expect("it is not poisoned") = Some(thread);
    }
    thread::park();
}

/// A thread that nobody will unpark, and one that waits for its end.
pub(crate) fn parks() {
    let parked = named("parked", LOW, thread::park);
    let _ = parked.join();
}

/// A mutex whose owner parks.
pub(crate) fn mutex() {
    let mutex = Arc::new(Mutex::new(()));
    let own = Arc::clone(&mutex);
    named("holder", HIGH, move || {
        let _guard = own.lock();
        thread::park();
    });
    drop(mutex.lock());
}

/// A circle of mutexes is found by the thread that would close it. It dies, and the others go on.
pub(crate) fn mutexes() {
    let mutexes = Arc::new([Mutex::new(()), Mutex::new(())]);
    let threads = [("one", 0, 1), ("two", 1, 0)].map(|(name, first, second)| {
        let mutexes = Arc::clone(&mutexes);
        named(name, LOW, move || {
            let _first = mutexes[first].lock();
            thread::sleep(ms(1));
            mutexes[second].lock().is_err()
        })
    });
    for thread in threads {
        match thread.join() {
            Ok(poisoned) => println!("went on, poisoned: {poisoned}"),
            Err(error) => println!("{}", error.downcast_ref::<String>().expect("the error is a text")),
        }
    }
}

/// Threads that are suspended, one of them in a wait.
pub(crate) fn suspended() {
    let late = Builder::new().name("late".into()).suspended();
    let late = late.spawn(|| {}).expect("there is memory for a thread");
    let parked = spawn(HIGH, thread::park);
    parked.thread().suspend();
    parked.thread().unpark();
    let waiting = spawn(HIGH, thread::park);
    waiting.thread().suspend();
    let _ = late.join();
}
