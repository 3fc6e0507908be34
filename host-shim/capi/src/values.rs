//! Arguments and results: values one after another, as `postcard` 1.x encodes them.
//!
//! | in the guest, in Rust | here |
//! |---|---|
//! | `u16`, `u32`, `u64`, `usize` | unsigned |
//! | `i16`, `i32`, `i64`, `isize` | signed |
//! | `u8`, `i8`, `bool` | byte |
//! | `f32`, `f64` | float, double |
//! | `&str`, `String`, `&[u8]`, `Vec<u8>` | bytes |
//! | `Slice` | slice |
//! | a structure or a tuple | its fields, one after another |
//! | `Option` | a byte, 0 or 1, and the value behind 1 |
//! | an enumeration | the number of the variant, unsigned, and its fields |
//! | any other `Vec` | the number of elements, unsigned, and the elements |
//! | `()` | nothing |

use crate::error::{Failure, Status, bytes, free, guard, object, take};
use vcpu_host::embed;

/// Values, and how many bytes of them were read. They may be used by one thread at a time.
#[derive(Debug, Default)]
pub struct Values {
    pub(crate) bytes: Vec<u8>,
    pub(crate) read: usize,
}

/// A range of the guest's memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where it begins, as the guest sees it.
    pub address: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl From<embed::Slice> for Slice {
    fn from(other: embed::Slice) -> Slice {
        Slice { address: other.address(), length: other.length() }
    }
}

impl From<Slice> for embed::Slice {
    fn from(other: Slice) -> embed::Slice {
        embed::Slice::new(other.address, other.length)
    }
}

/// Most bytes that a number of 64 bits takes, seven bits each.
const VARINT_MAX: usize = 10;

impl Values {
    pub(crate) fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// The sentence that the values are, or another one.
    pub(crate) fn sentence(&mut self) -> String {
        let length = self.get().ok().and_then(|length| usize::try_from(length).ok());
        match length.map(|length| self.take(length)) {
            Some(Ok(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "the host's function has failed".to_owned(),
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Failure> {
        let rest = &self.bytes[self.read..];
        let taken = rest.get(..length).ok_or_else(|| none("a value has more bytes than there are"))?;
        self.read += length;
        Ok(taken)
    }

    fn get(&mut self) -> Result<u64, Failure> {
        let rest = &self.bytes[self.read..];
        let mut value = 0u64;
        for (index, byte) in rest.iter().take(VARINT_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits {
                break;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                self.read += index + 1;
                return Ok(value);
            }
        }
        Err(none("there is no number of at most 64 bits"))
    }
}

fn none(why: &str) -> Failure {
    Failure::new(Status::NoValue, why)
}

/// No values yet. To be freed by `vcpu_values_free`.
#[unsafe(no_mangle)]
pub extern "C" fn vcpu_values_new() -> *mut Values {
    Box::into_raw(Box::default())
}

/// Frees values; a null pointer does nothing.
///
/// # Safety
///
/// They come from `vcpu_values_new` and are not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_values_free(values: *mut Values) {
    // SAFETY: as the function's contract says.
    free(|| unsafe { take(values) });
}

/// Forgets all values.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_values_clear(values: *mut Values) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let values = unsafe { object(values) }?;
        values.bytes.clear();
        values.read = 0;
        Ok(())
    })
}

/// How many bytes of values were not read yet.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_values_left(values: *mut Values) -> usize {
    // SAFETY: as the function's contract says.
    unsafe { object(values) }.map_or(0, |values| values.bytes.len() - values.read)
}

/// Adds an unsigned number, of 16 to 64 bits in the guest.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_unsigned(values: *mut Values, value: u64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(values) }.map(|values| values.put(value)))
}

/// Adds a signed number, of 16 to 64 bits in the guest.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_signed(values: *mut Values, value: i64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(values) }.map(|values| values.put((value << 1 ^ value >> 63) as u64)))
}

/// Adds a number of 8 bits, or whether something is so (0 or 1).
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_byte(values: *mut Values, value: u8) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(values) }.map(|values| values.bytes.push(value)))
}

/// Adds a number with a point, of 32 bits.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_float(values: *mut Values, value: f32) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(values) }.map(|values| values.bytes.extend(value.to_le_bytes())))
}

/// Adds a number with a point, of 64 bits.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_double(values: *mut Values, value: f64) -> Status {
    // SAFETY: as the function's contract says.
    guard(|| unsafe { object(values) }.map(|values| values.bytes.extend(value.to_le_bytes())))
}

/// Adds bytes, or the bytes of a text without its zero byte.
///
/// # Safety
///
/// The values exist, and so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_bytes(values: *mut Values, data: *const u8, length: usize) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, data) = unsafe { (object(values)?, bytes(data, length)?) };
        values.put(length as u64);
        values.bytes.extend_from_slice(data);
        Ok(())
    })
}

/// Adds a slice.
///
/// # Safety
///
/// The values exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_put_slice(values: *mut Values, value: Slice) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let values = unsafe { object(values) }?;
        values.put(value.address);
        values.put(value.length);
        Ok(())
    })
}

/// Reads an unsigned number, of 16 to 64 bits in the guest.
///
/// # Safety
///
/// The values exist, and the place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_unsigned(values: *mut Values, value: *mut u64) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        *value = values.get()?;
        Ok(())
    })
}

/// Reads a signed number, of 16 to 64 bits in the guest.
///
/// # Safety
///
/// The values exist, and the place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_signed(values: *mut Values, value: *mut i64) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        let bits = values.get()?;
        *value = (bits >> 1) as i64 ^ -((bits & 1) as i64);
        Ok(())
    })
}

/// Reads a number of 8 bits, or whether something is so (0 or 1).
///
/// # Safety
///
/// The values exist, and the place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_byte(values: *mut Values, value: *mut u8) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        *value = values.take(1)?[0];
        Ok(())
    })
}

/// Reads a number with a point, of 32 bits.
///
/// # Safety
///
/// The values exist, and the place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_float(values: *mut Values, value: *mut f32) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        let bytes = values.take(size_of::<f32>())?;
        *value = f32::from_le_bytes(bytes.try_into().map_err(|_| none("there is no number"))?);
        Ok(())
    })
}

/// Reads a number with a point, of 64 bits.
///
/// # Safety
///
/// The values exist, and the place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_double(values: *mut Values, value: *mut f64) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        let bytes = values.take(size_of::<f64>())?;
        *value = f64::from_le_bytes(bytes.try_into().map_err(|_| none("there is no number"))?);
        Ok(())
    })
}

/// Reads bytes, or a text, which has no zero byte at its end. They are there until the values are changed, used in
/// a call or freed.
///
/// # Safety
///
/// The values exist, and the places for pointer and length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_bytes(
    values: *mut Values,
    data: *mut *const u8,
    length: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, data, length) = unsafe { (object(values)?, object(data)?, object(length)?) };
        let before = values.read;
        let count = values.get()?;
        let taken = usize::try_from(count).map_err(|_| none("there are not so many bytes"));
        match taken.and_then(|count| values.take(count)) {
            Ok(bytes) => {
                (*data, *length) = (bytes.as_ptr(), bytes.len());
                Ok(())
            }
            Err(error) => {
                values.read = before;
                Err(error)
            }
        }
    })
}

/// Reads a slice.
///
/// # Safety
///
/// The values exist, and the place for the slice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_get_slice(values: *mut Values, value: *mut Slice) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (values, value) = unsafe { (object(values)?, object(value)?) };
        *value = Slice { address: values.get()?, length: values.get()? };
        Ok(())
    })
}
