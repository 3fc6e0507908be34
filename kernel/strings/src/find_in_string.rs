//! `strlen`, `strnlen`, `strchr` and their kin: they end at the first zero byte.

use crate::Variant;
use crate::block::{Block, PAGE};
use crate::choice::{CHOICE, variants};
use crate::find::{first, memrchr};
use core::arch::naked_asm;
use core::ptr::null_mut;

/// Bytes before the first zero byte.
///
/// # Safety
///
/// `string` ends with a zero byte, and all of it can be read.
#[inline]
pub unsafe fn strlen(string: *const u8) -> usize {
    // SAFETY: the caller's contract.
    unsafe { length_avx512(string) }
}

variants! {
    /// Bytes before the first zero byte, or `most` if there are not less.
    ///
    /// # Safety
    ///
    /// `string` ends with a zero byte or has `most` bytes, and all of it can be read.
    pub fn strnlen(string: *const u8, most: usize) -> usize = length_up_to;

    /// The first byte of a string that is the lowest one of `byte`, or the zero byte at its end.
    ///
    /// # Safety
    ///
    /// `string` ends with a zero byte, and all of it can be read.
    pub fn strchrnul(string: *const u8, byte: i32) -> *mut u8 = first_or_end;
}

/// The first byte of a string, its zero byte included, that is the lowest one of `byte`, or null.
///
/// # Safety
///
/// `string` ends with a zero byte, and all of it can be read.
#[inline]
pub unsafe fn strchr(string: *const u8, byte: i32) -> *mut u8 {
    // SAFETY: the caller's contract; what is found is a byte of the string.
    unsafe {
        let found = strchrnul(string, byte);
        if *found == byte as u8 { found } else { null_mut() }
    }
}

/// The last byte of a string, its zero byte included, that is the lowest one of `byte`, or null.
///
/// # Safety
///
/// `string` ends with a zero byte, and all of it can be read.
#[inline]
pub unsafe fn strrchr(string: *const u8, byte: i32) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe { memrchr(string, byte, strlen(string) + 1) }
}

/// # Safety: that of `strlen`.
unsafe extern "C" fn length_by_blocks(string: *const u8) -> usize {
    variants! {
        /// # Safety: that of `strlen`.
        fn choose(string: *const u8) -> usize = length;
    }
    // SAFETY: the caller's contract is the same.
    unsafe { choose(string) }
}

/// # Safety: that of `strlen`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn length<B: Block>(string: *const u8) -> usize {
    // SAFETY: as above.
    unsafe {
        let zero = B::splat(0);
        first(string, None, |block: B| block.equal(zero))
    }
}

/// # Safety: that of `strnlen`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn length_up_to<B: Block>(string: *const u8, most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    // SAFETY: as above.
    unsafe {
        let zero = B::splat(0);
        first(string, Some(most), |block: B| block.equal(zero)).min(most)
    }
}

/// # Safety: that of `strchrnul`, and the processor has the block's instructions.
#[inline(always)]
unsafe fn first_or_end<B: Block>(string: *const u8, byte: i32) -> *mut u8 {
    // SAFETY: as above.
    unsafe {
        let (zero, wanted) = (B::splat(0), B::splat(byte as u8));
        let found = first(string, None, |block: B| block.equal(zero).or(block.equal(wanted)));
        string.cast_mut().add(found)
    }
}

/// The same by registers of 256 bits that need no clean-up, if that variant runs.
///
/// # Safety: that of `strlen`.
#[unsafe(naked)]
unsafe extern "C" fn length_avx512(string: *const u8) -> usize {
    naked_asm!(
        "cmp byte ptr [rip + {choice}], {variant}",
        "jb {next}",
        "vpxord xmm16, xmm16, xmm16",
        "mov eax, edi",
        "and eax, {page} - 1",
        "cmp eax, {page} - 32",
        "ja 7f",
        // 1. The first block, wherever it begins.
        "vpcmpeqb k0, ymm16, [rdi]",
        "kmovd eax, k0",
        "test eax, eax",
        "jz 2f",
        "tzcnt eax, eax",
        "ret",
        // 2. Four aligned blocks, one by one; rdx is where the next one begins, less 32.
        ".p2align 4",
        "2:",
        "mov rdx, rdi",
        "and rdx, -32",
        "vpcmpeqb k0, ymm16, [rdx + 32]",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 3f",
        "vpcmpeqb k0, ymm16, [rdx + 64]",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 4f",
        "vpcmpeqb k0, ymm16, [rdx + 96]",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 5f",
        "vpcmpeqb k0, ymm16, [rdx + 128]",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 6f",
        // 3. Groups of four, from the first that has something new.
        "add rdx, 160",
        "and rdx, -128",
        "sub rdx, 32",
        ".p2align 4",
        "1:",
        "vmovdqa64 ymm17, [rdx + 32]",
        "vpminub ymm18, ymm17, [rdx + 64]",
        "vmovdqa64 ymm19, [rdx + 96]",
        "vpminub ymm20, ymm19, [rdx + 128]",
        "vpminub ymm21, ymm18, ymm20",
        "vptestnmb k0, ymm21, ymm21",
        "kmovd eax, k0",
        "sub rdx, -128",
        "test eax, eax",
        "jz 1b",
        "add rdx, -128",
        "vptestnmb k0, ymm17, ymm17",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 3f",
        "vptestnmb k0, ymm18, ymm18",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 4f",
        "vptestnmb k0, ymm19, ymm19",
        "kmovd eax, k0",
        "test eax, eax",
        "jnz 5f",
        "vptestnmb k0, ymm20, ymm20",
        "kmovd eax, k0",
        // 4. Where in the block, and where the block.
        ".p2align 4",
        "6:",
        "tzcnt eax, eax",
        "sub rdx, rdi",
        "lea rax, [rax + rdx + 128]",
        "ret",
        ".p2align 4",
        "3:",
        "tzcnt eax, eax",
        "sub rdx, rdi",
        "lea rax, [rax + rdx + 32]",
        "ret",
        ".p2align 4",
        "4:",
        "tzcnt eax, eax",
        "sub rdx, rdi",
        "lea rax, [rax + rdx + 64]",
        "ret",
        ".p2align 4",
        "5:",
        "tzcnt eax, eax",
        "sub rdx, rdi",
        "lea rax, [rax + rdx + 96]",
        "ret",
        // 5. The first block would cross the end of its page: the aligned one, without what lies before.
        "7:",
        "mov rdx, rdi",
        "and rdx, -32",
        "mov ecx, edi",
        "vpcmpeqb k0, ymm16, [rdx]",
        "kmovd eax, k0",
        "shr eax, cl",
        "test eax, eax",
        "jz 2b",
        "tzcnt eax, eax",
        "ret",
        choice = sym CHOICE,
        variant = const Variant::Avx512 as u8,
        next = sym length_by_blocks,
        page = const PAGE,
    )
}
