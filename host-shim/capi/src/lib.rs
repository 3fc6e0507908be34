//! The C interface of the embedding library. What it offers is in `include/vcpu.h`, which is made of these sources;
//! what it means is said in [`vcpu_host::embed`].
//!
//! | module | its subject |
//! |---|---|
//! | `error` | statuses, sentences, and keeping panics inside |
//! | `values` | arguments and results |
//! | `image` | images, what they export and want |
//! | `builder` | what a sandbox is given: memory, arguments, functions |
//! | `grants` | what a sandbox is granted: streams and devices; its limits |
//! | `sandbox` | calls, buffers, and what is known of a sandbox |
//! | `snapshot` | snapshots, and reset |
//!
//! Pointers are the caller's word here. Each function says which it takes; a null pointer is an error, any other is
//! taken for what it should be. What several threads may use at once is taken by `*const` and is `Sync`.

mod builder;
mod error;
mod grants;
mod image;
mod sandbox;
mod snapshot;
mod values;

pub use builder::*;
pub use error::*;
pub use grants::*;
pub use image::*;
pub use sandbox::*;
pub use snapshot::*;
pub use values::*;
