//! Rights of pages, changed until the system has had enough.

use libvcpu::abi::call::{Access, Error};
use libvcpu::abi::layout::{PAGE_SIZE, RAM_BASE};
use libvcpu::prelude::*;
use libvcpu::{call, machine};

/// Makes every second page of the upper half of RAM read-only, so that the system needs more and more
/// pieces to describe it, until it refuses.
pub(crate) fn protect_alternating() {
    let size = machine::info().ram_size;
    let (begin, end) = (RAM_BASE + size / 2, RAM_BASE + size);
    let every = begin..end;
    let mut changed = 0u64;
    let mut refused = None;
    for page in every.clone().step_by(2 * PAGE_SIZE as usize) {
        // SAFETY: nothing lies there: the heap hands out low addresses first.
        match unsafe { call::protect(page..page + PAGE_SIZE, Access::READ) } {
            Ok(()) => changed += 1,
            Err(error) => {
                refused = Some((page, error));
                break;
            }
        }
    }
    if let Some((page, error)) = refused {
        assert_eq!(error, Error::Denied);
        // What was refused has changed nothing.
        // SAFETY: as above; the page is writable as it was.
        unsafe { (page as *mut u64).write_volatile(1) };
    }
    // SAFETY: as above.
    unsafe { call::protect(every.clone(), Access::READ | Access::WRITE) }.expect("as it was before");
    for page in every.step_by(PAGE_SIZE as usize) {
        // SAFETY: as above.
        unsafe { (page as *mut u64).write_volatile(page) };
    }
    println!("thousands were changed: {}; all can be written again", changed > 10_000);
}
