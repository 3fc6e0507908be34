//! Recursive Fibonacci: calls, returns and additions, as in 2011.

use super::Work;

pub(super) const WORK: Work = Work { name: "fib", function, size: 0, make: None };

/// The same without data.
extern "C" fn function(n: u64, _data: *mut u64) -> u64 {
    fib(n)
}

/// The `n`-th Fibonacci number, modulo two to the power of 64.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.fib")]
#[inline(never)]
extern "C" fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n.wrapping_sub(1)).wrapping_add(fib(n.wrapping_sub(2))) }
}
