//! Statuses, sentences, and keeping panics inside.

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use vcpu_host::embed::{CallError, NotInMemory};
use vcpu_host::{Error, GrantError};

/// How a function has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok = 0,
    /// The call has ended the guest: it has panicked, faulted, taken too long, or the like.
    Ended = 1,
    /// The guest has no function of this name.
    NoSuchFunction = 2,
    /// The argument is not what the function takes.
    BadArgument = 3,
    /// The argument has more bytes than a request may have.
    TooLong = 4,
    /// The function could not do it.
    Failed = 5,
    /// The guest's reply is none.
    BadReply = 6,
    /// An earlier call has ended the guest.
    Dead = 7,
    /// The image cannot be run, or the system has refused something.
    System = 8,
    /// A slice does not lie in the guest's memory, or is shorter.
    NotInMemory = 9,
    /// There is no such value: the next one is none of this type, or there is none.
    NoValue = 10,
    /// A null pointer, a text that is not UTF-8, a number out of its range, or an object that is in use.
    Invalid = 11,
    /// A bug of this library.
    Bug = 12,
}

thread_local! {
    static SENTENCE: RefCell<CString> = RefCell::default();
}

/// An error of a function: its status and its sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Status, pub(crate) String);

impl Failure {
    pub(crate) fn new(status: Status, error: impl Display) -> Failure {
        Failure(status, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Status::System, error)
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Failure {
        let status = match &error {
            GrantError::Path { .. } => Status::System,
            _ => Status::Invalid,
        };
        Failure::new(status, error)
    }
}

impl From<NotInMemory> for Failure {
    fn from(error: NotInMemory) -> Failure {
        Failure::new(Status::NotInMemory, error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        let status = match &error {
            CallError::Ended(_) => Status::Ended,
            CallError::NoSuchFunction { .. } => Status::NoSuchFunction,
            CallError::BadArgument(_) => Status::BadArgument,
            CallError::TooLong(_) => Status::TooLong,
            CallError::Failed(_) => Status::Failed,
            CallError::BadReply(_) => Status::BadReply,
            CallError::Dead => Status::Dead,
            _ => Status::System,
        };
        Failure::new(status, error)
    }
}

/// The sentence of the last function that has failed in this thread; empty if none has. It is the library's, and is
/// there until another one fails in this thread, or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn vcpu_error() -> *const c_char {
    // While the thread ends it has none any more.
    SENTENCE.try_with(|sentence| sentence.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Carries out a function: an error becomes its status, and so does a panic.
pub(crate) fn guard(action: impl FnOnce() -> Result<(), Failure>) -> Status {
    let panicked = |_| Err(Failure::new(Status::Bug, "the library has panicked; please tell its makers"));
    match catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(panicked) {
        Ok(()) => Status::Ok,
        Err(Failure(status, sentence)) => {
            let bytes: Vec<u8> = sentence.bytes().filter(|byte| *byte != 0).collect();
            // No zero is left.
            let sentence = CString::new(bytes).unwrap_or_default();
            // A thread that ends may have no place for it any more; the status says enough then.
            let _ = SENTENCE.try_with(|place| place.replace(sentence));
            status
        }
    }
}

/// What a pointer points to.
///
/// # Safety
///
/// The pointer is null, or points to a `T` that nobody else uses while the reference lives.
pub(crate) unsafe fn object<'a, T>(pointer: *mut T) -> Result<&'a mut T, Failure> {
    // SAFETY: as the function's contract says.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::new(Status::Invalid, "a pointer is null"))
}

/// As [`object`], of what several may use.
///
/// # Safety
///
/// The pointer is null, or points to a `T` that nobody changes while the reference lives.
pub(crate) unsafe fn shared<'a, T: Sync>(pointer: *const T) -> Result<&'a T, Failure> {
    // SAFETY: as the function's contract says.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::new(Status::Invalid, "a pointer is null"))
}

/// A text of C's.
///
/// # Safety
///
/// The pointer is null, or points to bytes of which one is zero, that nobody changes while the reference lives.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::new(Status::Invalid, "a text is a null pointer"));
    }
    // SAFETY: as the function's contract says.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map_err(|_| Failure::new(Status::Invalid, "a text is not UTF-8"))
}

/// A path of C's, which need not be UTF-8.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char) -> Result<&'a Path, Failure> {
    if pointer.is_null() {
        return Err(Failure::new(Status::Invalid, "the path is a null pointer"));
    }
    // SAFETY: as the function's contract says.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// Bytes of C's.
///
/// # Safety
///
/// The pointer points to so many bytes, that nobody changes while the reference lives. It may be null if there are
/// none.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return Err(Failure::new(Status::Invalid, "bytes are a null pointer, or too many"));
    }
    // SAFETY: as the function's contract says.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// As [`bytes`], to be written.
///
/// # Safety
///
/// As for [`bytes`], and nobody reads them meanwhile.
pub(crate) unsafe fn bytes_mut<'a>(pointer: *mut u8, length: usize) -> Result<&'a mut [u8], Failure> {
    if length == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return Err(Failure::new(Status::Invalid, "bytes are a null pointer, or too many"));
    }
    // SAFETY: as the function's contract says.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// Gives an object away.
pub(crate) fn give<T>(place: &mut *mut T, object: T) {
    *place = Box::into_raw(Box::new(object));
}

/// Takes an object back, if there is one.
///
/// # Safety
///
/// The pointer is null, or comes from [`give`] and is not used any more.
pub(crate) unsafe fn take<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: as the function's contract says.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// Drops what is taken back; what panics meanwhile does not leave this.
pub(crate) fn free<T>(taken: impl FnOnce() -> Option<Box<T>>) {
    guard(|| {
        drop(taken());
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stays_inside() {
        assert_eq!(guard(|| panic!("on purpose")), Status::Bug);
        // SAFETY: the sentence is there until the next failure.
        let sentence = unsafe { CStr::from_ptr(vcpu_error()) };
        assert!(sentence.to_str().unwrap().contains("panicked"));
    }

    #[test]
    fn a_sentence_with_a_zero_is_whole() {
        assert_eq!(guard(|| Err(Failure::new(Status::Failed, "a\0b"))), Status::Failed);
        // SAFETY: as above.
        assert_eq!(unsafe { CStr::from_ptr(vcpu_error()) }, c"ab");
    }
}
