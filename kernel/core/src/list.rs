//! Doubly linked lists of threads, linked through the threads' records.
//!
//! Every operation but the iteration is constant time. A thread can be in one list, because it has one
//! pair of links.

use crate::thread::{ThreadId, Threads};

/// A list of threads. It owns the links of its members.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct List {
    first: Option<ThreadId>,
    last: Option<ThreadId>,
}

impl List {
    #[inline]
    pub(crate) const fn new() -> List {
        List { first: None, last: None }
    }

    #[inline]
    pub(crate) const fn first(&self) -> Option<ThreadId> {
        self.first
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether this thread, which is in the list, is the only one.
    #[inline]
    pub(crate) fn is_only(&self, thread: ThreadId) -> bool {
        self.first == self.last && self.first == Some(thread)
    }

    /// Inserts a thread into the empty list: it has no neighbours, as before.
    #[inline]
    pub(crate) const fn push_only(&mut self, thread: ThreadId) {
        self.first = Some(thread);
        self.last = Some(thread);
    }

    #[inline]
    pub(crate) fn push_back(&mut self, threads: &mut Threads, thread: ThreadId) {
        self.link(threads, self.last, Some(thread));
        self.link(threads, Some(thread), None);
    }

    /// Inserts a thread before another, or at the end if there is no other.
    pub(crate) fn insert_before(
        &mut self,
        threads: &mut Threads,
        thread: ThreadId,
        successor: Option<ThreadId>,
    ) {
        let predecessor = successor.map_or(self.last, |successor| threads[successor].links.previous);
        self.link(threads, predecessor, Some(thread));
        self.link(threads, Some(thread), successor);
    }

    /// Removes a thread that is in this list.
    #[inline]
    pub(crate) fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        let links = &mut threads[thread].links;
        let (previous, next) = (links.previous.take(), links.next.take());
        self.link(threads, previous, next);
    }

    /// Moves all of another list to the end of this one.
    pub(crate) fn append(&mut self, threads: &mut Threads, other: List) {
        if other.is_empty() {
            return;
        }
        let end = self.last;
        self.last = other.last;
        match end {
            Some(end) => {
                threads[end].links.next = other.first;
                if let Some(first) = other.first {
                    threads[first].links.previous = Some(end);
                }
            }
            None => self.first = other.first,
        }
    }

    #[cfg(test)]
    pub(crate) fn iter<'a>(&self, threads: &'a Threads) -> impl Iterator<Item = ThreadId> + use<'a> {
        core::iter::successors(self.first, |thread| threads[*thread].links.next)
    }

    /// Makes two threads neighbours; none stands for the list's end.
    #[inline]
    fn link(&mut self, threads: &mut Threads, before: Option<ThreadId>, after: Option<ThreadId>) {
        match before {
            Some(before) => threads[before].links.next = after,
            None => self.first = after,
        }
        match after {
            Some(after) => threads[after].links.previous = before,
            None => self.last = before,
        }
    }
}
