//! What time brings: the alarm fires, and what is due is done.

use super::{Decision, Due, Policy};
use crate::inherit;
use crate::thread::{Outcome, ThreadId, Waiting};
use crate::timer::TimerId;

impl Policy {
    /// The machine's timer fired. Whatever is due at `now` is done: waits end, timers expire, a slice may
    /// be over. To be called once each time it fired; too early does no harm.
    ///
    /// A call does at most 2 things. If more are due, it sets the alarm to a time that is past, so that
    /// the timer fires again at once, and other events come in between.
    pub fn alarm(&mut self, now: u64) -> Decision {
        self.alarm.fired();
        for _ in 0..self.batch {
            match self.timeouts.pop_expired(now) {
                Some(Due::Thread(thread)) => self.time_out(thread),
                Some(Due::Timer(timer)) => self.expire_timer(timer, now),
                None => break,
            }
        }
        self.decide(now)
    }

    /// The deadline of a thread's wait has come.
    fn time_out(&mut self, thread: ThreadId) {
        let record = &mut self.scheduler.threads[thread];
        record.timeout = None;
        if let Waiting::Released(_) = record.waiting {
            // What it waited for came first; it is about to become ready.
            return;
        }
        self.end_early(thread, Outcome::TimedOut);
    }

    /// Ends the wait of a thread before what it waits for has come.
    pub(super) fn end_early(&mut self, thread: ThreadId, outcome: Outcome) {
        let threads = &mut self.scheduler.threads;
        let waiting = threads[thread].waiting;
        let owner = inherit::holder(threads, &self.objects.mutexes, thread);
        if let Some(queue) = self.objects.queue(waiting) {
            queue.remove(threads, thread);
        }
        threads[thread].outcome = outcome;
        match waiting {
            Waiting::Read(lock) | Waiting::Write(lock) => self.give_up(thread, lock),
            Waiting::Barrier(barrier) => self.objects.barriers[barrier].leave(),
            Waiting::Exit(other) => self.scheduler.threads[other].joiner = None,
            _ => {}
        }
        self.finish(thread);
        if let Some(owner) = owner {
            self.inherit(owner);
        }
    }

    fn expire_timer(&mut self, timer: TimerId, now: u64) {
        self.objects.timers[timer].timeout = None;
        if let Some(deadline) = self.objects.timers[timer].expire(now) {
            self.schedule_timer(timer, deadline);
        }
        if let Some(thread) = self.objects.timers[timer].release(&mut self.scheduler.threads) {
            self.finish(thread);
        }
    }
}
