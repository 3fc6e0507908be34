//! The ELF notes by which an image says which interface it was built for, how much memory and what else it
//! wants, and which functions it exports.

use bitflags::bitflags;
use core::mem::size_of;

/// Owner name of the note, with its terminating zero.
pub const NOTE_NAME: [u8; 8] = *b"libvcpu\0";

/// Type of the note that says what the image was built for. There is one.
pub const NOTE_TYPE: u32 = 1;

/// Type of a note that says what the image wants: a line of text in the form of `vcpu run`'s grants, like
/// `dir media:ro`, `block disk`, `entropy` or `function log`. There may be many.
pub const NOTE_WANT: u32 = 2;

/// Type of a note that names a function that the image exports. There may be many.
pub const NOTE_EXPORT: u32 = 3;

/// The section in which the note lies.
pub const NOTE_SECTION: &str = ".note.vcpu";

bitflags! {
    /// How the image was built.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BuildFlags: u32 {
        /// For the custom target, with its own `core`; otherwise with a stock toolchain's.
        const CUSTOM_TARGET = 1 << 0;
    }
}

/// What the note says.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// [`INTERFACE_VERSION`](crate::INTERFACE_VERSION) that the image was built for.
    pub version: u32,
    /// [`BuildFlags`].
    pub flags: u32,
    /// RAM in bytes that the image wants when it is not told otherwise, its own segments included.
    pub memory: u64,
}

/// The note as it lies in the image.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 8],
    version: u32,
    flags: u32,
    memory_low: u32,
    memory_high: u32,
}

impl Note {
    /// A note that says these things.
    pub const fn new(requirements: Requirements) -> Note {
        Note {
            name_size: NOTE_NAME.len() as u32,
            description_size: size_of::<Requirements>() as u32,
            kind: NOTE_TYPE,
            name: NOTE_NAME,
            version: requirements.version,
            flags: requirements.flags,
            memory_low: requirements.memory as u32,
            memory_high: (requirements.memory >> 32) as u32,
        }
    }
}

/// A note that is a text, as those of [`NOTE_WANT`] and [`NOTE_EXPORT`].
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextNote<const N: usize> {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 8],
    text: [u8; N],
}

impl<const N: usize> TextNote<N> {
    /// A note of this type with this text.
    ///
    /// # Panics
    ///
    /// If the text has less than `N` bytes.
    pub const fn new(kind: u32, text: &str) -> TextNote<N> {
        let Some(text) = text.as_bytes().first_chunk() else { panic!("the note is longer than its text") };
        let name_size = NOTE_NAME.len() as u32;
        TextNote { name_size, description_size: N as u32, kind, name: NOTE_NAME, text: *text }
    }
}

impl Requirements {
    /// Reads the description part of a note; `None` if it has the wrong length.
    ///
    /// ```
    /// use vcpu_abi::note::Requirements;
    /// let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0];
    /// assert_eq!(Requirements::parse(&bytes).unwrap().memory, 1 << 20);
    /// assert!(Requirements::parse(&bytes[1..]).is_none());
    /// ```
    pub fn parse(description: &[u8]) -> Option<Requirements> {
        let bytes: &[u8; size_of::<Requirements>()] = description.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Requirements {
            version: word(0),
            flags: word(4),
            memory: u64::from(word(8)) | u64::from(word(12)) << 32,
        })
    }
}

const _: () = assert!(size_of::<Note>() == 12 + 8 + 16 && size_of::<Requirements>() == 16);
