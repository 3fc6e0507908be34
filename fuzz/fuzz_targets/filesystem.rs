//! A driver of a directory that it may change. Beside it is a file that it must not find.

#![no_main]

use std::cell::RefCell;
use vcpu_host::fuzzing::{Driver, ScratchDirectory};

thread_local!(static WORLD: RefCell<(ScratchDirectory, Driver)> = {
    let directory = ScratchDirectory::new();
    let driver = Driver::new(directory.resource());
    RefCell::new((directory, driver))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| WORLD.with_borrow_mut(|(directory, driver)| {
    driver.drive(bytes);
    directory.check();
}));
