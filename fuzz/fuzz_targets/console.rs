//! A driver of a console whose input is without end and whose output is soon full.

#![no_main]

use std::cell::RefCell;
use vcpu_host::fuzzing::{Driver, scratch_console};

thread_local!(static DRIVER: RefCell<Driver> = RefCell::new(Driver::new(scratch_console())));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| DRIVER.with_borrow_mut(|driver| driver.drive(bytes)));
