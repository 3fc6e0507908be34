//! The timeout queue: what is due when.
//!
//! A binary heap, sorted by deadline and, between equal deadlines, by the order of insertion. Each entry
//! knows its slot and each slot knows where its entry stands in the heap, so that a wait that ends early
//! can take its deadline out without a search. Inserting and removing take logarithmic time and never
//! allocate or move anything else; room is made beforehand.

use crate::chunks::{Chunk, Chunks};
use crate::table::{Full, Id, Slot, Table};
use alloc::collections::TryReserveError;

/// Where an entry stands in the heap.
#[derive(Debug)]
pub(crate) struct Position(u32);

impl Position {
    fn new(at: usize) -> Position {
        Position(u32::try_from(at).expect("a table has fewer slots than that"))
    }
}

/// The number of a timeout, until it is removed or expires.
pub(crate) type TimeoutId = Id<Position>;

/// What is due, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<T> {
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

/// Room for more deadlines.
#[derive(Debug)]
pub(crate) struct QueueRoom<T> {
    heap: Chunk<Entry<T>>,
    slots: Chunk<Slot<Position>>,
}

impl<T> QueueRoom<T> {
    /// Allocates the chunk of this number.
    pub(crate) fn allocate(number: usize) -> Result<QueueRoom<T>, TryReserveError> {
        Ok(QueueRoom { heap: Chunk::allocate(number)?, slots: Chunk::allocate(number)? })
    }
}

/// Deadlines in ns, each with something that is due then.
///
/// No entry is before its parent, that of index *n* being entry *(n - 1) / 2*, and
/// `slots[entry.slot]` is the index of the entry. Heap and slots have the same room.
#[derive(Debug)]
pub(crate) struct TimeoutQueue<T> {
    heap: Chunks<Entry<T>>,
    slots: Table<Position>,
    sequence: u64,
}

impl<T: Copy> TimeoutQueue<T> {
    /// A queue without room.
    pub(crate) const fn new() -> TimeoutQueue<T> {
        TimeoutQueue { heap: Chunks::new(), slots: Table::new(), sequence: 0 }
    }

    /// The number of the chunk that is missing before there is room for this many deadlines.
    pub(crate) fn shortage(&self, deadlines: usize) -> Option<usize> {
        (self.heap.capacity() < deadlines).then_some(self.heap.missing())
    }

    /// Makes room. Gives it back if the queue has it already.
    pub(crate) fn add_room(&mut self, room: QueueRoom<T>) -> Result<(), QueueRoom<T>> {
        let QueueRoom { heap, slots } = room;
        match self.slots.add_room(slots) {
            Ok(()) => self.heap.add(heap).map_err(|_| unreachable!("heap and slots have the same room")),
            Err(slots) => Err(QueueRoom { heap, slots }),
        }
    }

    /// Inserts something that is due at `deadline`.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room. The queue does not change.
    pub(crate) fn insert(&mut self, deadline: u64, what: T) -> Result<TimeoutId, Full> {
        let at = self.heap.len();
        let slot = self.slots.insert(Position::new(at))?;
        let entry = Entry { deadline, sequence: self.sequence, slot, what };
        self.heap.push(entry).map_err(|_| Full)?;
        self.sequence += 1;
        self.rise(at, entry);
        Ok(slot)
    }

    /// Takes out something before or after it is due.
    ///
    /// # Panics
    ///
    /// If it is not in the queue.
    pub(crate) fn remove(&mut self, timeout: TimeoutId) -> T {
        let Position(at) = self.slots.remove(timeout);
        let at = at as usize;
        let removed = self.heap[at];
        if let Some(last) = self.heap.pop()
            && at < self.heap.len()
        {
            // What came from the end may belong further up as well as further down.
            if last.is_before(&removed) {
                self.rise(at, last);
            } else {
                self.sink(at, last);
            }
        }
        removed.what
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes out what is due first, if it is due at `now`.
    pub(crate) fn pop_expired(&mut self, now: u64) -> Option<T> {
        let first = self.heap.first().filter(|first| first.deadline <= now)?;
        Some(self.remove(first.slot))
    }

    /// How many deadlines there are.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.heap.len() == 0
    }

    /// Puts an entry where it belongs, at an index or above; what is there moves down.
    fn rise(&mut self, mut at: usize, entry: Entry<T>) {
        while at > 0 {
            let parent = self.heap[(at - 1) / 2];
            if !entry.is_before(&parent) {
                break;
            }
            self.put(at, parent);
            at = (at - 1) / 2;
        }
        self.put(at, entry);
    }

    /// Puts an entry where it belongs, at an index or below; what is there moves up.
    fn sink(&mut self, mut at: usize, entry: Entry<T>) {
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].is_before(&self.heap[child]) {
                child += 1;
            }
            let least = self.heap[child];
            if !least.is_before(&entry) {
                break;
            }
            self.put(at, least);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry<T>) {
        self.heap[at] = entry;
        self.slots[entry.slot] = Position::new(at);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn queue<T: Copy>(deadlines: usize) -> TimeoutQueue<T> {
        let mut queue = TimeoutQueue::new();
        while let Some(chunk) = queue.shortage(deadlines) {
            assert!(queue.add_room(QueueRoom::allocate(chunk).unwrap()).is_ok());
        }
        queue
    }

    #[test]
    fn what_is_due_comes_earliest_first_and_of_equals_the_first() {
        let mut queue = queue(3);
        let tea = queue.insert(180, "tea").unwrap();
        queue.insert(90, "egg").unwrap();
        queue.insert(90, "toast").unwrap();
        assert_eq!(queue.earliest(), Some(90));
        assert_eq!(queue.pop_expired(100), Some("egg"));
        assert_eq!(queue.pop_expired(100), Some("toast"));
        assert_eq!(queue.pop_expired(100), None);
        assert_eq!(queue.remove(tea), "tea");
    }

    #[test]
    fn a_full_queue_refuses_and_an_emptied_slot_serves_again() {
        let mut queue = queue(1);
        let first = queue.insert(5, 'a').unwrap();
        while queue.insert(6, 'b').is_ok() {}
        assert_eq!(queue.len(), 64);
        assert_eq!(queue.remove(first), 'a');
        queue.insert(4, 'c').unwrap();
        assert_eq!(queue.insert(4, 'd'), Err(Full));
        assert_eq!((queue.earliest(), queue.len()), (Some(4), 64));
        assert!(queue.add_room(QueueRoom::allocate(0).unwrap()).is_err(), "it has that");
        assert!(queue.add_room(QueueRoom::allocate(1).unwrap()).is_ok());
        assert!(queue.insert(3, 'd').is_ok());
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
            let mut queue = queue::<usize>(300);
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
