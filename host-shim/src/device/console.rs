//! The console device: a stream of bytes in each direction, one port.
//!
//! Nothing is buffered here: a request whose stream is not ready stays in its queue. What is written to a
//! stream that nobody reads any more is dropped, and the configuration says so.

use super::request::{Broken, Request};
use super::{Model, Served};
use crate::console::Stream;
use std::os::fd::OwnedFd;
use vcpu_abi::call::Error as CallError;
use vcpu_abi::device::{CONSOLE_CLOSED, CONSOLE_INPUT_ENDED, CONSOLE_OUTPUT_CLOSED, Kind};

/// The queue whose buffers are filled from the input; the other is that of the output.
const RECEIVE: usize = 0;

#[derive(Debug)]
pub(super) struct Console {
    input: Stream,
    output: Stream,
    /// The end of the input was told to the driver.
    told: bool,
    config: [u8; CONSOLE_CLOSED as usize + 4],
    generation: u64,
    /// Bytes of the output's first request that are written already.
    written: usize,
}

impl Console {
    pub(super) fn new(input: OwnedFd, output: OwnedFd) -> Console {
        Console {
            input: Stream::input(input),
            output: Stream::output(output),
            told: false,
            config: [0; CONSOLE_CLOSED as usize + 4],
            generation: 0,
            written: 0,
        }
    }

    /// Says in the configuration that a stream is closed.
    fn close(&mut self, which: u32) {
        let closed = &mut self.config[CONSOLE_CLOSED as usize];
        if *closed & which as u8 == 0 {
            *closed |= which as u8;
            self.generation += 1;
        }
    }

    fn receive(&mut self, request: &Request<'_>) -> Result<Served, Broken> {
        let buffer = &request.writable;
        if buffer.length() == 0 || request.readable.length() > 0 {
            return Err(Broken("a buffer for input must have writable parts only".to_owned()));
        }
        if self.told {
            return Ok(Served::Never);
        }
        let mut done = 0;
        for part in buffer.parts(0..buffer.length()) {
            match self.input.transfer(part.ptr_guard_mut().as_ptr(), part.len() as u64) {
                Ok(0) if done == 0 => {
                    self.told = true;
                    self.close(CONSOLE_INPUT_ENDED);
                }
                Ok(count) => done += count as usize,
                Err(CallError::Again) if done == 0 => return Ok(Served::Later(self.input.readiness())),
                Err(CallError::Again) => {}
                Err(_) if done == 0 => {
                    self.told = true;
                    self.close(CONSOLE_INPUT_ENDED);
                }
                // It comes again with the next buffer.
                Err(_) => {}
            }
            // Whatever is next, it does not follow these bytes.
            if done < part.len() {
                break;
            }
        }
        Ok(Served::Used(done))
    }

    fn transmit(&mut self, request: &Request<'_>) -> Result<Served, Broken> {
        let buffer = &request.readable;
        if request.writable.length() > 0 {
            return Err(Broken("a buffer of output must have readable parts only".to_owned()));
        }
        // A buffer that was exchanged meanwhile is the driver's own fault.
        let from = self.written.min(buffer.length());
        for part in buffer.parts(from..buffer.length()) {
            let mut rest = part;
            while !rest.is_empty() {
                match self.output.transfer(rest.ptr_guard().as_ptr().cast_mut(), rest.len() as u64) {
                    // A stream that takes nothing and does not say why will never take anything.
                    Ok(count @ 1..) => {
                        self.written += count as usize;
                        rest = rest.offset(count as usize).expect("no more than there was");
                    }
                    Err(CallError::Again) => return Ok(Served::Later(self.output.readiness())),
                    Ok(0) | Err(_) => {
                        self.close(CONSOLE_OUTPUT_CLOSED);
                        self.written = 0;
                        return Ok(Served::Used(0));
                    }
                }
            }
        }
        self.written = 0;
        Ok(Served::Used(0))
    }
}

impl Model for Console {
    fn kind(&self) -> Kind {
        Kind::Console
    }

    fn queues(&self) -> usize {
        2
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn serve(&mut self, queue: usize, request: &Request<'_>) -> Result<Served, Broken> {
        if queue == RECEIVE { self.receive(request) } else { self.transmit(request) }
    }

    fn reset(&mut self) {
        self.told = false;
        self.written = 0;
        // What is closed is found again, and told again.
        self.config[CONSOLE_CLOSED as usize] = 0;
    }
}
