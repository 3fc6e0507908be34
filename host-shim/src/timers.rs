//! What happens by itself: timers, the time limit, streams that become ready, the process's sudden death.
//!
//! A sandbox that sets a timer, finds a stream not ready, waits or has a time limit gets one thread, which
//! sleeps in `poll` and raises lines. It runs on the same core as the vCPU's thread if that is pinned:
//! waking another core is what costs most.

use crate::clock::Clock;
use crate::events::Events;
use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use vcpu_abi::page::{CONSOLE_LINE, EVENT_LINES};

/// What to wait for.
#[derive(Debug)]
struct Wishes {
    /// Deadline of each line's timer, in ns of the host's monotonic clock (of the guest's, if virtual).
    timers: [Option<u64>; EVENT_LINES as usize],
    limit: Option<u64>,
    /// Streams on which the guest waits, with what it waits for.
    streams: Vec<(RawFd, libc::c_short)>,
    end: bool,
}

#[derive(Debug)]
struct Shared {
    wishes: Mutex<Wishes>,
    timer: OwnedFd,
    /// Rung when streams or `end` change; the timer is set without waking the thread.
    bell: OwnedFd,
    events: Arc<Events>,
}

/// The timers of a sandbox.
#[derive(Debug)]
pub(crate) struct Timers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // The lists are right after every single change, so a panic elsewhere leaves nothing half done.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer to the earliest deadline.
    fn arm(&self, wishes: &Wishes) -> io::Result<()> {
        let earliest = wishes.timers.iter().flatten().copied().chain(wishes.limit).min();
        sys::timerfd_set(self.timer.as_fd(), earliest)
    }

    /// The thread's life.
    fn serve(&self) {
        // Until it has ended; `poll` ignores negative numbers.
        let mut process = self.events.process().as_raw_fd();
        loop {
            let own = [self.timer.as_raw_fd(), self.bell.as_raw_fd(), process];
            let mut fds = own.map(|fd| wish(fd, libc::POLLIN)).to_vec();
            {
                let wishes = self.wishes();
                if wishes.end {
                    return;
                }
                fds.extend(wishes.streams.iter().map(|(stream, events)| wish(*stream, *events)));
            }
            // An interrupted or failed poll has found nothing; the next one looks again.
            if sys::poll(&mut fds, -1).is_err() {
                continue;
            }
            if fds[0].revents != 0 {
                sys::drain(self.timer.as_fd());
                self.fire();
            }
            if fds[1].revents != 0 {
                sys::drain(self.bell.as_fd());
            }
            if fds[2].revents != 0 {
                process = -1;
                self.events.process_ended();
            }
            let streams = &fds[own.len()..];
            let ready = |stream: RawFd| streams.iter().any(|fd| fd.fd == stream && fd.revents != 0);
            if streams.iter().any(|fd| fd.revents != 0) {
                self.wishes().streams.retain(|(stream, _)| !ready(*stream));
                self.events.raise(CONSOLE_LINE);
            }
        }
    }

    /// Raises the lines whose deadlines have passed.
    fn fire(&self) {
        let mut wishes = self.wishes();
        let now = sys::clock(libc::CLOCK_MONOTONIC);
        raise_due(&mut wishes, now, &self.events);
        if wishes.limit.take_if(|limit| *limit <= now).is_some() {
            self.events.stop();
        }
        // Setting a timer of our own cannot fail.
        let _ = self.arm(&wishes);
    }
}

fn raise_due(wishes: &mut Wishes, now: u64, events: &Events) {
    for (line, timer) in wishes.timers.iter_mut().enumerate() {
        if timer.take_if(|deadline| *deadline <= now).is_some() {
            events.raise(line as u32);
        }
    }
}

fn wish(fd: RawFd, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

impl Timers {
    pub(crate) fn new(events: Arc<Events>) -> io::Result<Timers> {
        let wishes =
            Wishes { timers: [None; EVENT_LINES as usize], limit: None, streams: Vec::new(), end: false };
        let shared =
            Shared { wishes: Mutex::new(wishes), timer: sys::timerfd()?, bell: sys::eventfd()?, events };
        Ok(Timers { shared: Arc::new(shared), thread: None })
    }

    /// Sets the timer of a line to `deadline` in ns of the guest's clock, or disarms it.
    pub(crate) fn set(&mut self, clock: &Clock, line: u32, deadline: Option<u64>) -> io::Result<()> {
        let deadline = deadline.map(|at| if clock.is_virtual() { at } else { clock.to_host(at) });
        {
            let mut wishes = self.shared.wishes();
            wishes.timers[line as usize] = deadline;
            if clock.is_virtual() {
                raise_due(&mut wishes, clock.now(), &self.shared.events);
                return Ok(());
            }
            self.shared.arm(&wishes)?;
        }
        self.ensure_thread()
    }

    /// Ends the guest once the host's monotonic clock has reached `limit` in ns.
    pub(crate) fn set_limit(&mut self, limit: u64) -> io::Result<()> {
        {
            let mut wishes = self.shared.wishes();
            wishes.limit = Some(limit);
            self.shared.arm(&wishes)?;
        }
        self.ensure_thread()
    }

    /// Raises the console line once when `stream` has `events` (as for `poll`).
    pub(crate) fn watch(&mut self, stream: RawFd, events: libc::c_short) -> io::Result<()> {
        {
            let mut wishes = self.shared.wishes();
            if !wishes.streams.contains(&(stream, events)) {
                wishes.streams.push((stream, events));
            }
        }
        sys::eventfd_add(self.shared.bell.as_fd());
        self.ensure_thread()
    }

    /// Lets virtual time pass to the next timer, but not beyond `deadline`. False if it would pass
    /// without either.
    pub(crate) fn pass(&self, clock: &Clock, deadline: Option<u64>) -> bool {
        let mut wishes = self.shared.wishes();
        let Some(next) = wishes.timers.iter().flatten().copied().chain(deadline).min() else { return false };
        clock.advance(next);
        raise_due(&mut wishes, next, &self.shared.events);
        true
    }

    /// Makes sure that somebody looks after all this while the vCPU's thread sleeps.
    pub(crate) fn ensure_thread(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = self.shared.clone();
            let name = "vcpu-timers".to_owned();
            self.thread = Some(std::thread::Builder::new().name(name).spawn(move || shared.serve())?);
        }
        Ok(())
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.shared.wishes().end = true;
        sys::eventfd_add(self.shared.bell.as_fd());
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic there was printed there.
            let _ = thread.join();
        }
    }
}
