//! What is not owned but signalled: semaphores, barriers, event groups, timers.

use super::{Attempt, Busy, Decision, Due, Policy};
use crate::barrier::{Barrier, BarrierId};
use crate::event_group::{EventGroup, EventGroupId};
use crate::semaphore::{Semaphore, SemaphoreId, TooManyPermits};
use crate::table::Full;
use crate::thread::{Outcome, Waiting, Wanted};
use crate::timer::{Timer, TimerId};
use core::num::NonZeroU64;

/// Semaphores.
impl Policy {
    /// Creates a semaphore with some free permits of a maximum.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    ///
    /// # Panics
    ///
    /// If there are more permits than the maximum.
    pub fn create_semaphore(&mut self, permits: u32, maximum: u32) -> Result<SemaphoreId, Full> {
        self.objects.semaphores.insert(Semaphore::new(permits, maximum))
    }

    /// Removes a semaphore.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody waits for it. It stays.
    pub fn remove_semaphore(&mut self, semaphore: SemaphoreId) -> Result<(), Busy> {
        if !self.objects.semaphores[semaphore].waiters.is_empty() {
            return Err(Busy);
        }
        self.objects.semaphores.remove(semaphore);
        Ok(())
    }

    /// The record of a semaphore.
    #[must_use]
    pub fn semaphore(&self, semaphore: SemaphoreId) -> &Semaphore {
        &self.objects.semaphores[semaphore]
    }

    /// Takes a permit if one is free. Needs no time and no thread.
    #[must_use = "without a permit the thread must not go on"]
    #[inline]
    pub fn try_acquire(&mut self, semaphore: SemaphoreId) -> bool {
        self.objects.semaphores[semaphore].try_acquire()
    }

    /// The running thread takes a permit, and waits for one if need be.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    #[inline]
    pub fn acquire(&mut self, semaphore: SemaphoreId, deadline: Option<u64>, now: u64) -> Attempt {
        if self.try_acquire(semaphore) {
            return Attempt::Done;
        }
        self.wait_here(Waiting::Semaphore(semaphore), deadline, now)
    }

    /// Makes a permit free if nobody waits for one; otherwise gives `false`, and it is for
    /// [`release`](Policy::release) to do. Needs no time and changes nobody's turn.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if all permits are free already. Nothing changed.
    #[inline]
    pub fn release_uncontended(&mut self, semaphore: SemaphoreId) -> Result<bool, TooManyPermits> {
        self.objects.semaphores[semaphore].release_uncontended()
    }

    /// Gives a permit to the first who waits, or makes it free.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if all permits are free already. Nothing changed.
    #[inline]
    pub fn release(&mut self, semaphore: SemaphoreId, now: u64) -> Result<Decision, TooManyPermits> {
        if let Some(thread) = self.objects.semaphores[semaphore].release(&mut self.scheduler.threads)? {
            self.finish_here(thread);
        }
        Ok(self.decide_here(now))
    }
}

/// Barriers.
impl Policy {
    /// Creates a barrier for a number of threads.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_barrier(&mut self, parties: u32) -> Result<BarrierId, Full> {
        self.objects.barriers.insert(Barrier::new(parties))
    }

    /// Removes a barrier.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody waits at it. It stays.
    pub fn remove_barrier(&mut self, barrier: BarrierId) -> Result<(), Busy> {
        if !self.objects.barriers[barrier].waiters.is_empty() {
            return Err(Busy);
        }
        self.objects.barriers.remove(barrier);
        Ok(())
    }

    /// The record of a barrier.
    #[must_use]
    pub fn barrier(&self, barrier: BarrierId) -> &Barrier {
        &self.objects.barriers[barrier]
    }

    /// The running thread arrives at a barrier and waits for the others. The last one gets the value 1,
    /// the others 0. If the deadline comes first, the thread has not arrived.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn wait_barrier(&mut self, barrier: BarrierId, deadline: Option<u64>, now: u64) -> Attempt {
        let thread = self.current();
        let threads = &mut self.scheduler.threads;
        let Some(released) = self.objects.barriers[barrier].arrive(threads) else {
            let attempt = self.wait(Waiting::Barrier(barrier), deadline, now);
            if attempt == Attempt::TimedOut {
                self.objects.barriers[barrier].leave();
            }
            return attempt;
        };
        threads[thread].outcome = Outcome::Done;
        threads[thread].value = 1;
        self.released.append(threads, released);
        Attempt::Switch(self.decide(now))
    }
}

/// Event groups.
impl Policy {
    /// Creates an event group in which nothing has happened.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_event_group(&mut self) -> Result<EventGroupId, Full> {
        self.objects.event_groups.insert(EventGroup::default())
    }

    /// Removes an event group.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody waits for it. It stays.
    pub fn remove_event_group(&mut self, group: EventGroupId) -> Result<(), Busy> {
        if !self.objects.event_groups[group].waiters.is_empty() {
            return Err(Busy);
        }
        self.objects.event_groups.remove(group);
        Ok(())
    }

    /// The record of an event group.
    #[must_use]
    pub fn event_group(&self, group: EventGroupId) -> &EventGroup {
        &self.objects.event_groups[group]
    }

    /// The running thread waits for events. Its value is the events at the moment its wait succeeded,
    /// before any were cleared.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn wait_events(
        &mut self,
        group: EventGroupId,
        wanted: Wanted,
        deadline: Option<u64>,
        now: u64,
    ) -> Attempt {
        let thread = self.current();
        if let Some(events) = self.objects.event_groups[group].try_wait(wanted) {
            self.scheduler.threads[thread].value = events;
            return Attempt::Done;
        }
        self.wait(Waiting::Events(group, wanted), deadline, now)
    }

    /// Events happen: everyone whose wait they satisfy is woken. Looks at each waiter once.
    pub fn set_events(&mut self, group: EventGroupId, events: u32, now: u64) -> Decision {
        let threads = &mut self.scheduler.threads;
        let released = self.objects.event_groups[group].set(threads, events);
        self.released.append(threads, released);
        self.decide(now)
    }

    /// Makes events not have happened. Wakes nobody.
    pub fn clear_events(&mut self, group: EventGroupId, events: u32) {
        self.objects.event_groups[group].clear(events);
    }
}

/// Timers.
impl Policy {
    /// Creates a timer that is not started.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_timer(&mut self) -> Result<TimerId, Full> {
        if self.timeout_shortage().is_some() {
            return Err(Full);
        }
        self.objects.timers.insert(Timer::default())
    }

    /// Stops and removes a timer.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody waits for it. It stays, and stays started.
    pub fn remove_timer(&mut self, timer: TimerId) -> Result<(), Busy> {
        if !self.objects.timers[timer].waiters.is_empty() {
            return Err(Busy);
        }
        self.stop_timer(timer);
        self.objects.timers.remove(timer);
        Ok(())
    }

    /// The record of a timer.
    #[must_use]
    pub fn timer(&self, timer: TimerId) -> &Timer {
        &self.objects.timers[timer]
    }

    /// Starts a timer, anew if it was started: it expires at `deadline` (ns) and then once each `period`
    /// (ns), if it has one. Expiries that nobody has taken are forgotten.
    pub fn start_timer(
        &mut self,
        timer: TimerId,
        deadline: u64,
        period: Option<NonZeroU64>,
        now: u64,
    ) -> Decision {
        self.stop_timer(timer);
        self.objects.timers[timer].start(deadline, period);
        self.schedule_timer(timer, deadline);
        self.decide(now)
    }

    /// Stops a timer. Expiries that have happened can still be taken; who waits for more waits on.
    pub fn stop_timer(&mut self, timer: TimerId) {
        if let Some(timeout) = self.objects.timers[timer].timeout.take() {
            self.timeouts.remove(timeout);
        }
    }

    /// The running thread waits for an expiry of a timer that nobody has taken. Its value is how many
    /// there were.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn wait_timer(&mut self, timer: TimerId, deadline: Option<u64>, now: u64) -> Attempt {
        let thread = self.current();
        if let Some(expiries) = self.objects.timers[timer].take() {
            self.scheduler.threads[thread].value = expiries;
            return Attempt::Done;
        }
        self.wait(Waiting::Timer(timer), deadline, now)
    }

    pub(super) fn schedule_timer(&mut self, timer: TimerId, deadline: u64) {
        let inserted = self.timeouts.insert(deadline, Due::Timer(timer));
        self.objects.timers[timer].timeout = Some(inserted.expect("there is room for each timer's deadline"));
    }
}
