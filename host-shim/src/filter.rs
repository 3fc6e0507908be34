//! The system call filter of a guest's process.
//!
//! It is the second wall: with ptrace in place no system call of the guest happens anyway; should ptrace
//! be lost, this filter still lets nothing through. It allows two instructions, known by their exact
//! addresses in the gate page:
//!
//! * the gate's, with a number that no system call has: it stops the process for the host, and does
//!   nothing if there is no host;
//! * the host's own `mprotect`, for the `protect` call: the whole range inside RAM, the access one of
//!   none, read, read-write, read-execute. A guest that jumps there can change what it may change anyway.
//!
//! Everything else, of any architecture, becomes the signal that the host turns into an exception. (Linux
//! does not ask a filter about `uretprobe` and `uprobe`; outside the gate page the process's *system call
//! user dispatch* catches these too, and inside they do nothing for anybody but Linux itself.) It is
//! written in plain BPF, because the sum of address and length is beyond what filter compilers express.

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_MEM, BPF_MISC, BPF_RET,
    BPF_ST, BPF_TAX, BPF_W, BPF_X,
};
use std::ops::Range;

/// The system call number that the gate uses; none has it.
pub(crate) const GATE_NUMBER: u32 = u32::MAX;

/// `AUDIT_ARCH_X86_64`: 64-bit, little-endian, machine 62.
const ARCHITECTURE: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data`; the low half of a 64-bit value comes first.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const INSTRUCTION: u32 = 8;
const ADDRESS: u32 = 16;
const LENGTH: u32 = 24;
const ACCESS: u32 = 32;
const HIGH: u32 = 4;

/// Upper halves of addresses and lengths stay below this, so that their sum cannot overflow 64 bits.
const HIGH_MAX: u32 = 0xffff;

/// Where a jump goes.
#[derive(Clone, Copy)]
enum To {
    Next,
    Skip(u8),
    Trap,
    Trace,
    Allow,
}

/// A step of the program; the ends of the jumps are found when all steps are known.
enum Step {
    Do(u32, u32),
    If(u32, u32, To, To),
}

/// The filter for a guest whose RAM is `ram` and whose allowed sites *end* at these addresses.
///
/// # Panics
///
/// If RAM does not begin below 4 GiB.
pub(crate) fn program(ram: Range<u64>, gate_end: u64, protect_end: u64) -> Vec<libc::sock_filter> {
    let load = |offset| Step::Do(BPF_LD | BPF_W | BPF_ABS, offset);
    let equal = |value, yes, no| Step::If(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no);
    let above = |value, yes, no| Step::If(BPF_JMP | BPF_JGT | BPF_K, value, yes, no);
    let at_least = |value, yes, no| Step::If(BPF_JMP | BPF_JGE | BPF_K, value, yes, no);
    let at_least_x = |yes, no| Step::If(BPF_JMP | BPF_JGE | BPF_X, 0, yes, no);
    let store = |slot| Step::Do(BPF_ST, slot);
    let recall = |slot| Step::Do(BPF_LD | BPF_W | BPF_MEM, slot);
    let to_x = || Step::Do(BPF_MISC | BPF_TAX, 0);
    let add_x = || Step::Do(BPF_ALU | BPF_ADD | BPF_X, 0);
    use To::{Allow, Next, Skip, Trace, Trap};

    let ram_start = u32::try_from(ram.start).expect("RAM begins below 4 GiB");
    let (end_low, end_high) = (ram.end as u32, (ram.end >> 32) as u32);
    const SUM_HIGH: u32 = 1;
    const SUM_LOW: u32 = 2;
    let steps = [
        load(ARCH),
        equal(ARCHITECTURE, Next, Trap),
        load(INSTRUCTION + HIGH),
        equal(0, Next, Trap),
        load(NUMBER),
        equal(GATE_NUMBER, Next, Skip(2)),
        load(INSTRUCTION),
        equal(gate_end as u32, Trace, Trap),
        equal(libc::SYS_mprotect as u32, Next, Trap),
        load(INSTRUCTION),
        equal(protect_end as u32, Next, Trap),
        // Access: none, read, read-write, read-execute.
        load(ACCESS + HIGH),
        equal(0, Next, Trap),
        load(ACCESS),
        equal(libc::PROT_NONE as u32, Skip(3), Next),
        equal(libc::PROT_READ as u32, Skip(2), Next),
        equal((libc::PROT_READ | libc::PROT_WRITE) as u32, Skip(1), Next),
        equal((libc::PROT_READ | libc::PROT_EXEC) as u32, Next, Trap),
        // Upper half of address + length, without the carry.
        load(LENGTH + HIGH),
        above(HIGH_MAX, Trap, Next),
        to_x(),
        load(ADDRESS + HIGH),
        above(HIGH_MAX, Trap, Next),
        add_x(),
        store(SUM_HIGH),
        // Lower half; it wrapped if the sum is below an addend.
        load(ADDRESS),
        to_x(),
        load(LENGTH),
        add_x(),
        store(SUM_LOW),
        at_least_x(Skip(3), Next),
        recall(SUM_HIGH),
        Step::Do(BPF_ALU | BPF_ADD | BPF_K, 1),
        store(SUM_HIGH),
        // The sum is at most the end of RAM.
        recall(SUM_HIGH),
        above(end_high, Trap, Next),
        equal(end_high, Next, Skip(2)),
        recall(SUM_LOW),
        above(end_low, Trap, Next),
        // The address is at least the beginning of RAM.
        load(ADDRESS + HIGH),
        equal(0, Next, Allow),
        load(ADDRESS),
        at_least(ram_start, Allow, Trap),
        // The ends.
        Step::Do(BPF_RET | BPF_K, libc::SECCOMP_RET_TRAP),
        Step::Do(BPF_RET | BPF_K, libc::SECCOMP_RET_TRACE),
        Step::Do(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let ends = steps.len() - 3;
    let distance = |at: usize, to: To| match to {
        To::Next => 0,
        To::Skip(steps) => steps,
        To::Trap => (ends - at - 1) as u8,
        To::Trace => (ends - at) as u8,
        To::Allow => (ends - at + 1) as u8,
    };
    let assemble = |(at, step): (usize, &Step)| match *step {
        Step::Do(code, k) => libc::sock_filter { code: code as u16, jt: 0, jf: 0, k },
        Step::If(code, k, yes, no) => {
            libc::sock_filter { code: code as u16, jt: distance(at, yes), jf: distance(at, no), k }
        }
    };
    steps.iter().enumerate().map(assemble).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RAM: Range<u64> = 0x20_0000..0x1_4020_0000;
    const GATE_END: u64 = 0x1_2007;
    const PROTECT_END: u64 = 0x1_2010;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Attempt {
        number: u32,
        architecture: u32,
        instruction: u64,
        address: u64,
        length: u64,
        access: u64,
    }

    const GOOD: Attempt = Attempt {
        number: libc::SYS_mprotect as u32,
        architecture: ARCHITECTURE,
        instruction: PROTECT_END,
        address: RAM.start,
        length: 0x1000,
        access: 1,
    };

    /// Runs the program as the kernel does.
    fn run(attempt: Attempt) -> u32 {
        let mut data = Vec::new();
        data.extend(attempt.number.to_le_bytes());
        data.extend(attempt.architecture.to_le_bytes());
        for value in [attempt.instruction, attempt.address, attempt.length, attempt.access] {
            data.extend(value.to_le_bytes());
        }
        let program = program(RAM, GATE_END, PROTECT_END);
        let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0);
        loop {
            let step = program[at];
            at += 1;
            let k = step.k;
            let mut jump = |taken: bool| at += usize::from(if taken { step.jt } else { step.jf });
            match step.code.into() {
                0x20 => a = u32::from_le_bytes(data[k as usize..][..4].try_into().unwrap()),
                0x60 => a = memory[k as usize],
                0x02 => memory[k as usize] = a,
                0x07 => x = a,
                0x0c => a = a.wrapping_add(x),
                0x04 => a = a.wrapping_add(k),
                0x15 => jump(a == k),
                0x25 => jump(a > k),
                0x35 => jump(a >= k),
                0x3d => jump(a >= x),
                0x06 => return k,
                other => panic!("the test's interpreter does not know {other:#x}"),
            }
        }
    }

    /// What the filter shall do, said plainly.
    fn rule(attempt: Attempt) -> u32 {
        let Attempt { number, architecture, instruction, address, length, access } = attempt;
        let ours = architecture == ARCHITECTURE;
        let inside = u128::from(address) >= RAM.start.into()
            && u128::from(address) + u128::from(length) <= RAM.end.into();
        if ours && number == GATE_NUMBER && instruction == GATE_END {
            libc::SECCOMP_RET_TRACE
        } else if ours
            && number == libc::SYS_mprotect as u32
            && instruction == PROTECT_END
            && inside
            && [0, 1, 3, 5].contains(&access)
        {
            libc::SECCOMP_RET_ALLOW
        } else {
            libc::SECCOMP_RET_TRAP
        }
    }

    #[test]
    fn every_number_at_every_site_is_trapped_but_the_two() {
        for instruction in [0, GATE_END, PROTECT_END, GATE_END | 1 << 32, u64::MAX] {
            for number in (0..1000).chain([GATE_NUMBER, GATE_NUMBER - 1, 0x4000_000a]) {
                let attempt = Attempt { number, instruction, ..GOOD };
                assert_eq!(run(attempt), rule(attempt), "{attempt:x?}");
            }
        }
    }

    #[test]
    fn another_architecture_is_trapped() {
        for architecture in [0x4000_0003, 0, 0xc000_00b7] {
            assert_eq!(run(Attempt { architecture, ..GOOD }), libc::SECCOMP_RET_TRAP);
            let gate = Attempt { number: GATE_NUMBER, instruction: GATE_END, architecture, ..GOOD };
            assert_eq!(run(gate), libc::SECCOMP_RET_TRAP);
        }
    }

    fn boundary() -> impl Strategy<Value = u64> {
        let near =
            prop_oneof![Just(0), Just(RAM.start), Just(RAM.end), Just(1 << 32), Just(RAM.end - RAM.start)];
        prop_oneof![
            any::<u64>(),
            (near, -2i64..=2).prop_map(|(value, step)| value.wrapping_add_signed(step)),
            (0u64..1 << 34),
            (0u64..4).prop_map(|high| high << 32),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn ranges_and_rights_are_checked_as_said(address in boundary(), length in boundary(), access in prop_oneof![0u64..8, any::<u64>()]) {
            let attempt = Attempt { address, length, access, ..GOOD };
            prop_assert_eq!(run(attempt), rule(attempt));
        }
    }
}
