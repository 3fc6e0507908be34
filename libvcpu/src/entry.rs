//! `entry!`: makes a function the program of an image; `wants!`: says what it wants to be granted.

use core::fmt::Debug;

pub use vcpu_kernel::abi::note::{BuildFlags, NOTE_WANT, Note, Requirements, TextNote};
pub use vcpu_kernel::abi::{INTERFACE_VERSION, layout};
pub use vcpu_kernel::boot::{panic, start};
pub use vcpu_kernel::heap::KernelHeap;

/// RAM in bytes that an image wants if `entry!` does not say: 64 MiB.
pub const DEFAULT_MEMORY: u64 = 64 << 20;

/// Bytes of the main program's stack if `entry!` does not say: 256 KiB.
pub const DEFAULT_STACK: usize = 256 << 10;

/// Status with which a main function's error ends the program.
const FAILURE: u8 = 1;

/// What a main function may return.
pub trait Termination {
    /// The status with which the guest ends.
    fn report(self) -> u8;
}

impl Termination for () {
    fn report(self) -> u8 {
        0
    }
}

impl Termination for u8 {
    fn report(self) -> u8 {
        self
    }
}

impl<T: Termination, E: Debug> Termination for Result<T, E> {
    fn report(self) -> u8 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::eprintln!("Error: {error:?}");
                FAILURE
            }
        }
    }
}

/// The main program's stack; its section puts it above a guard page.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Stack<const SIZE: usize>(pub core::cell::UnsafeCell<[u8; SIZE]>);

// SAFETY: nobody uses the stack by this name; `vcpu_entry` points the stack pointer at its end.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

/// The note of an image that wants `memory` bytes.
pub const fn note(memory: u64) -> Note {
    let flags = if cfg!(target_os = "none") { BuildFlags::CUSTOM_TARGET } else { BuildFlags::empty() };
    Note::new(Requirements { version: INTERFACE_VERSION, flags: flags.bits(), memory })
}

/// Makes a function the program of this image.
///
/// The function takes nothing and returns `()`, a status (`u8`), or a `Result` of one of these
/// whose error is printed and gives status 1. Used once, in the program's root module.
///
/// `memory` is the RAM in bytes that the image wants when it is not told otherwise (default 64 MiB);
/// `stack` the size in bytes of the main program's stack (default 256 KiB).
///
/// ```no_run
/// # #![no_std]
/// # #![no_main]
/// libvcpu::entry!(main, memory: 256 << 20, stack: 1 << 20);
///
/// fn main() -> Result<(), &'static str> {
///     Err("prints this and ends with status 1")
/// }
/// ```
#[macro_export]
macro_rules! entry {
    ($main:path $(, memory: $memory:expr)? $(, stack: $stack:expr)? $(,)?) => {
        const _: () = {
            const fn or(given: &[u64], default: u64) -> u64 {
                if given.is_empty() { default } else { given[0] }
            }
            const MEMORY: u64 = or(&[$($memory)?], $crate::entry::DEFAULT_MEMORY);
            const STACK: usize = or(&[$($stack)?], $crate::entry::DEFAULT_STACK as u64) as usize;

            #[used]
            #[unsafe(link_section = ".note.vcpu")]
            static NOTE: $crate::entry::Note = $crate::entry::note(MEMORY);

            #[unsafe(link_section = ".stack.main")]
            static MAIN_STACK: $crate::entry::Stack<STACK> =
                $crate::entry::Stack(::core::cell::UnsafeCell::new([0; STACK]));

            fn program() -> u8 {
                $crate::entry::Termination::report($main())
            }

            /// Where the machine begins, with all registers zero: onto the main stack, into the kernel.
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn vcpu_entry() -> ! {
                ::core::arch::naked_asm!(
                    "lea rsp, [rip + {stack} + {size}]",
                    "lea rdi, [rip + {program}]",
                    "call {start}",
                    "ud2",
                    stack = sym MAIN_STACK,
                    size = const STACK,
                    program = sym program,
                    start = sym $crate::entry::start,
                )
            }

            #[global_allocator]
            static HEAP: $crate::entry::KernelHeap = $crate::entry::KernelHeap;

            $crate::__panic_handler!();
        };
    };
}

/// Says what the program wants to be granted, in the form of `vcpu run`'s grants: `vcpu info` shows it, and
/// what is not granted when it is started is said there.
///
/// ```no_run
/// libvcpu::wants!("dir media:ro", "block disk", "entropy");
/// ```
#[macro_export]
macro_rules! wants {
    ($($want:expr),+ $(,)?) => { $(
        const _: () = {
            #[used]
            #[unsafe(link_section = ".note.vcpu")]
            static NOTE: $crate::entry::TextNote<{ $want.len() }> =
                $crate::entry::TextNote::new($crate::entry::NOTE_WANT, $want);
        };
    )+ };
}

/// The panic handler of an image.
#[cfg(vcpu_image)]
#[doc(hidden)]
#[macro_export]
macro_rules! __panic_handler {
    () => {
        #[panic_handler]
        fn vcpu_panic_handler(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::entry::panic(info)
        }
    };
}

/// Where a program is only checked, by an editor or clippy together with packages that use `std`, the
/// panic handler is that of `std`.
#[cfg(not(vcpu_image))]
#[doc(hidden)]
#[macro_export]
macro_rules! __panic_handler {
    () => {
        extern crate std as _;
    };
}
