//! The guest kernel's policy: plain functions over plain data.
//!
//! Nothing here knows a register, a page or the machine. What can be decided by looking at values is
//! decided here and tested in microseconds on the developer's machine; the kernel proper carries it out.
//!
//! # How to read it
//!
//! [`policy`] is the whole: what can happen, and what is answered. Look at its example first. Below it, each
//! file is one subject, and its header tells the rules and why they are so. In this order, each needs only what
//! comes before it:
//!
//! 1. **Who runs.** [`priority`] is how important a thread is, [`time_slice`] how long its turn is, [`thread`]
//!    where it may stand and what may follow what. [`ready`] keeps those that could run, in constant time, and
//!    [`scheduler`] has the rules of who goes to the head and who to the tail.
//! 2. **When something is due.** [`timeout`] is the queue of deadlines, [`alarm`] the one timer of the machine
//!    behind it, and [`timer`] what programs make of it.
//! 3. **Who waits for what.** [`wait`] is the queue in which one waits. [`semaphore`], [`barrier`] and
//!    [`event_group`] are what is waited for and has no owner.
//! 4. **Who owns what.** [`mutex`] has an owner, so importance is handed on: [`inherit`]. [`condition`] is
//!    waiting with a mutex given up, [`read_write_lock`] is owned by many.
//! 5. **Where it is kept.** [`table`] gives things numbers, [`chunks`] grows without moving anything.
//!
//! Apart from all that, [`size_class`] decides for the heap, [`clock`] converts ticks of the counter,
//! [`strings`] reads the lists in which a machine hands over arguments, and [`file_cache`] keeps what was read.
//!
//! All times are nanoseconds of one clock that does not go back. A deadline is a moment of it, and none
//! (`None`) never comes.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alarm;
pub mod barrier;
pub mod chunks;
pub mod clock;
pub mod condition;
pub mod event_group;
pub mod file_cache;
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
