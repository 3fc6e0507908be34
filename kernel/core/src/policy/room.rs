//! Room for more, made without holding anything up.
//!
//! The policy does not allocate: an allocation takes long, and the allocator may itself want a mutex. So
//! whoever drives it asks what is missing, allocates that while events are on, and hands it in, which takes
//! constant time. If somebody else was faster meanwhile, the room comes back.

use super::{Due, Policy};
use crate::barrier::Barrier;
use crate::chunks::Chunk;
use crate::condition::Condition;
use crate::event_group::EventGroup;
use crate::mutex::Mutex;
use crate::read_write_lock::{Hold, ReadWriteLock};
use crate::semaphore::Semaphore;
use crate::table::Slot;
use crate::thread::Thread;
use crate::timeout::QueueRoom;
use crate::timer::Timer;
use alloc::collections::TryReserveError;

/// What there can be many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Threads, 64 bytes each and 40 for a deadline.
    Thread,
    /// Mutexes.
    Mutex,
    /// Semaphores.
    Semaphore,
    /// Condition variables.
    Condition,
    /// Reader-writer locks.
    ReadWriteLock,
    /// Pairs of a thread and a reader-writer lock that it has or waits for, at any one time.
    Hold,
    /// Barriers.
    Barrier,
    /// Event groups.
    EventGroup,
    /// Timers, and 40 bytes for the deadline of each.
    Timer,
}

/// What is missing before the next of a kind can be created: a chunk of its table, or of the timeout queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    of: Store,
    chunk: usize,
}

/// What has a capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Table(Kind),
    Timeouts,
}

/// Room for more of a kind.
#[derive(Debug)]
#[must_use = "the room is lost if the policy does not get it"]
pub struct Room(Chunks);

#[derive(Debug)]
enum Chunks {
    Threads(Chunk<Slot<Thread>>),
    Mutexes(Chunk<Slot<Mutex>>),
    Semaphores(Chunk<Slot<Semaphore>>),
    Conditions(Chunk<Slot<Condition>>),
    ReadWriteLocks(Chunk<Slot<ReadWriteLock>>),
    Holds(Chunk<Slot<Hold>>),
    Barriers(Chunk<Slot<Barrier>>),
    EventGroups(Chunk<Slot<EventGroup>>),
    Timers(Chunk<Slot<Timer>>),
    Timeouts(QueueRoom<Due>),
}

impl Room {
    /// Allocates what is missing. Touches no policy, and may take its time.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or there are as many as there can be: 4,194,240 of a kind, and as many
    /// threads and timers together.
    pub fn allocate(shortage: Shortage) -> Result<Room, TryReserveError> {
        let Shortage { of, chunk } = shortage;
        Ok(Room(match of {
            Store::Table(Kind::Thread) => Chunks::Threads(Chunk::allocate(chunk)?),
            Store::Table(Kind::Mutex) => Chunks::Mutexes(Chunk::allocate(chunk)?),
            Store::Table(Kind::Semaphore) => Chunks::Semaphores(Chunk::allocate(chunk)?),
            Store::Table(Kind::Condition) => Chunks::Conditions(Chunk::allocate(chunk)?),
            Store::Table(Kind::ReadWriteLock) => Chunks::ReadWriteLocks(Chunk::allocate(chunk)?),
            Store::Table(Kind::Hold) => Chunks::Holds(Chunk::allocate(chunk)?),
            Store::Table(Kind::Barrier) => Chunks::Barriers(Chunk::allocate(chunk)?),
            Store::Table(Kind::EventGroup) => Chunks::EventGroups(Chunk::allocate(chunk)?),
            Store::Table(Kind::Timer) => Chunks::Timers(Chunk::allocate(chunk)?),
            Store::Timeouts => Chunks::Timeouts(QueueRoom::allocate(chunk)?),
        }))
    }
}

impl Policy {
    /// What is missing before the next of a kind can be created, if anything is. For a thread and a timer
    /// it can be two things, one after the other: ask again.
    #[must_use]
    pub fn shortage(&self, kind: Kind) -> Option<Shortage> {
        let objects = &self.objects;
        let chunk = match kind {
            Kind::Thread => self.scheduler.threads.shortage(),
            Kind::Mutex => objects.mutexes.shortage(),
            Kind::Semaphore => objects.semaphores.shortage(),
            Kind::Condition => objects.conditions.shortage(),
            Kind::ReadWriteLock => objects.read_write_locks.shortage(),
            Kind::Hold => objects.holds.shortage(),
            Kind::Barrier => objects.barriers.shortage(),
            Kind::EventGroup => objects.event_groups.shortage(),
            Kind::Timer => objects.timers.shortage(),
        };
        let of_table = chunk.map(|chunk| Shortage { of: Store::Table(kind), chunk });
        match kind {
            Kind::Thread | Kind::Timer => of_table.or_else(|| {
                let chunk = self.timeout_shortage()?;
                Some(Shortage { of: Store::Timeouts, chunk })
            }),
            _ => of_table,
        }
    }

    /// Takes room in. Constant time.
    ///
    /// # Errors
    ///
    /// The room, if the policy got this one already from somebody else.
    pub fn add_room(&mut self, room: Room) -> Result<(), Room> {
        let Policy { scheduler, objects, timeouts, .. } = self;
        match room.0 {
            Chunks::Threads(chunk) => scheduler.threads.add_room(chunk).map_err(Chunks::Threads),
            Chunks::Mutexes(chunk) => objects.mutexes.add_room(chunk).map_err(Chunks::Mutexes),
            Chunks::Semaphores(chunk) => objects.semaphores.add_room(chunk).map_err(Chunks::Semaphores),
            Chunks::Conditions(chunk) => objects.conditions.add_room(chunk).map_err(Chunks::Conditions),
            Chunks::ReadWriteLocks(chunk) => {
                objects.read_write_locks.add_room(chunk).map_err(Chunks::ReadWriteLocks)
            }
            Chunks::Holds(chunk) => objects.holds.add_room(chunk).map_err(Chunks::Holds),
            Chunks::Barriers(chunk) => objects.barriers.add_room(chunk).map_err(Chunks::Barriers),
            Chunks::EventGroups(chunk) => objects.event_groups.add_room(chunk).map_err(Chunks::EventGroups),
            Chunks::Timers(chunk) => objects.timers.add_room(chunk).map_err(Chunks::Timers),
            Chunks::Timeouts(room) => timeouts.add_room(room).map_err(Chunks::Timeouts),
        }
        .map_err(Room)
    }

    /// The chunk of the timeout queue that is missing before there can be one thread or timer more: each
    /// has at most one deadline.
    pub(super) fn timeout_shortage(&self) -> Option<usize> {
        self.timeouts.shortage(self.scheduler.threads.len() + self.objects.timers.len() + 1)
    }
}
