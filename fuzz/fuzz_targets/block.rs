//! A driver of a disk.

#![no_main]

use std::cell::RefCell;
use vcpu_host::fuzzing::{Driver, scratch_disk};

thread_local!(static DRIVER: RefCell<Driver> = RefCell::new(Driver::new(scratch_disk())));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| DRIVER.with_borrow_mut(|driver| driver.drive(bytes)));
