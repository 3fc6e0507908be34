//! The bottom half of the C library, on the kernel of a virtual CPU.
//!
//! The top half, which only computes, is musl's, compiled from its source when the library is built. It asks
//! for everything else as it would ask Linux, but by plain calls of functions: what musl calls `SYS_read` is
//! [`__vcpu_sys_read`](files), which answers a value or `-errno`. What Linux has and nobody here defines
//! answers `ENOSYS` (`absent`, left out with `vcpu cc --strict`).
//!
//! | module | its subject |
//! |---|---|
//! | [`start`] | from the machine to `main`, and out again |
//! | [`errno`] | the numbers of errors |
//! | [`files`] | descriptors, files, directories, streams |
//! | [`map`] | `mmap` and its kin |
//! | [`memory`] | the `malloc` family |
//! | [`cancel`] | cancellation points |
//! | [`process`] | what the process is and may use |
//! | [`signal`] | signals: the program's own, its timer's, its faults |
//! | [`time`] | clocks and sleeping |
//! | [`embed`] | being a library of a host program |
//! | [`cxx`] | what the freestanding part of C++ calls |
//! | [`string`] | the functions of `string.h` that programs call most |
//! | [`thread`] | threads, and what they wait for |
//! | [`futex`] | waiting for a word to change, for musl's own locks |

#![no_std]
#![deny(missing_docs)]

extern crate alloc;

pub mod cancel;
pub mod cxx;
pub mod embed;
pub mod errno;
pub mod files;
pub mod futex;
pub mod map;
pub mod memory;
pub mod process;
pub mod signal;
pub mod start;
pub mod string;
pub mod thread;
pub mod time;
