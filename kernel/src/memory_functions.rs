//! `memcpy` and its kin, which compilers expect of every environment and a stock toolchain leaves out.
//!
//! What they do, and how fast, is told in [`vcpu_kernel_strings`]; here they get their names. Which variant of
//! them runs is chosen by [`extended`](crate::extended), which knows what registers an upcall saves.

use vcpu_kernel_strings::compare;
use vcpu_kernel_strings::copy;
use vcpu_kernel_strings::fill;
use vcpu_kernel_strings::find_in_string;

/// Copies `length` bytes; the blocks do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is the stricter one.
    unsafe { copy::memmove(to, from, length) }
}

/// Copies `length` bytes; the blocks may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is the same.
    unsafe { copy::memmove(to, from, length) }
}

/// Fills `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is the same.
    unsafe { fill::memset(to, byte, length) }
}

/// Compares `length` bytes; negative, zero or positive as the first difference says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's contract is the same.
    unsafe { compare::memcmp(a, b, length) }
}

/// Zero if `length` bytes are equal.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's contract is the same.
    unsafe { compare::memcmp(a, b, length) }
}

/// Bytes before the first zero byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    // SAFETY: the caller's contract is the same.
    unsafe { find_in_string::strlen(string) }
}
