//! Ready queues: who could run, by importance and in order.
//!
//! One list for each level, and a bitmap of the levels whose list is not empty. The most important
//! thread is one instruction and one load away, however many threads there are.

use crate::list::List;
use crate::priority::{LEVELS, Priority};
use crate::thread::{ThreadId, Threads};

/// The threads that are ready, each at its effective priority.
///
/// Bit *n* of `occupied` is set exactly when list *n* is not empty.
#[derive(Debug)]
pub(crate) struct ReadyQueues {
    occupied: u64,
    levels: [List; LEVELS],
}

impl ReadyQueues {
    pub(crate) fn new() -> ReadyQueues {
        ReadyQueues { occupied: 0, levels: [List::default(); LEVELS] }
    }

    /// Puts a thread behind all others of its level.
    #[inline]
    pub(crate) fn push_back(&mut self, threads: &mut Threads, thread: ThreadId) {
        let level = threads[thread].effective.level();
        self.levels[usize::from(level)].push_back(threads, thread);
        self.occupied |= 1 << level;
    }

    /// Puts a thread before all others of its level.
    #[inline]
    pub(crate) fn push_front(&mut self, threads: &mut Threads, thread: ThreadId) {
        let level = threads[thread].effective.level();
        self.levels[usize::from(level)].push_front(threads, thread);
        self.occupied |= 1 << level;
    }

    /// Takes a thread out, wherever it stands in its level.
    #[inline]
    pub(crate) fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        let level = threads[thread].effective.level();
        let list = &mut self.levels[usize::from(level)];
        list.remove(threads, thread);
        if list.is_empty() {
            self.occupied &= !(1 << level);
        }
    }

    /// The first thread of the most important level that has one.
    #[inline]
    pub(crate) fn first(&self) -> Option<ThreadId> {
        let level = self.occupied.checked_ilog2()?;
        self.levels[level as usize].first()
    }

    /// Whether a thread of this priority is ready.
    #[inline]
    pub(crate) const fn is_occupied(&self, priority: Priority) -> bool {
        self.occupied & (1 << priority.level()) != 0
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Everyone who is ready, most important first.
    pub(crate) fn iter<'a>(&'a self, threads: &'a Threads) -> impl Iterator<Item = ThreadId> + use<'a> {
        self.levels.iter().rev().flat_map(|level| level.iter(threads))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::thread::Thread;
    use std::vec::Vec;

    fn threads(levels: &[u8]) -> (Threads, Vec<ThreadId>) {
        let mut threads = Threads::with_capacity(levels.len());
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
        assert!(ready.is_empty());
        assert_eq!(ready.first(), None);
    }
}
