//! The guest kernel: what turns a bare virtual CPU into an environment that programs can live in.
//!
//! A virtual CPU has one flow of execution, calls, event lines and one way to interrupt: the *upcall*. From
//! these the kernel makes threads, which take turns, wait for each other and die one by one.
//!
//! Who runs, and who waits for what, is decided in [`vcpu_kernel_core`], which knows no register; here it is
//! carried out. One operation, whatever it is, goes this way:
//!
//! ```text
//!  a thread calls:   events off ─▶ policy decides ─▶ switch, perhaps ─▶ events on
//!  an event comes:   upcall ─▶ policy decides ─▶ resume somebody
//! ```
//!
//! In the order in which one would read them:
//!
//! | module | its subject |
//! |---|---|
//! | [`boot`] | from the machine's first instruction to the program's main function |
//! | [`call`] | vCPU calls through the gate |
//! | [`context`] | entry vector, switch and resume: the assembly by which the processor changes hands |
//! | [`extended`] | vector and floating-point registers |
//! | [`upcall`] | between entry vector and resume: events and exceptions find their handlers |
//! | [`event`] | event lines: listeners, handlers, enabling, waiting |
//! | [`exception`] | faults of the program itself |
//! | [`scheduler`] | carrying out what the policy decides |
//! | [`thread`] | threads, from spawn to join |
//! | [`stack`] | their stacks, with guard pages |
//! | [`tls`] | their variables |
//! | `death` | what a panic or a fault ends |
//! | [`sync`] | what threads wait for: mutexes, semaphores and their kin |
//! | `deadlock` | noticing that nothing can ever run again |
//! | [`report`] | threads and event lines as a table |
//! | `rooms` | room in the policy's tables |
//! | [`clock`] | reading time without a call |
//! | [`heap`] | dynamic memory |
//! | [`console`] | standard streams |
//! | [`device`] | virtio devices: what the guest was granted |
//! | [`machine`] | what the machine said of itself: memory, arguments, environment |
//! | `message`, `memory_functions` | text without the heap, `memcpy` and its kin |
//!
//! All of the kernel's data is touched with events off, for a short time, and by nobody else meanwhile: there is
//! one vCPU. So there is no other lock below the mutexes, and nothing spins. What takes long, an allocation
//! or a vCPU call, is done with events on.
//!
//! Times are nanoseconds of the [clock](clock::now), deadlines moments of it, and no deadline (`None`) never
//! comes. What has to wait panics in a handler function and wherever else events are off.

#![no_std]
#![deny(missing_docs)]

extern crate alloc;

pub mod boot;
pub mod call;
pub mod clock;
pub mod console;
pub mod context;
mod deadlock;
mod death;
pub mod device;
pub mod event;
pub mod exception;
pub mod extended;
pub mod heap;
pub mod machine;
mod memory_functions;
mod message;
pub mod report;
mod rooms;
pub mod scheduler;
pub mod stack;
pub mod stretch;
pub mod sync;
pub mod thread;
pub mod tls;
pub mod upcall;

pub use vcpu_abi as abi;
