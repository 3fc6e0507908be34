//! Running guests in tests.
//!
//! A test names a package and says what the guest is given; the harness builds all images that tests
//! need once a test process, feeds the guest, drains what it writes, and hands over how it ended:
//!
//! ```no_run
//! use vcpu_tests::{BackendKind, Guest, on_every_backend};
//!
//! fn hello_says_hello(backend: BackendKind) {
//!     let ended = Guest::new("hello", backend).run();
//!     assert_eq!(ended.status(), 0, "{ended}");
//!     assert_eq!(ended.output_text(), "Hello from a virtual CPU!\n");
//! }
//!
//! on_every_backend!(hello_says_hello);
//! ```
//!
//! `VCPU_TARGET_SPEC` decides, as for `vcpu build`, which kind of image is built.
//!
//! | module | its subject |
//! |---|---|
//! | `images` | building what tests need |
//! | `guest` | one guest, its streams and its end |
//! | [`proc`] | what the system says of a process |
//! | [`injection`] | events after every single instruction of a guest |
//! | [`again`] | running a part of a test in a process of its own |

pub mod again;
mod guest;
mod images;
pub mod injection;
pub mod proc;

pub use guest::{Ended, Guest, Live};
pub use images::image;
pub use vcpu_host::backend::BackendKind;

/// Makes tests of functions that take a backend: each becomes a test `name::backend` for every backend
/// there is. A function that is not listed is unused, which the compiler reports.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            #[test]
            fn ptrace() {
                super::$test($crate::BackendKind::Ptrace);
            }

            #[test]
            fn seccomp() {
                super::$test($crate::BackendKind::Seccomp);
            }
        }
    )+ };
}
