//! Standard streams.
//!
//! The machine has no call that says whether something can be read without reading it. So who waits for input
//! reads one byte ahead, which the next reader gets.

use super::transfer::Memory;
use super::{Result, lock};
use crate::cancel;
use crate::errno::{EAGAIN, EBADF, EINVAL, EIO, ENOSPC, EPIPE};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::sync::Mutex;
use vcpu_kernel::abi::call::{Error, STREAM_INPUT};
use vcpu_kernel::abi::page::CONSOLE_LINE;
use vcpu_kernel::{call, event};

/// A standard stream.
#[derive(Debug)]
pub struct Stream {
    number: u64,
}

/// What was read ahead.
#[derive(Clone, Copy, Debug)]
enum Ahead {
    Nothing,
    Byte(u8),
    End,
}

static AHEAD: Mutex<Ahead> = Mutex::new(Ahead::Nothing);

/// For each stream, at which count of events, plus one, it took nothing more.
static FULL: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Pieces that are together no more than this are written in one go, so that a line stays one.
const TOGETHER_MAX: usize = 8 << 10;

impl Stream {
    /// Standard input (0), output (1) or errors (2).
    pub fn standard(number: u64) -> Stream {
        Stream { number }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn is_input(&self) -> bool {
        self.number == STREAM_INPUT
    }

    /// Reads some bytes; 0 is the end.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where it would have to wait and is not to, `EIO`.
    pub fn read(&self, buffer: &mut [u8], is_waiting: bool) -> Result<usize> {
        if !self.is_input() {
            return Err(EBADF);
        }
        let ahead = core::mem::replace(&mut *lock(&AHEAD), Ahead::Nothing);
        match ahead {
            Ahead::Nothing => self.retry(is_waiting, || call::console_read(self.number, buffer)),
            Ahead::End => Ok(0),
            Ahead::Byte(byte) => {
                buffer[0] = byte;
                let more = call::console_read(self.number, &mut buffer[1..]);
                Ok(1 + more.unwrap_or(0))
            }
        }
    }

    /// Writes: all where it may wait, as much as goes otherwise.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where it would have to wait and is not to, `EPIPE`, `EIO`; `ENOSPC` if the guest has written as
    /// much as it may.
    pub fn write(&self, memory: &mut Memory<'_>, is_waiting: bool) -> Result<()> {
        if self.is_input() {
            return Err(EBADF);
        }
        let sources = memory.sources();
        if memory.left() <= TOGETHER_MAX && sources.iter().filter(|source| !source.is_empty()).count() > 1 {
            let together: Vec<u8> = sources.concat();
            let mut taken = 0;
            while taken < together.len() {
                match self.retry(is_waiting, || call::console_write(self.number, &together[taken..])) {
                    Ok(count) => taken += count,
                    Err(error) if taken == 0 => return Err(error),
                    Err(_) => break,
                }
            }
            memory.advance(taken);
            return if memory.left() > 0 && taken == together.len() {
                self.write(memory, is_waiting)
            } else {
                Ok(())
            };
        }
        while memory.left() > 0 {
            let source = memory.sources()[0];
            match self.retry(is_waiting, || call::console_write(self.number, source)) {
                Ok(count) => memory.advance(count),
                Err(error) if memory.done() == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Repeats a call until it does something, if it may wait.
    fn retry(
        &self,
        is_waiting: bool,
        mut attempt: impl FnMut() -> core::result::Result<usize, Error>,
    ) -> Result<usize> {
        loop {
            let before = event::count(CONSOLE_LINE);
            let error = match attempt() {
                Ok(count) => return Ok(count),
                Err(error) => error,
            };
            match error {
                Error::Again => {
                    FULL[self.number as usize].store(before + 1, Relaxed);
                    if !is_waiting {
                        return Err(EAGAIN);
                    }
                    cancel::wait_until(None, || event::count(CONSOLE_LINE) != before)?;
                }
                Error::Closed => return Err(EPIPE),
                Error::Denied => return Err(ENOSPC),
                Error::BadArgument | Error::BadAddress => return Err(EINVAL),
                _ => return Err(EIO),
            }
        }
    }

    /// Whether it is worth a try: to read, or to write.
    pub fn is_ready(&self) -> bool {
        if !self.is_input() {
            return FULL[self.number as usize].load(Relaxed) != event::count(CONSOLE_LINE) + 1;
        }
        let mut ahead = lock(&AHEAD);
        if let Ahead::Nothing = *ahead {
            let mut byte = [0];
            *ahead = match call::console_read(self.number, &mut byte) {
                Ok(0) => Ahead::End,
                Ok(_) => Ahead::Byte(byte[0]),
                Err(Error::Again) => return false,
                // The next read will say what is wrong.
                Err(_) => return true,
            };
        }
        true
    }

    /// Whether its end was seen.
    pub fn has_ended(&self) -> bool {
        self.is_input() && matches!(*lock(&AHEAD), Ahead::End)
    }

    /// Bytes that are known to be there: one, if there are any.
    ///
    /// # Errors
    ///
    /// `EBADF` if nothing can be read of it.
    pub fn readable(&self) -> Result<i64> {
        if !self.is_input() {
            return Err(EBADF);
        }
        Ok(i64::from(self.is_ready() && !self.has_ended()))
    }
}
