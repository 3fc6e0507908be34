//! Entry vector and resume: saving what was interrupted, and continuing it.
//!
//! ```text
//!  interrupted code ──▶ machine: registers to the state save area, IRQ and EXCEPTIONS off
//!                             │
//!                 entry_vector: extended state to the thread
//!                             │
//!                       upcall::taken: state save area to the thread, handlers
//!                             │
//!                       resume: extended state from the thread, IRQ and EXCEPTIONS as they were,
//!                             │  general registers from the thread, iretq
//!                             ▼
//!  interrupted code, as if nothing had happened
//! ```
//!
//! `resume` must set IRQ before the interrupted code runs again, so an event can come while the
//! registers are half restored. That is harmless, because from the instruction that sets IRQ to `iretq`
//! (the *restartable range*) it only reads: the thread's own copy stays true, and the upcall, when it
//! finds the interrupted `rip` in the range, keeps that copy instead of taking the registers. It
//! also never writes to the thread's stack, so code that uses a red zone may be interrupted anywhere.

use crate::extended::{self, AREA_SIZE};
use crate::upcall;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use vcpu_abi::layout::VCPU_PAGE;
use vcpu_abi::page::{GENERAL_REGISTERS, State, StateSaveArea, Sticky, VcpuPage};

/// The general registers of code that is not running. `resume` pops them in this order.
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

/// Everything the processor holds of one flow of execution.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Thread {
    extended: UnsafeCell<[u8; AREA_SIZE]>,
    context: UnsafeCell<Context>,
}

const EXTENDED: usize = offset_of!(Thread, extended);
const CONTEXT: usize = offset_of!(Thread, context);
const STATE_OFFSET: usize = offset_of!(Context, state);
const STATE: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, state);
const STICKY: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, sticky);
const ENTRY_SP: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, entry_sp);

const _: () = {
    assert!(offset_of!(Context, rip) == 8 * GENERAL_REGISTERS);
    assert!(offset_of!(Context, stack_segment) == 8 * (GENERAL_REGISTERS + 4));
    assert!(EXTENDED.is_multiple_of(64));
    assert!(offset_of!(StateSaveArea, general) == 0);
    assert!(size_of::<Context>() == 8 * (GENERAL_REGISTERS + 6));
};

/// The thread that runs, or was interrupted by the upcall that runs.
pub(crate) static CURRENT: AtomicPtr<Thread> = AtomicPtr::new((&raw const MAIN).cast_mut());

static MAIN: Thread =
    Thread { extended: UnsafeCell::new([0; AREA_SIZE]), context: UnsafeCell::new(Context::new()) };

// SAFETY: the cells are written only on the vCPU's own thread with events off (the entry vector and
// `upcall`), and there is one vCPU.
unsafe impl Sync for Thread {}

impl Context {
    const fn new() -> Context {
        Context {
            general: [0; GENERAL_REGISTERS],
            rip: 0,
            code_segment: 0,
            rflags: 0,
            rsp: 0,
            stack_segment: 0,
            state: 0,
        }
    }

    /// Takes the interrupted registers from the state save area.
    pub(crate) fn load(&mut self, page: &VcpuPage) {
        for (register, saved) in self.general.iter_mut().zip(&page.ssa.general) {
            *register = saved.load(Relaxed);
        }
        self.rip = page.ssa.rip.load(Relaxed);
        self.rflags = page.ssa.rflags.load(Relaxed);
        self.rsp = page.ssa.rsp.load(Relaxed);
        (self.code_segment, self.stack_segment) = segments();
        self.state = u64::from(page.saved_state.load(Relaxed));
    }
}

impl Thread {
    /// The thread's registers.
    ///
    /// # Safety
    ///
    /// Runs in an upcall, of which there is one at a time, and the reference does not outlive it.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the contract above")]
    pub(crate) unsafe fn context(&self) -> &mut Context {
        // SAFETY: as the function's contract says.
        unsafe { &mut *self.context.get() }
    }
}

/// The selectors of the code and the stack segment, which are the same for all code of a guest.
fn segments() -> (u64, u64) {
    let (code, stack): (u64, u64);
    // SAFETY: reads two registers.
    unsafe {
        core::arch::asm!("mov {0:e}, cs", "mov {1:e}, ss", out(reg) code, out(reg) stack,
            options(nomem, nostack, preserves_flags));
    }
    (code, stack)
}

/// Whether `rip` lies where `resume` has set IRQ and not yet continued the thread.
pub(crate) fn in_restartable_range(rip: u64) -> bool {
    unsafe extern "C" {
        static vcpu_resume_begin: u8;
        static vcpu_resume_end: u8;
    }
    ((&raw const vcpu_resume_begin) as u64..(&raw const vcpu_resume_end) as u64).contains(&rip)
}

/// Where the machine begins an upcall. Not called by anyone else.
///
/// On entry: `rsp` is the top of the upcall stack, IRQ and EXCEPTIONS are off, the direction, trap and
/// alignment flags are clear, the extended state is the interrupted code's, the general registers are
/// free. Never returns: it ends in `resume`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn entry_vector() -> ! {
    naked_asm!(
        "mov rbx, [rip + {current}]",
        // 1. The extended state, before any Rust code can touch it.
        "mov eax, [rip + {mask_low}]",
        "mov edx, [rip + {mask_high}]",
        "cmp dword ptr [rip + {compact}], 0",
        "je 2f",
        "xsavec64 [rbx + {extended}]",
        "jmp 3f",
        "2: xsave64 [rbx + {extended}]",
        // 2. Floating-point control as the calling convention wants it for the code below.
        "3: ldmxcsr [rip + {mxcsr}]",
        "fninit",
        // 3. Everything else in Rust; the answer is the thread to continue.
        "mov rdi, rbx",
        "call {taken}",
        "mov rdi, rax",
        "jmp {resume}",
        current = sym CURRENT,
        mask_low = sym extended::MASK_LOW,
        mask_high = sym extended::MASK_HIGH,
        compact = sym extended::COMPACT,
        mxcsr = sym extended::DEFAULT_MXCSR,
        extended = const EXTENDED,
        taken = sym upcall::taken,
        resume = sym resume,
    )
}

/// Continues the thread in `rdi`.
///
/// On entry: events and exceptions are off, `rsp` is on the upcall stack. Does not return.
#[unsafe(naked)]
unsafe extern "C" fn resume() -> ! {
    naked_asm!(
        // 1. The extended state. An event cannot come yet.
        "mov eax, [rip + {mask_low}]",
        "mov edx, [rip + {mask_high}]",
        "xrstor64 [rdi + {extended}]",
        // 2. The state indicator as the thread had it. If IRQ is set by this, an upcall can come from
        //    the next instruction on: the restartable range begins.
        "mov ecx, [rdi + {context} + {state_offset}]",
        "mov [{state}], ecx",
        ".global vcpu_resume_begin",
        "vcpu_resume_begin:",
        // 3. An event that came while IRQ was clear left only its sticky flag.
        "test ecx, {irq}",
        "jz 2f",
        "test dword ptr [{sticky}], {event_pending}",
        "jnz 3f",
        // 4. The general registers. The stack pointer walks through the thread's context and only
        //    reads: upcalls use their own stack.
        "2: lea rsp, [rdi + {context}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rbp",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
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
        "jmp {resume}",
        mask_low = sym extended::MASK_LOW,
        mask_high = sym extended::MASK_HIGH,
        extended = const EXTENDED,
        context = const CONTEXT,
        state_offset = const STATE_OFFSET,
        state = const STATE,
        sticky = const STICKY,
        entry_sp = const ENTRY_SP,
        irq = const State::IRQ.bits(),
        event_pending = const Sticky::EVENT_PENDING.bits(),
        mxcsr = sym extended::DEFAULT_MXCSR,
        pending = sym upcall::pending,
        resume = sym resume,
    )
}
