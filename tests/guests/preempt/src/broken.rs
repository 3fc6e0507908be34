//! Kernels that are broken in one place: an entry vector comes before the true one and does what a careless
//! kernel would.

use crate::{control, extended};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::abi::layout::VCPU_PAGE;
use libvcpu::abi::page::{StateSaveArea, VcpuPage};
use libvcpu::machine;

/// The kernel's own entry vector.
static TRUE_ENTRY: AtomicU64 = AtomicU64::new(0);

/// Where the interrupted `resume` goes on.
static TRUE_RIP: AtomicU64 = AtomicU64::new(0);

const SAVED_RIP: usize = VCPU_PAGE as usize + offset_of!(VcpuPage, ssa) + offset_of!(StateSaveArea, rip);

/// An upcall that uses a vector register before it has saved it.
pub(crate) fn extended() {
    enter_by(careless_of_vectors);
    extended::work();
}

/// An upcall that takes what a half-done `resume` has in the registers for the interrupted thread's.
pub(crate) fn resume() {
    enter_by(careless_of_resume);
    control::resume();
}

fn enter_by(vector: unsafe extern "C" fn() -> !) {
    let entry = &machine::page().entry_ip;
    TRUE_ENTRY.store(entry.load(Relaxed), Relaxed);
    entry.store(vector as usize as u64, Relaxed);
}

#[unsafe(naked)]
unsafe extern "C" fn careless_of_vectors() -> ! {
    naked_asm!("pcmpeqd xmm3, xmm3", "jmp [rip + {entry}]", entry = sym TRUE_ENTRY)
}

/// Hides from the kernel that the restartable range was interrupted: the saved `rip` is that of a jump back
/// there. General registers are free here.
#[unsafe(naked)]
unsafe extern "C" fn careless_of_resume() -> ! {
    naked_asm!(
        "mov rax, [{rip}]",
        "lea rcx, [rip + vcpu_resume_begin]",
        "cmp rax, rcx",
        "jb 2f",
        "lea rcx, [rip + vcpu_resume_end]",
        "cmp rax, rcx",
        "jae 2f",
        "mov [rip + {true_rip}], rax",
        "lea rax, [rip + 3f]",
        "mov [{rip}], rax",
        "2: jmp [rip + {entry}]",
        "3: jmp [rip + {true_rip}]",
        rip = const SAVED_RIP,
        true_rip = sym TRUE_RIP,
        entry = sym TRUE_ENTRY,
    )
}
