//! The contract between a guest and the machine that runs it.
//!
//! This crate is the reference for every number and every byte that both sides must agree on: where
//! things lie in the guest's address space, what the vCPU page looks like, which calls exist and what
//! their errors mean. It has no behaviour; guest and host depend on it and never on each other.
//!
//! | module | what it fixes |
//! |---|---|
//! | [`layout`] | the guest's address space |
//! | [`page`] | the vCPU page: state indicator, events, entry vector, state save area |
//! | [`cause`] | why an upcall happened |
//! | [`call`] | numbers, arguments and errors of vCPU calls |
//! | [`device`] | devices: registers, kinds, event lines |
//! | [`exchange`] | functions that guest and host call of each other |
//! | [`info`] | the read-only information page: memory, clock, arguments, environment |
//! | [`note`] | the ELF note by which an image says what it was built for |
//!
//! The same contract for C is `include/vcpu.h`; a test keeps the two equal.

#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod cause;
pub mod device;
pub mod exchange;
pub mod info;
pub mod layout;
pub mod note;
pub mod page;

/// The version of this contract. A host runs an image only if it was built for exactly this version;
/// the number changes with every change that an existing image or host would notice.
pub const INTERFACE_VERSION: u32 = 2;
