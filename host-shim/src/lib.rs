//! The machine: supplies virtual CPUs from an ordinary process.
//!
//! An [`Image`] is a validated program. A host program that wants to call its functions makes a [`Sandbox`] of it
//! (see [`embed`]); a [`Machine`] runs it as a program. What a guest can reach is what it is given; how it ended
//! is an [`Outcome`].
//!
//! | module | its subject |
//! |---|---|
//! | `image` | reading ELF files and refusing what cannot be run |
//! | `memory` | RAM that guest and host share |
//! | `information` | what the guest is told before it begins |
//! | `stub`, `filter`, `process` | starting a process in which nothing of the host's is left |
//! | [`backend`] | ways in which an operating system plays the CPU |
//! | [`registers`] | a guest's registers |
//! | [`upcall`] | how the machine interrupts its guest |
//! | `events`, `timers`, `clock` | event lines, and what raises them |
//! | `console` | standard streams |
//! | `grant`, `device` | what a guest is given besides, and how it reaches it |
//! | `worker` | a thread for what must not depend on the caller's |
//! | `machine` | the loop that runs a guest and serves its calls; checkpoints for tests |
//! | `report`, `unwind` | how a guest ended, in words |
//! | [`embed`] | sandboxes whose functions a host program calls |
//! | `build` | making images of packages (feature `cli`) |

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("the machine runs on x86-64 Linux");

pub mod backend;
#[cfg(feature = "cli")]
pub mod build;
mod clock;
mod console;
mod device;
pub mod embed;
mod error;
mod events;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grant;
mod image;
mod information;
mod machine;
mod memory;
mod process;
pub mod registers;
mod report;
mod stub;
mod sys;
mod timers;
mod unwind;
pub mod upcall;
mod worker;

pub use clock::ClockMode;
pub use console::Streams;
pub use embed::Sandbox;
pub use error::Error;
pub use grant::{FUNCTION_NAME_MAX, GRANT_NAME_MAX, Grant, GrantError, Missing, Resource, Want, WantError};
pub use image::{
    EXPORTS_MAX, FILE_SIZE_MAX, Image, ImageError, ImageProblem, SEGMENTS_MAX, Segment, WANTED_MEMORY_MAX,
    WANTS_MAX,
};
pub use machine::{Config, EventLines, Machine, checkpoint::Checkpoint};
pub use memory::GuestMemory;
pub use report::{
    Outcome, Report, STATUS_BAD_IMAGE, STATUS_FAILED, STATUS_FAULTED, STATUS_PANICKED, STATUS_TIME_LIMIT,
};
pub use unwind::Frame;
