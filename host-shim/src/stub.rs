//! The stub: the executable that a guest's process starts as, and the gate that stays of it.
//!
//! A guest's process begins by executing this file, so it inherits nothing of the host's memory. Its one
//! page of code lies where the guest's gate is. The stub maps the vCPU page, in which the host has
//! written a *script*, a list of system calls, carries that out, and stops. What the process looks
//! like is thus decided in [`Script`], and the assembly is the same for every guest.
//!
//! The stub uses no stack: the script unmaps it. This is the page of the `ptrace` backend; `seccomp` has its
//! own, with the same start.

use crate::filter;
use crate::sys;
use std::arch::global_asm;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use vcpu_abi::layout::{GATE, PAGE_SIZE, VCPU_PAGE};

/// The start, which all stubs share: map the vCPU page from descriptor 0, shared, readable and writable.
/// Then the script: seven words a step, number and six arguments, until the number is negative. Ends at
/// label 3: rax is that number if all went well, otherwise an error, and rbx the step.
macro_rules! start_code {
    () => {
        "
        mov eax, {mmap}
        mov edi, {vcpu_page}
        mov esi, {page_size}
        mov edx, {read_write}
        mov r10d, {shared_fixed}
        xor r8d, r8d
        xor r9d, r9d
        mov rbx, rdi
        syscall
        cmp rax, rbx
        jne 3f
        2: mov rax, [rbx]
        test rax, rax
        js 3f
        mov rdi, [rbx + 8]
        mov rsi, [rbx + 16]
        mov rdx, [rbx + 24]
        mov r10, [rbx + 32]
        mov r8, [rbx + 40]
        mov r9, [rbx + 48]
        syscall
        cmp rax, -4095
        jae 3f
        add rbx, 56
        jmp 2b"
    };
}
pub(crate) use start_code;

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
    ".balign 16",
    "vcpu_stub_start:",
    start_code!(),
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

/// The page, as the executable that a guest's process begins with.
pub(crate) fn page() -> Page {
    let (begin, end) = (&raw const vcpu_stub_page, &raw const vcpu_stub_end);
    Page { begin, end, start: address(&raw const vcpu_stub_start) }
}

/// Where the sites of system calls end.
pub(crate) fn sites() -> filter::Sites {
    filter::Sites { gate: Some(gate_end()), mprotect: protect_end(), own: None }
}

/// Address behind the breakpoint with which the script ends.
pub(crate) fn end() -> u64 {
    address(&raw const vcpu_stub_end)
}

/// The number that ends the script, and what `rax` holds then; no system call fails with it.
pub(crate) const DONE: u64 = 1 << 63;

/// A page of code that lies at the gate's address in a guest's process, and in this program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub begin: *const u8,
    pub end: *const u8,
    /// Guest address of the first instruction of the process.
    pub start: u64,
}

/// A page as an executable file, made once.
#[derive(Debug)]
pub(crate) struct Executable(OnceLock<OwnedFd>);

impl Executable {
    pub(crate) const fn new() -> Executable {
        Executable(OnceLock::new())
    }

    /// The file, sealed.
    pub(crate) fn file(&self, page: &Page) -> io::Result<&OwnedFd> {
        if let Some(file) = self.0.get() {
            return Ok(file);
        }
        let bytes = elf(page);
        let file = sys::memfd(c"vcpu-stub", bytes.len() as u64)?;
        rustix::io::pwrite(&file, &bytes, 0)?;
        sys::seal_content(&file)?;
        let file = sys::reopen_read_only(&file)?;
        Ok(self.0.get_or_init(|| file))
    }
}

/// A page as the only segment of an ELF file; the second page of the file is the page itself.
fn elf(page: &Page) -> Vec<u8> {
    const HEADER_SIZE: u16 = 64;
    const PROGRAM_HEADER_SIZE: u16 = 56;
    // SAFETY: both labels delimit the same read-only bytes of this program.
    let code = unsafe { std::slice::from_raw_parts(page.begin, page.end.offset_from_unsigned(page.begin)) };
    let mut file = Vec::with_capacity(2 * PAGE_SIZE as usize);
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    half(&mut file, &[object::elf::ET_EXEC.0, object::elf::EM_X86_64.0]);
    word(&mut file, &[1]);
    long(&mut file, &[page.start, HEADER_SIZE.into(), 0]);
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

    /// The script as bytes. They end below [`SCRIPT_SIZE_MAX`].
    ///
    /// # Panics
    ///
    /// If it is too long.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = self.steps.iter().flat_map(|(step, _)| step);
        let mut bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(DONE.to_le_bytes());
        assert!(bytes.len() <= SCRIPT_SIZE_MAX, "the script of {} bytes does not fit", bytes.len());
        bytes
    }
}

/// Most bytes of a script; behind it in the vCPU page a backend may have something of its own.
pub(crate) const SCRIPT_SIZE_MAX: usize = 0xf00;

/// A filter as the system wants it, to lie at the guest address `at`: a descriptor, then the program.
pub(crate) fn filter_bytes(filter: &[libc::sock_filter], at: u64) -> Vec<u8> {
    let mut bytes = (filter.len() as u64).to_le_bytes().to_vec();
    bytes.extend((at + 16).to_le_bytes());
    for step in filter {
        bytes.extend(step.code.to_le_bytes());
        bytes.extend([step.jt, step.jf]);
        bytes.extend(step.k.to_le_bytes());
    }
    bytes
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
        for _ in 0..2 * crate::image::SEGMENTS_MAX + 1 + 24 {
            script.add("do something", 0, [0; 6]);
        }
        script.bytes();
    }
}
