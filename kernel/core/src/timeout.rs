//! The timeout queue: what is due when.
//!
//! A binary heap, sorted by deadline and, between equal deadlines, by the order of insertion. Each entry
//! knows its slot and each slot knows where its entry stands in the heap, so that a wait that ends early
//! can take its deadline out without a search. Inserting and removing take logarithmic time and never
//! allocate; room is made beforehand.

use crate::table::{Full, Id, Table};
use alloc::vec::Vec;

/// Where an entry stands in the heap.
#[derive(Debug)]
pub struct Position(u32);

impl Position {
    fn new(at: usize) -> Position {
        Position(u32::try_from(at).expect("a table has fewer slots than that"))
    }
}

/// The number of a timeout, until it is removed or expires.
pub type TimeoutId = Id<Position>;

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    deadline: u64,
    /// Counts insertions; after 2^64 of them the order of equal deadlines would be wrong.
    sequence: u64,
    slot: TimeoutId,
    what: T,
}

impl<T> Entry<T> {
    fn is_before(&self, other: &Entry<T>) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

/// Deadlines in ns, each with something that is due then.
///
/// No entry is before its parent, that of index *n* being entry *(n - 1) / 2*, and
/// `slots[entry.slot]` is the index of the entry.
///
/// ```
/// use vcpu_kernel_core::timeout::TimeoutQueue;
/// let mut queue = TimeoutQueue::with_capacity(8);
/// let tea = queue.insert(180, "tea")?;
/// queue.insert(90, "egg")?;
/// queue.insert(90, "toast")?;
/// assert_eq!(queue.earliest(), Some(90));
/// assert_eq!(queue.pop_expired(100), Some("egg"));
/// assert_eq!(queue.pop_expired(100), Some("toast"));
/// assert_eq!(queue.pop_expired(100), None);
/// assert_eq!(queue.remove(tea), "tea");
/// # Ok::<(), vcpu_kernel_core::table::Full>(())
/// ```
#[derive(Debug)]
pub struct TimeoutQueue<T> {
    heap: Vec<Entry<T>>,
    slots: Table<Position>,
    sequence: u64,
}

impl<T> TimeoutQueue<T> {
    /// A queue with room for `capacity` deadlines.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> TimeoutQueue<T> {
        TimeoutQueue {
            heap: Vec::with_capacity(capacity),
            slots: Table::with_capacity(capacity),
            sequence: 0,
        }
    }

    /// Makes room for `additional` more deadlines than there are. Allocates.
    pub fn reserve(&mut self, additional: usize) {
        self.slots.reserve(additional);
        self.heap.reserve_exact(additional);
    }

    /// Inserts something that is due at `deadline`.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room. The queue does not change.
    pub fn insert(&mut self, deadline: u64, what: T) -> Result<TimeoutId, Full> {
        let at = self.heap.len();
        let slot = self.slots.insert(Position::new(at))?;
        self.heap.push(Entry { deadline, sequence: self.sequence, slot, what });
        self.sequence += 1;
        self.rise(at);
        Ok(slot)
    }

    /// Takes out something before or after it is due.
    ///
    /// # Panics
    ///
    /// If it is not in the queue.
    pub fn remove(&mut self, timeout: TimeoutId) -> T {
        let Position(at) = self.slots.remove(timeout);
        let at = at as usize;
        let entry = self.heap.swap_remove(at);
        if at < self.heap.len() {
            // What came from the end may belong further up as well as further down.
            self.slots[self.heap[at].slot] = Position::new(at);
            self.rise(at);
            self.sink(at);
        }
        entry.what
    }

    /// The earliest deadline.
    #[must_use]
    #[inline]
    pub fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes out what is due first, if it is due at `now`.
    pub fn pop_expired(&mut self, now: u64) -> Option<T> {
        let first = self.heap.first().filter(|first| first.deadline <= now)?;
        Some(self.remove(first.slot))
    }

    /// How many deadlines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[at].is_before(&self.heap[parent]) {
                return;
            }
            self.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].is_before(&self.heap[child]) {
                child += 1;
            }
            if !self.heap[child].is_before(&self.heap[at]) {
                return;
            }
            self.swap(at, child);
            at = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.slots[self.heap[one].slot] = Position::new(one);
        self.slots[self.heap[other].slot] = Position::new(other);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_full_queue_refuses_and_an_emptied_slot_serves_again() {
        let mut queue = TimeoutQueue::with_capacity(1);
        let first = queue.insert(5, 'a').unwrap();
        assert_eq!(queue.insert(6, 'b'), Err(Full));
        assert_eq!(queue.remove(first), 'a');
        queue.insert(6, 'b').unwrap();
        queue.reserve(1);
        queue.insert(5, 'c').unwrap();
        assert_eq!((queue.earliest(), queue.len()), (Some(5), 2));
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u64),
        Remove(prop::sample::Index),
        Pop(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            4 => (0..40u64).prop_map(Operation::Insert),
            2 => any::<prop::sample::Index>().prop_map(Operation::Remove),
            1 => (0..40u64).prop_map(Operation::Pop),
        ]
    }

    proptest! {
        /// Against a plain vector, sorted by (deadline, order of insertion) for each question.
        #[test]
        fn deadlines_fire_in_order(operations in prop::collection::vec(operation(), 0..300)) {
            let mut queue = TimeoutQueue::with_capacity(300);
            let mut model: Vec<(u64, usize, TimeoutId)> = Vec::new();
            for (number, operation) in operations.into_iter().enumerate() {
                match operation {
                    Operation::Insert(deadline) => {
                        let timeout = queue.insert(deadline, number).unwrap();
                        model.push((deadline, number, timeout));
                        model.sort_by_key(|(deadline, number, _)| (*deadline, *number));
                    }
                    Operation::Remove(index) if !model.is_empty() => {
                        let (_, number, timeout) = model.remove(index.index(model.len()));
                        prop_assert_eq!(queue.remove(timeout), number);
                    }
                    Operation::Remove(_) => {}
                    Operation::Pop(now) => {
                        let due = model.first().is_some_and(|first| first.0 <= now);
                        let expected = due.then(|| model.remove(0).1);
                        prop_assert_eq!(queue.pop_expired(now), expected);
                    }
                }
                prop_assert_eq!(queue.earliest(), model.first().map(|first| first.0));
                prop_assert_eq!(queue.len(), model.len());
            }
            while let Some(number) = queue.pop_expired(u64::MAX) {
                prop_assert_eq!(number, model.remove(0).1);
            }
            prop_assert!(model.is_empty());
        }
    }
}
