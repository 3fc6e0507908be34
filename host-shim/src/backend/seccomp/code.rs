//! The page of code in a guest's process: gate, fault and event handler, and the start.
//!
//! ```text
//!  guest calls ──▶ gate ──▶ exchange ──▶ look ──▶ back to the guest
//!                    │         ▲         ▲ └─ an event is pending: upcall from here
//!                    └─ wait ──┼─────────┘
//!  signal ──▶ handler ─────────┤ trap page, stop, double fault
//!                └─ exception, event, timer: registers to the state save area, frame := entry vector
//! ```
//!
//! A call of the gate that waits without a deadline does not get to the host: whoever raises a line wakes the guest.
//! Nor do the guest's timers: its process has two, one for either half of the lines, which the handler sets to
//! the next deadline of a [table](super::timer) that the host writes. There are two because to set one can cost as
//! much as a signal: it may set the processor's own. So the kernel's alarm, which is line 63, and the program's
//! deadlines do not wait for each other. If one fires a little early, because Linux's clock is ahead of the counter
//! that is the guest's, it is set again, for the time that is left.
//!
//! The gate uses no stack. The handler runs on a stack of its own with all signals blocked, so nothing
//! interrupts it, and what it does to the frame becomes true when it returns. It uses general registers
//! only: the extended state stays where the kernel put it, and is back when the entry vector runs.
//!
//! Everything here may be jumped to, at any byte, by a hostile guest. It then does to itself what it could
//! do by its own instructions: all it can reach is its own memory, and a few system calls that the filter
//! knows by their addresses and arguments.

use super::slot::{self, Alarms, Answer, CallSlot, Deadline, REPLY_AT, Reply, SLOT_AT, Special};
use crate::filter::TimerSites;
use crate::stub::{Page, start_code};
use std::arch::global_asm;
use std::mem::offset_of;
use vcpu_abi::call::{Call, NEVER};
use vcpu_abi::cause::Cause;
use vcpu_abi::layout::{GATE, PAGE_SIZE, TRAP_INSTRUCTION, TRAP_PAGE, VCPU_PAGE};
use vcpu_abi::page::{ERROR_CODE_KNOWN, State, StateSaveArea, Sticky, VcpuPage};

/// The general registers in a signal frame, as bytes from the first of them (`gregs` of `ucontext_t`).
mod frame {
    pub(super) const RIP: usize = 128;
    pub(super) const FLAGS: usize = 136;
    pub(super) const SEGMENTS: usize = 144;
    pub(super) const ERROR: usize = 152;
    pub(super) const ADDRESS: usize = 176;
    /// Bytes of `ucontext_t` before them.
    pub(super) const BEFORE: usize = 40;
}

/// Kernel selectors of user code and stack as the frame has them, of FS and GS zero.
const SEGMENTS: u64 = 0x33 | 0x2b << 48;

const SSA: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, ssa);
const SIGNAL_OF_KICKS: i32 = libc::SIGURG;
/// The signals of the process's timers: that of the lower half of the lines, and that of the upper.
pub(crate) const SIGNALS_OF_TIMERS: [i32; 2] = [libc::SIGALRM, libc::SIGVTALRM];

global_asm!(
    ".pushsection .rodata.vcpu_fast, \"a\"",
    ".irp label, page, published, look, look_end, wake_end, wait_end, arm0_end, arm1_end, doze_end, next0_end, next1_end, again0_end, again1_end, protect_end, handler, return, return_end, start, end",
    ".global vcpu_fast_\\label",
    ".hidden vcpu_fast_\\label",
    ".endr",
    ".balign 64",
    "vcpu_fast_page:",
    // The gate, at offset 0, with the C arguments rdi, rsi, rdx, rcx, r8.
    "cmp edi, {wait}",
    "je 90f",
    "9: mov [{number}], edi",
    "mov [{a}], rsi",
    "mov [{b}], rdx",
    "mov [{c}], rcx",
    "mov [{d}], r8",
    "mov dword ptr [{kind}], {gate_call}",
    "lea r9, [rip + vcpu_fast_look]",
    // Exchange: publishes the request in the call slot, waits for the answer, continues at r9 with the
    // answer in rax. Changes rcx, rdx, rdi, rsi, r8, r10, r11. Requests are counted by twos, and
    // the wait ends when the last one was answered, whoever made it: to jump into it is to return.
    "10:",
    // Publishes in one step, and orders that before the question whether the host sleeps.
    "lock add dword ptr [{request}], 2",
    "vcpu_fast_published:",
    "cmp dword ptr [{host_waits}], 0",
    "jne 13f",
    // First for a moment, which is what an answer takes from a host that looks, too.
    "11: mov ecx, [{spin}]",
    "mov r8d, ecx",
    "shr r8d, {spin_shift}",
    "12: mov edx, [{request}]",
    "and edx, -2",
    "cmp [{reply}], edx",
    "je 16f",
    "pause",
    "sub r8d, 1",
    "jnb 12b",
    // Not at all if that is the rule; and no longer if the host was last on this core.
    "test ecx, ecx",
    "jz 14f",
    "rdtscp",
    "and ecx, {cpu_mask}",
    "cmp ecx, [{host_cpu}]",
    "je 14f",
    "mov ecx, [{spin}]",
    "8: mov edx, [{request}]",
    "and edx, -2",
    "cmp [{reply}], edx",
    "je 16f",
    "pause",
    "sub ecx, 1",
    "jnb 8b",
    // The host sleeps.
    "13: mov edi, {request}",
    "mov esi, {futex_wake}",
    "mov edx, 1",
    "xor r10d, r10d",
    "mov eax, {futex}",
    "syscall",
    "vcpu_fast_wake_end:",
    "jmp 11b",
    // It did not pay to spin any longer. Where the host may spin it is told on which core this was.
    "14: cmp dword ptr [{spin_most}], 0",
    "je 7f",
    "rdtscp",
    "and ecx, {cpu_mask}",
    "mov [{guest_cpu}], ecx",
    "7: mov eax, 1",
    "xchg [{guest_waits}], eax",
    "15: mov eax, [{request}]",
    "and eax, -2",
    "mov edx, [{reply}]",
    "cmp edx, eax",
    "je 17f",
    "mov edi, {reply}",
    "xor esi, esi",
    "xor r10d, r10d",
    "mov eax, {futex}",
    "syscall",
    "vcpu_fast_wait_end:",
    "jmp 15b",
    "17: mov dword ptr [{guest_waits}], 0",
    "16: mov eax, [{flags}]",
    "test eax, eax",
    "jnz 18f",
    "mov rax, [{value}]",
    "jmp r9",
    // The host wants something before the guest goes on. First, timers set to what the slot says.
    "18:",
    ".irp half, 0, 1",
    "test eax, {answer_arm} << \\half",
    "jz 19f",
    "mov edi, \\half",
    "mov esi, {absolute}",
    "mov edx, {first} + {alarms_size} * \\half",
    "xor r10d, r10d",
    "mov eax, {timer_settime}",
    "syscall",
    "vcpu_fast_arm\\half\\()_end:",
    "mov eax, [{flags}]",
    "19:",
    ".endr",
    // Then, and before there is an answer: rights of pages changed, or the registers.
    "test eax, {answer_protect}",
    "jnz 20f",
    "test eax, {answer_stop}",
    "jnz 21f",
    "mov rax, [{value}]",
    "jmp r9",
    "20: mov rsi, [{protect_length}]",
    "mov rdx, [{protect_access}]",
    "mov rdi, [{protect_address}]",
    "mov eax, {mprotect}",
    "syscall",
    "vcpu_fast_protect_end:",
    "mov [{result}], rax",
    "mov dword ptr [{special}], {protected}",
    "jmp 10b",
    // The host wants to see which call it was.
    "21: mov edi, [{number}]",
    "int3",
    "vcpu_fast_stop_end:",
    // The look: was an event left pending? An event from here to the return moves rip back here.
    "vcpu_fast_look:",
    "test dword ptr [{sticky}], {event_pending}",
    "jnz 30f",
    "22: ret",
    "vcpu_fast_look_end:",
    // If events are on, the upcall interrupts the caller behind its call.
    "30: test dword ptr [{state}], {irq}",
    "jz 22b",
    "mov [{ssa} + 0x00], r15",
    "mov [{ssa} + 0x08], r14",
    "mov [{ssa} + 0x10], r13",
    "mov [{ssa} + 0x18], r12",
    "mov [{ssa} + 0x20], r11",
    "mov [{ssa} + 0x28], r10",
    "mov [{ssa} + 0x30], r9",
    "mov [{ssa} + 0x38], r8",
    "mov [{ssa} + 0x40], rbp",
    "mov [{ssa} + 0x48], rdi",
    "mov [{ssa} + 0x50], rsi",
    "mov [{ssa} + 0x58], rdx",
    "mov [{ssa} + 0x60], rcx",
    "mov [{ssa} + 0x68], rbx",
    "mov [{ssa} + 0x70], rax",
    // Without the trap flag if it is the host that steps.
    "mov edx, [{step}]",
    "not edx",
    "pushfq",
    "pop rcx",
    "and ecx, edx",
    "mov [{ssa_flags}], rcx",
    "mov rcx, [rsp]",
    "mov [{ssa_ip}], rcx",
    "lea rcx, [rsp + 8]",
    "mov [{ssa_sp}], rcx",
    "mov dword ptr [{ssa_cause}], {event}",
    "mov dword ptr [{ssa_error}], 0",
    "mov qword ptr [{ssa_address}], 0",
    "mov ecx, [{state}]",
    "and ecx, {both}",
    "mov [{saved_state}], ecx",
    "and dword ptr [{state}], {neither}",
    "and dword ptr [{sticky}], ~{event_pending}",
    "push {entry_flags}",
    "popfq",
    "mov rsp, [{entry_sp}]",
    "jmp qword ptr [{entry_ip}]",
    // A wait without deadline. Who raises a line does not disturb it: it looks, and then sleeps on the
    // doorbell. How long it looks depends on whether that has lately paid.
    "90: cmp rsi, {never}",
    "jne 9b",
    "cmp dword ptr [{real_time}], 0",
    "je 9b",
    "or dword ptr [{state}], {irq}",
    "mov eax, 1",
    "xchg [{dozes}], eax",
    "rdtsc",
    "mov r8d, eax",
    "mov ecx, [{doze_spin}]",
    "91: cmp qword ptr [{pending}], 0",
    "jne 93f",
    "test dword ptr [{sticky}], {event_pending}",
    "jnz 93f",
    "sub ecx, 1",
    "jb 92f",
    "pause",
    "jmp 91b",
    "92: mov edx, [{doorbell}]",
    "cmp qword ptr [{pending}], 0",
    "jne 93f",
    "test dword ptr [{sticky}], {event_pending}",
    "jnz 93f",
    "mov edi, {doorbell}",
    "xor esi, esi",
    "xor r10d, r10d",
    "mov eax, {futex}",
    "syscall",
    "vcpu_fast_doze_end:",
    "jmp 92b",
    "93: mov dword ptr [{dozes}], 0",
    "or dword ptr [{sticky}], {event_pending}",
    "rdtsc",
    "sub eax, r8d",
    "mov ecx, [{spin_most}]",
    "mov edx, ecx",
    "shr edx, {spin_shift}",
    "cmp eax, [{spin_pays}]",
    "cmova ecx, edx",
    "mov [{doze_spin}], ecx",
    "xor eax, eax",
    "jmp vcpu_fast_look",
    // The handler of all signals: edi is the signal, rsi its information, rdx the context. rbx becomes the
    // registers' place in the frame, r12 the interrupted instruction, ecx a cause, r13 its address, r14d
    // its error code.
    ".balign 16",
    "vcpu_fast_handler:",
    "push {entry_flags}",
    "popfq",
    "lea rbx, [rdx + {before}]",
    "mov r12, [rbx + {rip}]",
    "xor r13d, r13d",
    "xor r14d, r14d",
    "cmp edi, {kick}",
    "je 60f",
    "cmp edi, {signal_of_timer}",
    "je vcpu_fast_timer0",
    "cmp edi, {signal_of_timer_1}",
    "je vcpu_fast_timer1",
    // Signals from outside have codes of zero and less; nobody but the kernel can use others.
    "mov eax, [rsi + 8]",
    "test eax, eax",
    "jle vcpu_fast_return",
    "cmp edi, {sigsegv}",
    "je 41f",
    "cmp edi, {sigtrap}",
    "je 44f",
    "mov ecx, {invalid_opcode}",
    "cmp edi, {sigill}",
    "je 50f",
    "cmp edi, {sigbus}",
    "je 46f",
    "cmp edi, {sigfpe}",
    "je 47f",
    // SIGSYS. For a vsyscall there is no instruction: the kernel has emulated its return.
    "mov ecx, {outside_call}",
    "cmp [rsi + 16], r12",
    "jne 50f",
    "cmp word ptr [rbx + {segments}], 0x33",
    "jne 50f",
    "sub qword ptr [rbx + {rip}], 2",
    "jmp 50f",
    // SIGSEGV: general protection, or a page fault, or a call by the trap page.
    "41: mov ecx, {general_protection}",
    "cmp eax, {si_kernel}",
    "je 50f",
    "mov r13, [rbx + {address}]",
    "cmp r13, {trap_page}",
    "jne 43f",
    // Not for a fetch from there, and only if it was the one instruction.
    "test byte ptr [rbx + {error}], 0x10",
    "jnz 43f",
    "cmp word ptr [rbx + {segments}], 0x33",
    "jne 43f",
    "cmp dword ptr [r12], {trap_low}",
    "jne 43f",
    "cmp word ptr [r12 + 4], {trap_middle}",
    "jne 43f",
    "cmp byte ptr [r12 + 6], {trap_high}",
    "je 70f",
    "43: mov ecx, {page_fault}",
    "mov r14d, [rbx + {error}]",
    "or r14d, {error_known}",
    "jmp 50f",
    // SIGTRAP: a step for the host, a stop for the host, or the guest's own.
    "44: mov ecx, {breakpoint}",
    "cmp eax, {si_kernel}",
    "je 45f",
    "mov ecx, {debug}",
    "cmp dword ptr [{step}], 0",
    "jne 80f",
    "jmp 50f",
    "45: lea rax, [rip + vcpu_fast_stop_end]",
    "cmp r12, rax",
    "je 80f",
    "lea rax, [rip + vcpu_fast_end]",
    "cmp r12, rax",
    "je 80f",
    "jmp 50f",
    // SIGBUS
    "46: mov ecx, {stack_fault}",
    "cmp eax, {si_kernel}",
    "je 50f",
    "mov ecx, {alignment_check}",
    "cmp eax, {bus_adraln}",
    "je 50f",
    "mov r13, [rbx + {address}]",
    "jmp 43b",
    // SIGFPE
    "47: mov ecx, {divide_error}",
    "cmp eax, {fpe_intovf}",
    "jbe 50f",
    "mov ecx, {x87}",
    "cmp dword ptr [rbx + {trap_number}], {x87}",
    "je 50f",
    "mov ecx, {simd}",
    // An exception.
    "50: cmp word ptr [rbx + {segments}], 0x33",
    "je 52f",
    "51: mov ecx, {left_64_bit}",
    "xor r13d, r13d",
    "xor r14d, r14d",
    "52: test dword ptr [{state}], {exceptions}",
    "jnz 55f",
    // A double fault: the host says so, and never answers.
    "mov [{number}], ecx",
    "mov [{a}], r13",
    "mov [{b}], r14",
    "mov dword ptr [{special}], {double_fault}",
    "jmp 81f",
    // The upcall.
    "55: mov rax, [rbx + 56]",
    "mov [{ssa} + 0x00], rax",
    "mov rax, [rbx + 48]",
    "mov [{ssa} + 0x08], rax",
    "mov rax, [rbx + 40]",
    "mov [{ssa} + 0x10], rax",
    "mov rax, [rbx + 32]",
    "mov [{ssa} + 0x18], rax",
    "mov rax, [rbx + 24]",
    "mov [{ssa} + 0x20], rax",
    "mov rax, [rbx + 16]",
    "mov [{ssa} + 0x28], rax",
    "mov rax, [rbx + 8]",
    "mov [{ssa} + 0x30], rax",
    "mov rax, [rbx + 0]",
    "mov [{ssa} + 0x38], rax",
    "mov rax, [rbx + 80]",
    "mov [{ssa} + 0x40], rax",
    "mov rax, [rbx + 64]",
    "mov [{ssa} + 0x48], rax",
    "mov rax, [rbx + 72]",
    "mov [{ssa} + 0x50], rax",
    "mov rax, [rbx + 96]",
    "mov [{ssa} + 0x58], rax",
    "mov rax, [rbx + 112]",
    "mov [{ssa} + 0x60], rax",
    "mov rax, [rbx + 88]",
    "mov [{ssa} + 0x68], rax",
    "mov rax, [rbx + 104]",
    "mov [{ssa} + 0x70], rax",
    "mov rax, [rbx + {rip}]",
    "mov [{ssa_ip}], rax",
    "mov rax, [rbx + 120]",
    "mov [{ssa_sp}], rax",
    // A step of the host's must neither be seen nor be lost.
    "mov edx, [{step}]",
    "and edx, {trap_flag}",
    "mov eax, edx",
    "not rax",
    "and rax, [rbx + {eflags}]",
    "mov [{ssa_flags}], rax",
    "or edx, {entry_flags}",
    "mov [rbx + {eflags}], rdx",
    "mov [{ssa_cause}], ecx",
    "mov [{ssa_error}], r14d",
    "mov [{ssa_address}], r13",
    "mov eax, [{state}]",
    "and eax, {both}",
    "mov [{saved_state}], eax",
    "and dword ptr [{state}], {neither}",
    "mov rax, [{entry_ip}]",
    "mov [rbx + {rip}], rax",
    "mov rax, [{entry_sp}]",
    "mov [rbx + 120], rax",
    "mov rax, {selectors}",
    "mov [rbx + {segments}], rax",
    // The return from the signal, with the frame that begins before the context.
    "vcpu_fast_return:",
    "lea rsp, [rbx - {before}]",
    "mov eax, {sigreturn}",
    "syscall",
    "vcpu_fast_return_end:",
    "ud2",
    // A timer: raises the lines of all deadlines that have come. `armed` is a number that the host gives to
    // each table, and in the lowest byte the next deadline, counted from one. The host may take it back.
    ".irp half, 0, 1",
    "vcpu_fast_timer\\half:",
    "cmp dword ptr [rsi + 8], {si_timer}",
    "jne vcpu_fast_return",
    "xor ebp, ebp",
    "57: mov r8d, [{armed} + 4 * \\half]",
    "movzx esi, r8b",
    "test esi, esi",
    "jz 59f",
    "shl esi, {deadline_shift}",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "cmp rax, [rsi + {due} - {deadline_size} + {alarms_size} * \\half]",
    "jb 58f",
    // The line is read before the step to the next: if that succeeds, the table is still the same.
    "mov r9, [rsi + {line} - {deadline_size} + {alarms_size} * \\half]",
    "lea edx, [r8 + 1]",
    "cmp r8b, [{count} + {alarms_size} * \\half]",
    "jb 4f",
    "xor edx, edx",
    "4: mov eax, r8d",
    "lock cmpxchg [{armed} + 4 * \\half], edx",
    "jne 57b",
    "lock or [{pending}], r9",
    "lock add dword ptr [{doorbell}], 1",
    "mov ebp, 1",
    "jmp 57b",
    // Not yet.
    "58: test ebp, ebp",
    "jz 5f",
    "mov rax, [rsi + {at} - {deadline_size} + {alarms_size} * \\half]",
    "mov [{timer} + 32 * \\half + 16], rax",
    "mov rax, [rsi + {at} + 8 - {deadline_size} + {alarms_size} * \\half]",
    "mov [{timer} + 32 * \\half + 24], rax",
    "mov edi, \\half",
    "mov esi, {absolute}",
    "mov edx, {timer} + 32 * \\half",
    "xor r10d, r10d",
    "mov eax, {timer_settime}",
    "syscall",
    "vcpu_fast_next\\half\\()_end:",
    "jmp 60f",
    // Early, or another deadline's signal: for the time that is left, below a second, and never for none.
    "5: mov rcx, [rsi + {due} - {deadline_size} + {alarms_size} * \\half]",
    "sub rcx, rax",
    "mov rax, [{tick}]",
    "mul rcx",
    "shrd rax, rdx, 32",
    "mov ecx, 999999998",
    "cmp rax, rcx",
    "cmova rax, rcx",
    "inc rax",
    "mov qword ptr [{timer} + 32 * \\half + 16], 0",
    "mov [{timer} + 32 * \\half + 24], rax",
    "mov edi, \\half",
    "xor esi, esi",
    "mov edx, {timer} + 32 * \\half",
    "xor r10d, r10d",
    "mov eax, {timer_settime}",
    "syscall",
    "vcpu_fast_again\\half\\()_end:",
    "jmp vcpu_fast_return",
    "59: test ebp, ebp",
    "jz vcpu_fast_return",
    "jmp 60f",
    ".endr",
    // Somebody kicked. Perhaps the host wants to stop the guest; perhaps there is no event any more.
    "60: cmp dword ptr [{stop_wanted}], 0",
    "jne 80f",
    "cmp qword ptr [{pending}], 0",
    "je vcpu_fast_return",
    "mov rax, r12",
    "sub rax, {gate}",
    "cmp rax, {page_size}",
    "jae 62f",
    // In here it waits, until the gate looks; it looks again if it was about to return.
    "or dword ptr [{sticky}], {event_pending}",
    "lea rax, [rip + vcpu_fast_look]",
    "cmp r12, rax",
    "jb vcpu_fast_return",
    "lea rcx, [rip + vcpu_fast_look_end]",
    "cmp r12, rcx",
    "jae vcpu_fast_return",
    "mov [rbx + {rip}], rax",
    "jmp vcpu_fast_return",
    "62: test dword ptr [{state}], {irq}",
    "jnz 64f",
    "63: or dword ptr [{sticky}], {event_pending}",
    "jmp vcpu_fast_return",
    "64: cmp word ptr [rbx + {segments}], 0x33",
    "je 65f",
    "or dword ptr [{sticky}], {event_pending}",
    "jmp 51b",
    "65: and dword ptr [{sticky}], ~{event_pending}",
    "mov ecx, {event}",
    "jmp 55b",
    // A call by the trap page; then a look, as in the gate.
    "70: mov rax, [rbx + 64]",
    "mov [{number}], eax",
    "mov rax, [rbx + 72]",
    "mov [{a}], rax",
    "mov rax, [rbx + 96]",
    "mov [{b}], rax",
    "mov rax, [rbx + 112]",
    "mov [{c}], rax",
    "mov rax, [rbx + 0]",
    "mov [{d}], rax",
    "mov [{registers}], rbx",
    "mov dword ptr [{kind}], {trap_call}",
    "lea r9, [rip + 71f]",
    "jmp 10b",
    "71: mov [rbx + 104], rax",
    "add qword ptr [rbx + {rip}], {trap_length}",
    "xor r13d, r13d",
    "test dword ptr [{sticky}], {event_pending}",
    "jz vcpu_fast_return",
    "test dword ptr [{state}], {irq}",
    "jnz 65b",
    "jmp vcpu_fast_return",
    // A stop: the host looks at the frame and the segment bases, perhaps changes them, and answers.
    "80: mov dword ptr [{special}], {stopped}",
    "cmp dword ptr [{has_bases}], 0",
    "je 81f",
    "rdfsbase rax",
    "mov [{bases}], rax",
    "rdgsbase rax",
    "mov [{bases} + 8], rax",
    "mov [{registers}], rbx",
    "lea r9, [rip + 82f]",
    "jmp 10b",
    "82: mov rax, [{new_bases}]",
    "wrfsbase rax",
    "mov rax, [{new_bases} + 8]",
    "wrgsbase rax",
    "jmp vcpu_fast_return",
    "81: mov [{registers}], rbx",
    "lea r9, [rip + vcpu_fast_return]",
    "jmp 10b",
    ".balign 16",
    "vcpu_fast_start:",
    start_code!(),
    // The end: a stop if all went well. Without handlers it ends the process; then the slot says where.
    "3: mov [{a}], rax",
    "mov [{b}], rbx",
    "int3",
    "vcpu_fast_end:",
    ".popsection",
    mmap = const libc::SYS_mmap,
    vcpu_page = const VCPU_PAGE,
    page_size = const PAGE_SIZE,
    read_write = const libc::PROT_READ | libc::PROT_WRITE,
    shared_fixed = const libc::MAP_SHARED | libc::MAP_FIXED,
    request = const slot::REQUEST,
    kind = const SLOT_AT as usize + offset_of!(CallSlot, kind),
    number = const SLOT_AT as usize + offset_of!(CallSlot, number),
    guest_waits = const SLOT_AT as usize + offset_of!(CallSlot, guest_waits),
    a = const SLOT_AT as usize + offset_of!(CallSlot, arguments),
    b = const SLOT_AT as usize + offset_of!(CallSlot, arguments) + 8,
    c = const SLOT_AT as usize + offset_of!(CallSlot, arguments) + 16,
    d = const SLOT_AT as usize + offset_of!(CallSlot, arguments) + 24,
    registers = const SLOT_AT as usize + offset_of!(CallSlot, registers),
    special = const SLOT_AT as usize + offset_of!(CallSlot, special) + offset_of!(Special, kind),
    result = const SLOT_AT as usize + offset_of!(CallSlot, special) + offset_of!(Special, result),
    bases = const SLOT_AT as usize + offset_of!(CallSlot, special) + offset_of!(Special, bases),
    new_bases = const REPLY_AT as usize + offset_of!(Reply, bases),
    has_bases = const REPLY_AT as usize + offset_of!(Reply, has_bases),
    reply = const slot::REPLY,
    flags = const REPLY_AT as usize + offset_of!(Reply, flags),
    value = const REPLY_AT as usize + offset_of!(Reply, value),
    protect_address = const REPLY_AT as usize + offset_of!(Reply, protect),
    protect_length = const REPLY_AT as usize + offset_of!(Reply, protect) + 8,
    protect_access = const REPLY_AT as usize + offset_of!(Reply, protect) + 16,
    spin = const REPLY_AT as usize + offset_of!(Reply, spin),
    host_waits = const REPLY_AT as usize + offset_of!(Reply, host_waits),
    stop_wanted = const REPLY_AT as usize + offset_of!(Reply, stop_wanted),
    step = const REPLY_AT as usize + offset_of!(Reply, step),
    gate_call = const slot::GATE_CALL,
    trap_call = const slot::TRAP_CALL,
    protected = const slot::PROTECTED,
    stopped = const slot::STOPPED,
    double_fault = const slot::DOUBLE_FAULT,
    answer_arm = const Answer::ARM_LOW.bits(),
    wait = const Call::Wait as u32,
    never = const NEVER as i64,
    real_time = const REPLY_AT as usize + offset_of!(Reply, real_time),
    guest_cpu = const SLOT_AT as usize + offset_of!(CallSlot, special) + offset_of!(Special, cpu),
    host_cpu = const REPLY_AT as usize + offset_of!(Reply, host_cpu),
    cpu_mask = const slot::CPU_MASK,
    spin_pays = const REPLY_AT as usize + offset_of!(Reply, spin_pays),
    spin_shift = const slot::SPIN_SHIFT,
    spin_most = const REPLY_AT as usize + offset_of!(Reply, spin_most),
    at = const slot::ALARMS + offset_of!(Alarms, deadlines) + offset_of!(Deadline, at),
    due = const slot::ALARMS + offset_of!(Alarms, deadlines) + offset_of!(Deadline, due),
    line = const slot::ALARMS + offset_of!(Alarms, deadlines) + offset_of!(Deadline, line),
    alarms_size = const size_of::<Alarms>(),
    deadline_size = const size_of::<Deadline>(),
    deadline_shift = const size_of::<Deadline>().trailing_zeros(),
    count = const slot::ALARMS + offset_of!(Alarms, count),
    timer = const slot::TIMER,
    first = const slot::ALARMS + offset_of!(Alarms, first),
    tick = const REPLY_AT as usize + offset_of!(Reply, tick),
    dozes = const SLOT_AT as usize + offset_of!(CallSlot, dozes),
    armed = const SLOT_AT as usize + offset_of!(CallSlot, armed),
    doze_spin = const SLOT_AT as usize + offset_of!(CallSlot, special) + offset_of!(Special, doze_spin),
    doorbell = const slot::DOORBELL,
    timer_settime = const libc::SYS_timer_settime,
    absolute = const libc::TIMER_ABSTIME,
    signal_of_timer = const SIGNALS_OF_TIMERS[0],
    signal_of_timer_1 = const SIGNALS_OF_TIMERS[1],
    si_timer = const libc::SI_TIMER,
    answer_protect = const Answer::PROTECT.bits(),
    answer_stop = const Answer::STOP.bits(),
    futex = const libc::SYS_futex,
    futex_wake = const libc::FUTEX_WAKE,
    mprotect = const libc::SYS_mprotect,
    sigreturn = const libc::SYS_rt_sigreturn,
    state = const VCPU_PAGE as usize + offset_of!(VcpuPage, state),
    saved_state = const VCPU_PAGE as usize + offset_of!(VcpuPage, saved_state),
    sticky = const VCPU_PAGE as usize + offset_of!(VcpuPage, sticky),
    pending = const VCPU_PAGE as usize + offset_of!(VcpuPage, pending),
    entry_ip = const VCPU_PAGE as usize + offset_of!(VcpuPage, entry_ip),
    entry_sp = const VCPU_PAGE as usize + offset_of!(VcpuPage, entry_sp),
    irq = const State::IRQ.bits(),
    exceptions = const State::EXCEPTIONS.bits(),
    both = const State::all().bits(),
    neither = const !State::all().bits() as i32,
    event_pending = const Sticky::EVENT_PENDING.bits(),
    ssa = const SSA,
    ssa_ip = const SSA + offset_of!(StateSaveArea, rip),
    ssa_sp = const SSA + offset_of!(StateSaveArea, rsp),
    ssa_flags = const SSA + offset_of!(StateSaveArea, rflags),
    ssa_cause = const SSA + offset_of!(StateSaveArea, cause),
    ssa_error = const SSA + offset_of!(StateSaveArea, error_code),
    ssa_address = const SSA + offset_of!(StateSaveArea, fault_address),
    error_known = const ERROR_CODE_KNOWN,
    event = const Cause::Event as u32,
    page_fault = const Cause::PageFault as u32,
    general_protection = const Cause::GeneralProtection as u32,
    stack_fault = const Cause::StackFault as u32,
    alignment_check = const Cause::AlignmentCheck as u32,
    invalid_opcode = const Cause::InvalidOpcode as u32,
    divide_error = const Cause::DivideError as u32,
    x87 = const Cause::X87 as u32,
    simd = const Cause::Simd as u32,
    breakpoint = const Cause::Breakpoint as u32,
    debug = const Cause::Debug as u32,
    outside_call = const Cause::OutsideCall as u32,
    left_64_bit = const Cause::Left64Bit as u32,
    entry_flags = const crate::upcall::ENTRY_FLAGS,
    trap_flag = const slot::TRAP_FLAG,
    before = const frame::BEFORE,
    rip = const frame::RIP,
    eflags = const frame::FLAGS,
    segments = const frame::SEGMENTS,
    error = const frame::ERROR,
    trap_number = const frame::ERROR + 8,
    address = const frame::ADDRESS,
    selectors = const SEGMENTS,
    kick = const SIGNAL_OF_KICKS,
    sigsegv = const libc::SIGSEGV,
    sigtrap = const libc::SIGTRAP,
    sigill = const libc::SIGILL,
    sigbus = const libc::SIGBUS,
    sigfpe = const libc::SIGFPE,
    si_kernel = const super::super::code::SI_KERNEL,
    bus_adraln = const super::super::code::BUS_ADRALN,
    fpe_intovf = const super::super::code::FPE_INTOVF,
    gate = const GATE,
    trap_page = const TRAP_PAGE,
    trap_length = const TRAP_INSTRUCTION.len(),
    trap_low = const i32::from_le_bytes([TRAP_INSTRUCTION[0], TRAP_INSTRUCTION[1], TRAP_INSTRUCTION[2], TRAP_INSTRUCTION[3]]),
    trap_middle = const u16::from_le_bytes([TRAP_INSTRUCTION[4], TRAP_INSTRUCTION[5]]),
    trap_high = const TRAP_INSTRUCTION[6],
);

unsafe extern "C" {
    static vcpu_fast_page: u8;
    static vcpu_fast_published: u8;
    static vcpu_fast_look: u8;
    static vcpu_fast_wake_end: u8;
    static vcpu_fast_wait_end: u8;
    static vcpu_fast_arm0_end: u8;
    static vcpu_fast_arm1_end: u8;
    static vcpu_fast_doze_end: u8;
    static vcpu_fast_next0_end: u8;
    static vcpu_fast_next1_end: u8;
    static vcpu_fast_again0_end: u8;
    static vcpu_fast_again1_end: u8;
    static vcpu_fast_protect_end: u8;
    static vcpu_fast_handler: u8;
    static vcpu_fast_return: u8;
    static vcpu_fast_return_end: u8;
    static vcpu_fast_start: u8;
    static vcpu_fast_end: u8;
}

/// The guest address of a label.
fn address(label: *const u8) -> u64 {
    GATE + (label as u64 - (&raw const vcpu_fast_page) as u64)
}

/// The page, as the executable that a guest's process begins with.
pub(crate) fn page() -> Page {
    Page {
        begin: &raw const vcpu_fast_page,
        end: &raw const vcpu_fast_end,
        start: address(&raw const vcpu_fast_start),
    }
}

/// Where the gate looks for events before it returns.
pub(super) fn look() -> u64 {
    address(&raw const vcpu_fast_look)
}

/// Where a gate call stands that was published and not answered.
pub(super) fn unanswered() -> std::ops::Range<u64> {
    address(&raw const vcpu_fast_published)..look()
}

/// The handler of all signals.
pub(crate) fn handler() -> u64 {
    address(&raw const vcpu_fast_handler)
}

/// Where the handler returns from a signal.
pub(crate) fn restorer() -> u64 {
    address(&raw const vcpu_fast_return)
}

/// Where the sites of system calls end.
pub(crate) fn sites() -> crate::filter::Sites {
    crate::filter::Sites {
        mprotect: address(&raw const vcpu_fast_protect_end),
        gate: None,
        own: Some(crate::filter::OwnSites {
            sigreturn: address(&raw const vcpu_fast_return_end),
            wake: (address(&raw const vcpu_fast_wake_end), slot::REQUEST as u64),
            wait: (address(&raw const vcpu_fast_wait_end), slot::REPLY as u64),
            doze: (address(&raw const vcpu_fast_doze_end), slot::DOORBELL as u64),
            timers: [
                TimerSites {
                    arm: address(&raw const vcpu_fast_arm0_end),
                    next: address(&raw const vcpu_fast_next0_end),
                    again: address(&raw const vcpu_fast_again0_end),
                    first_time: slot::first(0),
                    time: slot::timer(0),
                },
                TimerSites {
                    arm: address(&raw const vcpu_fast_arm1_end),
                    next: address(&raw const vcpu_fast_next1_end),
                    again: address(&raw const vcpu_fast_again1_end),
                    first_time: slot::first(1),
                    time: slot::timer(1),
                },
            ],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lies_at_its_address_and_the_page_is_large_enough() {
        assert_eq!(address(&raw const vcpu_fast_page), GATE);
        assert!(address(&raw const vcpu_fast_end) < GATE + PAGE_SIZE);
    }

    #[test]
    fn the_frame_is_laid_out_as_the_c_library_says() {
        use libc::{REG_CR2, REG_CSGSFS, REG_EFL, REG_ERR, REG_RIP, REG_TRAPNO, mcontext_t, ucontext_t};
        assert_eq!(offset_of!(ucontext_t, uc_mcontext) + offset_of!(mcontext_t, gregs), frame::BEFORE);
        let at = [REG_RIP, REG_EFL, REG_CSGSFS, REG_ERR, REG_TRAPNO, REG_CR2].map(|index| 8 * index as usize);
        assert_eq!(
            at,
            [frame::RIP, frame::FLAGS, frame::SEGMENTS, frame::ERROR, frame::ERROR + 8, frame::ADDRESS]
        );
    }
}
