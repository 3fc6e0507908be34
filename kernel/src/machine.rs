//! What the machine said of itself, and where it put things: the fixed pages and the linker's symbols.

use core::hint::black_box;
use core::ops::Range;
use vcpu_abi::info::{Features, InfoPage, StringList};
use vcpu_abi::layout::{INFO_PAGE, PAGE_SIZE, RAM_BASE, VCPU_PAGE};
use vcpu_abi::page::VcpuPage;
use vcpu_kernel_core::strings;

unsafe extern "C" {
    static __main_stack_bottom: u8;
    static __main_stack_top: u8;
    static __upcall_stack_top: u8;
    static __image_end: u8;
    static __init_array_start: [extern "C" fn(); 0];
    static __init_array_end: [extern "C" fn(); 0];
    static __tdata_start: u8;
    static __tdata_end: u8;
    static __tls_size: u8;
    static __tls_align: u8;
}

/// What each thread's copy of the thread-local variables begins as.
pub(crate) struct ThreadLocalTemplate {
    /// The initialised ones; zeros follow.
    pub(crate) data: &'static [u8],
    /// Bytes of all.
    pub(crate) size: usize,
    /// The alignment they need, a power of two.
    pub(crate) align: usize,
}

/// The vCPU page.
#[inline(always)]
pub fn page() -> &'static VcpuPage {
    // SAFETY: the machine maps the page there, readable and writable, for as long as the guest runs;
    // all its fields are atomics, so the machine may write them at any moment.
    unsafe { &*(VCPU_PAGE as *const VcpuPage) }
}

/// The information page.
#[inline(always)]
pub fn info() -> &'static InfoPage {
    // SAFETY: the machine maps the page there, readable, before the first instruction, and nobody
    // changes it after that.
    unsafe { &*(INFO_PAGE as *const InfoPage) }
}

/// What the machine offers.
pub fn features() -> Features {
    Features::from_bits_truncate(info().features)
}

fn list(list: StringList) -> impl Iterator<Item = &'static [u8]> {
    // SAFETY: the machine keeps both lists inside the read-only information area, which is mapped and
    // unchanged for as long as the guest runs.
    let bytes = unsafe {
        core::slice::from_raw_parts((INFO_PAGE + u64::from(list.offset)) as *const u8, list.length as usize)
    };
    strings::split(bytes)
}

/// The program's arguments, its own name first.
pub fn arguments() -> impl Iterator<Item = &'static [u8]> {
    list(info().arguments)
}

/// The program's environment, as pairs of name and value.
pub fn environment() -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
    list(info().environment).filter_map(strings::variable)
}

/// Names of the devices, in the order of their numbers.
pub fn devices() -> impl Iterator<Item = &'static [u8]> {
    list(info().devices)
}

/// Addresses of the RAM behind the image, which nothing uses yet at boot.
pub fn free_ram() -> Range<u64> {
    (&raw const __image_end) as u64..RAM_BASE + info().ram_size
}

/// The functions that want to run before the main function, in the order the linker gives.
pub(crate) fn constructors() -> &'static [extern "C" fn()] {
    let (start, end) = (&raw const __init_array_start, &raw const __init_array_end);
    let count = (end as usize - start as usize) / size_of::<extern "C" fn()>();
    // SAFETY: the linker script puts both symbols around the array of function pointers in read-only data.
    unsafe { core::slice::from_raw_parts(start.cast(), count) }
}

/// The template of thread-local variables.
pub(crate) fn thread_local_template() -> ThreadLocalTemplate {
    let (start, end) = (&raw const __tdata_start, &raw const __tdata_end);
    ThreadLocalTemplate {
        // SAFETY: the linker script puts both symbols around the template in read-only data.
        data: unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) },
        // These two are numbers that the linker script gives as addresses. The compiler believes that
        // no address is 0, so it must not know where this one comes from.
        size: black_box(&raw const __tls_size) as usize,
        align: (black_box(&raw const __tls_align) as usize).max(1),
    }
}

/// Addresses of the main program's stack.
pub fn main_stack() -> Range<u64> {
    (&raw const __main_stack_bottom) as u64..(&raw const __main_stack_top) as u64
}

/// Addresses of the guard page below the main program's stack.
pub fn main_stack_guard() -> Range<u64> {
    let bottom = main_stack().start;
    bottom - PAGE_SIZE..bottom
}

/// First address above the stack on which upcalls run.
pub fn upcall_stack_top() -> u64 {
    (&raw const __upcall_stack_top) as u64
}
