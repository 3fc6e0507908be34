//! `strcspn`, `strspn`, `strpbrk`: how far a string has none, or only bytes, of a set.
//!
//! Strings and sets are mostly so short that setting something up would take longest. So a block is compared with
//! each byte of a set, and only large sets have a table.

use crate::block::{Block, PAGE};
use crate::choice::variants;
use core::ptr::null_mut;
use core::slice;

/// The largest set whose bytes are kept in registers.
const FEW: usize = 4;

/// The largest set that each block is compared with. For others there is a table.
const SOME: usize = 16;

variants! {
    /// Bytes before the first one that is in the set, or before the string's end.
    ///
    /// # Safety
    ///
    /// Both are strings that end with a zero byte, and all of them can be read.
    pub fn strcspn(string: *const u8, set: *const u8) -> usize = before_any;

    /// Bytes before the first one that is not in the set, or before the string's end.
    ///
    /// # Safety
    ///
    /// Both are strings that end with a zero byte, and all of them can be read.
    pub fn strspn(string: *const u8, set: *const u8) -> usize = before_other;
}

/// The first byte of a string that is in the set, or null.
///
/// # Safety
///
/// Both are strings that end with a zero byte, and all of them can be read.
#[inline]
pub unsafe fn strpbrk(string: *const u8, set: *const u8) -> *mut u8 {
    // SAFETY: the caller's contract; what is found is a byte of the string, or its zero byte.
    unsafe {
        let found = string.add(strcspn(string, set));
        if *found != 0 { found.cast_mut() } else { null_mut() }
    }
}

/// # Safety: that of `strcspn`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn before_any<B: Block>(string: *const u8, set: *const u8) -> usize {
    // SAFETY: as above; the zero byte at the end matches.
    unsafe {
        match few(set) {
            Some([a, b, c, d]) => {
                let (few, zero) = ([B::splat(a), B::splat(b), B::splat(c), B::splat(d)], B::splat(0));
                first(string, |block: B| block.equal(zero).or(is_any(block, few)))
            }
            None => match some(set) {
                Some(some) => {
                    let zero = B::splat(0);
                    first(string, |block: B| block.equal(zero).or(is_one_of(block, some)))
                }
                None => count(string, set, false),
            },
        }
    }
}

/// # Safety: that of `strspn`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn before_other<B: Block>(string: *const u8, set: *const u8) -> usize {
    // SAFETY: as above; the zero byte at the end matches, for it is not among the few.
    unsafe {
        match few(set) {
            Some([0, ..]) => 0,
            Some([a, b, c, d]) => {
                let or_a = |byte| if byte != 0 { byte } else { a };
                let few = [B::splat(a), B::splat(or_a(b)), B::splat(or_a(c)), B::splat(or_a(d))];
                let zero = B::splat(0);
                first(string, |block: B| is_any(block, few).equal(zero))
            }
            None => match some(set) {
                Some(some) => {
                    let zero = B::splat(0);
                    first(string, |block: B| is_one_of(block, some).equal(zero))
                }
                None => count(string, set, true),
            },
        }
    }
}

/// The bytes of a set that has few, and zeros behind them.
///
/// # Safety: the set is a string, and all of it can be read.
#[inline(always)]
unsafe fn few(set: *const u8) -> Option<[u8; FEW]> {
    // SAFETY: as above; nothing is read behind the zero byte.
    unsafe {
        let next = |before: u8, at| if before != 0 { *set.add(at) } else { 0 };
        let a = *set;
        let b = next(a, 1);
        let c = next(b, 2);
        let d = next(c, 3);
        if next(d, FEW) == 0 { Some([a, b, c, d]) } else { None }
    }
}

/// The bytes of a set that has more, but not many.
///
/// # Safety: the set is a string, all of it can be read for as long as what is given lives, and it has [`FEW`].
#[inline(always)]
unsafe fn some<'a>(set: *const u8) -> Option<&'a [u8]> {
    // SAFETY: as above; nothing is read behind the zero byte.
    unsafe {
        let length = (FEW..=SOME).find(|length| *set.add(*length) == 0)?;
        Some(slice::from_raw_parts(set, length))
    }
}

/// 255 in each byte that is one of the bytes, and 0 in all others.
///
/// # Safety: the processor has the block's instructions.
#[inline(always)]
unsafe fn is_any<B: Block>(block: B, [a, b, c, d]: [B; FEW]) -> B {
    // SAFETY: as above.
    unsafe { (block.equal(a).or(block.equal(b))).or(block.equal(c).or(block.equal(d))) }
}

/// The same for any number of them, which are looked up again each time.
///
/// # Safety: the processor has the block's instructions.
#[inline(always)]
unsafe fn is_one_of<B: Block>(block: B, set: &[u8]) -> B {
    // SAFETY: as above.
    unsafe {
        let mut any = B::splat(0);
        for byte in set {
            any = any.or(block.equal(B::splat(*byte)));
        }
        any
    }
}

/// How far from the start the first byte is for which `matches` gives a byte with its highest bit set.
///
/// Unlike `find::first` it takes one block at a time: what is looked for is near, and the comparisons
/// take longer than the loop.
///
/// # Safety
///
/// There is such a byte, and the bytes up to it can be read. The processor has the block's instructions.
#[inline(always)]
unsafe fn first<B: Block>(string: *const u8, matches: impl Fn(B) -> B) -> usize {
    let within = string as usize % B::SIZE;
    // The first block begins with the string, or, where it would cross the end of a page, before it.
    let crosses = string as usize % PAGE > PAGE - B::SIZE;
    let (mut at, mut ignore) = if crosses { (string.wrapping_sub(within), within) } else { (string, 0) };
    // SAFETY: each block has a byte that can be read, and none crosses the end of a page.
    unsafe {
        loop {
            let found = matches(B::load(at)).mask() >> ignore;
            if found != 0 {
                let found = at.wrapping_add(ignore + found.trailing_zeros() as usize);
                return found as usize - string as usize;
            }
            at = at.wrapping_add(B::SIZE - at as usize % B::SIZE);
            ignore = 0;
        }
    }
}

/// Bytes of a string that are in the set, or that are not, before the first other one or the end.
///
/// # Safety: both are strings, and all of them can be read.
#[inline(never)]
unsafe fn count(string: *const u8, mut set: *const u8, are_in: bool) -> usize {
    let mut is_in = [false; 256];
    is_in[0] = !are_in;
    let mut count = 0;
    // SAFETY: as above; nothing is read behind a zero byte.
    unsafe {
        while *set != 0 {
            is_in[usize::from(*set)] = true;
            set = set.add(1);
        }
        while is_in[usize::from(*string.add(count))] == are_in {
            count += 1;
        }
    }
    count
}
