//! A guest's replies and requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vcpu_host::fuzzing::message::read(bytes));
