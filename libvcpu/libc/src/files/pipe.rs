//! Pipes: bytes from one thread of the guest to another.

use super::table::{self, O_CLOEXEC, O_NONBLOCK, O_WRONLY, Object, Open};
use super::transfer::Memory;
use super::{Result, done, lock, poll};
use crate::cancel;
use crate::errno::{EAGAIN, EFAULT, EINTR, EINVAL, ENOMEM, EPIPE};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;
use libvcpu::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::thread::WaitError;

/// Bytes that a pipe holds.
pub const CAPACITY: usize = 64 << 10;

/// Most bytes that are written in one go, without others' in between.
const ATOMIC_MAX: usize = 4096;

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    has_reader: bool,
    has_writer: bool,
}

/// One end of a pipe.
#[derive(Debug)]
pub struct End {
    pipe: Arc<Pipe>,
    is_writer: bool,
}

/// How a pipe's end is: what `poll` asks.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// A read or a write would do something.
    pub is_ready: bool,
    /// The other end is closed.
    pub is_alone: bool,
}

fn pipe() -> Result<(End, End)> {
    let mut bytes = VecDeque::new();
    bytes.try_reserve_exact(CAPACITY).map_err(|_| ENOMEM)?;
    let state = Mutex::new(State { bytes, has_reader: true, has_writer: true });
    let pipe = Arc::new(Pipe { state, changed: Condvar::new() });
    Ok((End { pipe: pipe.clone(), is_writer: false }, End { pipe, is_writer: true }))
}

impl Pipe {
    /// Waits until something has changed.
    ///
    /// # Errors
    ///
    /// `EINTR` if cancellation or a signal ended the wait.
    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        let mut state = Some(state);
        let wait = || {
            let given = state.take().ok_or(TimedOut)?;
            // There is no deadline so late.
            let result = self.changed.wait_timeout(given, Duration::MAX);
            let (given, result) = result.unwrap_or_else(PoisonError::into_inner);
            state = Some(given);
            if result.timed_out() { Err(TimedOut) } else { Ok(()) }
        };
        if cancel::wait(wait) == Err(WaitError::Interrupted) && cancel::is_interrupted() {
            return Err(EINTR);
        }
        Ok(state.unwrap_or_else(|| lock(&self.state)))
    }

    /// Says that something has changed.
    fn notify(&self) {
        self.changed.notify_all();
        poll::changed();
    }
}

impl End {
    /// Reads what is there; waits if it is nothing.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where it would have to wait and is not to.
    pub fn read(&self, memory: &mut Memory<'_>, is_waiting: bool) -> Result<()> {
        let mut state = lock(&self.pipe.state);
        while state.bytes.is_empty() {
            if !state.has_writer {
                return Ok(());
            }
            if !is_waiting {
                return Err(EAGAIN);
            }
            state = self.pipe.wait(state)?;
        }
        while memory.left() > 0 && !state.bytes.is_empty() {
            let (first, _) = state.bytes.as_slices();
            let target = &mut *memory.targets()[0];
            let count = target.len().min(first.len());
            target[..count].copy_from_slice(&first[..count]);
            state.bytes.drain(..count);
            memory.advance(count);
        }
        drop(state);
        self.pipe.notify();
        Ok(())
    }

    /// Writes all; waits until there is room.
    ///
    /// # Errors
    ///
    /// `EPIPE` if nobody can read it any more, `EAGAIN` where it would have to wait and is not to.
    pub fn write(&self, memory: &mut Memory<'_>, is_waiting: bool) -> Result<()> {
        let least = if memory.left() <= ATOMIC_MAX { memory.left() } else { 1 };
        while memory.left() > 0 {
            let mut state = lock(&self.pipe.state);
            loop {
                if !state.has_reader {
                    return if memory.done() > 0 { Ok(()) } else { Err(EPIPE) };
                }
                if CAPACITY - state.bytes.len() >= least {
                    break;
                }
                if !is_waiting {
                    return if memory.done() > 0 { Ok(()) } else { Err(EAGAIN) };
                }
                state = match self.pipe.wait(state) {
                    Err(_) if memory.done() > 0 => return Ok(()),
                    result => result?,
                };
            }
            while memory.left() > 0 && state.bytes.len() < CAPACITY {
                let source = memory.sources()[0];
                let count = source.len().min(CAPACITY - state.bytes.len());
                state.bytes.extend(&source[..count]);
                memory.advance(count);
            }
            drop(state);
            self.pipe.notify();
        }
        Ok(())
    }

    /// How it is now.
    pub fn readiness(&self) -> Readiness {
        let state = lock(&self.pipe.state);
        if self.is_writer {
            let has_room = CAPACITY - state.bytes.len() >= ATOMIC_MAX;
            Readiness { is_ready: has_room || !state.has_reader, is_alone: !state.has_reader }
        } else {
            Readiness { is_ready: !state.bytes.is_empty(), is_alone: !state.has_writer }
        }
    }

    /// A number that both ends have, and no other pipe while this one is there.
    pub fn identity(&self) -> u64 {
        Arc::as_ptr(&self.pipe) as u64
    }

    /// Whether it is the end that is written.
    pub fn is_writer(&self) -> bool {
        self.is_writer
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.pipe.state);
        if self.is_writer {
            state.has_writer = false
        } else {
            state.has_reader = false
        }
        drop(state);
        self.pipe.notify();
    }
}

/// Bytes in a pipe.
pub fn readable(end: &End) -> usize {
    lock(&end.pipe.state).bytes.len()
}

/// Makes a pipe.
///
/// # Safety
///
/// There is room for two numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pipe2(descriptors: *mut [i32; 2], flags: i64) -> i64 {
    let flags = flags as i32;
    let make = || {
        if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
            return Err(EINVAL);
        }
        if descriptors.is_null() {
            return Err(EFAULT);
        }
        let (reader, writer) = pipe()?;
        let close = flags & O_CLOEXEC != 0;
        let reader = table::add(Open::new(Object::Pipe(reader), flags), 0, close)?;
        let writer = table::add(Open::new(Object::Pipe(writer), flags | O_WRONLY), 0, close);
        let writer = writer.inspect_err(|_| drop(table::remove(reader)))?;
        // SAFETY: the caller's room.
        unsafe { descriptors.write([reader as i32, writer as i32]) };
        Ok(())
    };
    done(make())
}

/// Makes a pipe.
///
/// # Safety
///
/// There is room for two numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pipe(descriptors: *mut [i32; 2]) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_pipe2(descriptors, 0) }
}
