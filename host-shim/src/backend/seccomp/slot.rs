//! The call slot: how a request gets to the host and its answer back, in memory that both have.
//!
//! What the guest writes lies in the vCPU page and may hold anything. What the host writes lies in a page
//! of its own that the guest can only read, so an answer is an answer and a sleeping host is woken.
//!
//! A side that waits spins for its budget, then says that it sleeps, looks once more, and sleeps on the
//! other's word. The other changes its word first and then looks whether somebody sleeps.

use bitflags::bitflags;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use vcpu_abi::layout::{INFO_PAGE, INFO_SIZE_MAX, PAGE_SIZE, RAM_BASE, VCPU_PAGE};
use vcpu_abi::page::{EVENT_LINES, VcpuPage};

/// What the guest's side writes.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct CallSlot {
    /// Changes with every request; even, unless the host disturbs itself by setting the lowest bit.
    pub(crate) request: AtomicU32,
    /// By which way a call was made.
    pub(crate) kind: AtomicU32,
    /// Number of a call, or cause of a double fault.
    pub(crate) number: AtomicU32,
    /// The arguments of a call; address and error code of a double fault.
    pub(crate) arguments: [AtomicU64; 4],
    /// Guest address of the registers in the signal frame, if there is one.
    pub(crate) registers: AtomicU64,
    /// Whether the guest waits for an event, looking or asleep on the doorbell, so that no signal is needed.
    pub(crate) dozes: AtomicU32,
    /// Whether the guest sleeps until the reply changes.
    pub(crate) guest_waits: AtomicU32,
    /// What other request it is, or 0 for a call. The host clears it. On a line of its own, so that a stop
    /// between the gate's instructions leaves a half-made call as it is.
    pub(crate) special: Special,
    /// What the handler sets each of the process's timers to, as `timer_settime` wants it: interval and time,
    /// in s and ns. What the guest writes here, its own timer obeys, and nobody else's.
    pub(crate) timers: [[AtomicU64; 4]; 2],
    /// Which deadline of each is next, as [`timer`](super::timer) says. Who steps beyond it, the handler or
    /// the host, has it.
    pub(crate) armed: [AtomicU32; 2],
}

/// The deadlines of one of the process's timers.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Alarms {
    /// What the gate sets the timer to: the handler, which may run right before that, has words of its own.
    pub(crate) first: [AtomicU64; 4],
    /// How many deadlines there are.
    pub(crate) count: AtomicU32,
    /// Whether the next answer is to say that there is something new. For the host alone.
    pub(crate) is_new: AtomicU32,
    /// The deadlines, the earliest first.
    pub(crate) deadlines: [Deadline; HALF],
}

/// Lines that share a timer.
pub(crate) const HALF: usize = EVENT_LINES as usize / 2;

/// A deadline of a guest's timer.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Deadline {
    /// By the system's monotonic clock, in s and ns.
    pub(crate) at: [AtomicU64; 2],
    /// By the time-stamp counter.
    pub(crate) due: AtomicU64,
    /// The bit of the line that is raised then.
    pub(crate) line: AtomicU64,
}

/// A request that is no call.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Special {
    pub(crate) kind: AtomicU32,
    /// How often the guest looks for an event before it sleeps. Its own affair.
    pub(crate) doze_spin: AtomicU32,
    /// On which processor the guest was when it last slept for an answer, if the host may spin.
    pub(crate) cpu: AtomicU32,
    /// What `mprotect` has answered.
    pub(crate) result: AtomicU64,
    /// At a stop: the bases of the segments FS and GS, which no frame has.
    pub(crate) bases: [AtomicU64; 2],
}

/// What the host's side writes.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Reply {
    /// The request that was answered last.
    pub(crate) reply: AtomicU32,
    /// [`Answer`].
    pub(crate) flags: AtomicU32,
    /// The answer of a call.
    pub(crate) value: AtomicU64,
    /// Arguments of `mprotect`.
    pub(crate) protect: [AtomicU64; 3],
    /// How often the guest looks for a reply before it sleeps.
    pub(crate) spin: AtomicU32,
    /// Whether the guest shall stop when it is kicked.
    pub(crate) stop_wanted: AtomicU32,
    /// [`TRAP_FLAG`] while the host steps through the guest, or 0.
    pub(crate) step: AtomicU32,
    /// Whether the guest can read and write its segment bases.
    pub(crate) has_bases: AtomicU32,
    /// With which segment bases it goes on from a stop.
    pub(crate) bases: [AtomicU64; 2],
    /// Whether time passes by itself. Then the guest waits without the host, and has timers of its own.
    pub(crate) real_time: AtomicU32,
    /// Nanoseconds a tick of the counter, times two to the power of 32.
    pub(crate) tick: AtomicU64,
    /// How often a guest that waits looks at most; 0 if nobody spins.
    pub(crate) spin_most: AtomicU32,
    /// A wait of at most so many ticks of the counter makes it look so often the next time, a longer one
    /// makes it look seldom.
    pub(crate) spin_pays: AtomicU32,
    /// On which processor the host was when it last woke.
    pub(crate) host_cpu: AtomicU32,
    /// Whether the host sleeps until the request changes. On a line of its own, which the guest reads
    /// with each request and the host seldom writes.
    pub(crate) host_waits: HostWaits,
    /// The deadlines of the lower half of the lines, and those of the upper.
    pub(crate) alarms: [Alarms; 2],
}

/// A word with a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct HostWaits(pub(crate) AtomicU32);

bitflags! {
    /// What the guest shall do before it gets its answer.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Answer: u32 {
        /// Change the access of pages and say how that went. No answer yet.
        const PROTECT = 1 << 0;
        /// Stop, so that the host gets all registers. No answer yet.
        const STOP = 1 << 1;
        /// Set its first timer.
        const ARM_LOW = 1 << 2;
        /// Set its second timer.
        const ARM_HIGH = 1 << 3;
    }
}

/// A call by the gate.
pub(crate) const GATE_CALL: u32 = 1;
/// A call by the trap page.
pub(crate) const TRAP_CALL: u32 = 2;
/// The access of pages was changed.
pub(crate) const PROTECTED: u32 = 3;
/// The guest has stopped.
pub(crate) const STOPPED: u32 = 4;
/// An exception came while the guest took none.
pub(crate) const DOUBLE_FAULT: u32 = 5;

/// Who waits looks so many times less often, as a power of two, if to look did not pay.
pub(crate) const SPIN_SHIFT: u32 = 6;

/// Bits of what `rdtscp` says that are the number of the processor.
pub(crate) const CPU_MASK: u32 = 0xfff;

/// The trap flag in `rflags`.
pub(crate) const TRAP_FLAG: u32 = 1 << 8;

/// Guest address of the slot.
pub(crate) const SLOT_AT: u64 = VCPU_PAGE + PAGE_SIZE - size_of::<CallSlot>() as u64;
/// Guest address of the area that this backend adds: first the host's page, then the stack of handlers.
pub(crate) const AREA_AT: u64 = 0x18_0000;
/// Guest address of the host's page.
pub(crate) const REPLY_AT: u64 = AREA_AT;
/// Guest address of the stack on which handlers run.
pub(crate) const STACK_AT: u64 = AREA_AT + PAGE_SIZE;
/// Bytes of that stack: a frame with the extended state of any processor, and room.
pub(crate) const STACK_SIZE: u64 = 8 * PAGE_SIZE;
/// Bytes of the whole area.
pub(crate) const AREA_SIZE: u64 = PAGE_SIZE + STACK_SIZE;

impl CallSlot {
    /// What the guest has written of a call that it has not published yet.
    pub(crate) fn half_made(&self) -> [u64; 5] {
        let kind = u64::from(self.kind.load(Relaxed)) << 32 | u64::from(self.number.load(Relaxed));
        let [a, b, c, d] = self.arguments.each_ref().map(|word| word.load(Relaxed));
        [kind, a, b, c, d]
    }

    /// Sets it back.
    pub(crate) fn set_half_made(&self, words: [u64; 5]) {
        let [kind, arguments @ ..] = words;
        self.kind.store((kind >> 32) as u32, Relaxed);
        self.number.store(kind as u32, Relaxed);
        for (word, argument) in self.arguments.iter().zip(arguments) {
            word.store(argument, Relaxed);
        }
    }
}

/// Guest address of the word that changes with every request.
pub(crate) const REQUEST: usize = SLOT_AT as usize + offset_of!(CallSlot, request);
/// Guest address of the word that changes with every reply.
pub(crate) const REPLY: usize = REPLY_AT as usize + offset_of!(Reply, reply);
/// Guest address of the doorbell.
pub(crate) const DOORBELL: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, doorbell);
/// Guest address of what the handler sets the first timer to.
pub(crate) const TIMER: usize = SLOT_AT as usize + offset_of!(CallSlot, timers);
/// Guest address of the first timer's deadlines.
pub(crate) const ALARMS: usize = REPLY_AT as usize + offset_of!(Reply, alarms);

/// Guest address of what the gate sets a timer to.
pub(crate) fn first(half: usize) -> u64 {
    (ALARMS + half * size_of::<Alarms>() + offset_of!(Alarms, first)) as u64
}

/// Guest address of what the handler sets a timer to.
pub(crate) fn timer(half: usize) -> u64 {
    (TIMER + half * size_of::<[AtomicU64; 4]>()) as u64
}

const _: () = {
    assert!(SLOT_AT >= VCPU_PAGE + size_of::<VcpuPage>() as u64);
    // That many are a backend's, as the interface says.
    assert!(size_of::<CallSlot>() <= 256);
    assert!(AREA_AT >= INFO_PAGE + INFO_SIZE_MAX && AREA_AT + AREA_SIZE <= RAM_BASE);
    assert!(size_of::<Reply>() <= PAGE_SIZE as usize);
};
