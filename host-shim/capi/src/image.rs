//! Images, what they export, and what they want.

use crate::error::{Status, free, give, guard, object, path, shared, take};
use std::ffi::{CString, c_char};
use std::ptr;
use vcpu_host::{self as host, Error};

/// An image. It may be used by several threads at once.
#[derive(Debug)]
pub struct Image {
    image: host::Image,
    exports: Vec<CString>,
    wants: Vec<CString>,
}

impl Image {
    fn new(image: host::Image) -> Image {
        // Names and wants were validated: none holds a zero byte.
        let text = |text: String| CString::new(text).unwrap_or_default();
        let exports = image.exports().iter().cloned().map(text).collect();
        let wants = image.wants().iter().map(ToString::to_string).map(text).collect();
        Image { image, exports, wants }
    }

    pub(crate) fn image(&self) -> &host::Image {
        &self.image
    }
}

/// Opens and validates an image. To be freed by `vcpu_image_free`; the path stays the caller's.
///
/// # Safety
///
/// The path exists, and the place for the image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_image_open(path: *const c_char, opened: *mut *mut Image) -> Status {
    guard(|| {
        // SAFETY: as the function's contract says.
        let (path, opened) = unsafe { (self::path(path)?, object(opened)?) };
        give(opened, Image::new(host::Image::open(path).map_err(Error::from)?));
        Ok(())
    })
}

/// Frees an image, which builders, sandboxes and snapshots do not need any more; a null pointer does nothing.
///
/// # Safety
///
/// It comes from `vcpu_image_open` and is not used any more, by any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_image_free(image: *mut Image) {
    // SAFETY: as the function's contract says.
    free(|| unsafe { take(image) });
}

/// The name of a function that the image says it exports; `index` counts from 0. Null behind the last, and if the
/// image is null. The text is the image's and is there until the image is freed.
///
/// # Safety
///
/// The image exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_image_export(image: *const Image, index: usize) -> *const c_char {
    // SAFETY: as the function's contract says.
    unsafe { shared(image) }.map_or(ptr::null(), |image| nth(&image.exports, index))
}

/// Something that the image wants to be granted, such as `dir media:ro`, `block disk:rw`, `console log`, `entropy` or
/// `function log`; `index` counts from 0. Null behind the last, and if the image is null. The text is the image's and is
/// there until the image is freed.
///
/// # Safety
///
/// The image exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vcpu_image_want(image: *const Image, index: usize) -> *const c_char {
    // SAFETY: as the function's contract says.
    unsafe { shared(image) }.map_or(ptr::null(), |image| nth(&image.wants, index))
}

fn nth(texts: &[CString], index: usize) -> *const c_char {
    texts.get(index).map_or(ptr::null(), |text| text.as_ptr())
}
