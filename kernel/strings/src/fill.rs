//! `memset`.
//!
//! Up to eight registers the stores overlap, and there is no loop. Larger blocks go by four registers, stores
//! aligned, or, from `STRING_INSTRUCTION` bytes on, by the processor's string instruction.

use crate::Variant;
use crate::choice::CHOICE;
use core::arch::naked_asm;

/// From this size on the string instruction's start-up pays.
const STRING_INSTRUCTION: usize = 32768;

/// Fills `length` bytes with the lowest byte of `byte`, and gives `to`.
///
/// # Safety
///
/// `length` bytes can be written at `to`.
#[inline]
pub unsafe fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let word = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: the caller's contract, and each store lies inside the block.
    unsafe {
        if length >= 16 {
            return fill_wide(to, byte, length);
        }
        if length >= 8 {
            ends(to, length, word);
        } else if length >= 4 {
            ends(to, length, word as u32);
        } else if length >= 2 {
            ends(to, length, word as u16);
        } else if length == 1 {
            to.write(byte as u8);
        }
    }
    to
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

/// A function that fills at least 16 bytes by registers of `size` bytes, if its variant runs, and hands on to the
/// next one otherwise. `splat` fills a register, `check` finds what is less than one, which `below`
/// is for, and `clean` leaves the registers as the calling convention wants them.
macro_rules! fills {
    ($name:ident, $variant:ident, $next:ident, $size:literal, [$($splat:literal)*],
    [$($check:literal)*], [$($below:literal)*], $store:literal, $clean:literal, $large:literal) => {
        /// # Safety: the block can be written, and has at least 16 bytes.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
            naked_asm!(
                // rdi: to, rsi: byte, rdx: length, rax: the answer.
                "cmp byte ptr [rip + {choice}], {variant}",
                "jb {next}",
                "mov rax, rdi",
                $($splat,)*
                $($check,)*
                "cmp rdx, 2 * {size}",
                "ja 2f",
                // 1. Up to two registers.
                concat!($store, " [rdi], ", $large),
                concat!($store, " [rdi + rdx - {size}], ", $large),
                $clean,
                "ret",
                // 2. Up to four.
                ".p2align 4",
                "2:",
                concat!($store, " [rdi], ", $large),
                concat!($store, " [rdi + {size}], ", $large),
                concat!($store, " [rdi + rdx - 2 * {size}], ", $large),
                concat!($store, " [rdi + rdx - {size}], ", $large),
                "cmp rdx, 4 * {size}",
                "ja 3f",
                $clean,
                "ret",
                // 3. Up to eight.
                ".p2align 4",
                "3:",
                "cmp rdx, {string_instruction}",
                "jae 5f",
                concat!($store, " [rdi + 2 * {size}], ", $large),
                concat!($store, " [rdi + 3 * {size}], ", $large),
                "lea rcx, [rdi + rdx - 4 * {size}]",
                concat!($store, " [rcx], ", $large),
                concat!($store, " [rcx + {size}], ", $large),
                "cmp rdx, 8 * {size}",
                "jbe 1f",
                // 4. Four registers at a time, from the last aligned place in the first four, until at most four
                //    are left.
                "and rdi, -{size}",
                "add rdi, 4 * {size}",
                ".p2align 4",
                "4:",
                concat!($store, " [rdi], ", $large),
                concat!($store, " [rdi + {size}], ", $large),
                concat!($store, " [rdi + 2 * {size}], ", $large),
                concat!($store, " [rdi + 3 * {size}], ", $large),
                "add rdi, 4 * {size}",
                "cmp rdi, rcx",
                "jb 4b",
                "1:",
                $clean,
                "ret",
                // 5. The string instruction.
                "5:",
                $clean,
                "mov rcx, rdx",
                "mov rdx, rax",
                "mov eax, esi",
                "rep stosb",
                "mov rax, rdx",
                "ret",
                // 6. Less than one register, out of the way.
                $($below,)*
                size = const $size,
                choice = sym CHOICE,
                variant = const Variant::$variant as u8,
                next = sym $next,
                string_instruction = const STRING_INSTRUCTION,
            )
        }
    };
}

fills!(fill_wide, Avx512Wide, fill_avx512, 64, ["vpbroadcastb zmm16, esi"], ["cmp rdx, 64" "jb 6f"],
    ["6:" "cmp rdx, 32" "jb 7f" "vmovdqu64 [rdi], ymm16" "vmovdqu64 [rdi + rdx - 32], ymm16" "ret"
    "7:" "vmovdqu64 [rdi], xmm16" "vmovdqu64 [rdi + rdx - 16], xmm16" "ret"], "vmovdqu64", "", "zmm16");
fills!(fill_avx512, Avx512, fill_avx2, 32, ["vpbroadcastb ymm16, esi"], ["cmp rdx, 32" "jb 6f"],
    ["6:" "vmovdqu64 [rdi], xmm16" "vmovdqu64 [rdi + rdx - 16], xmm16" "ret"], "vmovdqu64", "", "ymm16");
fills!(fill_avx2, Avx2, fill_sse2, 32, ["vmovd xmm0, esi" "vpbroadcastb ymm0, xmm0"], ["cmp rdx, 32" "jb 6f"],
    ["6:" "vmovdqu [rdi], xmm0" "vmovdqu [rdi + rdx - 16], xmm0" "vzeroupper" "ret"], "vmovdqu", "vzeroupper", "ymm0");
// Nothing is below this one.
fills!(fill_sse2, Sse2, fill_sse2, 16,
    ["movd xmm0, esi" "punpcklbw xmm0, xmm0" "pshuflw xmm0, xmm0, 0" "punpcklqdq xmm0, xmm0"], [], [], "movups", "", "xmm0");
