//! Where things lie in the guest's address space.
//!
//! ```text
//!  0x0000_0000  page zero, never mapped
//!  0x0001_0000  vCPU page            read, write   one page, shared with the host
//!  0x0001_2000  gate                 read, execute one page of host-supplied code
//!  0x0001_4000  trap page            never mapped
//!  0x0002_0000  information page     read          arguments and environment follow it
//!  0x0018_0000  a backend's area     as it says    if it has one; no image uses it
//!  0x0020_0000  RAM                  as the image's segments say, free RAM read and write
//! ```
//!
//! Everything else is unmapped. The fixed areas lie below 2 GiB, and so does the image, so C in the
//! default code model runs unchanged; RAM may extend beyond.

/// Size of a page in bytes; every mapping and every access right has this granularity.
pub const PAGE_SIZE: u64 = 4096;

/// Address of the vCPU page ([`page::VcpuPage`](crate::page::VcpuPage)).
pub const VCPU_PAGE: u64 = 0x1_0000;

/// Address of the gate: calling it as a C function is a vCPU call (see [`call`](crate::call)).
pub const GATE: u64 = 0x1_2000;

/// Address of the trap page. Storing to its first word with [`TRAP_INSTRUCTION`] is a vCPU call; any
/// other access is a page fault.
pub const TRAP_PAGE: u64 = 0x1_4000;

/// The one instruction encoding that makes a call by the trap page: `mov [TRAP_PAGE], edi` with a
/// 32-bit absolute address. The registers are those of the gate; all but `rax` are preserved.
pub const TRAP_INSTRUCTION: [u8; 7] = [0x89, 0x3c, 0x25, 0x00, 0x40, 0x01, 0x00];

/// Address of the information page ([`info::InfoPage`](crate::info::InfoPage)).
pub const INFO_PAGE: u64 = 0x2_0000;

/// Most bytes that the information page and the argument block behind it can take.
pub const INFO_SIZE_MAX: u64 = 0x10_0000;

/// Lowest address of RAM, where the image begins.
pub const RAM_BASE: u64 = 0x20_0000;

/// Most bytes of RAM that a guest can have (64 GiB).
pub const RAM_SIZE_MAX: u64 = 64 << 30;

/// All of an image's segments end at or below this address (2 GiB), the reach of C's default code model.
pub const IMAGE_END_MAX: u64 = 1 << 31;

const _: () = {
    assert!(VCPU_PAGE >= 0x1_0000 && VCPU_PAGE.is_multiple_of(PAGE_SIZE));
    assert!(GATE >= VCPU_PAGE + PAGE_SIZE && GATE.is_multiple_of(PAGE_SIZE));
    assert!(TRAP_PAGE >= GATE + PAGE_SIZE && TRAP_PAGE.is_multiple_of(PAGE_SIZE));
    assert!(INFO_PAGE >= TRAP_PAGE + PAGE_SIZE && INFO_PAGE.is_multiple_of(PAGE_SIZE));
    assert!(RAM_BASE >= INFO_PAGE + INFO_SIZE_MAX && RAM_BASE < IMAGE_END_MAX);
    // The instruction's last four bytes are the trap page's address.
    let i = TRAP_INSTRUCTION;
    assert!(u32::from_le_bytes([i[3], i[4], i[5], i[6]]) as u64 == TRAP_PAGE);
};
