//! The information page: what a machine tells its guest once, before the first instruction.
//!
//! It lies at [`layout::INFO_PAGE`](crate::layout::INFO_PAGE), read-only for the guest, and never
//! changes while the guest runs.

use bitflags::bitflags;
use core::mem::{offset_of, size_of};

bitflags! {
    /// What the machine offers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// The clock is the time-stamp counter with the parameters of [`InfoPage::clock`]. Without it,
        /// reading the clock is the call [`Clock`](crate::call::Call::Clock).
        const TSC_CLOCK = 1 << 0;
        /// The guest may read and write its segment bases with `rdfsbase` and its kin.
        const FSGSBASE = 1 << 1;
    }
}

/// How the time-stamp counter becomes nanoseconds:
/// `((counter - counter_base) * multiplier) >> shift`, in 128-bit arithmetic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockParameters {
    /// The counter when the clock stood at zero.
    pub counter_base: u64,
    /// Nanoseconds a tick, times two to the power of `shift`.
    pub multiplier: u64,
    /// Bits to shift right, below 64.
    pub shift: u32,
    /// Zero.
    pub reserved: u32,
}

/// A list of byte strings behind the information page. Each ends with a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StringList {
    /// Bytes from the beginning of the information page to the first string.
    pub offset: u32,
    /// Bytes of all strings, their zero bytes included.
    pub length: u32,
}

/// The page's content.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoPage {
    /// [`INTERFACE_VERSION`](crate::INTERFACE_VERSION) of the host.
    pub version: u32,
    /// What the machine offers.
    pub features: u32,
    /// Size of RAM in bytes, a multiple of the page size. RAM begins at
    /// [`layout::RAM_BASE`](crate::layout::RAM_BASE).
    pub ram_size: u64,
    /// The monotonic clock, zero at the guest's start.
    pub clock: ClockParameters,
    /// Nanoseconds since 1970 (UTC) when the monotonic clock stood at zero.
    pub wall_clock_base: u64,
    /// The program's arguments, its own name first.
    pub arguments: StringList,
    /// The program's environment, strings of the form `NAME=value`.
    pub environment: StringList,
    /// Names of the devices, in the order of their numbers: those under which they were granted.
    pub devices: StringList,
}

const _: () = {
    assert!(offset_of!(InfoPage, version) == 0x00);
    assert!(offset_of!(InfoPage, features) == 0x04);
    assert!(offset_of!(InfoPage, ram_size) == 0x08);
    assert!(offset_of!(InfoPage, clock) == 0x10);
    assert!(offset_of!(InfoPage, wall_clock_base) == 0x28);
    assert!(offset_of!(InfoPage, arguments) == 0x30);
    assert!(offset_of!(InfoPage, environment) == 0x38);
    assert!(offset_of!(InfoPage, devices) == 0x40);
    assert!(size_of::<InfoPage>() == 0x48);
};
