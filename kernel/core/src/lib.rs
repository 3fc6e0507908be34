//! The guest kernel's policy: plain functions over plain data.
//!
//! Nothing here knows a register, a page or the machine. What can be decided by looking at values is
//! decided here and tested in microseconds on the developer's machine; the kernel proper carries it out.
//!
//! [`policy`] is the whole, and the place to begin. Below it, each file is one subject, and its header tells
//! the rules and why they are so:
//!
//! | what | where |
//! |---|---|
//! | who runs | [`priority`], [`time_slice`], [`thread`], [`scheduler`], [`ready`] |
//! | when something is due | [`timeout`], [`timer`], [`alarm`] |
//! | who owns what | [`mutex`], [`inherit`], [`condition`], [`read_write_lock`] |
//! | who waits for what | [`wait`], [`semaphore`], [`barrier`], [`event_group`] |
//! | where it is kept | [`table`], [`chunks`] |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alarm;
pub mod barrier;
pub mod chunks;
pub mod clock;
pub mod condition;
pub mod event_group;
pub mod inherit;
mod list;
pub mod mutex;
pub mod policy;
pub mod priority;
pub mod read_write_lock;
pub mod ready;
pub mod scheduler;
pub mod semaphore;
pub mod size_class;
pub mod strings;
pub mod table;
pub mod thread;
pub mod time_slice;
pub mod timeout;
pub mod timer;
pub mod wait;

#[cfg(test)]
mod property_tests;
