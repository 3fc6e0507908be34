//! Registers: all that a thread can see of the processor, while others use the same registers.

use crate::control::without_slices;
use crate::{MAIN, log, spawn};
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::call;
use libvcpu::prelude::*;
use libvcpu::thread;

/// What a computation begins with.
#[repr(C, align(64))]
struct Input {
    one: [f64; 8],
    /// For each vector register, and the first two also for the x87's stack.
    values: [f64; 32],
    /// Goes to the general registers, and to the last word of the red zone.
    seed: u64,
    rounds: u64,
    mxcsr: u32,
    control: u16,
}

/// What is in the registers in the end.
#[repr(C, align(64))]
struct Output {
    lanes: [[f64; 8]; 32],
    x87: [f64; 2],
    /// Zero if general registers and red zone are as they were.
    general: u64,
    flags: u64,
    mxcsr: u32,
    control: u16,
}

/// Adds one to each lane of each vector register, round by round. Meanwhile general registers, flags,
/// red zone, x87 and the control words of both units hold distinctive values.
macro_rules! computation {
    ($name:ident, $registers:literal, [$($load:literal),*], $add:literal, $store:literal, [$($end:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(input: &Input, output: &mut Output) {
            naked_asm!(
                "push rbx",
                "push rbp",
                "push r12",
                "push r13",
                "push r14",
                "push r15",
                "sub rsp, 8",
                "stmxcsr [rsp]",
                "fnstcw [rsp + 4]",
                "ldmxcsr [rdi + {input_mxcsr}]",
                "fldcw [rdi + {input_control}]",
                "fld qword ptr [rdi + {values}]",
                "fld qword ptr [rdi + {values} + 8]",
                concat!(".irp n, ", $registers),
                $($load,)*
                ".endr",
                "mov rcx, [rdi + {seed}]",
                "mov [rsp - 128], rcx",
                ".irp register, rax, rdx, rbx, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
                "inc rcx",
                "mov \\register, rcx",
                ".endr",
                "mov rcx, [rdi + {rounds}]",
                "std",
                "stc",
                // Nothing in the loop changes the carry.
                "2:",
                concat!(".irp n, ", $registers),
                $add,
                ".endr",
                "dec rcx",
                "jnz 2b",
                "pushfq",
                "pop qword ptr [rsi + {flags}]",
                "cld",
                "mov rcx, [rdi + {seed}]",
                "push rcx",
                "xor rcx, [rsp - 120]",
                "mov [rsi + {general}], rcx",
                "pop rcx",
                ".irp register, rax, rdx, rbx, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
                "inc rcx",
                "xor \\register, rcx",
                "or [rsi + {general}], \\register",
                ".endr",
                concat!(".irp n, ", $registers),
                $store,
                ".endr",
                "stmxcsr [rsi + {output_mxcsr}]",
                "fnstcw [rsi + {output_control}]",
                "fstp qword ptr [rsi + {x87} + 8]",
                "fstp qword ptr [rsi + {x87}]",
                $($end,)*
                "ldmxcsr [rsp]",
                "fldcw [rsp + 4]",
                "add rsp, 8",
                "pop r15",
                "pop r14",
                "pop r13",
                "pop r12",
                "pop rbp",
                "pop rbx",
                "ret",
                values = const offset_of!(Input, values),
                seed = const offset_of!(Input, seed),
                rounds = const offset_of!(Input, rounds),
                input_mxcsr = const offset_of!(Input, mxcsr),
                input_control = const offset_of!(Input, control),
                flags = const offset_of!(Output, flags),
                general = const offset_of!(Output, general),
                x87 = const offset_of!(Output, x87),
                output_mxcsr = const offset_of!(Output, mxcsr),
                output_control = const offset_of!(Output, control),
            )
        }
    };
}

computation!(
    compute_sse,
    "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    ["movsd xmm\\n, [rdi + {values} + 8 * \\n]", "unpcklpd xmm\\n, xmm\\n"],
    "addpd xmm\\n, [rdi]",
    "movapd [rsi + 64 * \\n], xmm\\n",
    []
);

computation!(
    compute_avx,
    "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    ["vbroadcastsd ymm\\n, qword ptr [rdi + {values} + 8 * \\n]"],
    "vaddpd ymm\\n, ymm\\n, [rdi]",
    "vmovapd [rsi + 64 * \\n], ymm\\n",
    ["vzeroupper"]
);

// The mask register selects all lanes; if it is lost, lanes are zero.
computation!(
    compute_avx512,
    "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    ["vbroadcastsd zmm\\n, qword ptr [rdi + {values} + 8 * \\n]", "kxnorw k5, k5, k5"],
    "vaddpd zmm\\n {{k5}}{{z}}, zmm\\n, [rdi]",
    "vmovapd [rsi + 64 * \\n], zmm\\n",
    ["vzeroupper"]
);

/// The widest computation that the processor can do, with the number of its registers and of their lanes.
#[derive(Clone, Copy)]
struct Unit {
    compute: unsafe extern "C" fn(&Input, &mut Output),
    registers: usize,
    lanes: usize,
}

impl Unit {
    fn widest() -> Unit {
        const AVX: u32 = 1 << 28;
        const AVX512F: u32 = 1 << 16;
        const AVX_STATE: u64 = 0b110;
        const AVX512_STATE: u64 = 0b1110_0110;
        // SAFETY: the kernel has found that the register can be read.
        let state = unsafe { _xgetbv(0) };
        if state & AVX512_STATE == AVX512_STATE && __cpuid_count(7, 0).ebx & AVX512F != 0 {
            Unit { compute: compute_avx512, registers: 32, lanes: 8 }
        } else if state & AVX_STATE == AVX_STATE && __cpuid(1).ecx & AVX != 0 {
            Unit { compute: compute_avx, registers: 16, lanes: 4 }
        } else {
            Unit { compute: compute_sse, registers: 16, lanes: 2 }
        }
    }

    /// Computes with values of the caller's own.
    fn compute(self, seed: u16, rounds: u32) {
        /// All exceptions masked; rounds towards zero or upwards, as the seed says.
        const MXCSR: u32 = 0x1f80;
        /// The same for the x87, with the longest mantissa.
        const CONTROL: u16 = 0x037f;
        const CARRY: u64 = 1;
        const DIRECTION: u64 = 1 << 10;
        let rounding = seed % 4;
        let input = Input {
            one: [1.0; 8],
            values: core::array::from_fn(|index| f64::from(seed) * 100.0 + index as f64),
            seed: u64::from(seed) * 0x0001_0001_0001_0001,
            rounds: u64::from(rounds),
            mxcsr: MXCSR | u32::from(rounding) << 13,
            control: CONTROL | rounding << 10,
        };
        let mut output =
            Output { lanes: [[0.0; 8]; 32], x87: [0.0; 2], general: 0, flags: 0, mxcsr: 0, control: 0 };
        // SAFETY: the processor has these instructions.
        unsafe { (self.compute)(&input, &mut output) };
        for (lanes, value) in output.lanes.iter().zip(&input.values).take(self.registers) {
            assert_eq!(lanes[..self.lanes], [value + f64::from(rounds); 8][..self.lanes]);
        }
        assert_eq!(output.x87, input.values[..2]);
        assert_eq!(output.general, 0);
        assert_eq!(output.flags & (CARRY | DIRECTION), CARRY | DIRECTION);
        assert_eq!((output.mxcsr, output.control), (input.mxcsr, input.control));
        DONE.fetch_add(1, Relaxed);
    }
}

static DONE: AtomicU64 = AtomicU64::new(0);

pub(crate) fn intrude() {
    Unit::widest().compute(901, 2);
}

/// Computations in two threads. Only the event comes in between.
pub(crate) fn work() {
    without_slices();
    slices();
}

/// The same with turns that may be over at any moment.
pub(crate) fn slices() {
    let unit = Unit::widest();
    let other = spawn(MAIN, move || unit.compute(303, 3));
    call::null();
    unit.compute(202, 3);
    call::null();
    other.join().unwrap();
}

pub(crate) fn result(intrusions: u64) -> String {
    format!("{} computations", DONE.load(Relaxed) - intrusions)
}

/// Control words belong to the thread even where it gives the processor up by itself.
pub(crate) fn control_words() {
    fn turns_of(letter: u8) {
        let before = read_control();
        let own = set_rounding(letter);
        for _ in 0..3 {
            log::note(letter);
            thread::yield_now();
            assert_eq!(read_control(), own);
        }
        write_control(before);
    }
    without_slices();
    let others = [b'b', b'c'].map(|letter| spawn(MAIN, move || turns_of(letter)));
    call::null();
    turns_of(b'a');
    call::null();
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

/// MXCSR and the x87's control word.
pub(crate) type Control = (u32, u16);

/// Lets both units round in one of four ways, and gives their control words.
pub(crate) fn set_rounding(way: u8) -> Control {
    let control = (0x1f80 | u32::from(way % 4) << 13, 0x037f | u16::from(way % 4) << 10);
    write_control(control);
    control
}

pub(crate) fn read_control() -> Control {
    let (mut mxcsr, mut control) = (0_u32, 0_u16);
    // SAFETY: writes the two variables.
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut mxcsr, in(reg) &raw mut control, options(nostack));
    }
    (mxcsr, control)
}

/// Nothing here calculates with floating-point numbers that are not exact.
fn write_control((mxcsr, control): Control) {
    // SAFETY: reads the two variables; the thread's code until the next call of this depends on neither.
    unsafe {
        asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const mxcsr, in(reg) &raw const control, options(nostack));
    }
}
