//! The C interface of the embedding library. What it offers is in `include/vcpu.h`, which is made of these sources;
//! what it means is said in [`vcpu_host::embed`].
//!
//! | module | its subject |
//! |---|---|
//! | `error` | statuses, sentences, and keeping panics inside |
//! | `values` | arguments and results |
//! | `builder` | images, and what a sandbox is given |
//! | `sandbox` | calls, buffers, snapshots |
//!
//! Pointers are the caller's word here. Each function says which it takes; a null pointer is an error, any other is
//! taken for what it should be.

mod builder;
mod error;
mod sandbox;
mod values;

pub use builder::*;
pub use error::*;
pub use sandbox::*;
pub use values::*;
