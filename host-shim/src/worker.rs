//! A thread that carries out what others ask of it, one thing after another, while they wait.
//!
//! Some things belong to a thread: a process dies with the thread that made it, and only the thread that traces
//! it may ask the kernel about it. What shall not depend on the thread of who uses the library is done here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Such a thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread of this name, of at most 15 bytes.
    pub(crate) fn new(name: &str) -> io::Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Worker { jobs: Some(jobs), thread: Some(thread) })
    }

    /// The thread that makes the processes of sandboxes; it lives as long as this process.
    pub(crate) fn of_births() -> io::Result<&'static Worker> {
        static WORKER: OnceLock<Worker> = OnceLock::new();
        if let Some(worker) = WORKER.get() {
            return Ok(worker);
        }
        // Should two be made at once, one of them ends, and has done nothing.
        let worker = Worker::new("vcpu-births")?;
        Ok(WORKER.get_or_init(|| worker))
    }

    /// Has it do something, and waits for what comes of it.
    ///
    /// # Panics
    ///
    /// If `action` does.
    pub(crate) fn run<R: Send>(&self, action: impl FnOnce() -> R + Send) -> R {
        let (tell, told) = mpsc::sync_channel(1);
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            // Nobody but us waits, and we do.
            let _ = tell.send(catch_unwind(AssertUnwindSafe(action)));
        });
        // SAFETY: only the lifetime changes. What the job borrows lives until this function returns, and that
        // is after the job was carried out or dropped: either ends the wait below, nothing else does.
        let job: Job = unsafe { std::mem::transmute(job) };
        let jobs = self.jobs.as_ref().expect("there until this is dropped");
        jobs.send(job).expect("the thread lives until this is dropped");
        match told.recv().expect("the thread carries out every job") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Jobs do not panic out of it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_done_by_the_one_thread_and_may_borrow() {
        let worker = Worker::new("test").unwrap();
        let mut seen = Vec::new();
        let first = worker.run(|| std::thread::current().id());
        worker.run(|| seen.push(std::thread::current().id()));
        assert_eq!(seen, [first]);
        assert_ne!(first, std::thread::current().id());
    }

    #[test]
    fn a_panic_reaches_who_asked_and_the_thread_goes_on() {
        let worker = Worker::new("test").unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| worker.run(|| panic!("as it is told"))));
        assert!(panicked.is_err());
        assert_eq!(worker.run(|| 7), 7);
    }
}
