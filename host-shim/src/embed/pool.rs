//! Guests that wait, restored from a snapshot, for somebody to need them.
//!
//! A guest that was used is never used again: its process is hostile code by then. So every reset needs a new
//! process, and what that takes is done by a thread of the pool beforehand, and the end of the old one afterwards.

use super::place::Place;
use crate::Error;
use crate::machine::snapshot::Saved;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The guests of one snapshot. The pool's thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Saved,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    ready: Vec<Place>,
    /// How many there should be.
    wanted: usize,
    /// Guests that nobody needs any more, whose RAM others can use.
    used: Vec<Place>,
    /// Why there are fewer, until somebody was told.
    failed: Option<Error>,
    end: bool,
}

impl Pool {
    /// A pool that keeps none ready.
    pub(crate) fn new(state: Saved) -> Pool {
        let shared = Shared { state, shelf: Mutex::default(), changed: Condvar::new() };
        Pool { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// The state that all its guests begin with.
    pub(crate) fn saved(&self) -> &Saved {
        &self.shared.state
    }

    /// Says how many are to be kept ready.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(crate) fn keep(&self, count: usize) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() && count > 0 {
            let shared = self.shared.clone();
            let builder = std::thread::Builder::new().name("vcpu-pool".to_owned());
            let started = builder.spawn(move || shared.serve());
            *thread = Some(started.map_err(|error| Error::system("start a thread", error))?);
        }
        let surplus = {
            let mut shelf = self.shared.shelf();
            shelf.wanted = count;
            let kept = count.min(shelf.ready.len());
            shelf.ready.split_off(kept)
        };
        drop(surplus);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.shared.shelf().ready.len()
    }

    /// Waits until as many are ready as are to be kept.
    ///
    /// # Errors
    ///
    /// Why there are fewer.
    pub(crate) fn fill(&self) -> Result<(), Error> {
        let mut shelf = self.shared.shelf();
        while shelf.ready.len() < shelf.wanted {
            if let Some(error) = shelf.failed.take() {
                // It is tried again, for whoever asks again.
                self.shared.changed.notify_all();
                return Err(error);
            }
            shelf = self.shared.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// A guest: one that is ready, or else one that is made now.
    ///
    /// # Errors
    ///
    /// If it has to be made and the system refuses something.
    pub(crate) fn take(&self) -> Result<Place, Error> {
        let ready = self.shared.shelf().ready.pop();
        self.shared.changed.notify_all();
        match ready {
            Some(place) => Ok(place),
            None => Place::restore(&self.shared.state),
        }
    }

    /// Ends a guest, when there is time if others can use its RAM.
    pub(crate) fn give_back(&self, mut place: Place) {
        if !place.with(|machine| machine.fits(&self.shared.state)) {
            return;
        }
        let mut shelf = self.shared.shelf();
        // Who resets faster than guests can be made does not pile up old ones.
        if shelf.used.len() >= shelf.wanted {
            drop(shelf);
            return drop(place);
        }
        shelf.used.push(place);
        drop(shelf);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Every change is a single one, so a panic elsewhere leaves nothing half done.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life: first guests that are needed, then the end of those that are not.
    fn serve(&self) {
        let mut shelf = self.shelf();
        while !shelf.end {
            if shelf.ready.len() < shelf.wanted && shelf.failed.is_none() {
                let used = shelf.used.pop();
                drop(shelf);
                let made = match used {
                    Some(used) => used.replace(&self.state),
                    None => Place::restore(&self.state),
                };
                shelf = self.shelf();
                match made {
                    Ok(place) => shelf.ready.push(place),
                    // Whoever needs one tries it, and is told why it cannot be.
                    Err(error) => shelf.failed = Some(error),
                }
                self.changed.notify_all();
            } else if let Some(used) = shelf.used.pop() {
                drop(shelf);
                drop(used);
                shelf = self.shelf();
            } else {
                shelf = self.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
                // There may be room again.
                shelf.failed = None;
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shelf().end = true;
        self.shared.changed.notify_all();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It does not panic; what it might have said was printed there.
            let _ = thread.join();
        }
    }
}
