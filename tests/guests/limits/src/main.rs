//! Uses as much as its arguments say of what a machine limits.

#![no_std]
#![no_main]

use libvcpu::abi::call::{Error, STREAM_ERRORS, STREAM_OUTPUT};
use libvcpu::prelude::*;
use libvcpu::{call, env, thread, time::Duration};

entry!(main);

fn main() -> Result<(), String> {
    let mut arguments = env::args().skip(1);
    let what = arguments.next().ok_or("use what?")?;
    let number: u64 = arguments.next().map_or(Ok(0), |text| text.parse()).map_err(|_| "how much?")?;
    match what.as_str() {
        "compute" => loop {
            core::hint::spin_loop();
        },
        "rest" => thread::sleep(Duration::from_millis(number)),
        "call" => (0..number).for_each(|_| call::null()),
        "write" => return write(number),
        _ => return Err("that is nothing to use".into()),
    }
    Ok(())
}

/// Writes so many bytes, by turns to both streams, and then finds that no more is taken.
fn write(number: u64) -> Result<(), String> {
    let mut written = 0;
    for stream in [STREAM_OUTPUT, STREAM_ERRORS].into_iter().cycle() {
        match call::console_write(stream, b"0123456789") {
            Ok(count) => written += count as u64,
            Err(Error::Again) => thread::yield_now(),
            Err(Error::Denied) if written == number => break,
            Err(error) => return Err(format!("{error:?} after {written} bytes")),
        }
    }
    // It stays so, and nothing else is refused.
    if call::console_write(STREAM_ERRORS, b"x") != Err(Error::Denied) {
        return Err("first refused and then not".into());
    }
    if call::console_write(STREAM_OUTPUT, b"") != Ok(0) {
        return Err("nothing at all may be written".into());
    }
    call::null();
    Ok(())
}
