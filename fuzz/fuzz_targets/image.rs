//! Files that should be images.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vcpu_host::fuzzing::image::open(bytes));
