//! The `ptrace` backend: the reference, simple, debuggable, single-stepping.
//!
//! | what the guest does | what the system reports | what it becomes |
//! |---|---|---|
//! | calls the gate | `PTRACE_EVENT_SECCOMP` at the gate's system call | call |
//! | stores to the trap page | `SIGSEGV` with that address | call, if the instruction is the one |
//! | anything not permitted | `SIGSEGV` `SIGBUS` `SIGILL` `SIGFPE` `SIGTRAP` `SIGSYS` of the kernel's own | exception |
//! | is kicked, or sent a signal from outside | any other signal | kick, if there is one to take |
//!
//! The gate does not use the segmentation fault, because a stop without a signal costs two thirds of
//! one with (`vcpu bench call` shows both). No signal is ever delivered to the process.

use super::{Backend, Exception, Pace, Request, Stop, code};
use crate::memory::GuestMemory;
use crate::process::{self, Process};
use crate::registers::Registers;
use crate::{Error, stub, sys};
use libc::{c_int, c_uint};
use std::io;
use std::mem::offset_of;
use std::ops::Range;
use vcpu_abi::call::Access;
use vcpu_abi::cause::Cause;
use vcpu_abi::layout::{TRAP_INSTRUCTION, TRAP_PAGE};

/// From `linux/elf.h`: the extended state as the processor saves it.
const NT_X86_XSTATE: usize = 0x202;

/// A guest that is traced by this thread.
#[derive(Debug)]
pub struct Ptrace {
    process: Process,
    /// The registers as they were at the last stop, if they were asked for.
    known: Option<Registers>,
    /// Whether `known` has to be written before the guest runs.
    changed: bool,
    call: CallBy,
    /// The status with which the process ended, if that was found out between two runs.
    ended: Option<c_int>,
}

/// How the guest made the call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallBy {
    Gate,
    TrapPage,
}

impl Ptrace {
    /// Takes over a process that has just been started, and points it at `entry`.
    pub(crate) fn new(process: Process, entry: u64) -> Ptrace {
        Ptrace {
            process,
            known: Some(Registers::start(entry)),
            changed: true,
            call: CallBy::Gate,
            ended: None,
        }
    }

    /// Carries out a request. A process that was killed meanwhile cannot, and `wait` will tell.
    fn request(&self, request: c_uint, address: usize, data: usize) -> Result<(), Error> {
        // SAFETY: callers pass pointers that are valid for the request, or numbers.
        match sys::check(unsafe { libc::ptrace(request, self.process.pid, address, data) }) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(Error::system("control the guest's process", error))
            }
            _ => Ok(()),
        }
    }

    fn fetch(&mut self) -> Result<Registers, Error> {
        if let Some(registers) = self.known {
            return Ok(registers);
        }
        let mut registers = Registers::start(0);
        self.request(libc::PTRACE_GETREGS, 0, (&raw mut registers.raw) as usize)?;
        self.known = Some(registers);
        Ok(registers)
    }

    fn set(&mut self, registers: Registers) {
        self.known = Some(registers);
        self.changed = true;
    }

    /// Writes changed registers, and lets the process run until its next stop.
    fn resume(&mut self, request: c_uint) -> Result<c_int, Error> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        if let Some(mut registers) = self.known.take()
            && std::mem::take(&mut self.changed)
        {
            // Or the kernel would look whether an interrupted system call is to be restarted.
            registers.raw.orig_rax = u64::MAX;
            self.write(&registers)?;
        }
        self.request(request, 0, 0)?;
        self.process.wait().map_err(|error| Error::system("wait for the guest's process", error))
    }

    /// Writes all registers up to `ss`; nobody changes those behind it, segment bases and data selectors.
    fn write(&self, registers: &Registers) -> Result<(), Error> {
        let raw = &registers.raw;
        let result = self.request(libc::PTRACE_SETREGS, 0, std::ptr::from_ref(raw) as usize);
        if !matches!(&result, Err(Error::System { error, .. }) if error.raw_os_error() == Some(libc::EIO)) {
            return result;
        }
        // A guest can load bases and selectors that Linux takes from no debugger. So word by word.
        let words = std::ptr::from_ref(raw).cast::<u64>();
        (0..=offset_of!(libc::user_regs_struct, ss)).step_by(size_of::<u64>()).try_for_each(|offset| {
            // SAFETY: the structure consists of words, and the offset lies inside it.
            let word = unsafe { words.byte_add(offset).read() };
            self.request(libc::PTRACE_POKEUSER, offset, word as usize)
        })
    }

    /// Clears the trap flag, which the host has set to step. Linux hides its own trap flag, but not any
    /// more once an `iretq` or `popfq` was stepped over.
    fn hide_trap_flag(&mut self) -> Result<(), Error> {
        const TRAP_FLAG: u64 = 1 << 8;
        let mut registers = self.fetch()?;
        if registers.raw.eflags & TRAP_FLAG != 0 {
            registers.raw.eflags &= !TRAP_FLAG;
            self.set(registers);
        }
        Ok(())
    }

    /// What a stop means.
    fn classify(&mut self, status: c_int, pace: Pace, memory: &GuestMemory) -> Result<Stop, Error> {
        if libc::WIFSIGNALED(status) {
            return Ok(Stop::Killed(libc::WTERMSIG(status)));
        }
        if !libc::WIFSTOPPED(status) {
            let error = io::Error::other(format!("it ended by itself with status {status:#x}"));
            return Err(Error::system("keep the guest's process", error));
        }
        if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8 {
            self.call = CallBy::Gate;
            let raw = self.fetch()?.raw;
            return Ok(Stop::Call(Request {
                number: raw.rdi as u32,
                arguments: [raw.rsi, raw.rdx, raw.r10, raw.r8],
            }));
        }
        let signal = libc::WSTOPSIG(status);
        if !matches!(
            signal,
            libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGSYS
        ) {
            return Ok(Stop::Kick);
        }
        // SAFETY: an all-zero structure is valid; the kernel fills it.
        let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETSIGINFO, 0, (&raw mut information) as usize)?;
        // Signals from outside have codes of zero and less; nobody but the kernel can use others.
        if information.si_code <= 0 {
            return Ok(Stop::Kick);
        }
        // SAFETY: the kernel fills the address for all of these signals.
        let address = unsafe { information.si_addr() } as u64;
        let exception = |cause| Stop::Exception(Exception { cause, address: 0, error_code: 0 });
        let page_fault = Stop::Exception(Exception { cause: Cause::PageFault, address, error_code: 0 });
        Ok(match (signal, information.si_code) {
            (libc::SIGSEGV, code::SI_KERNEL) => exception(Cause::GeneralProtection),
            (libc::SIGSEGV, _) if address == TRAP_PAGE => self.trap_call(memory)?.unwrap_or(page_fault),
            (libc::SIGBUS, code::BUS_ADRALN) => exception(Cause::AlignmentCheck),
            (libc::SIGBUS, code::SI_KERNEL) => exception(Cause::StackFault),
            (libc::SIGSEGV | libc::SIGBUS, _) => page_fault,
            (libc::SIGILL, _) => exception(Cause::InvalidOpcode),
            (libc::SIGFPE, code::FPE_INTDIV | code::FPE_INTOVF) => exception(Cause::DivideError),
            (libc::SIGFPE, _) => exception(self.floating_point_cause()?),
            (libc::SIGTRAP, code::SI_KERNEL) => exception(Cause::Breakpoint),
            (libc::SIGTRAP, _) if pace == Pace::Step => Stop::Stepped,
            (libc::SIGTRAP, _) => exception(Cause::Debug),
            _ => {
                self.rewind_system_call(address)?;
                exception(Cause::OutsideCall)
            }
        })
    }

    /// The call that a store to the trap page is, if it was made with the right instruction.
    fn trap_call(&mut self, memory: &GuestMemory) -> Result<Option<Stop>, Error> {
        let registers = self.fetch()?;
        let raw = registers.raw;
        let instruction = memory.read(raw.rip);
        if instruction != Some(TRAP_INSTRUCTION) || !registers.in_64_bit_mode() {
            return Ok(None);
        }
        self.call = CallBy::TrapPage;
        Ok(Some(Stop::Call(Request {
            number: raw.rdi as u32,
            arguments: [raw.rsi, raw.rdx, raw.rcx, raw.r8],
        })))
    }

    /// An exception of floating point is the x87's if its status word says so.
    fn floating_point_cause(&self) -> Result<Cause, Error> {
        const SUMMARY: u16 = 1 << 7;
        // SAFETY: the structure consists of integers, for which zero is valid.
        let mut state: libc::user_fpregs_struct = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETFPREGS, 0, (&raw mut state) as usize)?;
        Ok(if state.swd & SUMMARY != 0 { Cause::X87 } else { Cause::Simd })
    }

    /// Puts `rip` back to the instruction of an attempted system call, which ends at `end`. For a
    /// vsyscall there is none: the kernel has emulated its return.
    fn rewind_system_call(&mut self, end: u64) -> Result<(), Error> {
        const INSTRUCTION_LENGTH: u64 = 2;
        let mut registers = self.fetch()?;
        if registers.raw.rip == end && registers.in_64_bit_mode() {
            registers.raw.rip = end.wrapping_sub(INSTRUCTION_LENGTH);
            self.set(registers);
        }
        Ok(())
    }
}

impl Backend for Ptrace {
    fn pid(&self) -> i32 {
        self.process.pid
    }

    fn run(&mut self, pace: Pace, memory: &GuestMemory) -> Result<Stop, Error> {
        let request = match pace {
            Pace::Full => libc::PTRACE_CONT,
            Pace::Step => libc::PTRACE_SINGLESTEP,
        };
        let status = self.resume(request)?;
        if pace == Pace::Step {
            self.hide_trap_flag()?;
        }
        self.classify(status, pace, memory)
    }

    fn answer(&mut self, value: i64) -> Result<(), Error> {
        let Some(registers) = &mut self.known else { return Ok(()) };
        registers.raw.rax = value as u64;
        if self.call == CallBy::Gate && !self.changed {
            // One register is much cheaper to write than all.
            let rax = offset_of!(libc::user_regs_struct, rax);
            return self.request(libc::PTRACE_POKEUSER, rax, value as usize);
        }
        if self.call == CallBy::TrapPage {
            registers.raw.rip += TRAP_INSTRUCTION.len() as u64;
        }
        self.changed = true;
        Ok(())
    }

    fn registers(&mut self) -> Result<Registers, Error> {
        self.fetch()
    }

    fn set_registers(&mut self, registers: Registers) -> Result<(), Error> {
        self.set(registers);
        Ok(())
    }

    fn extended(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        self.request(libc::PTRACE_GETREGSET, NT_X86_XSTATE, (&raw mut vector) as usize)?;
        Ok(vector.iov_len)
    }

    fn set_extended(&mut self, state: &[u8]) -> Result<(), Error> {
        // It is only read.
        let iov_base = state.as_ptr().cast_mut().cast();
        let mut vector = libc::iovec { iov_base, iov_len: state.len() };
        self.request(libc::PTRACE_SETREGSET, NT_X86_XSTATE, (&raw mut vector) as usize)
    }

    fn protect(&mut self, pages: Range<u64>, access: Access) -> Result<bool, Error> {
        let before = self.fetch()?;
        let mut registers = before;
        registers.enter(stub::protect(), before.raw.rsp, crate::upcall::ENTRY_FLAGS);
        registers.raw.rax = libc::SYS_mprotect as u64;
        registers.raw.rdi = pages.start;
        registers.raw.rsi = pages.end - pages.start;
        registers.raw.rdx = process::protection(access);
        self.set(registers);
        let mut status = self.resume(libc::PTRACE_CONT)?;
        let result = loop {
            if !libc::WIFSTOPPED(status) {
                // Killed; the next `run` says so.
                self.ended = Some(status);
                return Ok(false);
            }
            let raw = self.fetch()?.raw;
            if libc::WSTOPSIG(status) == libc::SIGTRAP && raw.rip > stub::protect_end() {
                break raw.rax;
            }
            // A kick or the like: it is counted elsewhere.
            status = self.resume(libc::PTRACE_CONT)?;
        };
        self.set(before);
        Ok(result == 0)
    }
}
