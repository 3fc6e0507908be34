//! The stub: the executable that a guest's process starts as, and the gate that stays of it.
//!
//! A guest's process begins by executing this file, so it inherits nothing of the host's memory. Its one
//! page of code lies where the guest's gate is. The stub maps the vCPU page, in which the host has
//! written a *script*, a list of system calls, carries that out, and stops. What the process looks
//! like is thus decided in [`Script`], and the assembly is the same for every guest.
//!
//! The stub uses no stack: the script unmaps it.

use crate::filter;
use crate::sys;
use std::arch::global_asm;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use vcpu_abi::layout::{GATE, PAGE_SIZE, VCPU_PAGE};

global_asm!(
    ".pushsection .rodata.vcpu_stub, \"a\"",
    // The labels are used by all of this crate and nobody else.
    ".irp label, page, gate_end, protect, protect_end, start, end",
    ".global vcpu_stub_\\label",
    ".hidden vcpu_stub_\\label",
    ".endr",
    ".balign 16",
    "vcpu_stub_page:",
    // The gate, at offset 0: the C arguments rdi, rsi, rdx, rcx, r8 as a system call would have them.
    // The filter stops the process at this one instruction; the host puts the answer into rax.
    "mov r10, rcx",
    "mov eax, {gate_number}",
    "syscall",
    "vcpu_stub_gate_end:",
    "ret",
    // Where the host changes the access of pages: it sets the registers of `mprotect` and lets the
    // process run into the breakpoint.
    ".balign 16",
    "vcpu_stub_protect:",
    "syscall",
    "vcpu_stub_protect_end:",
    "int3",
    // The start: map the vCPU page from descriptor 0, shared, readable and writable.
    ".balign 16",
    "vcpu_stub_start:",
    "mov eax, {mmap}",
    "mov edi, {vcpu_page}",
    "mov esi, {page_size}",
    "mov edx, {read_write}",
    "mov r10d, {shared_fixed}",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "mov rbx, rdi",
    "syscall",
    "cmp rax, rbx",
    "jne 3f",
    // The script: seven words a step, number and six arguments, until the number is negative.
    "2: mov rax, [rbx]",
    "test rax, rax",
    "js 3f",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "syscall",
    "cmp rax, -4095",
    "jae 3f",
    "add rbx, 56",
    "jmp 2b",
    // The end: rax is that number if all went well, otherwise an error, and rbx the step.
    "3: int3",
    "vcpu_stub_end:",
    ".popsection",
    gate_number = const filter::GATE_NUMBER,
    mmap = const libc::SYS_mmap,
    vcpu_page = const VCPU_PAGE,
    page_size = const PAGE_SIZE,
    read_write = const libc::PROT_READ | libc::PROT_WRITE,
    shared_fixed = const libc::MAP_SHARED | libc::MAP_FIXED,
);

unsafe extern "C" {
    static vcpu_stub_page: u8;
    static vcpu_stub_gate_end: u8;
    static vcpu_stub_protect: u8;
    static vcpu_stub_protect_end: u8;
    static vcpu_stub_start: u8;
    static vcpu_stub_end: u8;
}

/// The guest address of a label of the stub.
fn address(label: *const u8) -> u64 {
    GATE + (label as u64 - (&raw const vcpu_stub_page) as u64)
}

/// Address behind the gate's system call.
pub(crate) fn gate_end() -> u64 {
    address(&raw const vcpu_stub_gate_end)
}

/// Address of the host's `mprotect`.
pub(crate) fn protect() -> u64 {
    address(&raw const vcpu_stub_protect)
}

/// Address behind the host's `mprotect`.
pub(crate) fn protect_end() -> u64 {
    address(&raw const vcpu_stub_protect_end)
}

/// Address of the stub's first instruction.
pub(crate) fn start() -> u64 {
    address(&raw const vcpu_stub_start)
}

/// Address behind the breakpoint with which the script ends.
pub(crate) fn end() -> u64 {
    address(&raw const vcpu_stub_end)
}

/// The number that ends the script, and what `rax` holds then; no system call fails with it.
pub(crate) const DONE: u64 = 1 << 63;

/// The executable, sealed; made once.
pub(crate) fn executable() -> io::Result<&'static OwnedFd> {
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file);
    }
    let bytes = elf();
    let file = sys::memfd(c"vcpu-stub", bytes.len() as u64)?;
    rustix::io::pwrite(&file, &bytes, 0)?;
    sys::seal_content(&file)?;
    let file = sys::reopen_read_only(&file)?;
    Ok(FILE.get_or_init(|| file))
}

/// The stub's page as the only segment of an ELF file; the second page of the file is the page itself.
fn elf() -> Vec<u8> {
    const HEADER_SIZE: u16 = 64;
    const PROGRAM_HEADER_SIZE: u16 = 56;
    let begin = &raw const vcpu_stub_page;
    // SAFETY: both labels delimit the same read-only bytes of this program.
    let code =
        unsafe { std::slice::from_raw_parts(begin, (&raw const vcpu_stub_end).offset_from_unsigned(begin)) };
    let mut file = Vec::with_capacity(2 * PAGE_SIZE as usize);
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    half(&mut file, &[object::elf::ET_EXEC.0, object::elf::EM_X86_64.0]);
    word(&mut file, &[1]);
    long(&mut file, &[start(), HEADER_SIZE.into(), 0]);
    word(&mut file, &[0]);
    half(&mut file, &[HEADER_SIZE, PROGRAM_HEADER_SIZE, 2, 0, 0, 0]);
    word(&mut file, &[object::elf::PT_LOAD.0, object::elf::PF_R.0 | object::elf::PF_X.0]);
    long(&mut file, &[PAGE_SIZE, GATE, GATE, PAGE_SIZE, PAGE_SIZE, PAGE_SIZE]);
    word(&mut file, &[object::elf::PT_GNU_STACK.0, object::elf::PF_R.0 | object::elf::PF_W.0]);
    long(&mut file, &[0; 6]);
    file.resize(PAGE_SIZE as usize, 0);
    file.extend(code);
    // What the guest may jump to behind the code is a breakpoint.
    file.resize(2 * PAGE_SIZE as usize, 0xcc);
    file
}

/// A list of system calls, each with what it is for.
#[derive(Debug, Default)]
pub(crate) struct Script {
    steps: Vec<([u64; 7], &'static str)>,
}

/// Bytes of a step.
const STEP: usize = 56;

impl Script {
    /// Adds a system call. `purpose` completes the sentence "could not ...".
    pub(crate) fn add(&mut self, purpose: &'static str, number: libc::c_long, arguments: [u64; 6]) {
        let mut step = [0; 7];
        step[0] = number as u64;
        step[1..].copy_from_slice(&arguments);
        self.steps.push((step, purpose));
    }

    /// The guest address of the step that will be added next.
    pub(crate) fn next_step(&self) -> u64 {
        VCPU_PAGE + (self.steps.len() * STEP) as u64
    }

    /// What the step at this guest address was for.
    pub(crate) fn purpose(&self, step: u64) -> &'static str {
        let index = step.wrapping_sub(VCPU_PAGE) as usize / STEP;
        self.steps.get(index).map_or("map the vCPU page", |(_, purpose)| purpose)
    }

    /// Writes the script, and behind it the filter with its descriptor, as the page's content. Adds the
    /// step that sets the filter.
    ///
    /// # Panics
    ///
    /// If it does not fit into the page.
    pub(crate) fn page(&mut self, filter: &[libc::sock_filter]) -> Vec<u8> {
        let set_filter = self.steps.len();
        self.add("set the system call filter", libc::SYS_seccomp, [0; 6]);
        let descriptor = (self.steps.len() + 1) * STEP;
        let program = descriptor + 16;
        let arguments = [libc::SECCOMP_SET_MODE_FILTER.into(), 0, VCPU_PAGE + descriptor as u64];
        self.steps[set_filter].0[1..4].copy_from_slice(&arguments);
        let words = self.steps.iter().flat_map(|(step, _)| step);
        let mut page: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        page.extend(DONE.to_le_bytes());
        page.resize(descriptor, 0);
        page.extend((filter.len() as u64).to_le_bytes());
        page.extend((VCPU_PAGE + program as u64).to_le_bytes());
        for step in filter {
            page.extend(step.code.to_le_bytes());
            page.extend([step.jt, step.jf]);
            page.extend(step.k.to_le_bytes());
        }
        assert!(page.len() <= PAGE_SIZE as usize, "the script of {} bytes does not fit", page.len());
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lies_at_its_address_and_the_sites_are_apart() {
        assert_eq!(address(&raw const vcpu_stub_page), GATE);
        assert!(gate_end() < protect() && protect() < protect_end());
        assert!(end() < GATE + PAGE_SIZE);
    }

    #[test]
    fn no_error_of_a_system_call_looks_like_success() {
        let errors = -4095i64..=-1;
        assert!(!errors.contains(&(DONE as i64)) && (DONE as i64) < 0);
    }

    #[test]
    fn the_largest_script_fits_into_the_page() {
        let mut script = Script::default();
        for _ in 0..2 * crate::image::SEGMENTS_MAX + 1 + 12 {
            script.add("do something", 0, [0; 6]);
        }
        let page = script.page(&filter::program(0x20_0000..0x40_0000, 0, 0));
        assert!(page.len() <= PAGE_SIZE as usize);
    }
}
