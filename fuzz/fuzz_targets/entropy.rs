//! A driver of a source of entropy.

#![no_main]

use std::cell::RefCell;
use vcpu_host::Resource;
use vcpu_host::fuzzing::Driver;

thread_local!(static DRIVER: RefCell<Driver> = RefCell::new(Driver::new(Resource::Entropy)));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| DRIVER.with_borrow_mut(|driver| driver.drive(bytes)));
