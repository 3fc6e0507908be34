//! Images: reading an ELF file and refusing everything that cannot be run.
//!
//! Only the headers, the notes and the comment are read here; a segment's bytes are copied when a sandbox
//! starts (the text once, for all sandboxes), and the debug information is read when a report needs it. The
//! file is opened once, so the headers that were validated are those that count.

mod contents;
mod notes;

use crate::grant::{Want, WantError};
use object::elf::{
    EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramFlags,
    ProgramHeader64,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use vcpu_abi::INTERFACE_VERSION;
use vcpu_abi::call::Access;
use vcpu_abi::layout::{IMAGE_END_MAX, PAGE_SIZE, RAM_BASE};
use vcpu_abi::note::Requirements;

/// Most loadable segments an image may have.
pub const SEGMENTS_MAX: usize = 16;

/// Most bytes that an image's file may have (1 GiB).
pub const FILE_SIZE_MAX: u64 = 1 << 30;

/// Most memory that an image is given because it wants it (1 GiB); for more the user has to say so.
pub const WANTED_MEMORY_MAX: u64 = 1 << 30;

/// Most things that an image may want.
pub const WANTS_MAX: usize = 64;

/// Most functions that an image may export.
pub const EXPORTS_MAX: usize = 256;

/// Most program headers, and bytes of notes, that are looked at.
const HEADERS_MAX: u16 = 64;
const NOTES_MAX: u64 = 64 << 10;

/// A program for a virtual CPU: a validated ELF file. Clones are the same image.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
    file: Arc<File>,
    entry: u64,
    segments: Vec<Segment>,
    requirements: Requirements,
    wants: Vec<Want>,
    exports: Vec<String>,
    /// The executable segments, once a sandbox was started.
    text: Arc<OnceLock<Arc<OwnedFd>>>,
}

/// A part of an image that is loaded into RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the guest, a multiple of the page size.
    pub address: u64,
    /// Bytes that come from the file; the rest is zero.
    pub file_size: u64,
    /// Bytes that it takes in RAM.
    pub memory_size: u64,
    /// What the guest may do with it.
    pub access: Access,
    pub(crate) file_offset: u64,
}

impl Segment {
    /// First address behind the segment's last page.
    pub fn page_end(&self) -> u64 {
        (self.address + self.memory_size).next_multiple_of(PAGE_SIZE)
    }

    /// Whether it can be executed.
    pub(crate) fn is_text(&self) -> bool {
        self.access.contains(Access::EXECUTE)
    }
}

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}: {problem}", path.display())]
pub struct ImageError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: ImageProblem,
}

/// What is wrong with a file that should be an image.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ImageProblem {
    #[error("there is no such file")]
    Missing,
    #[error("it is a directory, not an image")]
    Directory,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it is empty")]
    Empty,
    #[error("its file has {0} bytes, more than 1 GiB; strip its debug information")]
    TooLarge(u64),
    #[error("it is not an ELF file; build an image with `vcpu build`")]
    NotElf,
    #[error("its ELF structure is damaged: {0}")]
    Damaged(String),
    #[error("it is for another machine (ELF machine {0}), not x86-64")]
    WrongMachine(u16),
    #[error("it is dynamically linked or position-independent; an image is static and has a fixed address")]
    Dynamic,
    #[error("it is no executable (ELF type {0})")]
    NotExecutable(u16),
    #[error("it has {0} loadable segments, more than {SEGMENTS_MAX}")]
    TooManySegments(usize),
    #[error("it has no loadable segment")]
    NoSegments,
    #[error("the segment at {address:#x} is writable and executable at the same time")]
    WritableAndExecutable { address: u64 },
    #[error("the segment at {address:#x} cannot be read, which its other rights need")]
    Unreadably { address: u64 },
    #[error("the segment at {address:#x} does not begin at a page")]
    Misaligned { address: u64 },
    #[error("the segment at {address:#x} has more bytes in the file ({file}) than in memory ({memory})")]
    FileLargerThanMemory { address: u64, file: u64, memory: u64 },
    #[error("the segment at {address:#x} reaches beyond the end of the file")]
    Truncated { address: u64 },
    #[error(
        "the segment at {address:#x} of {size:#x} bytes is not between {RAM_BASE:#x} and {IMAGE_END_MAX:#x}"
    )]
    OutOfRange { address: u64, size: u64 },
    #[error("the segments at {first:#x} and {second:#x} overlap or are out of order")]
    Overlap { first: u64, second: u64 },
    #[error("its entry {0:#x} is not in an executable segment")]
    EntryOutside(u64),
    #[error("it has no vCPU note, so it was not linked as an image; build it with `vcpu build`")]
    NoNote,
    #[error(
        "it was built for version {0} of the interface, and this host serves version {INTERFACE_VERSION}; build it again"
    )]
    WrongVersion(u32),
    #[error("a note of what it wants cannot be understood: {0}; build it again")]
    BadWant(WantError),
    #[error("it wants both {0} and {1}, and a name is granted once; build it again")]
    WantsBoth(Want, Want),
    #[error("it wants more than {WANTS_MAX} things")]
    WantsMany,
    #[error("a note of what it exports cannot be understood: {0}; build it again")]
    BadExport(WantError),
    #[error("it exports more than {EXPORTS_MAX} functions")]
    ExportsMany,
    #[error("it needs {needed} bytes of memory, and {given} were given")]
    MemoryTooSmall { needed: u64, given: u64 },
    #[error("it wants {0} bytes of memory, more than 1 GiB; allow that with `--memory`")]
    WantsMuchMemory(u64),
    #[error("a memory size of {0} bytes is not possible; the most is 64 GiB")]
    MemoryTooLarge(u64),
}

type Header = FileHeader64<LittleEndian>;
type Cache<'a> = &'a ReadCache<&'a File>;
const LITTLE: LittleEndian = LittleEndian;

impl Image {
    /// Opens and validates a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or cannot be run; nothing was started then.
    pub fn open(path: impl AsRef<Path>) -> Result<Image, ImageError> {
        let path = path.as_ref();
        Self::read(path).map_err(|problem| ImageError { path: path.to_owned(), problem })
    }

    fn read(path: &Path) -> Result<Image, ImageProblem> {
        use ImageProblem::*;
        // Not blocking: opening a pipe that nobody writes to must not hang.
        let file = {
            use std::os::unix::fs::OpenOptionsExt;
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound { Missing } else { Unreadable(error) }
            })?
        };
        let metadata = file.metadata().map_err(Unreadable)?;
        match () {
            () if metadata.is_dir() => return Err(Directory),
            () if !metadata.is_file() => return Err(NotRegular),
            () if metadata.len() == 0 => return Err(Empty),
            () if metadata.len() > FILE_SIZE_MAX => return Err(TooLarge(metadata.len())),
            () => {}
        }
        let mut image = Image {
            path: path.to_owned(),
            file: Arc::new(file),
            entry: 0,
            segments: Vec::new(),
            requirements: Requirements { version: 0, flags: 0, memory: 0 },
            wants: Vec::new(),
            exports: Vec::new(),
            text: Arc::default(),
        };
        image.parse(metadata.len())?;
        Ok(image)
    }

    /// Reads what there is to know of the file, and validates it.
    fn parse(&mut self, file_length: u64) -> Result<(), ImageProblem> {
        use ImageProblem::*;
        let file = self.file.clone();
        let cache = ReadCache::new(&*file);
        let damaged = |error: object::read::Error| Damaged(error.to_string());
        let mut magic = [0; 4];
        if self.file.read_exact_at(&mut magic, 0).is_err() || magic != object::elf::ELFMAG {
            return Err(NotElf);
        }
        let header =
            Header::parse(&cache).and_then(|header| header.endian().map(|_| header)).map_err(|_| {
                Damaged("the header is cut short, or not of a 64-bit little-endian file".to_owned())
            })?;
        if header.e_machine(LITTLE) != EM_X86_64 {
            return Err(WrongMachine(header.e_machine(LITTLE).0));
        }
        match header.e_type(LITTLE) {
            ET_EXEC => {}
            ET_DYN => return Err(Dynamic),
            other => return Err(NotExecutable(other.0)),
        }
        if header.e_phnum(LITTLE) > HEADERS_MAX {
            return Err(Damaged(format!("it has more than {HEADERS_MAX} program headers")));
        }
        let headers = header.program_headers(LITTLE, &cache).map_err(damaged)?;
        if headers.iter().any(|header| matches!(header.p_type(LITTLE), PT_INTERP | PT_DYNAMIC)) {
            return Err(Dynamic);
        }
        let segments = segments(headers, file_length)?;
        self.entry = header.e_entry(LITTLE);
        let executable = |segment: &Segment| {
            segment.is_text()
                && (segment.address..segment.address + segment.memory_size).contains(&self.entry)
        };
        if !segments.iter().any(executable) {
            return Err(EntryOutside(self.entry));
        }
        let notes = notes::notes(headers, &cache)?;
        let requirements = notes::requirements(&notes)?;
        if requirements.version != INTERFACE_VERSION {
            return Err(WrongVersion(requirements.version));
        }
        self.segments = segments;
        self.requirements = requirements;
        self.wants = notes::wants(&notes)?;
        self.exports = notes::exports(&notes)?;
        Ok(())
    }

    /// Whether both are the same image, opened once.
    pub(crate) fn is(&self, other: &Image) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Address of the first instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The segments, by address.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What the image's note says.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// What the image wants to be granted, each once, in its own order; at most [`WANTS_MAX`]. It is not
    /// started without.
    pub fn wants(&self) -> &[Want] {
        &self.wants
    }

    /// Names of the functions that the image exports, each once, in alphabetical order; at most
    /// [`EXPORTS_MAX`].
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// The size of RAM to run it with, given what the user asked for: a multiple of the page size.
    ///
    /// # Errors
    ///
    /// If the image and a page of free RAM do not fit, or nothing could be that large.
    pub fn memory(&self, asked: Option<u64>) -> Result<u64, ImageError> {
        let given = asked.unwrap_or(self.requirements.memory);
        let needed = self.end() - RAM_BASE + PAGE_SIZE;
        let problem = if given > vcpu_abi::layout::RAM_SIZE_MAX {
            ImageProblem::MemoryTooLarge(given)
        } else if asked.is_none() && given > WANTED_MEMORY_MAX {
            ImageProblem::WantsMuchMemory(given)
        } else if given < needed {
            ImageProblem::MemoryTooSmall { needed, given }
        } else {
            return Ok(given / PAGE_SIZE * PAGE_SIZE);
        };
        Err(ImageError { path: self.path.clone(), problem })
    }

    /// First address behind the last segment's pages.
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(RAM_BASE, Segment::page_end)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file of the executable segments; `make` makes it the first time.
    pub(crate) fn text(&self, make: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Arc<OwnedFd>> {
        if let Some(text) = self.text.get() {
            return Ok(text.clone());
        }
        let text = Arc::new(make()?);
        // Another thread may have been faster; then its file is the one.
        Ok(self.text.get_or_init(|| text).clone())
    }
}

fn segments(
    headers: &[ProgramHeader64<LittleEndian>],
    file_length: u64,
) -> Result<Vec<Segment>, ImageProblem> {
    use ImageProblem::*;
    let mut segments: Vec<Segment> = Vec::new();
    let loadable =
        headers.iter().filter(|header| header.p_type(LITTLE) == PT_LOAD && header.p_memsz(LITTLE) > 0);
    for header in loadable {
        let (address, memory_size) = (header.p_vaddr(LITTLE), header.p_memsz(LITTLE));
        let (file_offset, file_size) = (header.p_offset(LITTLE), header.p_filesz(LITTLE));
        let has = |flag: ProgramFlags| header.p_flags(LITTLE).0 & flag.0 != 0;
        if has(PF_W) && has(PF_X) {
            return Err(WritableAndExecutable { address });
        }
        let mut access = Access::empty();
        access.set(Access::READ, has(PF_R));
        access.set(Access::WRITE, has(PF_W));
        access.set(Access::EXECUTE, has(PF_X));
        if Access::from_number(access.bits()).is_none() {
            return Err(Unreadably { address });
        }
        if file_size > memory_size {
            return Err(FileLargerThanMemory { address, file: file_size, memory: memory_size });
        }
        let end = address.checked_add(memory_size).filter(|end| *end <= IMAGE_END_MAX);
        if address < RAM_BASE || end.is_none() {
            return Err(OutOfRange { address, size: memory_size });
        }
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Misaligned { address });
        }
        if file_offset.checked_add(file_size).is_none_or(|end| end > file_length) {
            return Err(Truncated { address });
        }
        if let Some(last) = segments.last()
            && address < last.page_end()
        {
            return Err(Overlap { first: last.address, second: address });
        }
        segments.push(Segment { address, file_size, memory_size, access, file_offset });
    }
    match segments.len() {
        0 => Err(NoSegments),
        1..=SEGMENTS_MAX => Ok(segments),
        many => Err(TooManySegments(many)),
    }
}
