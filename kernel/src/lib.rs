//! The guest kernel: what turns a bare virtual CPU into an environment that a program can live in.
//!
//! | module | its subject |
//! |---|---|
//! | [`boot`] | from the machine's first instruction to the program's main function |
//! | [`call`] | vCPU calls through the gate |
//! | [`context`] | entry vector and resume, the assembly that saves and restores what runs |
//! | [`extended`] | vector and floating-point registers |
//! | [`upcall`] | what happens between the two: events and exceptions find their handlers |
//! | [`event`] | event lines: handlers, enabling, waiting |
//! | [`exception`] | faults of the program itself |
//! | [`clock`] | reading time without a call |
//! | [`heap`] | dynamic memory |
//! | [`machine`] | what the machine said of itself: memory, arguments, environment |
//!
//! One thing runs besides the upcalls: the main program. Its registers have their place in
//! [`context::Thread`], of which there is one; more of them need nothing else from the modules below.

#![no_std]
#![deny(missing_docs)]

pub mod boot;
pub mod call;
pub mod clock;
pub mod context;
pub mod event;
pub mod exception;
pub mod extended;
pub mod heap;
pub mod machine;
mod memory_functions;
mod message;
pub mod upcall;

pub use vcpu_abi as abi;
