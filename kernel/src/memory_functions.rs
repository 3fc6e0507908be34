//! `memcpy` and its kin, which compilers expect of every environment and a stock toolchain leaves out.
//!
//! Up to 64 bytes everything is loaded before anything is stored, so overlap needs no thought. Larger
//! blocks go by 64 bytes or, from [`STRING_INSTRUCTION`] bytes on, by the processor's string
//! instruction. The loops are assembly, since a compiler would make calls of these very functions of them.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    _mm_setzero_si128, _mm_storeu_si128,
};

/// From this size on the string instruction's start-up pays.
const STRING_INSTRUCTION: usize = 1024;

/// Copies `length` bytes; the blocks do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's blocks are valid for `length` bytes.
    unsafe {
        if length <= 64 {
            copy_small(to, from, length);
        } else {
            copy_forward(to, from, length);
        }
    }
    to
}

/// Copies `length` bytes; the blocks may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's blocks are valid for `length` bytes. Copying forwards is right unless `to`
    // lies inside the source; copying backwards is right then.
    unsafe {
        if length <= 64 {
            copy_small(to, from, length);
        } else if (to as usize).wrapping_sub(from as usize) >= length {
            copy_forward(to, from, length);
        } else {
            copy_backward(to, from, length);
        }
    }
    to
}

/// Fills `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let byte = byte as u8;
    let word = u64::from(byte) * 0x0101_0101_0101_0101;
    // SAFETY: the caller's block is valid for `length` bytes, and each store below lies inside it.
    unsafe {
        match length {
            0 => {}
            1..4 => {
                to.write(byte);
                to.add(length / 2).write(byte);
                to.add(length - 1).write(byte);
            }
            4..8 => ends(to, length, word as u32),
            8..16 => ends(to, length, word),
            16..=64 => {
                let value = _mm_set1_epi8(byte as i8);
                let middle = length / 2;
                store(to, value);
                store(to.add(length - 16), value);
                store(to.add(middle.saturating_sub(16)), value);
                store(to.add(middle.min(length - 16)), value);
            }
            65..STRING_INSTRUCTION => {
                let value = _mm_set1_epi8(byte as i8);
                asm!(
                    "2: movups [{at}], {value}",
                    "movups [{at} + 16], {value}",
                    "movups [{at} + 32], {value}",
                    "movups [{at} + 48], {value}",
                    "add {at}, 64",
                    "cmp {at}, {last}",
                    "jb 2b",
                    "movups [{last}], {value}",
                    "movups [{last} + 16], {value}",
                    "movups [{last} + 32], {value}",
                    "movups [{last} + 48], {value}",
                    at = inout(reg) to => _,
                    last = in(reg) to.add(length - 64),
                    value = in(xmm_reg) value,
                    options(nostack),
                );
            }
            _ => asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
                options(nostack, preserves_flags)),
        }
    }
    to
}

/// Compares `length` bytes; negative, zero or positive as the first difference says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // SAFETY: the caller's blocks are valid for `length` bytes, and each load below lies inside them.
    unsafe {
        while at + 16 <= length {
            let equal = _mm_movemask_epi8(_mm_cmpeq_epi8(load(a.add(at)), load(b.add(at))));
            if equal != 0xffff {
                at += (!equal).trailing_zeros() as usize;
                return i32::from(*a.add(at)) - i32::from(*b.add(at));
            }
            at += 16;
        }
        if length - at >= 8 {
            let (left, right) = (word(a.add(at)), word(b.add(at)));
            if left != right {
                return if left < right { -1 } else { 1 };
            }
            at += 8;
        }
        while at < length {
            let (left, right) = (*a.add(at), *b.add(at));
            if left != right {
                return i32::from(left) - i32::from(right);
            }
            at += 1;
        }
    }
    0
}

/// Zero if `length` bytes are equal.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's contract is the same.
    unsafe { memcmp(a, b, length) }
}

/// Bytes before the first zero byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let misaligned = string as usize % 16;
    // SAFETY: an aligned load never leaves the page of the string's bytes, and it stops at the first
    // zero, which the caller guarantees; what was loaded before the string is masked out.
    unsafe {
        let mut at = string.sub(misaligned);
        let mut ignore = u32::MAX << misaligned;
        loop {
            let block = _mm_load_si128(at.cast());
            let zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_setzero_si128())) as u32 & ignore;
            if zeros != 0 {
                return at as usize + zeros.trailing_zeros() as usize - string as usize;
            }
            ignore = u32::MAX;
            at = at.add(16);
        }
    }
}

/// # Safety: sixteen bytes at `from` can be read.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// # Safety: sixteen bytes at `to` can be written.
#[inline(always)]
unsafe fn store(to: *mut u8, value: __m128i) {
    // SAFETY: as above.
    unsafe { _mm_storeu_si128(to.cast(), value) }
}

/// The first eight bytes as a number that compares as they do.
///
/// # Safety: eight bytes at `from` can be read.
#[inline(always)]
unsafe fn word(from: *const u8) -> u64 {
    // SAFETY: as above.
    u64::from_be(unsafe { from.cast::<u64>().read_unaligned() })
}

/// Stores a value at both ends of a block, which it covers if the block is at most twice its size.
///
/// # Safety: the block can be written and is not smaller than the value.
#[inline(always)]
unsafe fn ends<T: Copy>(to: *mut u8, length: usize, value: T) {
    // SAFETY: as above.
    unsafe {
        to.cast::<T>().write_unaligned(value);
        to.add(length - size_of::<T>()).cast::<T>().write_unaligned(value);
    }
}

/// Copies both ends of a block, which covers it if it is at most twice the size of `T`.
///
/// # Safety: the blocks are valid and not smaller than `T`.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let last = length - size_of::<T>();
    // SAFETY: as above.
    unsafe {
        let head = from.cast::<T>().read_unaligned();
        let tail = from.add(last).cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(head);
        to.add(last).cast::<T>().write_unaligned(tail);
    }
}

/// Copies at most 64 bytes; the blocks may overlap.
///
/// # Safety: the blocks are valid for `length` bytes.
#[inline(always)]
unsafe fn copy_small(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: each arm covers the block and stays inside it.
    unsafe {
        match length {
            0 => {}
            1 => to.write(*from),
            2..4 => copy_ends::<u16>(to, from, length),
            4..8 => copy_ends::<u32>(to, from, length),
            8..16 => copy_ends::<u64>(to, from, length),
            16..=32 => copy_ends::<__m128i>(to, from, length),
            _ => copy_ends::<[__m128i; 2]>(to, from, length),
        }
    }
}

/// Copies more than 64 bytes, low addresses first.
///
/// # Safety: the blocks are valid for `length` bytes, and `to` does not lie inside the source.
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: as above. The tail is loaded before the loop can overwrite it.
    unsafe {
        if length >= STRING_INSTRUCTION {
            asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
            return;
        }
        let tail = from.add(length - 64).cast::<[__m128i; 4]>().read_unaligned();
        asm!(
            "2: movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "cmp {to}, {last}",
            "jb 2b",
            to = inout(reg) to => _,
            from = inout(reg) from => _,
            last = in(reg) to.add(length - 64),
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
        to.add(length - 64).cast::<[__m128i; 4]>().write_unaligned(tail);
    }
}

/// Copies more than 64 bytes, high addresses first.
///
/// # Safety: the blocks are valid for `length` bytes.
#[inline(always)]
unsafe fn copy_backward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: as above. The head is loaded before the loop can overwrite it.
    unsafe {
        let head = from.cast::<[__m128i; 4]>().read_unaligned();
        asm!(
            "2: sub {from}, 64",
            "sub {to}, 64",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "cmp {to}, {first}",
            "ja 2b",
            to = inout(reg) to.add(length) => _,
            from = inout(reg) from.add(length) => _,
            first = in(reg) to.add(64),
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
        to.cast::<[__m128i; 4]>().write_unaligned(head);
    }
}
