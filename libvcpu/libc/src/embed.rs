//! Being a library of a host program: the functions of `vcpu/embed.h`, which says what each of them does.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use core::slice;
use libvcpu::embed::{self, Export, Refusal};

/// `struct vcpu_reader`.
#[repr(C)]
pub struct Reader {
    at: *const u8,
    left: usize,
    is_bad: c_int,
}

/// `struct vcpu_writer`, which C only has pointers to.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// The result of a call, or a sentence that ends with a zero.
    reply: Vec<u8>,
}

type Function = unsafe extern "C" fn(*mut Reader, *mut Writer) -> *const c_char;

/// `struct vcpu_export`.
#[repr(C)]
pub struct CExport {
    name: *const c_char,
    function: Function,
}

impl Reader {
    fn new(bytes: &[u8]) -> Reader {
        Reader { at: bytes.as_ptr(), left: bytes.len(), is_bad: 0 }
    }

    /// The next bytes, or null.
    fn take(&mut self, count: usize) -> *const u8 {
        if self.is_bad != 0 || count > self.left {
            self.is_bad = 1;
            return core::ptr::null();
        }
        let at = self.at;
        self.at = at.wrapping_add(count);
        self.left -= count;
        at
    }

    /// The next number: seven bits a byte, the lowest first; all but the last byte have the highest bit.
    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let at = self.take(1);
            if at.is_null() {
                return 0;
            }
            // SAFETY: the value has the byte, as whoever made the reader says.
            let byte = unsafe { *at };
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return number;
            }
        }
        self.is_bad = 1;
        0
    }
}

impl Writer {
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// # Safety
///
/// As `vcpu/embed.h` says; names and functions stay for ever.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_serve(exports: *const CExport, count: usize) -> ! {
    // SAFETY: the caller's array.
    let exports: &'static [CExport] = unsafe { slice::from_raw_parts(exports, count) };
    let exports: Vec<Export> = exports
        .iter()
        .map(|export| {
            // SAFETY: the caller's string.
            let name = unsafe { CStr::from_ptr(export.name) };
            let name = name.to_str().expect("names of functions are UTF-8");
            let function = export.function;
            let carry_out = move |argument: &[u8], reply: &mut Vec<u8>| carry_out(function, argument, reply);
            Export::encoded(name, Box::leak(Box::new(carry_out)))
        })
        .collect();
    embed::serve(&exports)
}

/// Carries out a function in C.
fn carry_out(function: Function, argument: &[u8], reply: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut reader = Reader::new(argument);
    let mut writer = Writer { bytes: core::mem::take(reply), reply: Vec::new() };
    // SAFETY: both live until it returns, and it is what the header says.
    let problem = unsafe { function(&raw mut reader, &raw mut writer) };
    *reply = writer.bytes;
    if reader.is_bad != 0 || reader.left > 0 {
        return Err(Refusal::BadArgument(
            "the argument is not of the type that the function takes".to_owned(),
        ));
    }
    if problem.is_null() {
        return Ok(());
    }
    // SAFETY: a string that lasts.
    Err(Refusal::Failed(unsafe { CStr::from_ptr(problem) }.to_string_lossy().into_owned()))
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_take(from: *mut Reader) -> u64 {
    // SAFETY: the caller's reader.
    unsafe { &mut *from }.number()
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_take_signed(from: *mut Reader) -> i64 {
    // SAFETY: the caller's reader.
    let number = unsafe { &mut *from }.number();
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_take_bytes(from: *mut Reader, size: *mut usize) -> *const u8 {
    // SAFETY: the caller's reader.
    let reader = unsafe { &mut *from };
    let length = reader.number() as usize;
    let bytes = reader.take(length);
    // SAFETY: the caller's place.
    unsafe { size.write(if bytes.is_null() { 0 } else { length }) };
    bytes
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_put(to: *mut Writer, number: u64) {
    // SAFETY: the caller's writer.
    unsafe { &mut *to }.put(number);
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_put_signed(to: *mut Writer, number: i64) {
    // SAFETY: the caller's writer.
    unsafe { &mut *to }.put((number << 1 ^ number >> 63) as u64);
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_put_bytes(to: *mut Writer, bytes: *const u8, size: usize) {
    // SAFETY: the caller's writer.
    let writer = unsafe { &mut *to };
    writer.put(size as u64);
    if size > 0 {
        // SAFETY: the caller's bytes.
        writer.bytes.extend_from_slice(unsafe { slice::from_raw_parts(bytes, size) });
    }
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_put_memory(to: *mut Writer, bytes: *const u8, size: usize) {
    // SAFETY: the caller's writer.
    let writer = unsafe { &mut *to };
    writer.put(bytes as u64);
    writer.put(size as u64);
}

#[unsafe(no_mangle)]
extern "C" fn vcpu_new() -> *mut Writer {
    Box::into_raw(Box::default())
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_delete(writer: *mut Writer) {
    if !writer.is_null() {
        // SAFETY: `vcpu_new` made it, and it is not used again.
        drop(unsafe { Box::from_raw(writer) });
    }
}

/// # Safety
///
/// As `vcpu/embed.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_call(
    name: *const c_char,
    argument: *mut Writer,
    result: *mut Reader,
) -> *const c_char {
    // SAFETY: the caller's string, writer and place.
    let (name, writer, result) = unsafe { (CStr::from_ptr(name), &mut *argument, &mut *result) };
    let called = match name.to_str() {
        Ok(name) => embed::call_encoded(name, &writer.bytes).map_err(|error| error.to_string()),
        Err(_) => Err(String::from("the name of the function is not UTF-8")),
    };
    writer.bytes.clear();
    match called {
        Ok(bytes) => {
            writer.reply = bytes;
            *result = Reader::new(&writer.reply);
            core::ptr::null()
        }
        Err(sentence) => {
            *result = Reader::new(&[]);
            writer.reply = sentence.into_bytes();
            // A zero within ends it as well.
            writer.reply.push(0);
            writer.reply.as_ptr().cast()
        }
    }
}
