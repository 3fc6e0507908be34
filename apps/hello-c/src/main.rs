//! A greeting from C: `build.rs` compiles `hello.c`, and Rust calls it.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_char};
use libvcpu::abi::call::Error;
use libvcpu::entry;

entry!(main);

unsafe extern "C" {
    /// Prints a greeting; 0, or the error of a call.
    fn greet(name: *const c_char) -> i64;
}

fn main() -> Result<(), Error> {
    let name: &CStr = c"world";
    // SAFETY: `greet` reads the string up to its zero byte and keeps nothing of it.
    Error::check(unsafe { greet(name.as_ptr()) }).map(drop)
}
