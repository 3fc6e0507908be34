//! Images that are arbitrary bytes.

use crate::Image;
use crate::sys::memfd;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Opens bytes as an image, and reads all that it says.
///
/// # Panics
///
/// If the system refuses a file, or what the image says is not what it promises.
pub fn open(bytes: &[u8]) {
    let file = File::from(memfd(c"image", bytes.len() as u64).expect("a file in memory"));
    file.write_all_at(bytes, 0).expect("it has room");
    let Ok(image) = Image::open(format!("/proc/self/fd/{}", file.as_raw_fd())) else { return };
    for segment in image.segments() {
        assert!(segment.file_size <= segment.memory_size && segment.address < segment.page_end());
    }
    assert!(image.segments().iter().map(|segment| segment.page_end()).all(|end| end <= image.end()));
    assert!(image.wants().len() <= crate::WANTS_MAX && image.exports().len() <= crate::EXPORTS_MAX);
    if let Ok(memory) = image.memory(None) {
        assert!(memory <= crate::WANTED_MEMORY_MAX);
    }
    // What these say is anything.
    let _ = (image.toolchain(), image.symbol("main"), image.symbol(""));
}
