//! Ready queues: who could run, by importance and in order.
//!
//! The threads of a level stand in a ring, and the level knows the head, whose turn it is; the tail is
//! the one before the head. A bitmap tells which levels have threads. The running thread keeps its place,
//! as the head of the most important level, so a turn ends by naming the next one head, and a preempted
//! thread is where it belongs without being moved. All operations take constant time, however many
//! threads there are.

use crate::priority::LEVELS;
#[cfg(test)]
use crate::priority::Priority;
use crate::thread::{Thread, ThreadId, Threads};

/// The threads that are ready or running, each at its effective priority.
///
/// Bit *n* of `occupied` is set exactly when `heads[n]` names a thread.
#[derive(Debug)]
pub(crate) struct ReadyQueues {
    occupied: u64,
    heads: [Option<ThreadId>; LEVELS],
}

impl ReadyQueues {
    pub(crate) const fn new() -> ReadyQueues {
        ReadyQueues { occupied: 0, heads: [None; LEVELS] }
    }

    /// Puts a thread behind all others of its level.
    #[inline(always)]
    pub(crate) fn push_back(&mut self, threads: &mut Threads, thread: ThreadId) {
        let level = threads[thread].effective.index();
        match self.heads[level] {
            Some(head) => insert_before(threads, thread, head),
            None => {
                threads[thread].links.next = Some(thread);
                threads[thread].links.previous = Some(thread);
                self.heads[level] = Some(thread);
                self.occupied |= 1 << level;
            }
        }
    }

    /// Puts a thread before all others of its level.
    #[inline]
    pub(crate) fn push_front(&mut self, threads: &mut Threads, thread: ThreadId) {
        self.push_back(threads, thread);
        self.heads[threads[thread].effective.index()] = Some(thread);
    }

    /// Puts a thread right behind the head of its level.
    pub(crate) fn push_second(&mut self, threads: &mut Threads, thread: ThreadId) {
        let level = threads[thread].effective.index();
        let head = self.heads[level];
        self.push_front(threads, thread);
        if let Some(head) = head {
            // Where the thread stands now is before the head: the head changes places with it.
            self.remove(threads, head);
            self.push_front(threads, head);
        }
    }

    /// Takes a thread out, wherever it stands in its level.
    #[inline(always)]
    pub(crate) fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        let record = &mut threads[thread];
        let level = record.effective.index();
        let (Some(next), Some(previous)) = (record.links.next.take(), record.links.previous.take()) else {
            unreachable!("{thread:?} is not in a ready queue")
        };
        if next == thread {
            self.heads[level] = None;
            self.occupied &= !(1 << level);
            return;
        }
        threads[previous].links.next = Some(next);
        threads[next].links.previous = Some(previous);
        if self.heads[level] == Some(thread) {
            self.heads[level] = Some(next);
        }
    }

    /// Makes the head of a level its tail, given the head's record.
    #[inline]
    pub(crate) fn rotate(&mut self, head: &Thread) {
        self.heads[head.effective.index()] = head.links.next;
    }

    /// The head of the most important level that has one.
    #[inline]
    pub(crate) fn first(&self) -> Option<ThreadId> {
        let level = self.occupied.checked_ilog2()?;
        self.heads[level as usize]
    }

    /// Whether there is another thread of the level of this one, whose record is given.
    #[inline]
    pub(crate) fn is_shared(record: &Thread, thread: ThreadId) -> bool {
        record.links.next != Some(thread)
    }

    /// Whether there is a thread of this priority.
    #[cfg(test)]
    pub(crate) const fn is_occupied(&self, priority: Priority) -> bool {
        self.occupied & (1 << priority.level()) != 0
    }

    /// Everyone, most important first, from head to tail.
    #[cfg(test)]
    pub(crate) fn iter<'a>(&'a self, threads: &'a Threads) -> impl Iterator<Item = ThreadId> + use<'a> {
        self.heads.iter().rev().filter_map(|head| *head).flat_map(move |head| {
            let next = move |thread: &ThreadId| threads[*thread].links.next.filter(|next| *next != head);
            core::iter::successors(Some(head), next)
        })
    }
}

/// Links a thread into a ring, before another.
#[inline]
fn insert_before(threads: &mut Threads, thread: ThreadId, successor: ThreadId) {
    let previous = threads[successor].links.previous.replace(thread);
    let links = &mut threads[thread].links;
    links.next = Some(successor);
    links.previous = previous;
    if let Some(previous) = previous {
        threads[previous].links.next = Some(thread);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn threads(levels: &[u8]) -> (Threads, Vec<ThreadId>) {
        let mut threads = Threads::with_room_for(levels.len());
        let new = |level: &u8| threads.insert(Thread::new(Priority::new(*level), None)).unwrap();
        let ids = levels.iter().map(new).collect();
        (threads, ids)
    }

    #[test]
    fn the_first_of_the_most_important_level_comes_first() {
        let (mut threads, ids) = threads(&[0, 63, 5, 63, 5]);
        let mut ready = ReadyQueues::new();
        for id in &ids {
            ready.push_back(&mut threads, *id);
        }
        let order: Vec<_> = ready.iter(&threads).collect();
        assert_eq!(order, [ids[1], ids[3], ids[2], ids[4], ids[0]]);
        assert_eq!(ready.first(), Some(ids[1]));
    }

    #[test]
    fn the_head_of_a_level_is_before_who_came_earlier() {
        let (mut threads, ids) = threads(&[7, 7, 7]);
        let mut ready = ReadyQueues::new();
        ready.push_back(&mut threads, ids[0]);
        ready.push_back(&mut threads, ids[1]);
        ready.push_front(&mut threads, ids[2]);
        assert_eq!(ready.iter(&threads).collect::<Vec<_>>(), [ids[2], ids[0], ids[1]]);
    }

    #[test]
    fn the_second_is_behind_the_head_and_before_the_others() {
        let (mut threads, ids) = threads(&[7, 7, 7, 7, 8, 8]);
        let mut ready = ReadyQueues::new();
        for id in [0, 1, 4] {
            ready.push_back(&mut threads, ids[id]);
        }
        for id in [2, 3, 5] {
            ready.push_second(&mut threads, ids[id]);
        }
        let order: Vec<_> = ready.iter(&threads).collect();
        assert_eq!(order, [ids[4], ids[5], ids[0], ids[3], ids[2], ids[1]]);
    }

    #[test]
    fn turning_a_level_makes_its_head_the_tail() {
        let (mut threads, ids) = threads(&[7, 7, 7]);
        let mut ready = ReadyQueues::new();
        for id in &ids {
            ready.push_back(&mut threads, *id);
        }
        ready.rotate(&threads[ids[0]]);
        assert_eq!(ready.iter(&threads).collect::<Vec<_>>(), [ids[1], ids[2], ids[0]]);
        assert!(ReadyQueues::is_shared(&threads[ids[0]], ids[0]));
    }

    #[test]
    fn a_level_is_occupied_until_its_last_thread_left_from_wherever() {
        let (mut threads, ids) = threads(&[7, 7, 7]);
        let mut ready = ReadyQueues::new();
        for id in &ids {
            ready.push_back(&mut threads, *id);
        }
        for (id, occupied) in [(ids[1], true), (ids[0], true), (ids[2], false)] {
            ready.remove(&mut threads, id);
            assert_eq!(ready.is_occupied(Priority::new(7)), occupied);
        }
        assert_eq!(ready.first(), None);
    }
}
