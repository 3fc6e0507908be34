//! The assembly that fills the registers, spins, and writes the registers down; each user with a frame of
//! its own, to which the stack pointer points meanwhile.
//!
//! ```text
//!  spin(rdi = frame)
//!    1. callee-saved registers to the stack, its pointer to the frame; the frame becomes the stack
//!    2. control words, x87 stack, vector registers, flags, red zone, general registers  ◀── expected
//!    3. the loop, so often as the frame says                ◀── preempted again and again
//!    4. everything  ──▶ found, in the order in which it does not disturb the rest
//!    5. control words and callee-saved registers as they were
//! ```

use alloc::format;
use alloc::string::String;
use core::arch::global_asm;
use core::mem::offset_of;

/// Which vector registers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Vectors {
    /// 16 of 16 bytes.
    Sse = 0,
    /// 16 of 32 bytes.
    Avx = 1,
    /// 32 of 64 bytes, and 7 mask registers that can be used freely.
    Avx512 = 2,
}

/// How to spin without a register to count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Spin {
    /// By `loop`, which leaves the flags alone but counts in `rcx`.
    KeepsFlags = 0,
    /// By a count in memory, which changes the flags.
    KeepsRcx = 1,
}

/// How often the loop runs in a round.
const SPINS: u64 = 20_000;

/// `rax rbx rcx rdx rsi rdi rbp r8` to `r15`; `rsp` is the frame's address.
const GENERAL: usize = 15;
const RCX: usize = 2;
const NAMES: [&str; GENERAL] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// Words of the red zone.
const RED_ZONE: usize = 16;

/// Carry, parity, adjust, zero, sign, direction, overflow: all that arithmetic and programs use; and the
/// alignment check.
const FLAGS: u64 = 0x4_0cd5;

/// Bit 1 and the processor's own interrupt flag, which are always set.
const ALWAYS: u64 = 0x202;

/// What is compared: those, and the trap flag, which nobody sets.
const COMPARED: u64 = FLAGS | ALWAYS | 0x100;

/// The state of the registers.
#[repr(C, align(64))]
struct State {
    vectors: [[u64; 8]; 32],
    masks: [u64; 8],
    x87: [f64; 4],
    general: [u64; GENERAL],
    red_zone: [u64; RED_ZONE],
    flags: u64,
    mxcsr: u32,
    x87_control: u32,
}

/// What one thread needs for a round. The assembly knows the layout by the offsets.
#[repr(C, align(64))]
pub struct Frame {
    /// Below the stack pointer: the red zone, and room to push.
    below: [u64; 64],
    expected: State,
    found: State,
    stack_pointer: u64,
    width: Vectors,
    target: u64,
    spin: Spin,
    count: u64,
    /// Where the stack pointer points.
    base: u64,
}

/// Where the stack pointer points: the offsets below count from there.
const BASE: usize = offset_of!(Frame, expected);
const FOUND: usize = offset_of!(Frame, found) - BASE;

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

    /// Values that occur with this seed only, as wide as the registers are.
    fn distinctive(seed: u64, vectors: Vectors) -> State {
        let mut next = 0x1234_5678_9abc_def1 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
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
        for number in &mut state.x87 {
            // 40 bits, so that it is the same in whatever precision.
            *number = (value() >> 24) as f64;
        }
        state.general.fill_with(&mut value);
        state.red_zone.fill_with(&mut value);
        state.flags = ALWAYS | value() & FLAGS;
        // Rounding, flushing to zero and the sticky bits as they come; exceptions masked.
        state.mxcsr = 0x1f80 | value() as u32 & 0xe07f;
        // Rounding and precision (53 or 64 bits) as they come; exceptions masked.
        state.x87_control = 0x027f | value() as u32 & 0x0d00;
        state
    }
}

impl Frame {
    /// A frame with values that occur with this seed only.
    pub fn distinctive(seed: u64, spin: Spin, vectors: Vectors) -> Frame {
        Frame {
            below: [0; 64],
            expected: State::distinctive(seed, vectors),
            found: State::ZERO,
            stack_pointer: 0,
            width: vectors,
            target: 0,
            spin,
            count: SPINS,
            base: 0,
        }
    }

    /// Fills the registers, spins, and writes the registers down.
    pub fn run(&mut self) {
        if self.spin == Spin::KeepsFlags {
            // It counts here.
            self.expected.general[RCX] = SPINS;
        }
        // SAFETY: the assembly keeps C's calling convention, and touches no memory but its stack and the
        // frame, which is this one's own.
        unsafe { registers_spin(self) };
    }

    /// The first difference, in words.
    pub fn difference(&self) -> Option<String> {
        let (expected, found) = (&self.expected, &self.found);
        let words = |name: String, expected: u64, found: u64| {
            (expected != found).then(|| format!("{name} is {found:#x} instead of {expected:#x}"))
        };
        let rcx = if self.spin == Spin::KeepsFlags { 0 } else { expected.general[RCX] };
        let wanted = |index: usize| if index == RCX { rcx } else { expected.general[index] };
        let general =
            (0..GENERAL).find_map(|index| words(NAMES[index].into(), wanted(index), found.general[index]));
        let pairs = |name: &str, expected: &[u64], found: &[u64]| {
            let mut pairs = expected.iter().zip(found).enumerate();
            pairs.find_map(|(index, (a, b))| words(format!("{name} {index}"), *a, *b))
        };
        let flags = || match self.spin {
            Spin::KeepsFlags => words("rflags".into(), expected.flags, found.flags & COMPARED),
            Spin::KeepsRcx => None,
        };
        let mut vectors = expected.vectors.iter().zip(&found.vectors).enumerate();
        let x87 = [expected.x87.map(f64::to_bits), found.x87.map(f64::to_bits)];
        general
            .or_else(flags)
            .or_else(|| pairs("red zone word", &expected.red_zone, &found.red_zone))
            .or_else(|| {
                let (index, (a, b)) = vectors.find(|(_, (a, b))| a != b)?;
                Some(format!("vector register {index} ({:?}) is {b:x?} instead of {a:x?}", self.width))
            })
            .or_else(|| pairs("mask register", &expected.masks, &found.masks))
            .or_else(|| words("mxcsr".into(), expected.mxcsr.into(), found.mxcsr.into()))
            .or_else(|| words("x87 control".into(), expected.x87_control.into(), found.x87_control.into()))
            .or_else(|| pairs("st", &x87[0], &x87[1]))
    }
}

unsafe extern "C" {
    fn registers_spin(frame: *mut Frame);
    static registers_begin: u8;
    static registers_end: u8;
    static registers_loop_begin: u8;
    static registers_loop_end: u8;
}

/// Whether this is an instruction between the first register that is filled and the last that is read.
pub fn is_inside(rip: u64) -> bool {
    ((&raw const registers_begin) as u64..(&raw const registers_end) as u64).contains(&rip)
}

/// Whether this is an instruction of one of the loops.
pub fn is_spinning(rip: u64) -> bool {
    ((&raw const registers_loop_begin) as u64..(&raw const registers_loop_end) as u64).contains(&rip)
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
    "lea rdi, [rdi + {base}]",
    "mov [rdi + {stack_pointer}], rsp",
    "mov rsp, rdi",
    "mov [rsp + {own_base}], rsp",
    "lea rax, [rip + 10f]",
    "lea rcx, [rip + 11f]",
    "cmp qword ptr [rsp + {spin}], 0",
    "cmove rcx, rax",
    "mov [rsp + {target}], rcx",
    // 2. x87: the last word is pushed first.
    "registers_begin:",
    "fninit",
    "fldcw [rsp + {x87_control}]",
    ".irp n, 3,2,1,0",
    "fld qword ptr [rsp + {x87} + 8 * \\n]",
    ".endr",
    "ldmxcsr [rsp + {mxcsr}]",
    // Vector registers, as wide as they are.
    "cmp qword ptr [rsp + {width}], 1",
    "ja 2f",
    "je 1f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "movups xmm\\n, [rsp + {vectors} + 64 * \\n]",
    ".endr",
    "jmp 3f",
    "1:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovups ymm\\n, [rsp + {vectors} + 64 * \\n]",
    ".endr",
    "jmp 3f",
    "2:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups zmm\\n, [rsp + {vectors} + 64 * \\n]",
    ".endr",
    ".irp n, 1,2,3,4,5,6,7",
    "kmovq k\\n, [rsp + {masks} + 8 * \\n]",
    ".endr",
    "3:",
    // The flags, by the stack; the red zone after them.
    "push qword ptr [rsp + {flags}]",
    "popfq",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "mov rax, [rsp + {red_zone} + 8 * \\n]",
    "mov [rsp - 128 + 8 * \\n], rax",
    ".endr",
    // The general registers, last.
    ".set index, 0",
    ".irp name, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
    "mov \\name, [rsp + {general} + 8 * index]",
    ".set index, index + 1",
    ".endr",
    "jmp [rsp + {target}]",
    // 3. The loops.
    "registers_loop_begin:",
    "10: loop 10b",
    "jmp 4f",
    "11: sub qword ptr [rsp + {count}], 1",
    "jne 11b",
    "registers_loop_end:",
    // 4. None of these changes a flag until the flags are written down.
    "4:",
    ".set index, 0",
    ".irp name, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
    "mov [rsp + {found} + {general} + 8 * index], \\name",
    ".set index, index + 1",
    ".endr",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "mov rax, [rsp - 128 + 8 * \\n]",
    "mov [rsp + {found} + {red_zone} + 8 * \\n], rax",
    ".endr",
    "pushfq",
    "pop qword ptr [rsp + {found} + {flags}]",
    "push 2",
    "popfq",
    "stmxcsr [rsp + {found} + {mxcsr}]",
    "fnstcw [rsp + {found} + {x87_control}]",
    ".irp n, 0,1,2,3",
    "fstp qword ptr [rsp + {found} + {x87} + 8 * \\n]",
    ".endr",
    "cmp qword ptr [rsp + {width}], 1",
    "ja 2f",
    "je 1f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "movups [rsp + {found} + {vectors} + 64 * \\n], xmm\\n",
    ".endr",
    "jmp 3f",
    "1:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovups [rsp + {found} + {vectors} + 64 * \\n], ymm\\n",
    ".endr",
    "vzeroupper",
    "jmp 3f",
    "2:",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups [rsp + {found} + {vectors} + 64 * \\n], zmm\\n",
    ".endr",
    ".irp n, 1,2,3,4,5,6,7",
    "kmovq [rsp + {found} + {masks} + 8 * \\n], k\\n",
    ".endr",
    "vzeroupper",
    "registers_end:",
    "3:",
    // 5. A stack pointer that is not where it was is the one thing that cannot be written down.
    "cmp rsp, [rsp + {own_base}]",
    "je 5f",
    "ud2",
    // As the calling convention wants it.
    "5: fninit",
    "push 0x1f80",
    "ldmxcsr [rsp]",
    "pop rax",
    "mov rsp, [rsp + {stack_pointer}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".size registers_spin, . - registers_spin",
    ".popsection",
    base = const BASE,
    found = const FOUND,
    stack_pointer = const offset_of!(Frame, stack_pointer) - BASE,
    width = const offset_of!(Frame, width) - BASE,
    target = const offset_of!(Frame, target) - BASE,
    spin = const offset_of!(Frame, spin) - BASE,
    count = const offset_of!(Frame, count) - BASE,
    own_base = const offset_of!(Frame, base) - BASE,
    vectors = const offset_of!(State, vectors),
    masks = const offset_of!(State, masks),
    x87 = const offset_of!(State, x87),
    general = const offset_of!(State, general),
    red_zone = const offset_of!(State, red_zone),
    flags = const offset_of!(State, flags),
    mxcsr = const offset_of!(State, mxcsr),
    x87_control = const offset_of!(State, x87_control),
);
