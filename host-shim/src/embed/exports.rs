//! Which functions an image says it has.

use crate::image::Image;
use object::LittleEndian;
use object::read::ReadCache;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use vcpu_abi::note::{NOTE_EXPORT, NOTE_NAME};

/// Most bytes of notes that are looked at.
const NOTES_MAX: u64 = 64 << 10;

impl Image {
    /// The functions that the image says it has, for those who embed it, by name. It informs and nothing
    /// depends on it, so where it is damaged it says nothing.
    pub fn exports(&self) -> Vec<String> {
        let mut names = self.read_exports().unwrap_or_default();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn read_exports(&self) -> Option<Vec<String>> {
        let cache = ReadCache::new(self.file());
        let elf: ElfFile64<'_, LittleEndian, _> = ElfFile64::parse(&cache).ok()?;
        let headers = elf.elf_header().program_headers(LittleEndian, &cache).ok()?;
        let mut names = Vec::new();
        for header in headers.iter().filter(|header| header.p_filesz(LittleEndian) <= NOTES_MAX) {
            let Ok(Some(mut notes)) = header.notes(LittleEndian, &cache) else { continue };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == &NOTE_NAME[..NOTE_NAME.len() - 1]
                    && note.n_type(LittleEndian).0 == NOTE_EXPORT
                {
                    names.push(String::from_utf8_lossy(note.desc()).into_owned());
                }
            }
        }
        Some(names)
    }
}
