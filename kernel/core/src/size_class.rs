//! Size classes: the few sizes in which the heap hands out small blocks.
//!
//! A request is rounded up to a class: steps of 16 bytes up to 128, and from there four steps per
//! doubling. So a block has at most 15 bytes, or a quarter of what was asked for, more than it needs, and
//! finding the class is one look into a table.
//!
//! Blocks of a class lie one behind the other from an address that is a multiple of [`SizeClass::align`].
//! So every block is aligned to that, and alignment needs no classes of its own: a size that is rounded up
//! to a multiple of its alignment always finds a class that is aligned well enough.

/// Size in bytes of the largest class.
pub const LARGEST: usize = 1024;

/// How many classes there are.
pub const COUNT: usize = 20;

/// All sizes are multiples of this.
const GRANULE: usize = 16;

/// The last size in steps of one granule.
const LAST_EVEN: usize = 128;

const SIZES: [u16; COUNT] = {
    let mut sizes = [0; COUNT];
    let (mut size, mut index) = (0, 0);
    while index < COUNT {
        size += if size < LAST_EVEN { GRANULE } else { (1 << size.ilog2()) / 4 };
        sizes[index] = size as u16;
        index += 1;
    }
    assert!(size == LARGEST);
    sizes
};

/// The class of each number of granules.
const CLASSES: [SizeClass; LARGEST / GRANULE + 1] = {
    let mut classes = [SizeClass(0); LARGEST / GRANULE + 1];
    let (mut granules, mut class) = (0, 0);
    while granules < classes.len() {
        if granules * GRANULE > SIZES[class] as usize {
            class += 1;
        }
        classes[granules] = SizeClass(class as u8);
        granules += 1;
    }
    classes
};

/// One of the sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The smallest class whose blocks have `size` bytes and are aligned to `align`, a power of two.
    /// None if that makes more than [`LARGEST`] bytes. From 1 to `isize::MAX` bytes may be asked for.
    #[inline]
    pub const fn of(size: usize, align: usize) -> Option<SizeClass> {
        let rounded = (size + (align - 1)) & !(align - 1);
        if rounded <= LARGEST { Some(CLASSES[rounded.div_ceil(GRANULE)]) } else { None }
    }

    /// All classes, the smallest first.
    pub fn all() -> impl Iterator<Item = SizeClass> {
        (0..COUNT as u8).map(SizeClass)
    }

    /// Its place among all classes.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Bytes of its blocks.
    #[inline]
    pub const fn size(self) -> usize {
        SIZES[self.0 as usize] as usize
    }

    /// What all of its blocks are aligned to: the largest power of two of which its size is a multiple.
    #[inline]
    pub const fn align(self) -> usize {
        1 << self.size().trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_smallest_that_is_large_and_aligned_enough() {
        for size in 1..=LARGEST + 1 {
            for align in (0..12).map(|power| 1 << power) {
                let fits = |class: &SizeClass| class.size() >= size && class.align() >= align;
                let smallest = SizeClass::all().find(fits);
                assert_eq!(SizeClass::of(size, align), smallest, "{size} bytes aligned to {align}");
            }
        }
    }

    #[test]
    fn little_is_lost_by_rounding() {
        for size in 1..=LARGEST {
            let lost = SizeClass::of(size, 1).unwrap().size() - size;
            assert!(lost < 16.max(size / 4), "{size} bytes lose {lost}");
        }
    }

    #[test]
    fn sizes_grow_with_the_index() {
        assert!(SizeClass::all().map(SizeClass::size).is_sorted_by(|a, b| a < b));
        assert!(SizeClass::all().map(SizeClass::index).eq(0..COUNT));
    }

    #[test]
    fn what_is_too_large_has_no_class() {
        assert_eq!(SizeClass::of(LARGEST + 1, 1), None);
        assert_eq!(SizeClass::of(isize::MAX as usize, 1), None);
        assert_eq!(SizeClass::of(1, 1 << 63), None);
    }
}
