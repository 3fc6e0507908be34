//! The sections of an image's file, of which as many bytes are read as the reader can bear.

use object::LittleEndian as Little;
use object::elf::{FileHeader64, SHF_COMPRESSED, SHT_NOBITS, SectionHeader64};
use object::pod::{from_bytes, slice_from_all_bytes};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Most bytes that the names of sections may take.
const NAMES_MAX: u64 = 64 << 10;

/// What the file says of its sections.
pub(super) struct Sections<'i> {
    file: &'i File,
    headers: Vec<u8>,
    names: Vec<u8>,
}

impl<'i> Sections<'i> {
    /// The sections of a file; none if it is damaged.
    pub(super) fn of(file: &'i File) -> Sections<'i> {
        let mut sections = Sections { file, headers: Vec::new(), names: Vec::new() };
        let header = read(file, 0, size_of::<FileHeader64<Little>>() as u64).unwrap_or_default();
        if let Ok((header, _)) = from_bytes::<FileHeader64<Little>>(&header) {
            // The count has 16 bits, so this is little. (More would be in a section with number zero.)
            let length = usize::from(header.e_shnum.get(Little)) * size_of::<SectionHeader64<Little>>();
            sections.headers = read(file, header.e_shoff.get(Little), length as u64).unwrap_or_default();
            let names = sections.headers().get(usize::from(header.e_shstrndx.get(Little).0));
            let names = names.and_then(|names| bytes(file, names, &mut NAMES_MAX.clone()));
            sections.names = names.unwrap_or_default();
        }
        sections
    }

    fn headers(&self) -> &[SectionHeader64<Little>] {
        slice_from_all_bytes(&self.headers).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&SectionHeader64<Little>> {
        self.headers().iter().find(|header| {
            let begins = self.names.get(header.sh_name.get(Little) as usize..);
            begins
                .and_then(|text| text.strip_prefix(name.as_bytes()))
                .is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    /// The address of a section, or zero.
    pub(super) fn address(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |header| header.sh_addr.get(Little))
    }

    /// The bytes of a section, which are taken from what is left; none if there is no such section, if it
    /// is compressed, or larger than what is left.
    pub(super) fn read(&self, name: &str, left: &mut u64) -> Vec<u8> {
        self.find(name).and_then(|header| bytes(self.file, header, left)).unwrap_or_default()
    }
}

fn bytes(file: &File, header: &SectionHeader64<Little>, left: &mut u64) -> Option<Vec<u8>> {
    let compressed = header.sh_flags.get(Little).0 & SHF_COMPRESSED.0 != 0;
    if header.sh_type.get(Little) == SHT_NOBITS || compressed {
        return None;
    }
    let size = header.sh_size.get(Little);
    *left = left.checked_sub(size)?;
    read(file, header.sh_offset.get(Little), size)
}

/// Not by the descriptor's position: an image may serve several threads.
fn read(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, offset).is_ok().then_some(bytes)
}
