//! What else there is in an image's file, for those who look: the toolchain that made it, and symbols.

use super::{Cache, Header, Image, LITTLE};
use object::read::elf::{ElfFile64, FileHeader, SectionHeader};
use object::{LittleEndian, Object, ObjectSection, ReadCache};
use std::os::unix::fs::FileExt;

/// Most bytes of the comment that are looked at.
const COMMENT_MAX: u64 = 4096;

impl Image {
    /// What compilers and linkers said of themselves (the section `.comment`). It informs and nothing
    /// depends on it, so where it is damaged it says nothing.
    pub fn toolchain(&self) -> Vec<String> {
        let bytes = self.comment().unwrap_or_default();
        let strings = bytes.split(|byte| *byte == 0).filter(|string| !string.is_empty());
        strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect()
    }

    fn comment(&self) -> Option<Vec<u8>> {
        let cache = ReadCache::new(&*self.file);
        let header = Header::parse(&cache).ok()?;
        // With a count of zero the table would say its own length.
        if header.e_shnum(LITTLE) == 0 {
            return None;
        }
        let sections = header.sections(LITTLE, &cache).ok()?;
        let (_, section) = sections.section_by_name(LITTLE, b".comment")?;
        let (offset, size) = section.file_range(LITTLE)?;
        let mut bytes = vec![0; size.min(COMMENT_MAX) as usize];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// The bytes of the function or object `symbol`, with its address, if the image has it.
    pub fn symbol(&self, symbol: &str) -> Option<(u64, Vec<u8>)> {
        use object::ObjectSymbol;
        let cache = ReadCache::new(&*self.file);
        let elf: ElfFile64<'_, LittleEndian, Cache<'_>> = ElfFile64::parse(&cache).ok()?;
        let found = elf.symbols().find(|candidate| candidate.name() == Ok(symbol))?;
        let section = elf.section_by_index(found.section_index()?).ok()?;
        let bytes = section.data_range(found.address(), found.size()).ok()??;
        Some((found.address(), bytes.to_vec()))
    }
}
