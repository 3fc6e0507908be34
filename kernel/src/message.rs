//! The text of a last message: made without the heap, which may be what is broken.

use core::fmt::Write;

/// Text in a buffer of fixed size; what does not fit is cut.
pub(crate) struct Message {
    bytes: [u8; 1024],
    length: usize,
}

impl Message {
    /// No text yet.
    pub(crate) fn new() -> Message {
        Message { bytes: [0; 1024], length: 0 }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        // Only whole pieces of text are cut at a character's boundary in `write_str`.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.len() - self.length;
        let cut = text.floor_char_boundary(room);
        self.bytes[self.length..self.length + cut].copy_from_slice(&text.as_bytes()[..cut]);
        self.length += cut;
        Ok(())
    }
}
