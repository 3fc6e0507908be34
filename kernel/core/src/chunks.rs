//! Storage that grows without moving anything: chunks, each twice as large as the one before.
//!
//! ```text
//!   chunk       0        1              2                    3
//!   index    0 ‥ 63 │ 64 ‥ 191 │ 192 ‥‥‥‥‥‥‥ 447 │ 448 ‥‥‥‥‥‥‥‥‥‥‥‥‥‥‥‥‥‥ 959 │ ‥
//! ```
//!
//! Who owns the storage allocates a chunk while nothing depends on time, and adding it takes as long
//! for ten things as for ten thousand. Nothing that is there is copied, and room that was never used is
//! never touched, so it costs address space only.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};

/// How many things the first chunk holds.
const FIRST: usize = 64;

/// How many chunks there can be: 4,194,240 things together.
const CHUNKS: usize = 16;

/// Where something is: the number of its chunk and the offset in it, taken apart beforehand so that no
/// access has to.
///
/// The highest 4 bits are the chunk, the lowest 27 the offset; the one between is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    const CHUNK_SHIFT: u32 = 28;
    const MARK: u32 = 1 << 27;

    pub(crate) fn new(index: usize) -> Place {
        let (chunk, offset) = split(index);
        assert!(chunk < CHUNKS, "there is no chunk {chunk}");
        let number = (chunk as u32) << Place::CHUNK_SHIFT | Place::MARK | offset as u32;
        match NonZeroU32::new(number) {
            Some(number) => Place(number),
            None => unreachable!("one bit is always set"),
        }
    }

    #[inline]
    const fn chunk(self) -> usize {
        (self.0.get() >> Place::CHUNK_SHIFT) as usize
    }

    #[inline]
    const fn offset(self) -> usize {
        (self.0.get() & (Place::MARK - 1)) as usize
    }

    /// The index that this is the place of.
    pub(crate) const fn index(self) -> usize {
        capacity(self.chunk()) + self.offset()
    }
}

/// The number of the chunk in which an index is, and the offset there.
#[inline]
const fn split(index: usize) -> (usize, usize) {
    let number = index + FIRST;
    let power = number.ilog2();
    ((power - FIRST.ilog2()) as usize, number - (1 << power))
}

/// How much this many chunks hold.
#[inline]
const fn capacity(chunks: usize) -> usize {
    (FIRST << chunks) - FIRST
}

/// Room for one chunk more.
#[derive(Debug)]
pub(crate) struct Chunk<T> {
    number: usize,
    room: Vec<T>,
}

impl<T> Chunk<T> {
    /// Allocates room for the chunk of this number.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or no chunk of this number.
    pub(crate) fn allocate(number: usize) -> Result<Chunk<T>, TryReserveError> {
        let mut room = Vec::new();
        room.try_reserve_exact(if number < CHUNKS { FIRST << number } else { usize::MAX })?;
        Ok(Chunk { number, room })
    }
}

/// Things with an index, counted from 0 without gaps.
///
/// The first `present` chunks have room; of these, all before the one in which `len` is are full, and all
/// behind it are empty.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: [Vec<T>; CHUNKS],
    present: usize,
    len: usize,
}

impl<T> Chunks<T> {
    /// Without room.
    pub(crate) const fn new() -> Chunks<T> {
        Chunks { chunks: [const { Vec::new() }; CHUNKS], present: 0, len: 0 }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How much there is room for.
    #[inline]
    pub(crate) const fn capacity(&self) -> usize {
        capacity(self.present)
    }

    /// The number of the chunk for which there is no room yet.
    pub(crate) const fn missing(&self) -> usize {
        self.present
    }

    /// Makes room. Gives the chunk back if it is not the one that is missing.
    pub(crate) fn add(&mut self, chunk: Chunk<T>) -> Result<(), Chunk<T>> {
        if chunk.number != self.present {
            return Err(chunk);
        }
        self.chunks[self.present] = chunk.room;
        self.present += 1;
        Ok(())
    }

    /// Puts something at the end, and says where that is; gives it back if there is no room.
    pub(crate) fn push(&mut self, value: T) -> Result<Place, T> {
        if self.len == self.capacity() {
            return Err(value);
        }
        let place = Place::new(self.len);
        self.chunks[place.chunk()].push(value);
        self.len += 1;
        Ok(place)
    }

    /// Takes out the last.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        let (chunk, _) = split(self.len);
        self.chunks[chunk].pop()
    }

    /// The first of all.
    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        self.chunks[0].first()
    }

    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.chunks[place.chunk()].get(place.offset())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.chunks[place.chunk()].get_mut(place.offset())
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        let (chunk, offset) = split(index);
        &self.chunks[chunk][offset]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let (chunk, offset) = split(index);
        &mut self.chunks[chunk][offset]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn every_index_has_its_place() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            assert_eq!(split(index), expected);
            let place = Place::new(index);
            assert_eq!((place.chunk(), place.offset(), place.index()), (expected.0, expected.1, index));
            expected.1 += 1;
            if expected.1 == 64 << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let last = capacity(CHUNKS) - 1;
        assert_eq!((last, Place::new(last).index()), (4_194_239, last));
    }

    #[test]
    fn what_is_there_stays_where_it_is_while_more_room_is_made() {
        let mut chunks = Chunks::new();
        assert_eq!(chunks.push(0), Err(0), "there is no room at first");
        chunks.add(Chunk::allocate(0).unwrap()).unwrap();
        chunks.push(0).unwrap();
        let address = &raw const chunks[0];
        for number in 1..10_000 {
            if chunks.len() == chunks.capacity() {
                assert_eq!(chunks.push(number), Err(number));
                chunks.add(Chunk::allocate(chunks.missing()).unwrap()).unwrap();
            }
            let place = chunks.push(number).unwrap();
            assert_eq!(chunks.get(place), Some(&number));
        }
        assert_eq!(&raw const chunks[0], address);
        for number in (0..10_000).rev() {
            assert_eq!((chunks[number], chunks.pop()), (number, Some(number)));
        }
        assert_eq!((chunks.pop(), chunks.len(), chunks.first()), (None, 0, None));
    }

    #[test]
    fn a_chunk_that_somebody_else_has_added_is_given_back() {
        let mut chunks = Chunks::<u8>::new();
        let [one, other] = [(); 2].map(|()| Chunk::allocate(0).unwrap());
        assert!(chunks.add(one).is_ok());
        assert!(chunks.add(other).is_err());
        assert_eq!((chunks.missing(), chunks.capacity()), (1, 64));
    }

    #[test]
    fn there_is_no_chunk_beyond_the_last() {
        assert!(Chunk::<u64>::allocate(CHUNKS).is_err());
    }
}
