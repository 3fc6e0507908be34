//! What the model's threads wait for.

use super::{Answer, Due, Model};
use crate::read_write_lock::Access;
use crate::thread::{Outcome, Waiting, Wanted};

impl Model {
    pub(super) fn mutex(&self, mutex: usize) -> Waiting {
        Waiting::Mutex(self.ids.mutexes[mutex])
    }

    pub(super) fn own(&mut self, mutex: usize, thread: usize) {
        self.locked += 1;
        self.mutexes[mutex].owner = Some(thread);
        self.mutexes[mutex].locked = self.locked;
    }

    pub(super) fn lock_uncontended(&mut self, mutex: usize) -> Answer {
        if self.mutexes[mutex].owner.is_some() {
            return Answer::Refused;
        }
        self.own(mutex, self.running.unwrap());
        Answer::Done
    }

    pub(super) fn lock(&mut self, mutex: usize, deadline: Option<u64>, now: u64) -> Answer {
        if self.lock_uncontended(mutex) == Answer::Done {
            return Answer::Done;
        }
        let mut next = self.mutexes[mutex].owner;
        while deadline.is_none()
            && let Some(member) = next
        {
            if Some(member) == self.running {
                return Answer::Deadlock;
            }
            let has_deadline = self.deadlines.iter().any(|(_, due)| *due == Due::Thread(member));
            next = if has_deadline { None } else { self.owner_waited_for(member) };
        }
        self.wait(self.mutex(mutex), deadline, now)
    }

    pub(super) fn hand_over(&mut self, mutex: usize) {
        self.mutexes[mutex].owner = None;
        if let Some(first) = self.waiters_in_order(self.mutex(mutex)).first().copied() {
            self.own(mutex, first);
            self.finish(first);
        }
        self.inherit();
    }

    pub(super) fn condition(&self) -> Waiting {
        Waiting::Condition(self.ids.condition, self.ids.mutexes[0])
    }

    pub(super) fn release(&mut self) -> Answer {
        match self.waiters_in_order(Waiting::Semaphore(self.ids.semaphore)).first() {
            Some(first) => self.finish(*first),
            None if self.permits == 3 => return Answer::Refused,
            None => self.permits += 1,
        }
        Answer::Decided
    }

    pub(super) fn lock_read_write(&mut self, access: Access, deadline: Option<u64>, now: u64) -> Answer {
        let thread = self.running.unwrap();
        let effective = self.threads[thread].effective;
        let waiters = self.waiters_in_order(Waiting::Read(self.ids.lock));
        let comes_first =
            (waiters.iter()).all(|other| effective.is_more_important_than(self.threads[*other].effective));
        if comes_first && self.admits(access) {
            self.holders.push((thread, access));
            return Answer::Done;
        }
        let waiting = match access {
            Access::Read => Waiting::Read(self.ids.lock),
            Access::Write => Waiting::Write(self.ids.lock),
        };
        self.wait(waiting, deadline, now)
    }

    pub(super) fn admits(&self, access: Access) -> bool {
        match access {
            Access::Read => self.holders.iter().all(|(_, access)| *access == Access::Read),
            Access::Write => self.holders.is_empty(),
        }
    }

    /// Lets in who may have the lock, from the front.
    pub(super) fn admit(&mut self) {
        while let Some(first) = self.waiters_in_order(Waiting::Read(self.ids.lock)).first().copied() {
            let is_writer = self.threads[first].waiting == Waiting::Write(self.ids.lock);
            let access = if is_writer { Access::Write } else { Access::Read };
            if !self.admits(access) {
                break;
            }
            self.holders.push((first, access));
            self.release_later(first);
        }
    }

    pub(super) fn give_back(&mut self, thread: usize) {
        let newest = self.holders.iter().rposition(|(holder, _)| *holder == thread).unwrap();
        self.holders.remove(newest);
    }

    pub(super) fn wait_barrier(&mut self, deadline: Option<u64>, now: u64) -> Answer {
        let waiting = Waiting::Barrier(self.ids.barrier);
        let others = self.waiters_in_order(waiting);
        if others.len() < 2 {
            return self.wait(waiting, deadline, now);
        }
        let last = &mut self.threads[self.running.unwrap()];
        last.outcome = Outcome::Done;
        last.value = 1;
        for other in others {
            self.release_later(other);
        }
        Answer::Decided
    }

    pub(super) fn wait_events(&mut self, wanted: Wanted, deadline: Option<u64>, now: u64) -> Answer {
        if !is_satisfied(wanted, self.events) {
            return self.wait(Waiting::Events(self.ids.events, wanted), deadline, now);
        }
        self.threads[self.running.unwrap()].value = self.events;
        self.events &= !cleared_by(wanted);
        Answer::Done
    }

    pub(super) fn set_events(&mut self, events: u32) -> Answer {
        self.events |= events;
        let before = self.events;
        let wanted = Wanted { events: 0, all: false, clear: false };
        for thread in self.waiters_in_order(Waiting::Events(self.ids.events, wanted)) {
            if let Waiting::Events(_, wanted) = self.threads[thread].waiting
                && is_satisfied(wanted, before)
            {
                self.threads[thread].value = before;
                self.events &= !cleared_by(wanted);
                self.release_later(thread);
            }
        }
        Answer::Decided
    }

    pub(super) fn expire(&mut self, mut deadline: u64, now: u64) {
        match self.period {
            None => self.expiries += 1,
            Some(period) => {
                while deadline <= now {
                    deadline += period.get();
                    self.expiries += 1;
                }
                self.deadlines.push((deadline, Due::Timer));
            }
        }
        if let Some(first) = self.waiters_in_order(Waiting::Timer(self.ids.timer)).first().copied() {
            self.threads[first].value = core::mem::take(&mut self.expiries);
            self.finish(first);
        }
    }
}

fn is_satisfied(wanted: Wanted, events: u32) -> bool {
    let mut each = (0..32).filter(|bit| wanted.events >> bit & 1 == 1).map(|bit| events >> bit & 1 == 1);
    if wanted.all { each.all(|happened| happened) } else { each.any(|happened| happened) }
}

fn cleared_by(wanted: Wanted) -> u32 {
    if wanted.clear { wanted.events } else { 0 }
}
