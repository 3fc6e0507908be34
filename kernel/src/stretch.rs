//! Stretches with events off, measured: an option of builds that look for the longest.
//!
//! With the feature `stretches`, the time-stamp counter is read where events go off and where they go on
//! again, and each stretch is noted in a buffer of the program's. Without it, all of this is nothing.
//!
//! The system below the machine interrupts the guest at any time, and what it does meanwhile is not the
//! kernel's. Most of that can be told apart: on its way back to a program, the processor clears a segment
//! register that holds a null selector other than 0, and nothing else does. So ES is 1 at the beginning of each
//! stretch, and only stretches at whose end it still is are noted. A hypervisor below the system is not
//! seen in this way.

#[cfg(feature = "stretches")]
mod enabled {
    use crate::event;
    use crate::scheduler::EventsOff;
    use core::arch::asm;
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

    /// A time with events off.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Stretch {
        /// Where events went off: an address of code.
        pub from: u32,
        /// Where they went on again.
        pub to: u32,
        /// Cycles of the time-stamp counter in between.
        pub cycles: u32,
    }

    /// The stretch that goes on, or the last one.
    struct Current {
        from: Cell<u32>,
        began: Cell<u64>,
        buffer: Cell<Option<&'static [Cell<Stretch>]>>,
        noted: Cell<usize>,
    }

    static CURRENT: EventsOff<Current> = EventsOff(Current {
        from: Cell::new(0),
        began: Cell::new(0),
        buffer: Cell::new(None),
        noted: Cell::new(0),
    });

    // Written by assembly as well.
    #[unsafe(no_mangle)]
    static VCPU_STRETCH_ENDED: AtomicU64 = AtomicU64::new(0);
    #[unsafe(no_mangle)]
    static VCPU_STRETCH_TO: AtomicU32 = AtomicU32::new(0);
    #[unsafe(no_mangle)]
    static VCPU_STRETCH_MARK: AtomicU32 = AtomicU32::new(0);

    /// What ES holds during a stretch that nobody interrupted.
    const MARK: u32 = 1;

    /// Begins to note stretches.
    pub fn start(buffer: &'static mut [Stretch]) {
        let buffer = Cell::from_mut(buffer).as_slice_of_cells();
        event::without(|| {
            CURRENT.noted.set(0);
            CURRENT.buffer.set(Some(buffer));
        });
    }

    /// How many stretches have been noted.
    pub fn noted() -> usize {
        event::without(|| CURRENT.noted.get())
    }

    /// Ends it. Gives what was noted.
    pub fn stop() -> impl Iterator<Item = Stretch> {
        let (buffer, noted) = event::without(|| (CURRENT.buffer.take(), CURRENT.noted.get()));
        buffer.unwrap_or_default()[..noted].iter().map(Cell::get)
    }

    /// Notes the last stretch, if it was one.
    #[inline(always)]
    fn note() {
        let (Some(buffer), ended) = (CURRENT.buffer.get(), VCPU_STRETCH_ENDED.load(Relaxed)) else { return };
        let noted = CURRENT.noted.get();
        if noted < buffer.len() && ended > CURRENT.began.get() && VCPU_STRETCH_MARK.load(Relaxed) == MARK {
            let cycles = u32::try_from(ended - CURRENT.began.get()).unwrap_or(u32::MAX);
            let (from, to) = (CURRENT.from.get(), VCPU_STRETCH_TO.load(Relaxed));
            buffer[noted].set(Stretch { from, to, cycles });
            CURRENT.noted.set(noted + 1);
        }
    }

    /// The caller has just turned events off.
    #[inline(always)]
    pub(crate) fn begin() {
        let here: u64;
        // SAFETY: reads a register.
        unsafe { asm!("lea {}, [rip]", out(reg) here, options(nomem, nostack, preserves_flags)) };
        note();
        CURRENT.from.set(here as u32);
        // SAFETY: nobody uses that register, and any null selector may be loaded.
        unsafe { asm!("mov es, {:e}", in(reg) MARK, options(nomem, nostack, preserves_flags)) };
        CURRENT.began.set(crate::clock::counter());
    }

    /// The machine has turned events off, for an upcall that began when the counter stood there, and has marked
    /// that.
    #[inline(always)]
    pub(crate) fn begin_upcall(counter: u64) {
        note();
        CURRENT.from.set(crate::context::entry_vector as *const () as u32);
        CURRENT.began.set(counter);
    }

    /// Marks that an upcall begins, for assembly. Changes `rax`.
    macro_rules! mark_in_assembly {
        () => {
            "mov eax, 1
             mov es, eax"
        };
    }
    pub(crate) use mark_in_assembly;

    /// The caller is about to turn events on.
    #[inline(always)]
    pub(crate) fn end() {
        let (here, mark): (u64, u32);
        VCPU_STRETCH_ENDED.store(crate::clock::counter(), Relaxed);
        // SAFETY: reads registers.
        unsafe {
            asm!("mov {1:e}, es", "lea {0}, [rip]", out(reg) here, out(reg) mark,
                options(nomem, nostack, preserves_flags));
        }
        VCPU_STRETCH_TO.store(here as u32, Relaxed);
        VCPU_STRETCH_MARK.store(mark, Relaxed);
    }

    /// What [`end`] does, for assembly. Changes `rax` and `rdx`.
    macro_rules! end_in_assembly {
        () => {
            "rdtsc
             shl rdx, 32
             or rax, rdx
             mov [rip + VCPU_STRETCH_ENDED], rax
             mov eax, es
             mov [rip + VCPU_STRETCH_MARK], eax
             lea rax, [rip]
             mov [rip + VCPU_STRETCH_TO], eax"
        };
    }
    pub(crate) use end_in_assembly;
}

#[cfg(feature = "stretches")]
pub use enabled::{Stretch, noted, start, stop};
#[cfg(feature = "stretches")]
pub(crate) use enabled::{begin, begin_upcall, end, end_in_assembly, mark_in_assembly};

#[cfg(not(feature = "stretches"))]
mod disabled {
    #[inline(always)]
    pub(crate) fn begin() {}

    #[inline(always)]
    pub(crate) fn begin_upcall(_counter: u64) {}

    #[inline(always)]
    pub(crate) fn end() {}

    macro_rules! end_in_assembly {
        () => {
            ""
        };
    }
    pub(crate) use end_in_assembly;

    macro_rules! mark_in_assembly {
        () => {
            ""
        };
    }
    pub(crate) use mark_in_assembly;
}

#[cfg(not(feature = "stretches"))]
pub(crate) use disabled::{begin, begin_upcall, end, end_in_assembly, mark_in_assembly};
