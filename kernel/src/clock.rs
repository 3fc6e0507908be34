//! The clock: nanoseconds since the guest's start, read from the time-stamp counter without a call.

use crate::{call, machine};
use core::arch::x86_64::_rdtsc;
use vcpu_abi::info::Features;
use vcpu_kernel_core::clock::nanoseconds;

/// Nanoseconds since the guest's start. Never goes backwards.
#[inline]
pub fn now() -> u64 {
    if is_counter() { since_start(counter()) } else { call::clock() }
}

/// Nanoseconds since the guest's start when the time-stamp counter stood at `counter`. Where that is not
/// the clock, the time now.
#[inline]
pub(crate) fn at(counter: u64) -> u64 {
    if is_counter() { since_start(counter) } else { call::clock() }
}

/// Whether the time-stamp counter is the clock.
#[inline(always)]
fn is_counter() -> bool {
    machine::features().contains(Features::TSC_CLOCK)
}

#[inline(always)]
fn since_start(counter: u64) -> u64 {
    let parameters = &machine::info().clock;
    let ticks = counter.saturating_sub(parameters.counter_base);
    nanoseconds(ticks, parameters.multiplier, parameters.shift)
}

/// Nanoseconds since 1970 (UTC).
pub fn wall() -> u64 {
    machine::info().wall_clock_base.saturating_add(now())
}

/// The time-stamp counter where it is the clock; otherwise 0, so that a guest under a clock of the host's
/// behaves the same in each run.
#[inline]
pub(crate) fn stamp() -> u64 {
    if is_counter() { counter() } else { 0 }
}

/// The time-stamp counter, for measuring in cycles.
#[inline(always)]
pub fn counter() -> u64 {
    // SAFETY: the instruction exists on every x86-64 processor and the machine does not forbid it.
    unsafe { _rdtsc() }
}
