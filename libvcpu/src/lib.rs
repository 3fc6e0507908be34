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

#![no_std]
#![deny(missing_docs)]

pub extern crate alloc;

pub mod entry;
pub mod env;
pub mod io;
pub mod process;
pub mod sync;
pub mod thread;
pub mod time;

pub use vcpu_kernel::{abi, call, clock, event, exception, heap, machine};

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
