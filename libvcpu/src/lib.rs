//! What a program for a virtual CPU links: an environment with the names and habits of `std`.
//!
//! ```no_run
//! #![no_std]
//! #![no_main]
//!
//! use libvcpu::prelude::*;
//!
//! entry!(main);
//!
//! fn main() {
//!     println!("Hello, world!");
//! }
//! ```
//!
//! Build and run it with `vcpu run`. [`entry!`] makes a function the program; the modules below are
//! what it can use besides `core` and `alloc`.
//!
//! Many crates for programs without `std` ask for something of their environment by a convention. Features
//! of this package supply it:
//!
//! | feature | for crates that | see |
//! |---|---|---|
//! | `critical-section` | use `critical-section` | a section has events off |
//! | `embedded-io` | read and write by `embedded-io` 0.7 | module `embedded_io` |
//! | `getrandom` | draw random numbers by `getrandom`, as `rand` does | [`rand`] |
//! | `lock_api` | bring a lock's data and want the lock, by `lock_api` 0.4 | module `lock_api` |
//! | `log` | log by `log` | module `log` |
//! | `embed` | are libraries of a host program, with `serde` | module `embed` |
//! | none is needed | are `async` | [`task`] |

#![no_std]
#![deny(missing_docs)]

pub extern crate alloc;

pub mod block;
#[cfg(feature = "critical-section")]
mod critical_section;
mod device;
#[cfg(feature = "embed")]
pub mod embed;
#[cfg(feature = "embedded-io")]
pub mod embedded_io;
pub mod entry;
pub mod env;
pub mod fs;
pub mod io;
#[cfg(feature = "lock_api")]
pub mod lock_api;
#[cfg(feature = "log")]
pub mod log;
pub mod process;
pub mod rand;
pub mod sync;
pub mod task;
pub mod thread;
pub mod time;

pub use vcpu_kernel::{abi, call, clock, device as devices, event, exception, heap, machine};

/// What most programs use: `println!` and its kin, [`entry!`], and the collections of `alloc`.
pub mod prelude {
    pub use crate::{entry, eprint, eprintln, print, println};
    pub use alloc::borrow::ToOwned;
    pub use alloc::boxed::Box;
    pub use alloc::format;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec;
    pub use alloc::vec::Vec;
}
