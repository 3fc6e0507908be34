//! `memchr`, `memrchr`, and the search that functions of strings share.

use crate::block::{Block, PAGE};
use crate::choice::variants;
use core::ptr::null_mut;

variants! {
    /// The first of `length` bytes that is the lowest byte of `byte`, or null. What lies behind that is not
    /// touched, so `length` may say more than there is if there is such a byte.
    ///
    /// # Safety
    ///
    /// The bytes up to the one that is found, or all of them, can be read.
    pub fn memchr(start: *const u8, byte: i32, length: usize) -> *mut u8 = forwards;

    /// The last of `length` bytes that is the lowest byte of `byte`, or null.
    ///
    /// # Safety
    ///
    /// `length` bytes can be read at `start`.
    pub fn memrchr(start: *const u8, byte: i32, length: usize) -> *mut u8 = backwards;
}

/// # Safety: that of `memchr`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn forwards<B: Block>(start: *const u8, byte: i32, length: usize) -> *mut u8 {
    if length == 0 {
        return null_mut();
    }
    // SAFETY: as above.
    unsafe {
        let wanted = B::splat(byte as u8);
        let found = first(start, Some(length), |block: B| block.equal(wanted));
        if found < length { start.cast_mut().add(found) } else { null_mut() }
    }
}

/// # Safety: that of `memrchr`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn backwards<B: Block>(start: *const u8, byte: i32, length: usize) -> *mut u8 {
    if length == 0 {
        return null_mut();
    }
    // SAFETY: as above; each block that is read has a byte of the range, and none crosses a page.
    unsafe {
        let wanted = B::splat(byte as u8);
        let last = start.add(length - 1);
        let within = last as usize % B::SIZE;
        let mut at = last.wrapping_sub(within);
        // What lies behind the last byte is not looked at.
        let mut ignore = 31 - within as u32;
        loop {
            let matches = B::load_aligned(at).equal(wanted).mask() << ignore >> ignore;
            if matches != 0 {
                let found = at.wrapping_add(matches.ilog2() as usize);
                return if found >= start { found.cast_mut() } else { null_mut() };
            }
            if at <= start {
                return null_mut();
            }
            at = at.wrapping_sub(B::SIZE);
            ignore = 0;
        }
    }
}

/// How far from `start` the first byte is for which `matches` gives a byte with its highest bit set. If that
/// is not nearer than `length`, anything from `length` on.
///
/// # Safety
///
/// The bytes up to the one that is found, or up to `length`, which is not 0, can be read. The processor has
/// the block's instructions.
#[inline(always)]
pub(crate) unsafe fn first<B: Block>(
    start: *const u8,
    length: Option<usize>,
    matches: impl Fn(B) -> B,
) -> usize {
    let (address, group) = (start as usize, 4 * B::SIZE);
    // SAFETY: every load reads at least one byte that can be read, and does not cross a page: the first because
    // it is looked at, the others because they are aligned to what they read.
    unsafe {
        let within = address % B::SIZE;
        let found = if address % PAGE <= PAGE - B::SIZE {
            matches(B::load(start)).mask()
        } else {
            matches(B::load_aligned(start.wrapping_sub(within))).mask() >> within
        };
        if found != 0 {
            return found.trailing_zeros() as usize;
        }
        let mut done = B::SIZE - within;
        while !(address + done).is_multiple_of(group) {
            if length.is_some_and(|length| done >= length) {
                return done;
            }
            let found = matches(B::load_aligned(start.add(done))).mask();
            if found != 0 {
                return done + found.trailing_zeros() as usize;
            }
            done += B::SIZE;
        }
        loop {
            if length.is_some_and(|length| done >= length) {
                return done;
            }
            let at = start.add(done);
            let block = |index: usize| B::load_aligned(at.add(index * B::SIZE));
            let (a, b, c, d) = (matches(block(0)), matches(block(1)), matches(block(2)), matches(block(3)));
            if a.or(b).or(c.or(d)).mask() != 0 {
                for block in [a, b, c, d] {
                    let found = block.mask();
                    if found != 0 {
                        return done + found.trailing_zeros() as usize;
                    }
                    done += B::SIZE;
                }
            }
            done += group;
        }
    }
}
