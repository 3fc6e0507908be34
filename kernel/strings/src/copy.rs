//! `memcpy` and `memmove`, which are one here, and copies of strings.
//!
//! Up to eight registers everything is loaded before anything is stored, so overlap needs no thought. Larger
//! blocks go by four registers, stores aligned, or, from `STRING_INSTRUCTION` bytes on, by the processor's
//! string instruction.

use crate::Variant;
use crate::choice::CHOICE;
use crate::find_in_string::strlen;
use core::arch::naked_asm;
use core::arch::x86_64::__m128i;

/// From this size on the string instruction's start-up pays.
const STRING_INSTRUCTION: usize = 32768;

/// Copies `length` bytes, also if the blocks overlap, and gives `to`.
///
/// # Safety
///
/// `length` bytes can be read at `from` and written at `to`.
#[inline]
pub unsafe fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe {
        if length <= 32 {
            copy_small(to, from, length);
            return to;
        }
        copy_wide(to, from, length)
    }
}

/// Copies a string with its zero byte, and gives `to`.
///
/// # Safety
///
/// `from` ends with a zero byte, all of it can be read, and as many bytes can be written at `to`. The strings
/// do not overlap.
#[inline]
pub unsafe fn strcpy(to: *mut u8, from: *const u8) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe { memmove(to, from, strlen(from) + 1) }
}

/// Copies a string with its zero byte, and gives where that byte was written.
///
/// # Safety
///
/// That of [`strcpy`].
#[inline]
pub unsafe fn stpcpy(to: *mut u8, from: *const u8) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe {
        let length = strlen(from);
        memmove(to, from, length + 1).add(length)
    }
}

/// Appends a string, with its zero byte, to the one at `to`, and gives `to`.
///
/// # Safety
///
/// Both end with a zero byte, and all of them can be read; as many bytes as `from` has can be written behind the
/// string at `to`. The strings do not overlap.
#[inline]
pub unsafe fn strcat(to: *mut u8, from: *const u8) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe { strcpy(to.add(strlen(to)), from) };
    to
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

/// Copies at most 32 bytes; the blocks may overlap.
///
/// # Safety: the blocks are valid for `length` bytes.
#[inline(always)]
unsafe fn copy_small(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: each arm covers the block and stays inside it.
    unsafe {
        if length >= 16 {
            copy_ends::<__m128i>(to, from, length);
        } else if length >= 8 {
            copy_ends::<u64>(to, from, length);
        } else if length >= 4 {
            copy_ends::<u32>(to, from, length);
        } else if length >= 2 {
            copy_ends::<u16>(to, from, length);
        } else if length == 1 {
            to.write(*from);
        }
    }
}

/// A function that copies more than 32 bytes by registers of `size` bytes, if its variant runs, and hands on to
/// the next one otherwise. `check` finds what is less than one register, which `below` is for, and
/// `clean` leaves the registers as the calling convention wants them.
macro_rules! copies {
    ($name:ident, $variant:ident, $next:ident, $size:literal, [$($check:literal)*], [$($below:literal)*],
    $move:literal, $clean:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
    $i:literal) => {
        /// # Safety: the blocks are valid for `length` bytes, which are more than 32.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
            naked_asm!(
                // rdi: to, rsi: from, rdx: length, rax: the answer.
                "cmp byte ptr [rip + {choice}], {variant}",
                "jb {next}",
                "mov rax, rdi",
                $($check,)*
                "cmp rdx, 4 * {size}",
                "ja 4f",
                "cmp rdx, 2 * {size}",
                "ja 2f",
                // 1. Up to two registers.
                concat!($move, " ", $a, ", [rsi]"),
                concat!($move, " ", $b, ", [rsi + rdx - {size}]"),
                concat!($move, " [rdi], ", $a),
                concat!($move, " [rdi + rdx - {size}], ", $b),
                $clean,
                "ret",
                // 2. Up to four.
                "2:",
                concat!($move, " ", $a, ", [rsi]"),
                concat!($move, " ", $b, ", [rsi + {size}]"),
                concat!($move, " ", $c, ", [rsi + rdx - 2 * {size}]"),
                concat!($move, " ", $d, ", [rsi + rdx - {size}]"),
                concat!($move, " [rdi], ", $a),
                concat!($move, " [rdi + {size}], ", $b),
                concat!($move, " [rdi + rdx - 2 * {size}], ", $c),
                concat!($move, " [rdi + rdx - {size}], ", $d),
                $clean,
                "ret",
                // 3. Up to eight: both ends are loaded before anything is stored, for larger blocks as well.
                ".p2align 4",
                "4:",
                "cmp rdx, 8 * {size}",
                "ja 5f",
                concat!($move, " ", $a, ", [rsi]"),
                concat!($move, " ", $b, ", [rsi + {size}]"),
                concat!($move, " ", $c, ", [rsi + 2 * {size}]"),
                concat!($move, " ", $d, ", [rsi + 3 * {size}]"),
                concat!($move, " ", $e, ", [rsi + rdx - 4 * {size}]"),
                concat!($move, " ", $f, ", [rsi + rdx - 3 * {size}]"),
                concat!($move, " ", $g, ", [rsi + rdx - 2 * {size}]"),
                concat!($move, " ", $h, ", [rsi + rdx - {size}]"),
                concat!($move, " [rdi], ", $a),
                concat!($move, " [rdi + {size}], ", $b),
                concat!($move, " [rdi + 2 * {size}], ", $c),
                concat!($move, " [rdi + 3 * {size}], ", $d),
                concat!($move, " [rdi + rdx - 4 * {size}], ", $e),
                concat!($move, " [rdi + rdx - 3 * {size}], ", $f),
                concat!($move, " [rdi + rdx - 2 * {size}], ", $g),
                concat!($move, " [rdi + rdx - {size}], ", $h),
                $clean,
                "ret",
                // 4. Low addresses first, unless `to` lies inside the source. Four registers at a time, from the
                //    first aligned place behind `to`, until at most four are left. Where they overlap, a store
                //    hits only what was loaded.
                ".p2align 4",
                "5:",
                "mov rcx, rdi",
                "sub rcx, rsi",
                "cmp rcx, rdx",
                "jb 7f",
                "cmp rdx, {string_instruction}",
                "jae 9f",
                "1:",
                concat!($move, " ", $e, ", [rsi + rdx - 4 * {size}]"),
                concat!($move, " ", $f, ", [rsi + rdx - 3 * {size}]"),
                concat!($move, " ", $g, ", [rsi + rdx - 2 * {size}]"),
                concat!($move, " ", $h, ", [rsi + rdx - {size}]"),
                concat!($move, " ", $i, ", [rsi]"),
                "lea rcx, [rdi + rdx - 4 * {size}]",
                "sub rsi, rdi",
                "and rdi, -{size}",
                "add rdi, {size}",
                ".p2align 4",
                "6:",
                concat!($move, " ", $a, ", [rdi + rsi]"),
                concat!($move, " ", $b, ", [rdi + rsi + {size}]"),
                concat!($move, " ", $c, ", [rdi + rsi + 2 * {size}]"),
                concat!($move, " ", $d, ", [rdi + rsi + 3 * {size}]"),
                concat!($move, " [rdi], ", $a),
                concat!($move, " [rdi + {size}], ", $b),
                concat!($move, " [rdi + 2 * {size}], ", $c),
                concat!($move, " [rdi + 3 * {size}], ", $d),
                "add rdi, 4 * {size}",
                "cmp rdi, rcx",
                "jb 6b",
                concat!($move, " [rcx], ", $e),
                concat!($move, " [rcx + {size}], ", $f),
                concat!($move, " [rcx + 2 * {size}], ", $g),
                concat!($move, " [rcx + 3 * {size}], ", $h),
                concat!($move, " [rax], ", $i),
                $clean,
                "ret",
                // 5. High addresses first, the same the other way round.
                "7:",
                concat!($move, " ", $e, ", [rsi]"),
                concat!($move, " ", $f, ", [rsi + {size}]"),
                concat!($move, " ", $g, ", [rsi + 2 * {size}]"),
                concat!($move, " ", $h, ", [rsi + 3 * {size}]"),
                concat!($move, " ", $i, ", [rsi + rdx - {size}]"),
                "lea rcx, [rdi + 4 * {size}]",
                "lea rdx, [rdi + rdx - {size}]",
                "sub rsi, rdi",
                "lea rdi, [rdx + {size}]",
                "and rdi, -{size}",
                ".p2align 4",
                "8:",
                concat!($move, " ", $a, ", [rdi + rsi - {size}]"),
                concat!($move, " ", $b, ", [rdi + rsi - 2 * {size}]"),
                concat!($move, " ", $c, ", [rdi + rsi - 3 * {size}]"),
                concat!($move, " ", $d, ", [rdi + rsi - 4 * {size}]"),
                concat!($move, " [rdi - {size}], ", $a),
                concat!($move, " [rdi - 2 * {size}], ", $b),
                concat!($move, " [rdi - 3 * {size}], ", $c),
                concat!($move, " [rdi - 4 * {size}], ", $d),
                "sub rdi, 4 * {size}",
                "cmp rdi, rcx",
                "ja 8b",
                concat!($move, " [rax], ", $e),
                concat!($move, " [rax + {size}], ", $f),
                concat!($move, " [rax + 2 * {size}], ", $g),
                concat!($move, " [rax + 3 * {size}], ", $h),
                concat!($move, " [rdx], ", $i),
                $clean,
                "ret",
                // 6. The string instruction, which is slow where blocks overlap.
                "9:",
                "neg rcx",
                "cmp rcx, rdx",
                "jb 1b",
                "mov rcx, rdx",
                "rep movsb",
                "ret",
                // 7. Less than one register, out of the way.
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

copies!(copy_wide, Avx512Wide, copy_avx512, 64,
    ["cmp rdx, 64" "jb 3f"], ["3:" "vmovdqu64 ymm16, [rsi]" "vmovdqu64 ymm17, [rsi + rdx - 32]" "vmovdqu64 [rdi], ymm16"
    "vmovdqu64 [rdi + rdx - 32], ymm17" "ret"], "vmovdqu64", "",
    "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22" "zmm23" "zmm24");
copies!(copy_avx512, Avx512, copy_avx2, 32, [], [],
    "vmovdqu64", "", "ymm16" "ymm17" "ymm18" "ymm19" "ymm20" "ymm21" "ymm22" "ymm23" "ymm24");
copies!(copy_avx2, Avx2, copy_sse2, 32, [], [],
    "vmovdqu", "vzeroupper", "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8");
// Nothing is below this one.
copies!(copy_sse2, Sse2, copy_sse2, 16, [], [],
    "movups", "", "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7" "xmm8");
