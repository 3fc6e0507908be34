//! Wait queues: who waits for the same thing, most important first, in order of arrival within a level.
//!
//! The threads stand in one list. The first thread of each level is also linked to the first threads of
//! the neighbouring levels in use:
//!
//! ```text
//!   level   40 ─▶ 40 ─▶ 40 ─▶ 17 ─▶ 3 ─▶ 3      all waiters
//!           └─────────────────▶└────▶┘            the first of each level
//! ```
//!
//! Finding a place therefore takes at most as many steps as there are levels, not waiters; taking one
//! out, or looking at the first, takes one.

use crate::list::List;
use crate::priority::Priority;
use crate::thread::{ThreadId, Threads, Waiting};

/// Threads that wait, sorted by their effective priority.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    list: List,
}

impl WaitQueue {
    /// Puts a thread behind all others of its level.
    #[inline]
    pub(crate) fn push_back(&mut self, threads: &mut Threads, thread: ThreadId) {
        if self.is_empty() {
            self.list.push_only(thread);
        } else {
            self.push_back_among(threads, thread);
        }
    }

    fn push_back_among(&mut self, threads: &mut Threads, thread: ThreadId) {
        let priority = threads[thread].effective;
        let (before, at) = self.find(threads, priority);
        match at {
            Some(same) if threads[same].effective == priority => {
                let successor = threads[same].links.next_level;
                self.list.insert_before(threads, thread, successor);
            }
            after => {
                self.list.insert_before(threads, thread, after);
                link_levels(threads, before, Some(thread));
                link_levels(threads, Some(thread), after);
            }
        }
    }

    /// Puts a thread before all others of its level.
    pub(crate) fn push_front(&mut self, threads: &mut Threads, thread: ThreadId) {
        let priority = threads[thread].effective;
        let (before, at) = self.find(threads, priority);
        self.list.insert_before(threads, thread, at);
        let after = match at {
            Some(same) if threads[same].effective == priority => {
                threads[same].links.previous_level = None;
                threads[same].links.next_level.take()
            }
            after => after,
        };
        link_levels(threads, before, Some(thread));
        link_levels(threads, Some(thread), after);
    }

    /// Takes a thread out that is in this queue.
    #[inline]
    pub(crate) fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        if self.list.is_only(thread) {
            self.list = List::new();
        } else {
            self.remove_from_among(threads, thread);
        }
    }

    fn remove_from_among(&mut self, threads: &mut Threads, thread: ThreadId) {
        let priority = threads[thread].effective;
        let links = threads[thread].links;
        let is_same = |other: Option<ThreadId>| other.filter(|other| threads[*other].effective == priority);
        if is_same(links.previous).is_none() {
            // The first of its level: the next one takes that place, or the level is gone.
            let heir = is_same(links.next);
            threads[thread].links.next_level = None;
            threads[thread].links.previous_level = None;
            match heir {
                Some(heir) => {
                    link_levels(threads, links.previous_level, Some(heir));
                    link_levels(threads, Some(heir), links.next_level);
                }
                None => link_levels(threads, links.previous_level, links.next_level),
            }
        }
        self.list.remove(threads, thread);
    }

    /// The most important thread that waits, the one that waits longest if there are several.
    #[inline]
    pub(crate) const fn first(&self) -> Option<ThreadId> {
        self.list.first()
    }

    /// Takes out the first.
    #[inline]
    pub(crate) fn pop(&mut self, threads: &mut Threads) -> Option<ThreadId> {
        let first = self.first()?;
        self.remove(threads, first);
        Some(first)
    }

    /// The priority of the first.
    #[inline]
    pub(crate) fn priority(&self, threads: &Threads) -> Option<Priority> {
        self.first().map(|first| threads[first].effective)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Everyone who waits, in order.
    #[cfg(test)]
    pub(crate) fn iter<'a>(&self, threads: &'a Threads) -> impl Iterator<Item = ThreadId> + use<'a> {
        self.list.iter(threads)
    }

    /// Takes out everyone. Looks at each waiter once.
    pub(crate) fn release_all(&mut self, threads: &mut Threads) -> Released {
        let list = core::mem::take(&mut self.list);
        let mut next = list.first();
        while let Some(thread) = next {
            let record = &mut threads[thread];
            next = record.links.next;
            record.links.next_level = None;
            record.links.previous_level = None;
            record.waiting = released(record.waiting);
        }
        Released { list }
    }

    /// The first thread of the first level that is not more important than `priority`, and the first
    /// thread of the level before.
    fn find(&self, threads: &Threads, priority: Priority) -> (Option<ThreadId>, Option<ThreadId>) {
        let (mut before, mut at) = (None, self.list.first());
        while let Some(leader) = at
            && threads[leader].effective.is_more_important_than(priority)
        {
            before = at;
            at = threads[leader].links.next_level;
        }
        (before, at)
    }
}

/// Makes the first threads of two levels neighbours.
fn link_levels(threads: &mut Threads, before: Option<ThreadId>, after: Option<ThreadId>) {
    if let Some(before) = before {
        threads[before].links.next_level = after;
    }
    if let Some(after) = after {
        threads[after].links.previous_level = before;
    }
}

/// What a thread waits for whose wait has succeeded.
const fn released(waiting: Waiting) -> Waiting {
    match waiting {
        Waiting::Condition(_, mutex) => Waiting::Released(Some(mutex)),
        _ => Waiting::Released(None),
    }
}

/// Threads whose wait has succeeded and that are to be made ready, in this order.
///
/// They are in no wait queue any more; the list keeps their links.
#[derive(Debug, Default)]
#[must_use = "the threads in it would sleep for ever"]
pub(crate) struct Released {
    list: List,
}

impl Released {
    /// Nobody.
    pub(crate) const fn new() -> Released {
        Released { list: List::new() }
    }

    /// Adds a thread that was taken out of its wait queue.
    pub(crate) fn push(&mut self, threads: &mut Threads, thread: ThreadId) {
        threads[thread].waiting = released(threads[thread].waiting);
        self.list.push_back(threads, thread);
    }

    pub(crate) fn pop(&mut self, threads: &mut Threads) -> Option<ThreadId> {
        let first = self.list.first()?;
        self.list.remove(threads, first);
        Some(first)
    }

    pub(crate) fn append(&mut self, threads: &mut Threads, others: Released) {
        self.list.append(threads, others.list);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn iter<'a>(&self, threads: &'a Threads) -> impl Iterator<Item = ThreadId> + use<'a> {
        self.list.iter(threads)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::thread::Thread;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The queue's order is right and its level links name exactly the first of each level.
    fn check(queue: &WaitQueue, threads: &Threads, expected: &[ThreadId]) {
        let order: Vec<_> = queue.iter(threads).collect();
        assert_eq!(order, expected);
        let mut leaders = Vec::new();
        for (at, thread) in order.iter().enumerate() {
            if at == 0 || threads[order[at - 1]].effective != threads[*thread].effective {
                leaders.push(*thread);
            } else {
                assert_eq!(threads[*thread].links.next_level, None);
                assert_eq!(threads[*thread].links.previous_level, None);
            }
        }
        let linked: Vec<_> =
            core::iter::successors(queue.first(), |leader| threads[*leader].links.next_level).collect();
        assert_eq!(linked, leaders);
        for pair in leaders.windows(2) {
            assert_eq!(threads[pair[1]].links.previous_level, Some(pair[0]));
        }
    }

    proptest! {
        #[test]
        fn importance_first_then_arrival(operations in prop::collection::vec((0..3u8, 0..12usize), 0..200)) {
            let mut threads = Threads::with_room_for(12);
            let ids: Vec<_> = (0..12)
                .map(|number| threads.insert(Thread::new(Priority::new(number / 3), None)).unwrap())
                .collect();
            let mut queue = WaitQueue::default();
            // The model: everyone in order of arrival, whoever came to the front before all others.
            let mut model: Vec<ThreadId> = Vec::new();
            for (operation, number) in operations {
                let thread = ids[number];
                match (operation, model.iter().position(|other| *other == thread)) {
                    (0, None) => {
                        queue.push_back(&mut threads, thread);
                        model.push(thread);
                    }
                    (1, None) => {
                        queue.push_front(&mut threads, thread);
                        model.insert(0, thread);
                    }
                    (_, Some(at)) => {
                        queue.remove(&mut threads, thread);
                        model.remove(at);
                    }
                    _ => {}
                }
                let mut expected = model.clone();
                expected.sort_by_key(|thread| core::cmp::Reverse(threads[*thread].effective.level()));
                check(&queue, &threads, &expected);
            }
        }
    }
}
