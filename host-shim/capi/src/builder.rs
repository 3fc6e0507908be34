//! What a sandbox is given: its memory, its program's arguments, the host's functions.

use crate::error::{Failure, Status, free, give, guard, object, shared, take, text};
use crate::image::Image;
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;
use crate::values::Values;
use std::ffi::{c_char, c_void};
use std::time::Duration;
use vcpu_host::ClockMode;
use vcpu_host::backend::BackendKind;
use vcpu_host::embed::SandboxBuilder;

/// What a new sandbox is given. It may be used by one thread at a time.
#[derive(Debug)]
pub struct Builder(Option<SandboxBuilder>);

/// A way to supply a virtual CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The fastest that works here.
    Auto = 0,
    /// ptrace: the reference.
    Ptrace = 1,
    /// A filter of system calls and shared memory: fast.
    Seccomp = 2,
}

/// How a guest's clock passes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As the world's does.
    Real = 0,
    /// Only while the guest waits: then at once to the next timer or deadline. The same program sees the same times
    /// in every run.
    Virtual = 1,
}

/// A function of the host's, which the guest calls. It reads its argument, which holds anything, and adds its
/// result. If it gives false, what it has added is bytes that hold a sentence, or nothing, and the guest gets an
/// error with that sentence. It is called on the thread that the guest runs on, which need not be the caller's, and
/// the guest's time passes meanwhile. Both values are the library's and are there until it returns. The sandbox is
/// refused to it (`VCPU_STATUS_INVALID`); it must not free it, not use the values of the call that it is called in, and
/// not unwind.
pub type Function =
    Option<unsafe extern "C" fn(context: *mut c_void, argument: *mut Values, result: *mut Values) -> bool>;

/// What a new sandbox of this image is given: nothing yet but its memory and the clock. Null if the image is. To be
/// freed by `vcpu_builder_free`; the image may be freed before it.
///
/// # Safety
///
/// The image exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_new(image: *const Image) -> *mut Builder {
    let mut new = std::ptr::null_mut();
    guard(|| {
        // SAFETY: as the function's contract says.
        let image = unsafe { shared(image) }?;
        give(&mut new, Builder(Some(vcpu_host::Sandbox::builder(image.image()))));
        Ok(())
    });
    new
}

/// What a new sandbox that begins with a snapshot is given: streams, grants, functions and limits. Its grants must have
/// the names and kinds of those of the guest that the snapshot was taken of; memory, arguments, environment, clock and
/// backend are that guest's, whatever is said here. Null if the snapshot is. To be freed by `vcpu_builder_free`; the
/// snapshot may be freed before it.
///
/// # Safety
///
/// The snapshot exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_of_snapshot(snapshot: *const Snapshot) -> *mut Builder {
    let mut new = std::ptr::null_mut();
    guard(|| {
        // SAFETY: as the function's contract says.
        let snapshot = unsafe { shared(snapshot) }?;
        give(&mut new, Builder(Some(snapshot.builder())));
        Ok(())
    });
    new
}

/// Frees a builder; a null pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_builder_new` or `vcpu_builder_of_snapshot` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_free(builder: *mut Builder) {
    // SAFETY: as the function's contract says.
    free(|| unsafe { take(builder) });
}

impl Builder {
    pub(crate) fn change(
        &mut self,
        change: impl FnOnce(SandboxBuilder) -> SandboxBuilder,
    ) -> Result<(), Failure> {
        self.0 = Some(change(self.built()?));
        Ok(())
    }

    fn built(&mut self) -> Result<SandboxBuilder, Failure> {
        self.0.take().ok_or_else(|| Failure::new(Status::Invalid, "the builder was used already"))
    }
}

/// Memory of the guest in bytes; without this, what the image wants.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_memory(builder: *mut Builder, bytes: u64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.memory(bytes)))
}

/// How long a call may take, in ms; 0 is without end, and so is a builder without this. Who exceeds it is ended.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_call_deadline(builder: *mut Builder, milliseconds: u64) -> Status {
    let deadline = (milliseconds != 0).then(|| Duration::from_millis(milliseconds));
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.call_deadline(deadline)))
}

/// How long the guest may take until it waits for its first call, in ms; 0 is without end. Without this, 10 s.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_start_deadline(builder: *mut Builder, milliseconds: u64) -> Status {
    let deadline = (milliseconds != 0).then(|| Duration::from_millis(milliseconds));
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.start_deadline(deadline)))
}

/// Most bytes of a reply; without this, 16 MiB.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_reply_limit(builder: *mut Builder, bytes: u64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(builder) }?.change(|builder| builder.reply_limit(bytes)))
}

/// Which backend runs it: one of `enum vcpu_backend`.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_backend(builder: *mut Builder, backend: u32) -> Status {
    guard(|| {
        let kind = match backend {
            0 => BackendKind::Auto,
            1 => BackendKind::Ptrace,
            2 => BackendKind::Seccomp,
            other => return Err(Failure::new(Status::Invalid, format_args!("there is no backend {other}"))),
        };
        // SAFETY: as the function's contract says.
        unsafe { object(builder) }?.change(|builder| builder.backend(kind))
    })
}

/// How its clock passes: one of `enum vcpu_clock`; without this, as the world's.
///
/// # Safety
///
/// The builder exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_clock(builder: *mut Builder, clock: u32) -> Status {
    guard(|| {
        let mode = match clock {
            0 => ClockMode::Real,
            1 => ClockMode::Virtual,
            other => return Err(Failure::new(Status::Invalid, format_args!("there is no clock {other}"))),
        };
        // SAFETY: as the function's contract says.
        unsafe { object(builder) }?.change(|builder| builder.clock(mode))
    })
}

/// Adds an argument of the program; the first is the program's own name. The text is copied.
///
/// # Safety
///
/// The builder and the text exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_argument(builder: *mut Builder, argument: *const c_char) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, argument) = unsafe { (object(builder)?, text(argument)?) };
        builder.change(|builder| builder.argument(argument))
    })
}

/// Adds a variable to the program's environment. The texts are copied.
///
/// # Safety
///
/// The builder and the texts exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_env(
    builder: *mut Builder,
    name: *const c_char,
    value: *const c_char,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, name, value) = unsafe { (object(builder)?, text(name)?, text(value)?) };
        builder.change(|builder| builder.env(name, value))
    })
}

/// A function of C's with its context.
struct Callback {
    function: unsafe extern "C" fn(*mut c_void, *mut Values, *mut Values) -> bool,
    context: *mut c_void,
    argument: Values,
    result: Values,
}

// SAFETY: who grants a function promises that it may be called, with its context, by any thread that uses the sandbox.
unsafe impl Send for Callback {}

impl Callback {
    fn call(&mut self, argument: &[u8], result: &mut Vec<u8>) -> Result<(), String> {
        self.argument.bytes.clear();
        self.argument.bytes.extend_from_slice(argument);
        self.argument.read = 0;
        self.result.bytes.clear();
        self.result.read = 0;
        // SAFETY: as above; both values live and nobody else uses them.
        let done = unsafe { (self.function)(self.context, &raw mut self.argument, &raw mut self.result) };
        if done {
            result.extend_from_slice(&self.result.bytes);
            return Ok(());
        }
        Err(self.result.sentence())
    }
}

/// Grants the guest a function of the host's, instead of one of the same name. The context is given to it with each
/// call and stays the caller's; the name is copied.
///
/// # Safety
///
/// The builder and the text exist. For as long as the sandbox lives, the function may be called with this context, by
/// any thread that uses the sandbox.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_function(
    builder: *mut Builder,
    name: *const c_char,
    function: Function,
    context: *mut c_void,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, name) = unsafe { (object(builder)?, text(name)?) };
        let function =
            function.ok_or_else(|| Failure::new(Status::Invalid, "the function is a null pointer"))?;
        let (argument, result) = Default::default();
        let mut callback = Callback { function, context, argument, result };
        builder.change(|builder| {
            builder.encoded_function(name, move |_, argument, result| callback.call(argument, result))
        })
    })
}

/// Starts the guest, and lets it run until it waits for its first call. The builder is used up, also by an error, and
/// has only to be freed. The sandbox is to be freed by `vcpu_sandbox_free`.
///
/// # Safety
///
/// The builder exists, and the place for the sandbox.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_builder_build(builder: *mut Builder, built: *mut *mut Sandbox) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (builder, built) = unsafe { (object(builder)?, object(built)?) };
        give(built, Sandbox::new(builder.built()?.build()?));
        Ok(())
    })
}
