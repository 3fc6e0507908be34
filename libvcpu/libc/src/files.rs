//! Descriptors.

use crate::errno::{EBADF, EIO};
use vcpu_kernel::console;

#[repr(C)]
struct Piece {
    base: *const u8,
    length: usize,
}

/// Writes the pieces one after the other.
///
/// # Safety
///
/// As `writev`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_writev(descriptor: i64, pieces: *const Piece, count: i64) -> i64 {
    if !(1..=2).contains(&descriptor) {
        return -EBADF;
    }
    let mut sum = 0;
    for index in 0..count as usize {
        // SAFETY: the caller's pieces.
        let bytes = unsafe {
            let piece = &*pieces.add(index);
            core::slice::from_raw_parts(piece.base, piece.length)
        };
        let mut at = 0;
        while at < bytes.len() {
            match console::write(descriptor as u64, &bytes[at..]) {
                Ok(taken) => at += taken,
                Err(_) => return -EIO,
            }
        }
        sum += at as i64;
    }
    sum
}
