//! Output without end.

use libvcpu::abi::call::{Error, STREAM_OUTPUT};
use libvcpu::abi::page::CONSOLE_LINE;
use libvcpu::prelude::*;
use libvcpu::{call, event};

/// Writes this many MiB as fast as it can, in pieces larger than any pipe. Says on standard errors when
/// the output was full for the first time.
pub(crate) fn flood(mebibytes: u64) {
    let piece = vec![0x55u8; 8 << 20];
    let mut left = (mebibytes << 20) as usize;
    let mut refused = 0u64;
    while left > 0 {
        match call::console_write(STREAM_OUTPUT, &piece[..left.min(piece.len())]) {
            Ok(count) => left -= count,
            Err(Error::Again) => {
                refused += 1;
                if refused == 1 {
                    eprintln!("full");
                    // Tries in vain, and waits for nothing.
                    for _ in 0..10_000 {
                        assert_eq!(call::console_write(STREAM_OUTPUT, &piece), Err(Error::Again));
                    }
                    eprintln!("still full");
                }
                event::wait_until(None, || event::take(CONSOLE_LINE));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
