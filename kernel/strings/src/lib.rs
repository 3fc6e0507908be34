//! `memcpy`, `strlen` and their kin at the speed of vector registers.
//!
//! Each function has variants: for SSE2, which every x86-64 has, for AVX2, and those that are called most for
//! AVX-512. One look at a number decides between them, and is predicted. It begins as SSE2, so every function
//! is right before [`choose`] was called.
//!
//! Functions that look for an end they do not know read whole blocks, also beyond that end, but never across
//! the end of a page that they need not read: what lies behind may not be mapped.
//!
//! | module | its subject |
//! |---|---|
//! | `block` | a vector register full of bytes |
//! | `choice` | which variant |
//! | [`copy`] | `memcpy` and `memmove`, which are one; `strcpy`, `strcat` |
//! | [`fill`] | `memset` |
//! | [`compare`] | `memcmp`, `strcmp`, `strncmp` |
//! | [`find`] | `memchr`, `memrchr` |
//! | [`find_in_string`] | `strlen`, `strnlen`, `strchr`, `strrchr` |
//! | [`span`] | `strcspn`, `strspn`, `strpbrk` |
//!
//! The functions have C's names and contracts, but no C symbols: the kernel and the libc give them those.

#![cfg_attr(not(test), no_std)]

mod block;
mod choice;
pub mod compare;
pub mod copy;
pub mod fill;
pub mod find;
pub mod find_in_string;
pub mod span;

pub use choice::{Variant, choose};
