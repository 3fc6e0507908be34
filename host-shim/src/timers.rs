//! What happens by itself: timers, the limits of time, streams that become ready, the process's sudden death.
//!
//! Where the guest's process has timers of its own, these have the deadlines, and nobody here wakes up for
//! them, unless the guest waits in the host. A sandbox that sets a timer otherwise, finds a stream not ready,
//! waits in the host, has a time limit or lives on gets one thread, which sleeps in `poll`, raises lines, and
//! says when the process has ended. It runs on the same core as the vCPU's thread if that is pinned: waking
//! another core is what costs most.

use crate::backend::seccomp::slot::HALF;
use crate::backend::seccomp::timer::{Alarm, OwnTimer};
use crate::clock::Clock;
use crate::console::{Readiness, Stream};
use crate::device::Device;
use crate::events::Events;
use crate::machine::limits::CpuTime;
use crate::sys;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use vcpu_abi::page::EVENT_LINES;

/// What happens when a stream is ready.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A line is raised.
    Raise(u32),
    /// A queue of a device is served.
    Serve(Arc<Device>, usize),
}

/// A stream on which the guest waits.
#[derive(Clone, Debug)]
struct Watched {
    stream: Readiness,
    action: Action,
}

/// What to wait for.
#[derive(Debug)]
struct Wishes {
    /// Deadline of each line's timer, in ns of the guest's clock, unless the guest's own timers have it.
    timers: [Option<u64>; EVENT_LINES as usize],
    /// The guest's own timers, if it has some: that of the lower half of the lines, and that of the upper.
    own: Option<[Own; 2]>,
    limit: Option<u64>,
    /// The processor's time that the guest may use, and when to look at it, in ns of the host's clock.
    cpu_time: Option<(CpuTime, u64)>,
    /// Streams on which the guest waits, with what it waits for.
    streams: Vec<Watched>,
    end: bool,
}

#[derive(Debug)]
struct Own {
    timer: OwnTimer,
    /// The lines and deadlines that it has, the earliest first; they are not among the others.
    has: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Shared {
    wishes: Mutex<Wishes>,
    timer: OwnedFd,
    /// Rung when streams or `end` change; the timer is set without waking the thread.
    bell: OwnedFd,
    events: Arc<Events>,
    clock: Clock,
}

/// The timers of a sandbox.
#[derive(Debug)]
pub(crate) struct Timers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Wishes {
    fn watch(&mut self, watched: Watched) {
        if !self.streams.iter().any(|other| other.stream.is_same(&watched.stream)) {
            self.streams.push(watched);
        }
    }

    /// The earliest deadline that is not the guest's own timer's.
    fn earliest(&self) -> Option<u64> {
        self.timers.iter().flatten().copied().min()
    }
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // The lists are right after every single change, so a panic elsewhere leaves nothing half done.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer to the earliest deadline. Virtual time comes without it.
    fn arm(&self, wishes: &Wishes) -> io::Result<()> {
        let timer = wishes.earliest().filter(|_| !self.clock.is_virtual());
        let look = wishes.cpu_time.as_ref().map(|(_, look)| *look);
        let timer = timer.map(|deadline| self.clock.to_host(deadline));
        let earliest = timer.into_iter().chain(wishes.limit).chain(look).min();
        // Zero would disarm.
        let it_value = sys::timespec(earliest.map_or(0, |deadline| deadline.max(1)));
        let setting = Itimerspec { it_interval: sys::timespec(0), it_value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        Ok(())
    }

    /// Takes back what has not come yet of what the guest's own timer of a half has.
    fn take_back(&self, half: usize, wishes: &mut Wishes) {
        let Wishes { timers, own: Some(own), .. } = wishes else { return };
        let own = &mut own[half];
        let come = own.timer.take();
        for (line, deadline) in own.has.drain(..).skip(come) {
            timers[line] = Some(deadline);
        }
    }

    /// Gives all deadlines of a half to the guest's own timer; what that had was taken back. The guest waits.
    fn give(&self, half: usize, wishes: &mut Wishes) {
        let Wishes { timers, own: Some(own), .. } = wishes else { return };
        let own = &mut own[half];
        let all = timers.iter_mut().enumerate().skip(half * HALF).take(HALF);
        own.has.extend(all.filter_map(|(line, deadline)| Some((line, deadline.take()?))));
        own.has.sort_unstable_by_key(|(_, deadline)| *deadline);
        let alarm = |(line, deadline): &(usize, u64)| Alarm {
            line: *line as u32,
            at: self.clock.to_host(*deadline),
            due: self.clock.due(*deadline),
        };
        own.timer.set(own.has.iter().map(alarm));
    }

    /// Makes the thread look at its wishes again.
    fn ring(&self) {
        // The counter is far from full: the thread takes it whenever it wakes.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// The thread's life.
    fn serve(&self) {
        let mut process_lives = true;
        loop {
            let streams = {
                let wishes = self.wishes();
                if wishes.end {
                    return;
                }
                wishes.streams.clone()
            };
            let own = [&self.timer, &self.bell, self.events.process()];
            let own = &own[..if process_lives { 3 } else { 2 }];
            let mut fds: Vec<PollFd<'_>> = own.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            fds.extend(streams.iter().map(|Watched { stream, .. }| PollFd::new(&stream.file, stream.events)));
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                // Short of memory: nobody would keep the guest's time any more, so it is over.
                Err(_) => return self.events.stop(),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let mut count = [0; 8];
            if ready[0] {
                // Reading does not block, and what was counted does not matter.
                let _ = rustix::io::read(&self.timer, &mut count);
                self.fire();
            }
            if ready[1] {
                let _ = rustix::io::read(&self.bell, &mut count);
            }
            if process_lives && ready[2] {
                process_lives = false;
                self.events.process_ended();
            }
            let ready = streams.iter().zip(&ready[own.len()..]).filter(|(_, ready)| **ready);
            ready.for_each(|(watched, _)| self.act(watched));
        }
    }

    /// A stream is ready. It is not watched any more, unless it turns out to be needed still.
    fn act(&self, watched: &Watched) {
        let mut wishes = self.wishes();
        wishes.streams.retain(|other| !other.stream.is_same(&watched.stream));
        match &watched.action {
            // Locked, so that a stream is awaited or its line was raised, whenever somebody looks.
            Action::Raise(line) => self.events.raise(*line),
            Action::Serve(device, queue) => {
                drop(wishes);
                if let Some(stream) = device.serve(*queue) {
                    self.wishes().watch(Watched { stream, action: watched.action.clone() });
                }
            }
        }
    }

    /// Raises the lines whose deadlines have passed. The host's clock may be a little ahead of the
    /// guest's, which is the one that counts; then the timer is set again for the rest.
    fn fire(&self) {
        let mut wishes = self.wishes();
        self.raise_due(&mut wishes);
        if wishes.limit.take_if(|limit| *limit <= sys::monotonic()).is_some() {
            self.events.stop();
        }
        let now = sys::monotonic();
        if let Some((time, _)) = wishes.cpu_time.take_if(|(_, look)| *look <= now) {
            match time.look() {
                Some(next) => wishes.cpu_time = Some((time, now.saturating_add(next))),
                None => self.events.stop_for_cpu_time(),
            }
        }
        // Setting a timer of our own cannot fail.
        let _ = self.arm(&wishes);
    }

    fn raise_due(&self, wishes: &mut Wishes) {
        let now = self.clock.now();
        for (line, timer) in wishes.timers.iter_mut().enumerate() {
            if timer.take_if(|deadline| *deadline <= now).is_some() {
                self.events.raise(line as u32);
            }
        }
    }
}

impl Timers {
    /// Those of a guest with this clock, and with these timers in its process, if time is not virtual.
    pub(crate) fn new(events: Arc<Events>, clock: Clock, own: Option<[OwnTimer; 2]>) -> io::Result<Timers> {
        let timers = [None; EVENT_LINES as usize];
        let own = own.map(|own| own.map(|timer| Own { timer, has: Vec::new() }));
        let wishes = Wishes { timers, own, limit: None, cpu_time: None, streams: Vec::new(), end: false };
        let timer_flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, timer_flags)?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Shared { wishes: Mutex::new(wishes), timer, bell, events, clock };
        Ok(Timers { shared: Arc::new(shared), thread: None })
    }

    /// Lets nobody but this side keep the guest's time: it waits here.
    pub(crate) fn take_back(&mut self) -> io::Result<()> {
        {
            let mut wishes = self.shared.wishes();
            if wishes.own.as_ref().is_none_or(|own| own.iter().all(|own| own.has.is_empty())) {
                return Ok(());
            }
            for half in [0, 1] {
                self.shared.take_back(half, &mut wishes);
            }
            self.shared.arm(&wishes)?;
        }
        self.ensure_thread()
    }

    /// The guest's clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Sets the timer of a line to `deadline` in ns of the guest's clock, or disarms it. The guest waits.
    pub(crate) fn set(&mut self, line: u32, deadline: Option<u64>) -> io::Result<()> {
        {
            let mut wishes = self.shared.wishes();
            let (before, half) = (wishes.earliest(), line as usize / HALF);
            self.shared.take_back(half, &mut wishes);
            wishes.timers[line as usize] = deadline;
            if self.shared.clock.is_virtual() {
                self.shared.raise_due(&mut wishes);
                return Ok(());
            }
            self.shared.give(half, &mut wishes);
            if wishes.earliest() == before {
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
            self.shared.events.set_limit(limit);
            self.shared.arm(&wishes)?;
        }
        self.ensure_thread()
    }

    /// Takes back the limit that was set, also if it has just come.
    pub(crate) fn clear_limit(&mut self) -> io::Result<()> {
        // Under the lock, so that the thread does not say it afterwards.
        let mut wishes = self.shared.wishes();
        let has_come = wishes.limit.take().is_none();
        self.shared.events.renew_time(has_come);
        self.shared.arm(&wishes)
    }

    /// Does something once when a stream is ready.
    pub(crate) fn watch(&mut self, stream: Readiness, action: Action) -> io::Result<()> {
        self.shared.wishes().watch(Watched { stream, action });
        self.shared.ring();
        self.ensure_thread()
    }

    /// Which of these streams are watched.
    pub(crate) fn awaited(&self, streams: &[Stream; 3]) -> [bool; 3] {
        let wishes = self.shared.wishes();
        let is_watched = |stream: &Stream| {
            wishes.streams.iter().any(|watched| watched.stream.is_same(&stream.readiness()))
        };
        streams.each_ref().map(is_watched)
    }

    /// Ends the guest once it has used this time of the processor; `None` is a process that is no more.
    pub(crate) fn set_cpu_time(&mut self, time: Option<CpuTime>) -> io::Result<()> {
        {
            let mut wishes = self.shared.wishes();
            wishes.cpu_time = time.map(|time| (time, sys::monotonic()));
            self.shared.arm(&wishes)?;
        }
        self.ensure_thread()
    }

    /// Lets virtual time pass to the next timer, but not beyond `deadline`. False if time is not virtual,
    /// or would pass without either.
    pub(crate) fn pass(&self, deadline: Option<u64>) -> bool {
        let mut wishes = self.shared.wishes();
        let next = wishes.timers.iter().flatten().copied().chain(deadline).min();
        let Some(next) = next.filter(|_| self.shared.clock.is_virtual()) else { return false };
        self.shared.clock.advance(next);
        self.shared.raise_due(&mut wishes);
        true
    }

    /// Calls `action` with the deadline of each line's timer. None of them comes meanwhile.
    pub(crate) fn hold(&self, action: impl FnOnce([Option<u64>; EVENT_LINES as usize])) {
        action(self.shared.wishes().timers);
    }

    /// Sets the timers of all lines. Raises none in virtual time. The guest waits.
    pub(crate) fn set_deadlines(&mut self, deadlines: [Option<u64>; EVENT_LINES as usize]) -> io::Result<()> {
        if self.shared.clock.is_virtual() {
            self.shared.wishes().timers = deadlines;
            return Ok(());
        }
        let set = |(line, deadline): (usize, Option<u64>)| match deadline {
            Some(_) => self.set(line as u32, deadline),
            None => Ok(()),
        };
        deadlines.into_iter().enumerate().try_for_each(set)
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
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic there was printed there.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockMode;
    use crate::process::MachinePages;

    #[test]
    fn what_is_taken_back_from_the_guest_is_kept_by_a_thread() {
        let pages = Arc::new(MachinePages::new(&[]).unwrap().0);
        let nobody = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let events = Arc::new(Events::new(pages.clone(), Arc::new(nobody)));
        let clock = Clock::start(ClockMode::Real, 0);
        let own = OwnTimer::both(&pages, &clock);
        let mut timers = Timers::new(events, clock, Some(own)).unwrap();
        timers.set(3, Some(20_000_000)).unwrap();
        assert!(timers.thread.is_none(), "the guest's process has a timer");
        timers.take_back().unwrap();
        let begin = std::time::Instant::now();
        while pages.vcpu().pending.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            assert!(begin.elapsed().as_secs() < 10, "the line was never raised");
            std::thread::yield_now();
        }
    }
}
