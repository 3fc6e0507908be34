//! The assembly that fills the registers, spins, and writes the registers down.
//!
//! ```text
//!  spin(rdi = variant's loop)
//!    1. callee-saved registers to the stack, its pointer to STACK_POINTER
//!    2. control words, x87 stack, vector registers, flags, red zone, general registers  ◀── EXPECTED
//!    3. the loop, until REMAINING is zero                  ◀── interrupted again and again
//!    4. everything  ──▶ FOUND, in the order in which it does not disturb the rest
//!    5. control words and callee-saved registers as they were
//! ```
//!
//! Everything is addressed relative to `rip`, so no general register is needed for it.

use crate::REMAINING;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use libvcpu::prelude::*;

/// Which vector registers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Vectors {
    /// 16 of 16 bytes.
    Sse = 0,
    /// 16 of 32 bytes.
    Avx = 1,
    /// 32 of 64 bytes, and 7 mask registers that can be used freely.
    Avx512 = 2,
}

/// `rax rbx rcx rdx rsi rdi rbp r8` to `r15`; `rsp` is compared by the assembly's own return.
const GENERAL: usize = 15;
const RCX: usize = 2;
const NAMES: [&str; GENERAL] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// Words of the red zone.
const RED_ZONE: usize = 16;

/// Carry, parity, adjust, zero, sign, direction, overflow: all that arithmetic and programs use, but no
/// combination that arithmetic makes; and the alignment check.
const FLAGS: u64 = 0x4_0ed5;

/// The state of the registers. The assembly knows the layout by the offsets.
#[repr(C, align(64))]
#[derive(Clone)]
pub(crate) struct State {
    vectors: [[u64; 8]; 32],
    masks: [u64; 8],
    x87: [f64; 4],
    general: [u64; GENERAL],
    red_zone: [u64; RED_ZONE],
    flags: u64,
    mxcsr: u32,
    x87_control: u32,
}

/// A place that assembly reads or writes.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: there is one thread, and only `run` and the assembly that it calls use these.
unsafe impl<T> Sync for Shared<T> {}

static EXPECTED: Shared<State> = Shared(UnsafeCell::new(State::ZERO));
static FOUND: Shared<State> = Shared(UnsafeCell::new(State::ZERO));
static STACK_POINTER: Shared<u64> = Shared(UnsafeCell::new(0));
static WIDTH: Shared<u64> = Shared(UnsafeCell::new(0));
static TARGET: Shared<u64> = Shared(UnsafeCell::new(0));

/// A variant of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant(u64);

/// Spins by `jrcxz`, which leaves the flags alone but needs `rcx`.
pub(crate) const KEEPS_FLAGS: Variant = Variant(0);
/// Spins by a comparison, which needs the flags.
pub(crate) const KEEPS_RCX: Variant = Variant(1);

impl State {
    const ZERO: State = State {
        vectors: [[0; 8]; 32],
        masks: [0; 8],
        x87: [0.0; 4],
        general: [0; GENERAL],
        red_zone: [0; RED_ZONE],
        flags: 0,
        mxcsr: 0,
        x87_control: 0,
    };

    /// Values that occur nowhere else, as wide as the registers are.
    pub(crate) fn distinctive(vectors: Vectors) -> State {
        let mut next = 0x1234_5678_9abc_def1u64;
        let mut value = || {
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            next
        };
        let (count, words) = match vectors {
            Vectors::Sse => (16, 2),
            Vectors::Avx => (16, 4),
            Vectors::Avx512 => (32, 8),
        };
        let mut state = State::ZERO;
        for register in &mut state.vectors[..count] {
            register[..words].fill_with(&mut value);
        }
        if vectors == Vectors::Avx512 {
            state.masks[1..].fill_with(&mut value);
        }
        state.x87 = [1.5, -2.25, 3.125, 1e300];
        state.general.fill_with(&mut value);
        state.red_zone.fill_with(&mut value);
        state.flags = FLAGS;
        // Rounds down, flushes to zero, has seen an inexact result; exceptions masked.
        state.mxcsr = 0x1f80 | 0x2000 | 0x8000 | 0x0020;
        // Rounds down, 53 bits; exceptions masked.
        state.x87_control = 0x027f | 0x0400;
        state
    }

    /// The first difference, in words.
    pub(crate) fn difference(&self, found: &State, variant: Variant, vectors: Vectors) -> Option<String> {
        let words = |name: String, expected: u64, found: u64| {
            (expected != found).then(|| format!("{name} is {found:#x} instead of {expected:#x}"))
        };
        let general = self.general.iter().zip(&found.general).enumerate().find_map(|(index, (a, b))| {
            let sacrificed = index == RCX && variant == KEEPS_FLAGS;
            (!sacrificed).then(|| words(NAMES[index].into(), *a, *b)).flatten()
        });
        let red_zone = self.red_zone.iter().zip(&found.red_zone).enumerate();
        let mut red_zone =
            red_zone.filter_map(|(index, (a, b))| words(format!("red zone word {index}"), *a, *b));
        let vector = self.vectors.iter().zip(&found.vectors).enumerate();
        let mut vector = vector.filter(|(_, (a, b))| a != b).map(|(index, (a, b))| {
            format!("vector register {index} ({vectors:?}) is {b:x?} instead of {a:x?}")
        });
        let mask = self.masks.iter().zip(&found.masks).enumerate();
        let mut mask = mask.filter_map(|(index, (a, b))| words(format!("mask register {index}"), *a, *b));
        let x87 = self.x87.iter().zip(&found.x87).enumerate();
        let mut x87 =
            x87.filter_map(|(index, (a, b))| words(format!("st({index})"), a.to_bits(), b.to_bits()));
        let flags = || match variant {
            KEEPS_FLAGS => words("rflags".into(), self.flags, found.flags & 0x4_0fd5),
            _ => None,
        };
        general
            .or_else(flags)
            .or_else(|| red_zone.next())
            .or_else(|| vector.next())
            .or_else(|| mask.next())
            .or_else(|| words("mxcsr".into(), self.mxcsr.into(), found.mxcsr.into()))
            .or_else(|| words("x87 control".into(), self.x87_control.into(), found.x87_control.into()))
            .or_else(|| x87.next())
    }
}

unsafe extern "C" {
    fn registers_spin(variant: u64);
    static registers_loop_begin: u8;
    static registers_loop_end: u8;
}

/// Whether this is an instruction of one of the loops.
pub(crate) fn is_inside(rip: u64) -> bool {
    ((&raw const registers_loop_begin) as u64..(&raw const registers_loop_end) as u64).contains(&rip)
}

/// Fills the registers, spins until no interruption is wanted any more, and gives the registers.
pub(crate) fn run(variant: Variant, expected: &State, vectors: Vectors) -> State {
    // SAFETY: nobody else uses the places. The assembly keeps C's calling convention and touches no other
    // memory but its stack.
    unsafe {
        *EXPECTED.0.get() = expected.clone();
        *FOUND.0.get() = State::ZERO;
        *WIDTH.0.get() = vectors as u64;
        registers_spin(variant.0);
        (*FOUND.0.get()).clone()
    }
}

global_asm!(
    ".pushsection .text.registers_spin, \"ax\", @progbits",
    ".type registers_spin, @function",
    "registers_spin:",
    // 1. What belongs to the caller.
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + {stack_pointer}], rsp",
    "lea rax, [rip + 10f]",
    "lea rcx, [rip + 11f]",
    "test edi, edi",
    "cmovz rcx, rax",
    "mov [rip + {target}], rcx",
    // 2. x87: the last word is pushed first.
    "fninit",
    "fldcw [rip + {expected} + {x87_control}]",
    ".irp n, 3,2,1,0",
    "fld qword ptr [rip + {expected} + {x87} + 8 * \\n]",
    ".endr",
    "ldmxcsr [rip + {expected} + {mxcsr}]",
    // Vector registers, as wide as they are.
    "cmp qword ptr [rip + {width}], 1",
    "ja 2f",
    "je 1f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "movups xmm\\n, [rip + {expected} + {vectors} + 64 * \\n]",
    ".endr",
    "jmp 3f",
    "1:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovups ymm\\n, [rip + {expected} + {vectors} + 64 * \\n]",
    ".endr",
    "jmp 3f",
    "2:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups zmm\\n, [rip + {expected} + {vectors} + 64 * \\n]",
    ".endr",
    ".irp n, 1,2,3,4,5,6,7",
    "kmovq k\\n, [rip + {expected} + {masks} + 8 * \\n]",
    ".endr",
    "3:",
    // The flags, by the stack; the red zone after them.
    "push qword ptr [rip + {expected} + {flags}]",
    "popfq",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "mov rax, [rip + {expected} + {red_zone} + 8 * \\n]",
    "mov [rsp - 128 + 8 * \\n], rax",
    ".endr",
    // The general registers, last.
    ".set index, 0",
    ".irp name, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
    "mov \\name, [rip + {expected} + {general} + 8 * index]",
    ".set index, index + 1",
    ".endr",
    "jmp [rip + {target}]",
    // 3. The loops.
    "registers_loop_begin:",
    "10: mov rcx, [rip + {remaining}]",
    "jrcxz 4f",
    "jmp 10b",
    "11: cmp qword ptr [rip + {remaining}], 0",
    "jne 11b",
    "registers_loop_end:",
    // 4. None of these changes a flag until the flags are written down.
    "4:",
    ".set index, 0",
    ".irp name, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
    "mov [rip + {found} + {general} + 8 * index], \\name",
    ".set index, index + 1",
    ".endr",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "mov rax, [rsp - 128 + 8 * \\n]",
    "mov [rip + {found} + {red_zone} + 8 * \\n], rax",
    ".endr",
    "pushfq",
    "pop qword ptr [rip + {found} + {flags}]",
    "push 2",
    "popfq",
    "stmxcsr [rip + {found} + {mxcsr}]",
    "fnstcw [rip + {found} + {x87_control}]",
    ".irp n, 0,1,2,3",
    "fstp qword ptr [rip + {found} + {x87} + 8 * \\n]",
    ".endr",
    "cmp qword ptr [rip + {width}], 1",
    "ja 2f",
    "je 1f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "movups [rip + {found} + {vectors} + 64 * \\n], xmm\\n",
    ".endr",
    "jmp 3f",
    "1:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovups [rip + {found} + {vectors} + 64 * \\n], ymm\\n",
    ".endr",
    "vzeroupper",
    "jmp 3f",
    "2:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups [rip + {found} + {vectors} + 64 * \\n], zmm\\n",
    ".endr",
    ".irp n, 1,2,3,4,5,6,7",
    "kmovq [rip + {found} + {masks} + 8 * \\n], k\\n",
    ".endr",
    "vzeroupper",
    "3:",
    // 5. A stack pointer that is not where it was is the one thing that cannot be written down.
    "cmp rsp, [rip + {stack_pointer}]",
    "je 5f",
    "ud2",
    "5: fninit",
    "push 0x1f80",
    "ldmxcsr [rsp]",
    "pop rax",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".size registers_spin, . - registers_spin",
    ".popsection",
    stack_pointer = sym STACK_POINTER,
    target = sym TARGET,
    width = sym WIDTH,
    remaining = sym REMAINING,
    expected = sym EXPECTED,
    found = sym FOUND,
    vectors = const offset_of!(State, vectors),
    masks = const offset_of!(State, masks),
    x87 = const offset_of!(State, x87),
    general = const offset_of!(State, general),
    red_zone = const offset_of!(State, red_zone),
    flags = const offset_of!(State, flags),
    mxcsr = const offset_of!(State, mxcsr),
    x87_control = const offset_of!(State, x87_control),
);
