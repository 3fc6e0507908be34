//! Tables of things that have a number: threads, mutexes, semaphores and so on.
//!
//! Everything the policy links, it links by index, which needs no `unsafe` and half the space of a
//! pointer. A table never moves or grows by itself: its owner makes room ([`Table::reserve`]) before
//! anything depends on time, and putting something in costs the same whether there are ten or ten
//! thousand. Room is only address space until it is used.
//!
//! The number of something that was removed is given out again. Using it in between is a bug of the
//! caller, and panics.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};

/// The number of a `T` in its table. `Option<Id<T>>` is as small as `Id<T>`: four bytes.
pub struct Id<T> {
    /// The index plus one.
    number: NonZeroU32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    fn from_index(index: usize) -> Id<T> {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Id { number: number.expect("a table has fewer than 2^32 - 1 slots"), kind: PhantomData }
    }

    /// The index: small, counted from 0, good for tables beside this one.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.number.get() as usize - 1
    }
}

impl<T> Clone for Id<T> {
    #[inline]
    fn clone(&self) -> Id<T> {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    #[inline]
    fn eq(&self, other: &Id<T>) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.index())
    }
}

/// There is no room left in a table: reserve some and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of the kernel is full; more room must be reserved")
    }
}

impl core::error::Error for Full {}

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    /// The next free slot, by its number.
    Free(Option<Id<T>>),
}

/// A table with constant-time insertion, removal and access, that never grows unasked.
#[derive(Debug)]
pub struct Table<T> {
    /// Never longer than its capacity, so that pushing does not allocate.
    slots: Vec<Slot<T>>,
    /// The slot that was freed last.
    free: Option<Id<T>>,
    used: usize,
}

impl<T> Table<T> {
    /// Bytes that one slot takes.
    pub const SLOT_SIZE: usize = size_of::<Slot<T>>();

    /// A table with room for `capacity` things.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Table<T> {
        Table { slots: Vec::with_capacity(capacity), free: None, used: 0 }
    }

    /// Makes room for `additional` more than there are. Allocates, and moves the whole table: not for a
    /// moment in which events are off.
    pub fn reserve(&mut self, additional: usize) {
        let free = self.slots.len() - self.used;
        self.slots.reserve_exact(additional.saturating_sub(free));
    }

    /// Puts something in.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room. The table does not change.
    pub fn insert(&mut self, value: T) -> Result<Id<T>, Full> {
        let id = match self.free {
            Some(id) => {
                let slot = &mut self.slots[id.index()];
                match slot {
                    Slot::Free(next) => self.free = *next,
                    Slot::Used(_) => unreachable!("the free list names used slot {id:?}"),
                }
                *slot = Slot::Used(value);
                id
            }
            None if self.slots.len() < self.slots.capacity() => {
                self.slots.push(Slot::Used(value));
                Id::from_index(self.slots.len() - 1)
            }
            None => return Err(Full),
        };
        self.used += 1;
        Ok(id)
    }

    /// Takes something out. Its number may be given out again.
    ///
    /// # Panics
    ///
    /// If the number names nothing.
    pub fn remove(&mut self, id: Id<T>) -> T {
        match core::mem::replace(&mut self.slots[id.index()], Slot::Free(self.free)) {
            Slot::Used(value) => {
                self.free = Some(id);
                self.used -= 1;
                value
            }
            Slot::Free(_) => panic!("{id:?} names nothing"),
        }
    }

    /// What a number names, if anything.
    #[must_use]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        match self.slots.get(id.index()) {
            Some(Slot::Used(value)) => Some(value),
            _ => None,
        }
    }

    /// How many things are in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Whether the table is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The numbers of everything in the table, ascending.
    pub fn ids(&self) -> impl Iterator<Item = Id<T>> {
        let used = |(index, slot)| matches!(slot, &Slot::Used(_)).then(|| Id::from_index(index));
        self.slots.iter().enumerate().filter_map(used)
    }
}

impl<T> Index<Id<T>> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: Id<T>) -> &T {
        match &self.slots[id.index()] {
            Slot::Used(value) => value,
            Slot::Free(_) => panic!("{id:?} names nothing"),
        }
    }
}

impl<T> IndexMut<Id<T>> for Table<T> {
    #[inline]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match &mut self.slots[id.index()] {
            Slot::Used(value) => value,
            Slot::Free(_) => panic!("{id:?} names nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn an_optional_number_takes_four_bytes() {
        assert_eq!(size_of::<Option<Id<u64>>>(), 4);
    }

    #[test]
    fn a_full_table_refuses_until_room_is_made_or_something_leaves() {
        let mut table = Table::with_capacity(2);
        let first = table.insert('a').unwrap();
        let second = table.insert('b').unwrap();
        assert_eq!(table.insert('c'), Err(Full));
        assert_eq!(table.remove(first), 'a');
        assert_eq!(table.insert('c'), Ok(first), "the freed slot is used again");
        assert_eq!(table.insert('d'), Err(Full));
        table.reserve(1);
        let fourth = table.insert('d').unwrap();
        assert_eq!((table[second], table[fourth], table.len()), ('b', 'd', 3));
        assert_eq!(table.ids().collect::<Vec<_>>(), [first, second, fourth]);
    }

    #[test]
    fn inserting_within_the_room_never_moves_the_table() {
        let mut table = Table::with_capacity(10_000);
        let first = table.insert(0).unwrap();
        let address = &raw const table[first];
        for number in 1..10_000 {
            table.insert(number).unwrap();
        }
        assert_eq!(&raw const table[first], address);
    }

    #[test]
    #[should_panic(expected = "#0 names nothing")]
    fn a_removed_number_is_refused() {
        let mut table = Table::with_capacity(1);
        let id = table.insert('a').unwrap();
        table.remove(id);
        let _ = table[id];
    }
}
