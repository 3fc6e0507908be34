//! Bound by the vector units: products of small matrices of `f32`, which all fit into the first-level cache.
//!
//! With AVX2 where there is any, else with SSE2, which is everywhere.

use super::{Function, Work};
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// Rows and columns of a matrix.
const N: usize = 32;
/// Rows that are computed together: enough sums at a time to keep the units busy.
const ROWS: usize = 2;
/// Three matrices: two factors and the sum of their products. A page each.
const SIZE: usize = 3 * N * N * size_of::<f32>();

type Matrix = [[f32; N]; N];

pub(super) fn work() -> Work {
    let (name, function): (_, Function) =
        if has_avx2() { ("multiply_avx2", multiply_avx2) } else { ("multiply_sse2", multiply_sse2) };
    Work { name, function, size: SIZE, make: Some((matrices, (2 * N * N) as u64)) }
}

fn has_avx2() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AVX2: u32 = 1 << 5;
    const XMM_AND_YMM: u64 = 0b110;
    __cpuid(0).eax >= 7
        && __cpuid(1).ecx & OSXSAVE != 0
        && __cpuid_count(7, 0).ebx & AVX2 != 0
        // SAFETY: OSXSAVE says that the instruction may be used; 0 is the register that always exists.
        && unsafe { _xgetbv(0) } & XMM_AND_YMM == XMM_AND_YMM
}

/// Writes the factors: so many small whole numbers of either sign, so that sums are exact.
///
/// # Safety
///
/// There are so many `f32` at `data`, and they are the caller's alone.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.matrices")]
#[inline(never)]
unsafe extern "C" fn matrices(elements: u64, data: *mut u64) -> u64 {
    let mut element = 0;
    while element < elements {
        let value = (element.wrapping_mul(7) % 5) as i32;
        let place = data.cast::<f32>().wrapping_add(element as usize);
        // SAFETY: the element is one of them. Volatile, so that no constants for vectors are needed.
        unsafe { place.write_volatile(value.wrapping_sub(2) as f32) };
        element = element.wrapping_add(1);
    }
    elements
}

/// Adds the product of the first two matrices to the third so often, with AVX2, and gives the bits of the
/// sum's last element.
///
/// # Safety
///
/// The processor has AVX2. At `data` lie three matrices, which are the caller's alone.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.multiply_avx2")]
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe extern "C" fn multiply_avx2(times: u64, data: *mut u64) -> u64 {
    // SAFETY: the caller keeps to it.
    unsafe { multiply(times, data) }
}

/// The same with what every x86-64 processor has.
///
/// # Safety
///
/// At `data` lie three matrices, which are the caller's alone.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.multiply_sse2")]
#[inline(never)]
unsafe extern "C" fn multiply_sse2(times: u64, data: *mut u64) -> u64 {
    // SAFETY: the caller keeps to it.
    unsafe { multiply(times, data) }
}

/// What both are made of: the compiler makes vectors of rows.
///
/// # Safety
///
/// At `data` lie three matrices, which are the caller's alone.
#[inline(always)]
unsafe fn multiply(times: u64, data: *mut u64) -> u64 {
    // SAFETY: the caller says so; an array of `f32` may hold any bits.
    let [left, right, sum] = unsafe { &mut *data.cast::<[Matrix; 3]>() };
    for _ in 0..times {
        for (left, sum) in left.as_chunks::<ROWS>().0.iter().zip(sum.as_chunks_mut::<ROWS>().0) {
            let mut rows = *sum;
            for (k, right) in right.iter().enumerate() {
                for (row, left) in rows.iter_mut().zip(left) {
                    for (element, right) in row.iter_mut().zip(right) {
                        *element += left[k] * right;
                    }
                }
            }
            *sum = rows;
        }
    }
    u64::from(sum[N - 1][N - 1].to_bits())
}
