//! `memcmp`, `strcmp`, `strncmp`: what comes first, as bytes without sign.

use crate::block::{Block, PAGE, Sse2};
use crate::choice::variants;

variants! {
    /// Compares `length` bytes; negative, zero or positive as the first difference says.
    ///
    /// # Safety
    ///
    /// `length` bytes can be read at `a` and at `b`.
    pub fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 = memory;

    /// Compares two strings; negative, zero or positive as the first difference says.
    ///
    /// # Safety
    ///
    /// Both end with a zero byte, and can be read up to the first difference or that byte.
    pub fn strcmp(a: *const u8, b: *const u8) -> i32 = strings;

    /// Compares two strings as if they ended after `most` bytes.
    ///
    /// # Safety
    ///
    /// Both have `most` bytes or end with a zero byte, and can be read up to the first difference or their end.
    pub fn strncmp(a: *const u8, b: *const u8, most: usize) -> i32 = strings_up_to;
}

/// The first eight bytes as a number that compares as they do.
///
/// # Safety: eight bytes at `from` can be read.
#[inline(always)]
unsafe fn word(from: *const u8) -> u64 {
    // SAFETY: as above.
    u64::from_be(unsafe { from.cast::<u64>().read_unaligned() })
}

/// The first and the last four bytes of `length` as a number that compares as they do.
///
/// # Safety: `length` bytes at `from` can be read, and are four to eight.
#[inline(always)]
unsafe fn halves(from: *const u8, length: usize) -> u64 {
    // SAFETY: as above.
    let (first, last) =
        unsafe { (from.cast::<u32>().read_unaligned(), from.add(length - 4).cast::<u32>().read_unaligned()) };
    u64::from(first.to_be()) << 32 | u64::from(last.to_be())
}

/// # Safety: that of `memcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn memory<B: Block>(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: as above; each load lies inside both blocks.
    unsafe {
        if length >= B::SIZE {
            return large::<B>(a, b, length);
        }
        if length >= Sse2::SIZE {
            return large::<Sse2>(a, b, length);
        }
        if length >= 8 {
            let (left, right) = (word(a), word(b));
            if left != right {
                return order(left, right);
            }
            return order(word(a.add(length - 8)), word(b.add(length - 8)));
        }
        if length >= 4 {
            return order(halves(a, length), halves(b, length));
        }
        for at in 0..length {
            if *a.add(at) != *b.add(at) {
                return difference(a, b, at);
            }
        }
    }
    0
}

/// Compares at least one block.
///
/// # Safety: that of `memcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn large<B: Block>(a: *const u8, b: *const u8, length: usize) -> i32 {
    let last = length - B::SIZE;
    // SAFETY: as above; no load begins behind `last`.
    unsafe {
        let equal = |at| B::load(a.add(at)).equal(B::load(b.add(at)));
        let mut at = 0;
        while at + 4 * B::SIZE <= length {
            let (a, b) = (equal(at), equal(at + B::SIZE));
            let (c, d) = (equal(at + 2 * B::SIZE), equal(at + 3 * B::SIZE));
            if a.smaller(b).smaller(c.smaller(d)).mask() != B::ALL {
                break;
            }
            at += 4 * B::SIZE;
        }
        if at == length {
            return 0;
        }
        // The last block may overlap with what was compared.
        at = at.min(last);
        loop {
            let differ = !equal(at).mask() & B::ALL;
            if differ != 0 {
                return difference(a, b, at + differ.trailing_zeros() as usize);
            }
            if at == last {
                return 0;
            }
            at = (at + B::SIZE).min(last);
        }
    }
}

fn order(left: u64, right: u64) -> i32 {
    i32::from(left > right) - i32::from(left < right)
}

/// # Safety: the bytes can be read.
#[inline(always)]
unsafe fn difference(a: *const u8, b: *const u8, at: usize) -> i32 {
    // SAFETY: as above.
    unsafe { i32::from(*a.add(at)) - i32::from(*b.add(at)) }
}

/// # Safety: that of `strcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn strings<B: Block>(a: *const u8, b: *const u8) -> i32 {
    // SAFETY: as above; a string has less bytes than that.
    unsafe { strings_up_to::<B>(a, b, usize::MAX) }
}

/// # Safety: that of `strncmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn strings_up_to<B: Block>(a: *const u8, b: *const u8, most: usize) -> i32 {
    // SAFETY: as above. Whole blocks are read where neither string can leave its page: it has a byte in the page,
    // since what came before is equal and not zero.
    unsafe {
        let zero = B::splat(0);
        let mut at = 0;
        while at < most {
            let room = room(a.wrapping_add(at)).min(room(b.wrapping_add(at)));
            if room < B::SIZE && at < B::SIZE {
                // A few bytes up to the page's end.
                for _ in 0..room.min(most - at) {
                    let byte = *a.add(at);
                    if byte != *b.add(at) || byte == 0 {
                        return difference(a, b, at);
                    }
                    at += 1;
                }
                continue;
            }
            // Where less than a block is left, the last one overlaps with what was compared.
            let end = at + room;
            // Zero where there is a difference or an end.
            let goes_on = |at| {
                let block = B::load(a.add(at));
                block.equal(B::load(b.add(at))).smaller(block)
            };
            while at + 4 * B::SIZE <= end {
                let (a, b) = (goes_on(at), goes_on(at + B::SIZE));
                let (c, d) = (goes_on(at + 2 * B::SIZE), goes_on(at + 3 * B::SIZE));
                if a.smaller(b).smaller(c.smaller(d)).equal(zero).mask() != 0 {
                    break;
                }
                at += 4 * B::SIZE;
            }
            loop {
                let begin = at.min(end - B::SIZE);
                let stop = goes_on(begin).equal(zero).mask();
                if stop != 0 {
                    let at = begin + stop.trailing_zeros() as usize;
                    return if at < most { difference(a, b, at) } else { 0 };
                }
                at = begin + B::SIZE;
                if at >= end || at >= most {
                    break;
                }
            }
        }
    }
    0
}

/// Bytes from an address to the end of its page.
#[inline(always)]
fn room(at: *const u8) -> usize {
    PAGE - at as usize % PAGE
}
