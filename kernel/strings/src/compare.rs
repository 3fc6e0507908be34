//! `memcmp`, `strcmp`, `strncmp`: what comes first, as bytes without sign.

use crate::Variant;
use crate::block::{Block, PAGE, Sse2};
use crate::choice::{is_at_least, variants};
use core::arch::asm;
use core::hint::select_unpredictable;

/// As many bytes as there are bits in a mask.
const SHORT: usize = 64;

/// Compares `length` bytes; negative, zero or positive as the first difference says.
///
/// # Safety
///
/// `length` bytes can be read at `a` and at `b`.
#[inline]
pub unsafe fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    variants! {
        /// # Safety: that of `memcmp`.
        fn by_blocks(a: *const u8, b: *const u8, length: usize) -> i32 = memory;
    }
    // SAFETY: the caller's contract is the same.
    unsafe {
        if (1..=SHORT).contains(&length) && is_at_least(Variant::Avx512) {
            short(a, b, length)
        } else {
            by_blocks(a, b, length)
        }
    }
}

variants! {
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

/// The first, the middle and the last one of up to three bytes, as a number that compares as they do.
///
/// # Safety: `length` bytes at `from` can be read, and are one to three.
#[inline(always)]
unsafe fn ends(from: *const u8, length: usize) -> u64 {
    // SAFETY: as above.
    let [first, middle, last] =
        unsafe { [*from, *from.add(length / 2), *from.add(length - 1)].map(u64::from) };
    first << 16 | middle << 8 | last
}

/// Compares one to [`SHORT`] bytes without a branch: what lies behind them is masked, and not read. Only at the
/// end of what is mapped that takes the processor long, about 150 ns.
///
/// # Safety: that of `memcmp`, and AVX-512 runs, or a variant that needs more.
#[inline(always)]
unsafe fn short(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut differ = u64::MAX >> (SHORT - length);
    // SAFETY: as above. Both loads are masked, and so cannot fault beyond the bytes; the registers are ones that
    // need no clean-up.
    unsafe {
        asm!(
            "kmovq k1, {differ}",
            "kshiftrq k2, k1, 32",
            "vmovdqu8 ymm16{{k1}}{{z}}, [{a}]",
            "vmovdqu8 ymm17{{k2}}{{z}}, [{a} + 32]",
            "vpcmpneqb k1{{k1}}, ymm16, [{b}]",
            "vpcmpneqb k2{{k2}}, ymm17, [{b} + 32]",
            "kunpckdq k1, k2, k1",
            "kmovq {differ}, k1",
            a = in(reg) a,
            b = in(reg) b,
            differ = inout(reg) differ,
            out("k1") _,
            out("k2") _,
            out("xmm16") _,
            out("xmm17") _,
            options(pure, readonly, nostack, preserves_flags),
        );
        // Without a difference the first bytes are the same.
        difference(a, b, if differ != 0 { differ.trailing_zeros() as usize } else { 0 })
    }
}

/// Branches depend on the length, and up to two blocks on nothing else: where keys differ is hard to predict.
///
/// # Safety: that of `memcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn memory<B: Block>(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: as above; each load lies inside both blocks.
    unsafe {
        if length > 2 * B::SIZE {
            return large::<B>(a, b, length);
        }
        if length > 2 * Sse2::SIZE {
            return two::<B>(a, b, length);
        }
        if length >= Sse2::SIZE {
            return two::<Sse2>(a, b, length);
        }
        if length >= 8 {
            let last = length - 8;
            let (left, right) = (word(a), word(b));
            let same = left == right;
            return order(
                select_unpredictable(same, word(a.add(last)), left),
                select_unpredictable(same, word(b.add(last)), right),
            );
        }
        if length >= 4 {
            return order(halves(a, length), halves(b, length));
        }
        if length > 0 {
            return order(ends(a, length), ends(b, length));
        }
    }
    0
}

/// Compares one to two blocks, which may overlap.
///
/// # Safety: that of `memcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn two<B: Block>(a: *const u8, b: *const u8, length: usize) -> i32 {
    let last = length - B::SIZE;
    // SAFETY: as above; both lie inside.
    unsafe {
        let differ =
            u64::from(differences::<B>(a, b, 0)) | u64::from(differences::<B>(a, b, last)) << B::SIZE;
        let first = differ.trailing_zeros() as usize;
        let at = if first < B::SIZE { first } else { first - B::SIZE + last };
        // Without a difference the first bytes are the same.
        difference(a, b, if differ != 0 { at } else { 0 })
    }
}

/// Where blocks at `at` differ: a bit each byte.
///
/// # Safety: the bytes can be read, and the processor has the block's instructions.
#[inline(always)]
unsafe fn differences<B: Block>(a: *const u8, b: *const u8, at: usize) -> u32 {
    // SAFETY: as above.
    unsafe { !B::load(a.add(at)).equal(B::load(b.add(at))).mask() & B::ALL }
}

/// Compares more than two blocks, four at a time. The last ones may overlap with what was compared.
///
/// # Safety: that of `memcmp`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn large<B: Block>(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: as above; no block ends behind `length`.
    unsafe {
        if length <= 4 * B::SIZE {
            let blocks = [0, B::SIZE, length - 2 * B::SIZE, length - B::SIZE];
            return four::<B>(a, b, blocks).unwrap_or(0);
        }
        let (mut at, last) = (0, length - 4 * B::SIZE);
        loop {
            let blocks = [at, at + B::SIZE, at + 2 * B::SIZE, at + 3 * B::SIZE];
            if let Some(order) = four::<B>(a, b, blocks) {
                return order;
            }
            if at == last {
                return 0;
            }
            at = (at + 4 * B::SIZE).min(last);
        }
    }
}

/// Compares four blocks; nothing if they are the same.
///
/// # Safety: all of them can be read, and the processor has the block's instructions.
#[inline(always)]
unsafe fn four<B: Block>(a: *const u8, b: *const u8, blocks: [usize; 4]) -> Option<i32> {
    // SAFETY: as above.
    unsafe {
        let equal = |block: usize| B::load(a.add(blocks[block])).equal(B::load(b.add(blocks[block])));
        let (first, second, third, fourth) = (equal(0), equal(1), equal(2), equal(3));
        if first.smaller(second).smaller(third.smaller(fourth)).mask() == B::ALL {
            return None;
        }
        for at in blocks {
            let differ = differences::<B>(a, b, at);
            if differ != 0 {
                return Some(difference(a, b, at + differ.trailing_zeros() as usize));
            }
        }
    }
    None
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
