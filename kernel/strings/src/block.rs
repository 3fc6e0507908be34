//! A vector register full of bytes.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_cmpeq_epi8, _mm_load_si128, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_load_si256, _mm256_loadu_si256, _mm256_min_epu8,
    _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
};

/// The smallest pages that memory is mapped in.
pub(crate) const PAGE: usize = 4096;

/// A block of bytes in a register.
///
/// # Safety
///
/// Of every method: the processor has the instructions. Of those that load: all bytes of the block can be
/// read, and for `load_aligned` the address is a multiple of its size.
pub(crate) trait Block: Copy {
    /// Bytes of a block; a power of two.
    const SIZE: usize;
    /// The mask of a block in which all bytes match.
    const ALL: u32;

    /// The block at any address.
    unsafe fn load(from: *const u8) -> Self;

    /// The block at an address that is a multiple of its size.
    unsafe fn load_aligned(from: *const u8) -> Self;

    /// A block of the same byte.
    unsafe fn splat(byte: u8) -> Self;

    /// 255 in each byte that is the same in both, and 0 in all others.
    unsafe fn equal(self, other: Self) -> Self;

    /// The smaller one of each two bytes.
    unsafe fn smaller(self, other: Self) -> Self;

    /// All bits that are set in either.
    unsafe fn or(self, other: Self) -> Self;

    /// The highest bit of each byte, the first byte's lowest.
    unsafe fn mask(self) -> u32;
}

macro_rules! blocks {
    ($($name:ident($vector:ty, $size:literal, $all:literal): $load:ident, $load_aligned:ident, $splat:ident, $equal:ident,
    $smaller:ident, $or:ident, $mask:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name($vector);

        // SAFETY of all of these: that of the trait.
        impl Block for $name {
            const SIZE: usize = $size;
            const ALL: u32 = $all;

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $load(from.cast()) })
            }

            #[inline(always)]
            unsafe fn load_aligned(from: *const u8) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $load_aligned(from.cast()) })
            }

            #[inline(always)]
            unsafe fn splat(byte: u8) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $splat(byte as i8) })
            }

            #[inline(always)]
            unsafe fn equal(self, other: Self) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $equal(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn smaller(self, other: Self) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $smaller(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                // SAFETY: as the trait says.
                Self(unsafe { $or(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn mask(self) -> u32 {
                // SAFETY: as the trait says.
                unsafe { $mask(self.0) as u32 }
            }
        }
    )*};
}

blocks! {
    Sse2(__m128i, 16, 0xffff): _mm_loadu_si128, _mm_load_si128, _mm_set1_epi8, _mm_cmpeq_epi8, _mm_min_epu8,
        _mm_or_si128, _mm_movemask_epi8;
    Avx2(__m256i, 32, 0xffff_ffff): _mm256_loadu_si256, _mm256_load_si256, _mm256_set1_epi8, _mm256_cmpeq_epi8,
        _mm256_min_epu8, _mm256_or_si256, _mm256_movemask_epi8;
}
