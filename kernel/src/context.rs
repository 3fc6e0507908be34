//! Entry vector, switch and resume: how the processor leaves one flow of execution and takes up another.
//!
//! A flow gives the processor up in one of two ways, and is taken up again in the way that fits.
//!
//! ```text
//!  interrupted (preempted)                               of its own will
//!
//!  machine: registers to the state save area,            switch: what the calling convention preserves
//!     │     IRQ and EXCEPTIONS off                           │   to the flow's own stack
//!  entry_vector: extended state to the flow                  │
//!     │                                                      │
//!  upcall::taken: state save area to the flow, handlers      │
//!     │                                                      │
//!     └──────────▶ the scheduler names the next flow ◀───────┘
//!                               │
//!              ┌────────────────┴────────────────┐
//!  it was interrupted: resume          it had switched: pop what it pushed, return from `switch`
//!  extended state, state indicator,    (events stay off until it turns them on)
//!  registers, iretq
//! ```
//!
//! `resume` must set IRQ before the interrupted code runs again, so an event can come while the
//! registers are half restored. That is harmless, because from the instruction that sets IRQ to `iretq`
//! (the *restartable range*) it only reads: the flow's own copy stays true, and the upcall, when it
//! finds the interrupted `rip` in the range, keeps that copy instead of taking the registers. It
//! also never writes to the flow's stack, so code that uses a red zone may be interrupted anywhere.

use crate::extended;
use crate::stretch;
use crate::upcall;
use core::arch::{asm, naked_asm};
use core::cell::Cell;
use core::mem::{offset_of, size_of};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::info::{Features, InfoPage};
use vcpu_abi::layout::{INFO_PAGE, VCPU_PAGE};
use vcpu_abi::page::{GENERAL_REGISTERS, State, StateSaveArea, Sticky, VcpuPage};

/// Restores the general registers of a [`Context`], for assembly: the stack pointer leads to it, and then to its
/// `rip`.
#[doc(hidden)]
#[macro_export]
macro_rules! pop_general {
    () => {
        "pop r15
         pop r14
         pop r13
         pop r12
         pop r11
         pop r10
         pop r9
         pop r8
         pop rbp
         pop rdi
         pop rsi
         pop rdx
         pop rcx
         pop rbx
         pop rax"
    };
}

/// The general registers of code that is not running. `pop_general` restores them in this order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// `r15 r14 r13 r12 r11 r10 r9 r8 rbp rdi rsi rdx rcx rbx rax`, as in the state save area.
    pub general: [u64; GENERAL_REGISTERS],
    /// Where the code continues. The five words from here are what `iretq` takes.
    pub rip: u64,
    code_segment: u64,
    /// The flags with which it continues.
    pub rflags: u64,
    /// The stack pointer with which it continues.
    pub rsp: u64,
    stack_segment: u64,
    /// The state indicator with which it continues.
    state: u64,
}

/// Everything the processor holds of one flow of execution while it does not run.
///
/// `area` points to [`extended::AREA_SIZE`] bytes, aligned to 64, that belong to the flow: for its extended
/// state, and at their end for its general registers, a [`Context`]. They may hold anything, and a flow that
/// is never interrupted does not touch them.
#[repr(C)]
#[derive(Debug)]
pub struct Flow {
    /// Where `switch` left the stack pointer; means something if the flow was not interrupted.
    stack_pointer: Cell<u64>,
    area: Cell<*mut u8>,
    /// The base of the segment FS.
    pub(crate) fs_base: Cell<u64>,
    /// 1 if the flow was interrupted and is to be resumed, 0 if it switched.
    interrupted: Cell<u64>,
}

const STACK_POINTER: usize = offset_of!(Flow, stack_pointer);
const AREA: usize = offset_of!(Flow, area);
const INTERRUPTED: usize = offset_of!(Flow, interrupted);
const STATE_OFFSET: usize = offset_of!(Context, state);
const STATE: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, state);
const STICKY: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, sticky);
const ENTRY_SP: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, entry_sp);

const _: () = {
    assert!(offset_of!(Context, rip) == 8 * GENERAL_REGISTERS);
    assert!(offset_of!(Context, stack_segment) == 8 * (GENERAL_REGISTERS + 4));
    assert!(offset_of!(StateSaveArea, general) == 0);
    assert!(size_of::<Context>() == 8 * (GENERAL_REGISTERS + 6));
    assert!(extended::GENERAL + size_of::<Context>() <= extended::AREA_SIZE);
    assert!(extended::GENERAL.is_multiple_of(align_of::<Context>()));
};

impl Context {
    /// Takes the interrupted registers from the state save area.
    fn load(&mut self, page: &VcpuPage) {
        for (register, saved) in self.general.iter_mut().zip(&page.ssa.general) {
            *register = saved.load(Relaxed);
        }
        self.rip = page.ssa.rip.load(Relaxed);
        self.rflags = page.ssa.rflags.load(Relaxed);
        self.rsp = page.ssa.rsp.load(Relaxed);
        (self.code_segment, self.stack_segment) = segments();
        self.state = u64::from(page.saved_state.load(Relaxed));
    }

    /// Whether events were on when the code was interrupted.
    pub fn events_were_on(&self) -> bool {
        self.state & u64::from(State::IRQ.bits()) != 0
    }

    /// Lets the code continue at the beginning of `function` instead, with an empty stack that ends at
    /// `stack_top`.
    pub(crate) fn divert(&mut self, function: extern "C" fn() -> !, stack_top: u64) {
        /// The flags with which a function begins: only the bit that is always set.
        const PLAIN_FLAGS: u64 = 1 << 1;
        self.rip = function as usize as u64;
        self.rflags = PLAIN_FLAGS;
        // As after a call: the convention wants the stack pointer to be 8 off a multiple of 16.
        self.rsp = (stack_top & !15) - 8;
        self.general[REGISTER_RBP] = 0;
    }
}

/// Index of `rbp` among the general registers.
const REGISTER_RBP: usize = 8;

impl Flow {
    /// A flow that runs, or whose beginning is still to be [prepared](Flow::prepare).
    pub(crate) const fn new() -> Flow {
        Flow {
            stack_pointer: Cell::new(0),
            area: Cell::new(null_mut()),
            fs_base: Cell::new(0),
            interrupted: Cell::new(0),
        }
    }

    /// Gives the flow its area for the registers of an interruption.
    pub(crate) fn set_area(&self, area: *mut u8) {
        self.area.set(area);
    }

    /// Lets the flow begin with `function`, events off, on a stack that ends at `stack_top`.
    ///
    /// # Safety
    ///
    /// The stack is writable, nobody else uses it, and the flow does not run.
    pub(crate) unsafe fn prepare(&self, function: extern "C" fn() -> !, stack_top: u64) {
        // What `switch` pops: floating-point control, six registers, the address to return to; and a
        // zero where the function's own return address would be, at which a backtrace ends.
        let frame: [u64; 9] = [FLOAT_CONTROL, 0, 0, 0, 0, 0, 0, function as usize as u64, 0];
        let top = stack_top & !15;
        let start = top - 8 * frame.len() as u64;
        // SAFETY: the caller gives the stack.
        unsafe { (start as *mut [u64; 9]).write(frame) };
        self.stack_pointer.set(start);
        self.interrupted.set(0);
    }

    /// Takes the registers of the interruption that the state save area holds, unless they are those
    /// of a half-done `resume`, in which case the flow's own copy is still true.
    ///
    /// # Safety
    ///
    /// Runs in an upcall that interrupted this flow, and the reference does not outlive the upcall.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the contract above")]
    pub(crate) unsafe fn interrupt(&self, page: &VcpuPage) -> &mut Context {
        self.interrupted.set(1);
        // SAFETY: this part of the area belongs to the registers, is aligned for them, and holds numbers, of
        // which any is one. As the function's contract says, nobody else has a reference.
        let context = unsafe { &mut *self.area.get().add(extended::GENERAL).cast::<Context>() };
        if !in_restartable_range(page.ssa.rip.load(Relaxed)) {
            context.load(page);
        }
        context
    }
}

/// MXCSR and, above it, the x87 control word as the calling convention wants them at the start.
const FLOAT_CONTROL: u64 = 0x1f80 | 0x037f << 32;

/// The selectors of the code and the stack segment, which are the same for all code of a guest.
fn segments() -> (u64, u64) {
    let (code, stack): (u64, u64);
    // SAFETY: reads two registers.
    unsafe {
        asm!("mov {0:e}, cs", "mov {1:e}, ss", out(reg) code, out(reg) stack,
            options(nomem, nostack, preserves_flags));
    }
    (code, stack)
}

/// Whether `rip` lies where `resume` has set IRQ and not yet continued the flow.
fn in_restartable_range(rip: u64) -> bool {
    unsafe extern "C" {
        static vcpu_resume_begin: u8;
        static vcpu_resume_end: u8;
    }
    ((&raw const vcpu_resume_begin) as u64..(&raw const vcpu_resume_end) as u64).contains(&rip)
}

/// Leaves the flow `from`, which runs, and takes up `to`. Returns when somebody takes up `from` again.
///
/// # Safety
///
/// Events are off, and stay off. Both flows live until they are left for good, and `to` does not run.
#[inline(always)]
pub(crate) unsafe fn switch(from: *const Flow, to: *const Flow) {
    // This is a call and, below, a return, but not by these instructions: the processor predicts returns by a
    // stack of its own, on which one flow would find what another has put there. Every return after a
    // switch would be predicted wrongly.
    // SAFETY: the caller keeps the contract, which is that of `leave`; all that a function may change is
    // declared as changed.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "push rax",
            "jmp {leave}",
            "2:",
            leave = sym leave,
            in("rdi") from,
            in("rsi") to,
            clobber_abi("C"),
        );
    }
}

/// What [`switch`] does, for a caller whose address to continue at lies on the stack.
///
/// # Safety
///
/// As `switch`.
#[unsafe(naked)]
unsafe extern "C" fn leave(from: *const Flow, to: *const Flow) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // The control bits of both floating-point units belong to what a function preserves. Loading
        // them is slow and almost never needed, so they are compared.
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi + {stack_pointer}], rsp",
        "mov qword ptr [rdi + {interrupted}], 0",
        "cmp qword ptr [rsi + {interrupted}], 0",
        "jne 3f",
        "mov eax, [rsp]",
        "movzx ecx, word ptr [rsp + 4]",
        "mov rsp, [rsi + {stack_pointer}]",
        "cmp eax, [rsp]",
        "jne 2f",
        "cmp cx, [rsp + 4]",
        "jne 2f",
        "1: add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        // A jump and not a return; see above.
        "pop rcx",
        "jmp rcx",
        "2: ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "jmp 1b",
        "3: mov rdi, rsi",
        "jmp {resume}",
        stack_pointer = const STACK_POINTER,
        interrupted = const INTERRUPTED,
        resume = sym resume,
    )
}

/// Where the machine begins an upcall. Not called by anyone else.
///
/// On entry: `rsp` is the top of the upcall stack, IRQ and EXCEPTIONS are off, the direction, trap and
/// alignment flags are clear, the extended state is the interrupted code's, the general registers are
/// free. Never returns: it ends by taking up a flow.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn entry_vector() -> ! {
    naked_asm!(
        // 1. When it happened, before anything else; 0 where the counter is not the clock.
        "xor esi, esi",
        "test dword ptr [{features}], {tsc_clock}",
        "jz 1f",
        "rdtsc",
        "shl rdx, 32",
        "lea rsi, [rax + rdx]",
        "1:",
        stretch::mark_in_assembly!(),
        // 2. The extended state, before any Rust code can touch it.
        "mov rbx, [rip + {current}]",
        "mov rcx, [rbx + {area}]",
        //    The restoring instruction wants the rest of the header to be zero, and this one may not write
        //    it; the area may be memory that was used for something else.
        "xor eax, eax",
        "mov [rcx + 520], rax",
        "mov [rcx + 528], rax",
        "mov [rcx + 536], rax",
        "mov [rcx + 544], rax",
        "mov [rcx + 552], rax",
        "mov [rcx + 560], rax",
        "mov [rcx + 568], rax",
        "mov eax, [rip + {mask_low}]",
        "mov edx, [rip + {mask_high}]",
        "cmp dword ptr [rip + {compact}], 0",
        "je 2f",
        "xsavec64 [rcx]",
        "jmp 3f",
        "2: xsave64 [rcx]",
        // 3. Floating-point control as the calling convention wants it for the code below. `fninit` is slow,
        //    and almost nobody uses that unit: the header tells whether it is still as it began.
        "3: ldmxcsr [rip + {mxcsr}]",
        "test byte ptr [rcx + 512], 1",
        "jz 4f",
        "fninit",
        "4:",
        // 4. Everything else in Rust; the answer is the flow to take up.
        "mov rdi, rbx",
        "call {taken}",
        "mov rdi, rax",
        "jmp {take_up}",
        features = const INFO_PAGE as usize + offset_of!(InfoPage, features),
        tsc_clock = const Features::TSC_CLOCK.bits(),
        current = sym crate::scheduler::CURRENT,
        mask_low = sym extended::MASK_LOW,
        mask_high = sym extended::MASK_HIGH,
        compact = sym extended::COMPACT,
        mxcsr = sym extended::DEFAULT_MXCSR,
        area = const AREA,
        taken = sym upcall::taken,
        take_up = sym take_up,
    )
}

/// Takes up the flow in `rdi` from the upcall stack, events and exceptions off.
#[unsafe(naked)]
unsafe extern "C" fn take_up() -> ! {
    naked_asm!(
        "cmp qword ptr [rdi + {interrupted}], 0",
        "jne {resume}",
        "mov dword ptr [{state}], {exceptions}",
        "mov rsp, [rdi + {stack_pointer}]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        stack_pointer = const STACK_POINTER,
        interrupted = const INTERRUPTED,
        state = const STATE,
        exceptions = const State::EXCEPTIONS.bits(),
        resume = sym resume,
    )
}

/// Continues the interrupted flow in `rdi`.
///
/// On entry: events are off, and nothing on the stack is needed any more. Does not return.
#[unsafe(naked)]
unsafe extern "C" fn resume() -> ! {
    naked_asm!(
        // 1. The extended state. An event cannot come yet.
        "mov rcx, [rdi + {area}]",
        "lea r8, [rcx + {general}]",
        "mov eax, [rip + {mask_low}]",
        "mov edx, [rip + {mask_high}]",
        "xrstor64 [rcx]",
        // 2. The state indicator as the flow had it. If IRQ is set by this, an upcall can come from
        //    the next instruction on: the restartable range begins.
        "mov ecx, [r8 + {state_offset}]",
        stretch::end_in_assembly!(),
        "mov [{state}], ecx",
        ".global vcpu_resume_begin",
        "vcpu_resume_begin:",
        // 3. An event that came while IRQ was clear left only its sticky flag.
        "test ecx, {irq}",
        "jz 2f",
        "test dword ptr [{sticky}], {event_pending}",
        "jnz 3f",
        // 4. The general registers. The stack pointer walks through the flow's context and only
        //    reads: upcalls use their own stack.
        "2: mov rsp, r8",
        pop_general!(),
        "iretq",
        // 5. The sticky flag was set: events off again, still in the range ...
        "3: mov dword ptr [{state}], 0",
        ".global vcpu_resume_end",
        "vcpu_resume_end:",
        //    ... and behind it, take what is pending as an upcall would and begin anew.
        "mov rsp, [{entry_sp}]",
        "ldmxcsr [rip + {mxcsr}]",
        "fninit",
        "call {pending}",
        "mov rdi, rax",
        "jmp {take_up}",
        mask_low = sym extended::MASK_LOW,
        mask_high = sym extended::MASK_HIGH,
        area = const AREA,
        general = const extended::GENERAL,
        state_offset = const STATE_OFFSET,
        state = const STATE,
        sticky = const STICKY,
        entry_sp = const ENTRY_SP,
        irq = const State::IRQ.bits(),
        event_pending = const Sticky::EVENT_PENDING.bits(),
        mxcsr = sym extended::DEFAULT_MXCSR,
        pending = sym upcall::pending,
        take_up = sym take_up,
    )
}
