//! Upcalls: how the machine interrupts its guest. Pure policy over a register set and the vCPU page.

use crate::backend::Exception;
use crate::registers::Registers;
use std::sync::atomic::Ordering::Relaxed;
use vcpu_abi::cause::Cause;
use vcpu_abi::page::{State, Sticky, VcpuPage};

/// Why the guest is to be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// An event line was raised.
    Event,
    /// The guest did something that the processor or the machine does not permit.
    Exception(Exception),
}

/// What became of an interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The upcall was performed: registers and page are changed.
    Upcall,
    /// Events are off: the sticky flag was set, the guest goes on.
    Deferred,
    /// The guest was not ready for an exception; it ends.
    DoubleFault(Exception),
}

/// Flags at the entry vector: none but the two that are always set in user mode (interrupts, reserved).
pub(crate) const ENTRY_FLAGS: u64 = 0x202;

/// Interrupts the guest, if it allows that.
///
/// Code that had left 64-bit mode is interrupted by [`Cause::Left64Bit`], whatever the reason was.
pub fn deliver(page: &VcpuPage, registers: &mut Registers, interruption: Interruption) -> Delivery {
    let state = State::from_bits_truncate(page.state.load(Relaxed));
    let interruption = match interruption {
        Interruption::Event if state.contains(State::IRQ) && !registers.in_64_bit_mode() => {
            // The event is not lost: it is pending until the guest takes events again.
            page.sticky.fetch_or(Sticky::EVENT_PENDING.bits(), Relaxed);
            left_64_bit_mode()
        }
        Interruption::Exception(_) if !registers.in_64_bit_mode() => left_64_bit_mode(),
        other => other,
    };
    let (cause, address, error_code) = match interruption {
        Interruption::Event if !state.contains(State::IRQ) => {
            let sticky = page.sticky.load(Relaxed) | Sticky::EVENT_PENDING.bits();
            page.sticky.store(sticky, Relaxed);
            return Delivery::Deferred;
        }
        Interruption::Event => {
            let sticky = page.sticky.load(Relaxed) & !Sticky::EVENT_PENDING.bits();
            page.sticky.store(sticky, Relaxed);
            (Cause::Event, 0, 0)
        }
        Interruption::Exception(exception) if !state.contains(State::EXCEPTIONS) => {
            return Delivery::DoubleFault(exception);
        }
        Interruption::Exception(Exception { cause, address, error_code }) => (cause, address, error_code),
    };
    registers.save(&page.ssa);
    page.ssa.cause.store(cause as u32, Relaxed);
    page.ssa.error_code.store(error_code, Relaxed);
    page.ssa.fault_address.store(address, Relaxed);
    page.saved_state.store(state.bits(), Relaxed);
    page.state.store((state - State::IRQ - State::EXCEPTIONS).bits(), Relaxed);
    registers.enter(page.entry_ip.load(Relaxed), page.entry_sp.load(Relaxed), ENTRY_FLAGS);
    Delivery::Upcall
}

fn left_64_bit_mode() -> Interruption {
    Interruption::Exception(Exception { cause: Cause::Left64Bit, address: 0, error_code: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: State = State::IRQ.union(State::EXCEPTIONS);
    const FAULT: Exception = Exception { cause: Cause::PageFault, address: 0x123, error_code: 0 };

    fn guest(state: State) -> (VcpuPage, Registers) {
        let page = VcpuPage::default();
        page.state.store(state.bits(), Relaxed);
        page.entry_ip.store(0x1000, Relaxed);
        page.entry_sp.store(0x2000, Relaxed);
        let mut registers = Registers::start(0x5000);
        registers.raw.rsp = 0x6000;
        registers.raw.rbx = 77;
        registers.raw.eflags = 0x40746;
        (page, registers)
    }

    #[test]
    fn an_event_interrupts_saves_everything_and_turns_both_flags_off() {
        let (page, mut registers) = guest(BOTH);
        page.sticky.store(Sticky::EVENT_PENDING.bits(), Relaxed);
        assert_eq!(deliver(&page, &mut registers, Interruption::Event), Delivery::Upcall);
        assert_eq!((registers.raw.rip, registers.raw.rsp), (0x1000, 0x2000));
        // Direction, trap, nested-task and alignment-check flags are clear.
        assert_eq!(registers.raw.eflags & 0x4_4500, 0);
        assert_eq!(page.ssa.rip.load(Relaxed), 0x5000);
        assert_eq!(page.ssa.rsp.load(Relaxed), 0x6000);
        assert_eq!(page.ssa.rflags.load(Relaxed), 0x40746);
        assert_eq!(page.ssa.general[13].load(Relaxed), 77);
        assert_eq!(page.ssa.cause.load(Relaxed), Cause::Event as u32);
        assert_eq!(page.saved_state.load(Relaxed), BOTH.bits());
        assert_eq!(page.state.load(Relaxed), 0);
        assert_eq!(page.sticky.load(Relaxed), 0);
    }

    #[test]
    fn an_event_with_events_off_leaves_only_the_sticky_flag() {
        let (page, mut registers) = guest(State::EXCEPTIONS);
        let before = registers;
        assert_eq!(deliver(&page, &mut registers, Interruption::Event), Delivery::Deferred);
        assert_eq!(registers, before);
        assert_eq!(page.sticky.load(Relaxed), Sticky::EVENT_PENDING.bits());
        assert_eq!(page.state.load(Relaxed), State::EXCEPTIONS.bits());
    }

    #[test]
    fn an_exception_needs_its_own_flag_and_not_that_of_events() {
        let (page, mut registers) = guest(State::EXCEPTIONS);
        assert_eq!(deliver(&page, &mut registers, Interruption::Exception(FAULT)), Delivery::Upcall);
        assert_eq!(page.ssa.fault_address.load(Relaxed), 0x123);
        assert_eq!(page.saved_state.load(Relaxed), State::EXCEPTIONS.bits());
        let (page, mut registers) = guest(State::IRQ);
        let delivery = deliver(&page, &mut registers, Interruption::Exception(FAULT));
        assert_eq!(delivery, Delivery::DoubleFault(FAULT));
    }

    #[test]
    fn whoever_left_64_bit_mode_hears_of_that_first() {
        for interruption in [Interruption::Event, Interruption::Exception(FAULT)] {
            let (page, mut registers) = guest(BOTH);
            registers.raw.cs = 0x23;
            assert_eq!(deliver(&page, &mut registers, interruption), Delivery::Upcall);
            assert_eq!(page.ssa.cause.load(Relaxed), Cause::Left64Bit as u32);
            assert!(registers.in_64_bit_mode());
            let is_kept = page.sticky.load(Relaxed) == Sticky::EVENT_PENDING.bits();
            assert_eq!(is_kept, interruption == Interruption::Event);
        }
    }

    #[test]
    fn unknown_bits_of_a_hostile_guest_are_ignored() {
        let (page, mut registers) = guest(State::empty());
        page.state.store(!BOTH.bits(), Relaxed);
        assert_eq!(deliver(&page, &mut registers, Interruption::Event), Delivery::Deferred);
    }
}
