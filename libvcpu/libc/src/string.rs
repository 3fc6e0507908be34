//! The functions of `string.h` that programs call most, at the speed of vector registers.
//!
//! What they do is told in [`vcpu_kernel_strings`]; here they get their names, and those by which musl calls
//! them. `memcpy`, `memmove`, `memset`, `memcmp` and `strlen` are the kernel's, all others musl's.

use vcpu_kernel_strings::{compare, copy, find, find_in_string, span};

/// Gives functions of [`vcpu_kernel_strings`] their names in C.
macro_rules! exports {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $module:ident::$function:ident;)*) => {$(
        #[doc = concat!("As [`", stringify!($module), "::", stringify!($function), "`].")]
        ///
        /// # Safety
        ///
        /// That of the function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: the caller's contract is the same.
            unsafe { $module::$function($($argument),*) }
        }
    )*};
}

exports! {
    fn memchr(start: *const u8, byte: i32, length: usize) -> *mut u8 = find::memchr;
    fn memrchr(start: *const u8, byte: i32, length: usize) -> *mut u8 = find::memrchr;
    fn __memrchr(start: *const u8, byte: i32, length: usize) -> *mut u8 = find::memrchr;
    fn strnlen(string: *const u8, most: usize) -> usize = find_in_string::strnlen;
    fn strchr(string: *const u8, byte: i32) -> *mut u8 = find_in_string::strchr;
    fn strchrnul(string: *const u8, byte: i32) -> *mut u8 = find_in_string::strchrnul;
    fn __strchrnul(string: *const u8, byte: i32) -> *mut u8 = find_in_string::strchrnul;
    fn strrchr(string: *const u8, byte: i32) -> *mut u8 = find_in_string::strrchr;
    fn strcmp(a: *const u8, b: *const u8) -> i32 = compare::strcmp;
    fn strncmp(a: *const u8, b: *const u8, most: usize) -> i32 = compare::strncmp;
    fn strcspn(string: *const u8, set: *const u8) -> usize = span::strcspn;
    fn strspn(string: *const u8, set: *const u8) -> usize = span::strspn;
    fn strpbrk(string: *const u8, set: *const u8) -> *mut u8 = span::strpbrk;
    fn strcpy(to: *mut u8, from: *const u8) -> *mut u8 = copy::strcpy;
    fn stpcpy(to: *mut u8, from: *const u8) -> *mut u8 = copy::stpcpy;
    fn __stpcpy(to: *mut u8, from: *const u8) -> *mut u8 = copy::stpcpy;
    fn strcat(to: *mut u8, from: *const u8) -> *mut u8 = copy::strcat;
}
