//! Tables of things that have a number: threads, mutexes, semaphores and so on.
//!
//! Everything the policy links, it links by number, which needs no `unsafe` and half the space of a
//! pointer. A table never moves or grows by itself: its owner makes room before anything depends on time
//! ([`chunks`](crate::chunks)), and putting something in costs the same whether there are ten or ten thousand.
//!
//! The number of something that was removed is given out again. Using it in between is a bug of the
//! caller, and panics.

use crate::chunks::{Chunk, Chunks, Place};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Index, IndexMut};

/// The number of a `T` in its table. `Option<Id<T>>` is as small as `Id<T>`: four bytes.
pub struct Id<T> {
    place: Place,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    #[inline]
    const fn new(place: Place) -> Id<T> {
        Id { place, kind: PhantomData }
    }

    /// The index: small, counted from 0, good for tables beside this one.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.place.index()
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
        self.place == other.place
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.index())
    }
}

/// There is no room left in a table: make some and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of the kernel is full; room must be made")
    }
}

impl core::error::Error for Full {}

/// Room for one thing.
#[derive(Debug)]
pub(crate) enum Slot<T> {
    Used(T),
    /// The next free slot, by its number.
    Free(Option<Id<T>>),
}

/// A table with constant-time insertion, removal and access, that never grows unasked.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Chunks<Slot<T>>,
    /// The slot that was freed last.
    free: Option<Id<T>>,
    used: usize,
}

impl<T> Table<T> {
    /// A table without room.
    pub(crate) const fn new() -> Table<T> {
        Table { slots: Chunks::new(), free: None, used: 0 }
    }

    /// The number of the chunk that is missing before anything more can be put in.
    pub(crate) fn shortage(&self) -> Option<usize> {
        (self.used == self.slots.capacity()).then_some(self.slots.missing())
    }

    /// Makes room. Gives the chunk back if the table has it already.
    pub(crate) fn add_room(&mut self, chunk: Chunk<Slot<T>>) -> Result<(), Chunk<Slot<T>>> {
        self.slots.add(chunk)
    }

    /// Puts something in.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room. The table does not change.
    pub(crate) fn insert(&mut self, value: T) -> Result<Id<T>, Full> {
        let id = match self.free {
            Some(id) => {
                let Some(slot) = self.slots.get_mut(id.place) else { no_such(id) };
                match slot {
                    Slot::Free(next) => self.free = *next,
                    Slot::Used(_) => unreachable!("the free list names used slot {id:?}"),
                }
                *slot = Slot::Used(value);
                id
            }
            None => Id::new(self.slots.push(Slot::Used(value)).map_err(|_| Full)?),
        };
        self.used += 1;
        Ok(id)
    }

    /// Takes something out. Its number may be given out again.
    ///
    /// # Panics
    ///
    /// If the number names nothing.
    pub(crate) fn remove(&mut self, id: Id<T>) -> T {
        let Some(slot @ Slot::Used(_)) = self.slots.get_mut(id.place) else { no_such(id) };
        let Slot::Used(value) = core::mem::replace(slot, Slot::Free(self.free)) else { no_such(id) };
        self.free = Some(id);
        self.used -= 1;
        value
    }

    /// How many things are in the table.
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// The number of the next thing in the table, or of the first, ascending.
    pub(crate) fn next(&self, after: Option<Id<T>>) -> Option<Id<T>> {
        let from = after.map_or(0, |id| id.index() + 1);
        let is_used = |index: &usize| matches!(self.slots[*index], Slot::Used(_));
        (from..self.slots.len()).find(is_used).map(|index| Id::new(Place::new(index)))
    }

    /// The numbers of everything in the table, ascending.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id<T>> {
        core::iter::successors(self.next(None), |id| self.next(Some(*id)))
    }

    /// A table that has room already.
    #[cfg(test)]
    pub(crate) fn with_room_for(count: usize) -> Table<T> {
        let mut table = Table::new();
        while table.slots.capacity() < count {
            let chunk = Chunk::allocate(table.slots.missing()).expect("a test has memory");
            assert!(table.add_room(chunk).is_ok());
        }
        table
    }
}

/// Apart, so that the accesses stay short.
#[cold]
#[inline(never)]
fn no_such<T>(id: Id<T>) -> ! {
    panic!("{id:?} names nothing")
}

impl<T> Index<Id<T>> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: Id<T>) -> &T {
        match self.slots.get(id.place) {
            Some(Slot::Used(value)) => value,
            _ => no_such(id),
        }
    }
}

impl<T> IndexMut<Id<T>> for Table<T> {
    #[inline]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.slots.get_mut(id.place) {
            Some(Slot::Used(value)) => value,
            _ => no_such(id),
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
        let mut table = Table::new();
        assert_eq!(table.insert(0), Err(Full));
        assert!(table.add_room(Chunk::allocate(table.shortage().unwrap()).unwrap()).is_ok());
        let ids: Vec<_> = (0..64).map(|number| table.insert(number).unwrap()).collect();
        assert_eq!((table.insert(64), table.shortage()), (Err(Full), Some(1)));
        assert_eq!((table.remove(ids[5]), table.shortage()), (5, None));
        assert_eq!(table.insert(64), Ok(ids[5]), "the freed slot is used again");
        assert_eq!(table.insert(65), Err(Full));
        assert!(table.add_room(Chunk::allocate(1).unwrap()).is_ok());
        let last = table.insert(65).unwrap();
        assert_eq!((table[ids[5]], table[last], last.index(), table.len()), (64, 65, 64, 65));
        assert!(table.ids().map(Id::index).eq(0..65));
    }

    #[test]
    #[should_panic(expected = "#0 names nothing")]
    fn a_removed_number_is_refused() {
        let mut table = Table::with_room_for(1);
        let id = table.insert('a').unwrap();
        table.remove(id);
        let _ = table[id];
    }
}
