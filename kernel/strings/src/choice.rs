//! Which variant of each function runs.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The variant that runs.
pub(crate) static CHOICE: AtomicU8 = AtomicU8::new(Variant::Sse2 as u8);

/// The instructions that a variant needs. A later one has those of all before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Variant {
    /// What every x86-64 has.
    Sse2,
    /// AVX2 and BMI1, which came together.
    Avx2,
    /// AVX-512 F, BW and VL, of which only registers of 256 bits are used: those that need no clean-up.
    Avx512,
    /// The same, and registers of 512 bits lower the processor's frequency as little as others.
    Avx512Wide,
}

impl Variant {
    /// All of them, each needing more than the one before.
    pub const ALL: [Variant; 4] = [Variant::Sse2, Variant::Avx2, Variant::Avx512, Variant::Avx512Wide];

    /// The best one that the processor has.
    ///
    /// `state` is XCR0: the parts of the extended state that are saved and restored. What is not is not used.
    pub fn best(state: u64) -> Variant {
        /// Of XCR0: the lower and the upper halves of the vector registers.
        const HALVES: u64 = 0b110;
        /// Of XCR0: masks, upper halves of 512 bits, registers from 16 on.
        const AVX512: u64 = 0b1110_0000;
        const LEAF: u32 = 7;
        /// Of the leaf's EBX: BMI1 and AVX2.
        const AVX2_FEATURES: u32 = 1 << 3 | 1 << 5;
        /// AVX-512 F, BW, VL.
        const AVX512_FEATURES: u32 = 1 << 16 | 1 << 30 | 1 << 31;
        /// The first letters of the name of a vendor, AMD, with whose processors wide registers cost nothing else.
        const WIDE: u32 = u32::from_le_bytes(*b"Auth");
        let vendor = __cpuid(0);
        if state & HALVES != HALVES || vendor.eax < LEAF {
            return Variant::Sse2;
        }
        let features = __cpuid_count(LEAF, 0).ebx;
        if features & AVX2_FEATURES != AVX2_FEATURES {
            Variant::Sse2
        } else if state & AVX512 != AVX512 || features & AVX512_FEATURES != AVX512_FEATURES {
            Variant::Avx2
        } else if vendor.ebx != WIDE {
            Variant::Avx512
        } else {
            Variant::Avx512Wide
        }
    }
}

/// Lets every function use this variant, or the best before it that it has.
///
/// # Safety
///
/// The processor has the variant's instructions, and the registers that they use are saved and restored, as
/// [`Variant::best`] finds out.
pub unsafe fn choose(variant: Variant) {
    CHOICE.store(variant as u8, Relaxed);
}

/// Whether the variant runs, or one that needs more.
#[inline(always)]
pub(crate) fn is_at_least(variant: Variant) -> bool {
    CHOICE.load(Relaxed) >= variant as u8
}

/// Makes functions of ones that are written for any [`Block`](crate::block::Block): both variants, and the choice.
macro_rules! variants {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $body:ident;)*) => {$(
        $(#[$attribute])*
        #[inline]
        $visibility unsafe fn $name($($argument: $type),*) -> $result {
            #[target_feature(enable = "avx2,bmi1")]
            unsafe fn avx2($($argument: $type),*) -> $result {
                // SAFETY: the caller's contract is the same.
                unsafe { $body::<crate::block::Avx2>($($argument),*) }
            }
            // SAFETY: the caller's contract is the same, and this is chosen only where there is AVX2.
            unsafe {
                if crate::choice::is_at_least(crate::Variant::Avx2) {
                    avx2($($argument),*)
                } else {
                    $body::<crate::block::Sse2>($($argument),*)
                }
            }
        }
    )*};
}

pub(crate) use variants;
