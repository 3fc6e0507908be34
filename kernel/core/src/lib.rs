//! The guest kernel's policy: plain functions over plain data.
//!
//! Nothing here knows a register, a page or the machine. What can be decided by looking at values is
//! decided here and tested in microseconds on the developer's machine; the kernel proper carries it out.

#![no_std]
#![forbid(unsafe_code)]

pub mod clock;
pub mod strings;
