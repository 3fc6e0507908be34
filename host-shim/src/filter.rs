//! The system call filter of a guest's process.
//!
//! It allows a few instructions, known by their exact addresses in the gate page:
//!
//! | backend | site | what is allowed there |
//! |---|---|---|
//! | both | `mprotect`, for the `protect` call | the whole range inside RAM, the access one of none, read, read-write, read-execute: what a guest that jumps there may change anyway |
//! | `ptrace` | the gate's | a number that no system call has: it stops the process for the host, and does nothing if there is no host |
//! | `seccomp` | return from a signal | always: it changes registers and blocked signals of nobody but the guest |
//! | `seccomp` | futex wake | of one waiter on the one word that the host sleeps on |
//! | `seccomp` | futex wait, twice | without end on the one word that the host answers by; on the doorbell |
//! | `seccomp` | `timer_settime`, three times for each of its two timers | to the time that stands in the host's page; to the one that stands at one other place; to that from now on |
//!
//! With ptrace it is the second wall: no system call of the guest happens there anyway.
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
/// The same arguments of `futex` and `timer_settime`, and their fourth.
const OPERATION: u32 = 24;
const VALUE: u32 = 32;
const TIMEOUT: u32 = 40;
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

/// Where the allowed sites *end*.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sites {
    /// The `mprotect` for the host.
    pub mprotect: u64,
    /// The system call by which the process stops for its tracer.
    pub gate: Option<u64>,
    /// What a process carries out for itself.
    pub own: Option<OwnSites>,
}

/// Sites of a process without a tracer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnSites {
    /// The return from a signal.
    pub sigreturn: u64,
    /// The wake-up, and the word on which somebody sleeps.
    pub wake: (u64, u64),
    /// The sleep until there is an answer, and the word on which it sleeps.
    pub wait: (u64, u64),
    /// The sleep until there is an event, and the word.
    pub doze: (u64, u64),
    /// Those that set the first timer, and those that set the second.
    pub timers: [TimerSites; 2],
}

/// Sites that set a timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerSites {
    /// When the host has said so.
    pub arm: u64,
    /// To the next deadline.
    pub next: u64,
    /// For once more.
    pub again: u64,
    /// Where the absolute time of the first lies.
    pub first_time: u64,
    /// Where the absolute time of the second and the relative time of the third lie.
    pub time: u64,
}

/// The filter for a guest whose RAM is `ram`.
///
/// # Panics
///
/// If RAM does not begin below 4 GiB.
pub(crate) fn program(ram: Range<u64>, sites: &Sites) -> Vec<libc::sock_filter> {
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
    // The whole argument has this value.
    let argument = |offset, value: u64, yes, steps: &mut Vec<Step>| {
        steps.extend([load(offset + HIGH), equal((value >> 32) as u32, Next, Trap), load(offset)]);
        steps.push(equal(value as u32, yes, Trap));
    };
    let mut steps = vec![
        load(ARCH),
        equal(ARCHITECTURE, Next, Trap),
        load(INSTRUCTION + HIGH),
        equal(0, Next, Trap),
        load(NUMBER),
    ];
    if let Some(gate) = sites.gate {
        steps.extend([equal(GATE_NUMBER, Next, Skip(2)), load(INSTRUCTION)]);
        steps.push(equal(gate as u32, Trace, Trap));
    }
    if let Some(own) = sites.own {
        steps.extend([equal(libc::SYS_rt_sigreturn as u32, Next, Skip(2)), load(INSTRUCTION)]);
        steps.push(equal(own.sigreturn as u32, Allow, Trap));
        let mut wake = Vec::new();
        argument(ADDRESS, own.wake.1, Next, &mut wake);
        argument(OPERATION, libc::FUTEX_WAKE as u64, Next, &mut wake);
        argument(VALUE, 1, Allow, &mut wake);
        // A site, then what it asks of the arguments.
        let mut sites = |number: libc::c_long, sites: Vec<(u64, Vec<Step>)>| {
            let length: usize = 1 + sites.iter().map(|(_, steps)| 1 + steps.len()).sum::<usize>();
            steps.extend([equal(number as u32, Next, Skip(length as u8 + 1)), load(INSTRUCTION)]);
            for (site, checks) in sites {
                steps.push(equal(site as u32, Next, Skip(checks.len() as u8)));
                steps.extend(checks);
            }
            steps.push(Step::Do(BPF_RET | BPF_K, libc::SECCOMP_RET_TRAP));
        };
        let wait = |word| {
            let mut steps = Vec::new();
            argument(ADDRESS, word, Next, &mut steps);
            argument(OPERATION, libc::FUTEX_WAIT as u64, Next, &mut steps);
            argument(TIMEOUT, 0, Allow, &mut steps);
            steps
        };
        let set = |timer, flags, time| {
            let mut steps = Vec::new();
            argument(ADDRESS, timer, Next, &mut steps);
            argument(OPERATION, flags, Next, &mut steps);
            argument(VALUE, time, Next, &mut steps);
            argument(TIMEOUT, 0, Allow, &mut steps);
            steps
        };
        let (own_wait, doze) = ((own.wait.0, wait(own.wait.1)), (own.doze.0, wait(own.doze.1)));
        sites(libc::SYS_futex, vec![(own.wake.0, wake), own_wait, doze]);
        // Timers are numbered as they are made.
        let timer = |(number, TimerSites { arm, next, again, first_time, time })| {
            let absolute = |site, time| (site, set(number, libc::TIMER_ABSTIME as u64, time));
            [absolute(arm, first_time), absolute(next, time), (again, set(number, 0, time))]
        };
        sites(libc::SYS_timer_settime, (0..).zip(own.timers).flat_map(timer).collect());
    }
    steps.extend([
        equal(libc::SYS_mprotect as u32, Next, Trap),
        load(INSTRUCTION),
        equal(sites.mprotect as u32, Next, Trap),
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
    ]);
    let ends = steps.len() - 3;
    let distance = |at: usize, to: To| {
        let steps = match to {
            To::Next => 0,
            To::Skip(steps) => steps.into(),
            To::Trap => ends - at - 1,
            To::Trace => ends - at,
            To::Allow => ends - at + 1,
        };
        u8::try_from(steps).expect("the program is short")
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
    const TRACED: Sites = Sites { mprotect: PROTECT_END, gate: Some(GATE_END), own: None };
    const OWN: OwnSites = OwnSites {
        sigreturn: 0x1_2020,
        wake: (0x1_2030, 0x1_0fc0),
        wait: (0x1_2040, 0x18_0000),
        doze: (0x1_2050, 0x1_0048),
        timers: [
            TimerSites {
                arm: 0x1_2060,
                next: 0x1_2068,
                again: 0x1_2070,
                first_time: 0x18_0140,
                time: 0x1_0fa0,
            },
            TimerSites {
                arm: 0x1_2080,
                next: 0x1_2088,
                again: 0x1_2090,
                first_time: 0x18_0160,
                time: 0x1_0fc0,
            },
        ],
    };
    const ALONE: Sites = Sites { mprotect: PROTECT_END, gate: None, own: Some(OWN) };

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Attempt {
        number: u32,
        architecture: u32,
        instruction: u64,
        address: u64,
        length: u64,
        access: u64,
        fourth: u64,
    }

    const GOOD: Attempt = Attempt {
        number: libc::SYS_mprotect as u32,
        architecture: ARCHITECTURE,
        instruction: PROTECT_END,
        address: RAM.start,
        length: 0x1000,
        access: 1,
        fourth: 0,
    };
    const WAKE: Attempt = Attempt {
        number: libc::SYS_futex as u32,
        instruction: OWN.wake.0,
        address: OWN.wake.1,
        length: 1,
        access: 1,
        ..GOOD
    };
    const WAIT: Attempt =
        Attempt { instruction: OWN.wait.0, address: OWN.wait.1, length: 0, access: 7, ..WAKE };
    const DOZE: Attempt = Attempt { instruction: OWN.doze.0, address: OWN.doze.1, ..WAIT };
    /// What a timer of either half is set by.
    const fn set(half: usize) -> [Attempt; 3] {
        let TimerSites { arm, next, again, first_time, time } = OWN.timers[half];
        let armed = Attempt {
            number: libc::SYS_timer_settime as u32,
            instruction: arm,
            address: half as u64,
            length: libc::TIMER_ABSTIME as u64,
            access: first_time,
            ..GOOD
        };
        let again = Attempt { instruction: again, length: 0, access: time, ..armed };
        [armed, Attempt { instruction: next, access: time, ..armed }, again]
    }
    const LOW: [Attempt; 3] = set(0);
    const HIGH: [Attempt; 3] = set(1);
    /// What a process without a tracer may do, but for its `mprotect`.
    const ALLOWED: [Attempt; 10] =
        [WAKE, WAIT, DOZE, RETURN, LOW[0], LOW[1], LOW[2], HIGH[0], HIGH[1], HIGH[2]];
    const RETURN: Attempt =
        Attempt { number: libc::SYS_rt_sigreturn as u32, instruction: OWN.sigreturn, ..GOOD };

    /// Runs the program as the kernel does.
    fn run(attempt: Attempt, sites: &Sites) -> u32 {
        let mut data = Vec::new();
        data.extend(attempt.number.to_le_bytes());
        data.extend(attempt.architecture.to_le_bytes());
        let Attempt { instruction, address, length, access, fourth, .. } = attempt;
        for value in [instruction, address, length, access, fourth] {
            data.extend(value.to_le_bytes());
        }
        let program = program(RAM, sites);
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
    fn rule(attempt: Attempt, sites: &Sites) -> u32 {
        let Attempt { number, architecture, instruction, address, length, access, fourth } = attempt;
        let call = |wanted: libc::c_long, site| {
            architecture == ARCHITECTURE && number == wanted as u32 && instruction == site
        };
        let inside = u128::from(address) >= RAM.start.into()
            && u128::from(address) + u128::from(length) <= RAM.end.into();
        let own = sites.own.is_some_and(|own| {
            call(libc::SYS_rt_sigreturn, own.sigreturn)
                || call(libc::SYS_futex, own.wake.0) && (address, length, access) == (own.wake.1, 1, 1)
                || call(libc::SYS_futex, own.wait.0) && (address, length, fourth) == (own.wait.1, 0, 0)
                || call(libc::SYS_futex, own.doze.0) && (address, length, fourth) == (own.doze.1, 0, 0)
                || (0..).zip(own.timers).any(|(number, timer)| {
                    let absolute = [(timer.arm, timer.first_time), (timer.next, timer.time)];
                    let absolute =
                        (address, length) == (number, 1) && absolute.contains(&(instruction, access));
                    let relative =
                        instruction == timer.again && (address, length, access) == (number, 0, timer.time);
                    call(libc::SYS_timer_settime, instruction) && (absolute || relative) && fourth == 0
                })
        });
        if sites.gate.is_some_and(|gate| call(GATE_NUMBER.into(), gate)) {
            libc::SECCOMP_RET_TRACE
        } else if own || call(libc::SYS_mprotect, PROTECT_END) && inside && [0, 1, 3, 5].contains(&access) {
            libc::SECCOMP_RET_ALLOW
        } else {
            libc::SECCOMP_RET_TRAP
        }
    }

    #[test]
    fn every_number_at_every_site_is_trapped_but_the_few() {
        let own = ALLOWED.map(|attempt| attempt.instruction);
        let sites = [0, GATE_END, PROTECT_END].into_iter().chain(own);
        for instruction in sites.chain([GATE_END | 1 << 32, OWN.sigreturn | 1 << 32, u64::MAX]) {
            for number in (0..1000).chain([GATE_NUMBER, GATE_NUMBER - 1, 0x4000_000a, 0x4000_000f]) {
                for arguments in ALLOWED.into_iter().chain([GOOD]) {
                    let attempt = Attempt { number, instruction, ..arguments };
                    for sites in [TRACED, ALONE] {
                        assert_eq!(run(attempt, &sites), rule(attempt, &sites), "{attempt:x?}");
                    }
                }
            }
        }
        let allowed = ALLOWED.map(|attempt| run(attempt, &ALONE));
        assert_eq!(allowed, [libc::SECCOMP_RET_ALLOW; 10]);
    }

    #[test]
    fn every_half_of_an_argument_counts() {
        for attempt in ALLOWED {
            for bit in (0..64).map(|bit| 1u64 << bit) {
                for changed in [
                    Attempt { address: attempt.address ^ bit, ..attempt },
                    Attempt { length: attempt.length ^ bit, ..attempt },
                    Attempt { access: attempt.access ^ bit, ..attempt },
                    Attempt { fourth: attempt.fourth ^ bit, ..attempt },
                ] {
                    assert_eq!(run(changed, &ALONE), rule(changed, &ALONE), "{changed:x?}");
                }
            }
        }
    }

    #[test]
    fn another_architecture_is_trapped() {
        for architecture in [0x4000_0003, 0, 0xc000_00b7] {
            let gate = Attempt { number: GATE_NUMBER, instruction: GATE_END, ..GOOD };
            for attempt in ALLOWED.into_iter().chain([GOOD, gate]) {
                for sites in [TRACED, ALONE] {
                    let ended = run(Attempt { architecture, ..attempt }, &sites);
                    assert_eq!(ended, libc::SECCOMP_RET_TRAP);
                }
            }
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
            for sites in [TRACED, ALONE] {
                prop_assert_eq!(run(attempt, &sites), rule(attempt, &sites));
            }
        }
    }
}
