//! What the freestanding part of C++ calls: `new` and `delete`, and what is never to be called.
//!
//! There are no exceptions: without memory, `new` ends the program.

use core::alloc::Layout;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn aligned_alloc(align: usize, size: usize) -> *mut u8;
    fn free(block: *mut u8);
}

fn found(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        alloc::alloc::handle_alloc_error(Layout::from_size_align(size, 1).unwrap_or(Layout::new::<u8>()));
    }
    block
}

/// Operators that allocate, and those of them that give null instead of ending the program.
macro_rules! new {
    ($($name:ident $nothrow:ident $aligned:ident $aligned_nothrow:ident),*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(size: usize) -> *mut u8 {
            // SAFETY: any size may be asked for.
            found(unsafe { malloc(size.max(1)) }, size)
        }

        #[unsafe(no_mangle)]
        extern "C" fn $nothrow(size: usize) -> *mut u8 {
            // SAFETY: any size may be asked for.
            unsafe { malloc(size.max(1)) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $aligned(size: usize, align: usize) -> *mut u8 {
            // SAFETY: the compiler gives a power of two.
            found(unsafe { aligned_alloc(align, size.max(1)) }, size)
        }

        #[unsafe(no_mangle)]
        extern "C" fn $aligned_nothrow(size: usize, align: usize) -> *mut u8 {
            // SAFETY: the compiler gives a power of two.
            unsafe { aligned_alloc(align, size.max(1)) }
        }
    )* };
}

new!(
    _Znwm _ZnwmRKSt9nothrow_t _ZnwmSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t,
    _Znam _ZnamRKSt9nothrow_t _ZnamSt11align_val_t _ZnamSt11align_val_tRKSt9nothrow_t
);

/// Operators that free; what they are told besides the block is not needed.
macro_rules! delete {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(block: *mut u8) {
            // SAFETY: a block of `new`, or null.
            unsafe { free(block) }
        }
    )* };
}

delete!(
    _ZdlPv _ZdlPvm _ZdlPvRKSt9nothrow_t _ZdlPvSt11align_val_t _ZdlPvmSt11align_val_t
    _ZdaPv _ZdaPvm _ZdaPvRKSt9nothrow_t _ZdaPvSt11align_val_t _ZdaPvmSt11align_val_t
);

/// A virtual function without a body was called.
#[unsafe(no_mangle)]
extern "C" fn __cxa_pure_virtual() -> ! {
    panic!("a pure virtual function was called")
}

/// A deleted virtual function was called.
#[unsafe(no_mangle)]
extern "C" fn __cxa_deleted_virtual() -> ! {
    panic!("a deleted virtual function was called")
}
