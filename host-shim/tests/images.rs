//! Bad images: each is refused with one sentence that names the file and what is wrong with it, before
//! anything is started, and no file whatsoever makes the loader fail in another way.
//!
//! The images are written here, byte by byte, from a small one that is valid and runs.

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use vcpu_abi::INTERFACE_VERSION;
use vcpu_abi::call::{Access, Call};
use vcpu_abi::layout::{IMAGE_END_MAX, PAGE_SIZE, RAM_BASE, RAM_SIZE_MAX, TRAP_INSTRUCTION};
use vcpu_abi::note::{NOTE_EXPORT, NOTE_NAME, NOTE_TYPE, NOTE_WANT};
use vcpu_host::{
    Config, EXPORTS_MAX, Error, Image, Machine, Outcome, STATUS_BAD_IMAGE, STATUS_FAILED, WANTS_MAX,
};

/// Types and flags of program headers.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NOTE: u32 = 4;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;

/// Types of files.
const RELOCATABLE: u16 = 1;
const POSITION_INDEPENDENT: u16 = 3;
const CORE_DUMP: u16 = 4;

const HEADER_SIZE: u64 = 64;
const PROGRAM_HEADER_SIZE: u64 = 56;

/// The status with which the valid image ends.
const STATUS: u8 = 7;

/// A program header; its content is added to the file unless it says where that is.
#[derive(Clone)]
struct Segment {
    kind: u32,
    flags: u32,
    address: u64,
    content: Vec<u8>,
    memory_size: u64,
    /// Replaces the true offset in the file.
    offset: Option<u64>,
    /// Replaces the true size in the file.
    file_size: Option<u64>,
}

/// An ELF file.
#[derive(Clone)]
struct Elf {
    class: u8,
    encoding: u8,
    kind: u16,
    machine: u16,
    entry: u64,
    header_entry_size: u16,
    /// Replaces the true number of program headers.
    header_count: Option<u16>,
    segments: Vec<Segment>,
}

/// The vCPU note.
fn note(version: u32, memory: u64) -> Vec<u8> {
    note_with(&NOTE_NAME, NOTE_TYPE, &[&version.to_le_bytes()[..], &[0; 4], &memory.to_le_bytes()].concat())
}

fn note_with(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let sizes = [name.len() as u32, description.len() as u32, kind];
    let mut note: Vec<u8> = sizes.iter().flat_map(|word| word.to_le_bytes()).collect();
    note.extend(name);
    note.extend(description);
    // The next one begins at a multiple of four bytes.
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

fn note_segment(content: Vec<u8>) -> Segment {
    let memory_size = content.len() as u64;
    Segment { kind: NOTE, flags: READ, address: 0, content, memory_size, offset: None, file_size: None }
}

fn load(address: u64, flags: u32, memory_size: u64) -> Segment {
    Segment { kind: LOAD, flags, address, content: vec![0x90; 8], memory_size, offset: None, file_size: None }
}

/// The program: a call of `exit`, by the trap page, since there is no stack.
fn code() -> Vec<u8> {
    let mut code = vec![0xbf];
    code.extend((Call::Exit as u32).to_le_bytes());
    code.push(0xbe);
    code.extend(u32::from(STATUS).to_le_bytes());
    code.extend(TRAP_INSTRUCTION);
    code
}

/// The valid image, with these notes besides.
fn with_notes<'a>(notes: impl IntoIterator<Item = (u32, &'a str)>) -> Elf {
    let mut elf = Elf::valid();
    let content = &mut elf.segments[0].content;
    for (kind, text) in notes {
        content.extend(note_with(&NOTE_NAME, kind, text.as_bytes()));
    }
    elf.segments[0].memory_size = elf.segments[0].content.len() as u64;
    elf
}

/// Indices of the valid image's segments.
const TEXT: usize = 1;
const DATA: usize = 2;

impl Elf {
    /// A valid image, with a note, a page of text and two of data.
    fn valid() -> Elf {
        let mut text = load(RAM_BASE, READ | EXECUTE, PAGE_SIZE);
        text.content = code();
        Elf {
            class: 2,
            encoding: 1,
            kind: 2,
            machine: 62,
            entry: RAM_BASE,
            header_entry_size: PROGRAM_HEADER_SIZE as u16,
            header_count: None,
            segments: vec![
                note_segment(note(INTERFACE_VERSION, 1 << 20)),
                text,
                load(RAM_BASE + PAGE_SIZE, READ | WRITE, 2 * PAGE_SIZE),
            ],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, self.encoding, 1];
        file.resize(16, 0);
        let count = self.header_count.unwrap_or(self.segments.len() as u16);
        for half in [self.kind, self.machine] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1u32.to_le_bytes());
        for long in [self.entry, HEADER_SIZE, 0] {
            file.extend(long.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [HEADER_SIZE as u16, self.header_entry_size, count, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = HEADER_SIZE + PROGRAM_HEADER_SIZE * self.segments.len() as u64;
        for segment in &self.segments {
            let length = segment.content.len() as u64;
            file.extend(segment.kind.to_le_bytes());
            file.extend(segment.flags.to_le_bytes());
            let (at, size) = (segment.offset.unwrap_or(offset), segment.file_size.unwrap_or(length));
            for long in [at, segment.address, segment.address, size, segment.memory_size, 4] {
                file.extend(long.to_le_bytes());
            }
            offset += length;
        }
        file.extend(self.segments.iter().flat_map(|segment| &segment.content));
        file
    }
}

/// A folder for a test's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("image");
        fs::write(&path, bytes).expect("a temporary file can be written");
        path
    }
}

/// Asserts that this is one sentence about this file.
#[track_caller]
fn assert_sentence(sentence: &str, path: &Path, problem: &str) {
    let begin = format!("cannot run {}: ", path.display());
    let rest = sentence.strip_prefix(&begin).unwrap_or_else(|| panic!("{sentence:?}"));
    assert!(rest.contains(problem), "{sentence:?} does not say {problem:?}");
    assert!(!sentence.contains(char::is_control) && !sentence.ends_with('.'), "{sentence:?}");
}

/// Asserts that a file is no image, for this reason.
#[track_caller]
fn assert_refused_at(path: &Path, problem: &str) {
    let refused = Image::open(path).expect_err(problem);
    assert_sentence(&refused.to_string(), path, problem);
}

/// Asserts that bytes are no image, for this reason.
#[track_caller]
fn assert_refused(bytes: &[u8], problem: &str) {
    let folder = Folder::new();
    assert_refused_at(&folder.file(bytes), problem);
}

/// Asserts that the valid image is none any more after this change.
#[track_caller]
fn assert_change_refused(problem: &str, change: impl FnOnce(&mut Elf)) {
    let mut elf = Elf::valid();
    change(&mut elf);
    assert_refused(&elf.bytes(), problem);
}

#[test]
fn the_image_from_which_the_others_are_made_is_valid() {
    let folder = Folder::new();
    let image = Image::open(folder.file(&Elf::valid().bytes())).unwrap();
    let outcome = Machine::start(&image, Config::default()).unwrap().run().unwrap();
    assert!(matches!(outcome, Outcome::Exited(STATUS)), "{outcome:?}");
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let folder = Folder::new();
    let bytes = Elf::valid().bytes();
    for length in 0..bytes.len() {
        let path = folder.file(&bytes[..length]);
        let refused = Image::open(&path).expect_err("a part of an image is none");
        assert_sentence(&refused.to_string(), &path, "");
    }
    assert_refused(&[], "it is empty");
    assert_refused(&bytes[..3], "it is not an ELF file");
    assert_refused(&bytes[..63], "the header is cut short");
    assert_refused(&bytes[..bytes.len() - 1], "reaches beyond the end of the file");
}

#[test]
fn what_is_not_elf_is_refused() {
    for bytes in [&b"#!/bin/sh\necho hello\n"[..], b"MZ\x90\0", b"\x7fELG", &[0; 4096], &[0xff; 4096]] {
        assert_refused(bytes, "it is not an ELF file; build an image with `vcpu build`");
    }
}

#[test]
fn other_machines_are_refused() {
    assert_change_refused("it is for another machine (ELF machine 183), not x86-64", |elf| elf.machine = 183);
    assert_change_refused("not of a 64-bit little-endian file", |elf| elf.class = 1);
    assert_change_refused("not of a 64-bit little-endian file", |elf| elf.encoding = 2);
    assert_change_refused("not of a 64-bit little-endian file", |elf| elf.class = 0);
}

#[test]
fn programs_for_a_dynamic_linker_are_refused() {
    const DYNAMIC_PROBLEM: &str = "it is dynamically linked or position-independent";
    assert_change_refused(DYNAMIC_PROBLEM, |elf| elf.kind = POSITION_INDEPENDENT);
    for kind in [DYNAMIC, INTERPRETER] {
        assert_change_refused(DYNAMIC_PROBLEM, |elf| {
            elf.segments.push(Segment { kind, ..note_segment(b"/lib64/ld-linux-x86-64.so.2\0".to_vec()) });
        });
    }
    // This test itself is such a program.
    assert_refused_at(&std::env::current_exe().unwrap(), DYNAMIC_PROBLEM);
}

#[test]
fn what_is_no_executable_is_refused() {
    assert_change_refused("it is no executable (ELF type 1)", |elf| elf.kind = RELOCATABLE);
    assert_change_refused("it is no executable (ELF type 4)", |elf| elf.kind = CORE_DUMP);
    assert_change_refused("it is no executable (ELF type 0)", |elf| elf.kind = 0);
}

#[test]
fn segments_that_overlap_or_are_out_of_order_are_refused() {
    const PROBLEM: &str = "overlap or are out of order";
    assert_change_refused(PROBLEM, |elf| elf.segments[DATA].address = RAM_BASE);
    assert_change_refused(PROBLEM, |elf| elf.segments[TEXT].memory_size = PAGE_SIZE + 1);
    assert_change_refused(PROBLEM, |elf| elf.segments[TEXT].memory_size = 64 * PAGE_SIZE);
    assert_change_refused(PROBLEM, |elf| elf.segments.swap(TEXT, DATA));
}

#[test]
fn rights_that_do_not_exist_are_refused() {
    let flags = |flags| move |elf: &mut Elf| elf.segments[TEXT].flags = flags;
    assert_change_refused("is writable and executable at the same time", flags(READ | WRITE | EXECUTE));
    assert_change_refused("is writable and executable at the same time", flags(WRITE | EXECUTE));
    assert_change_refused("cannot be read, which its other rights need", flags(EXECUTE));
    assert_change_refused("cannot be read, which its other rights need", flags(WRITE));
}

#[test]
fn an_entry_that_is_not_in_text_is_refused() {
    let data = RAM_BASE + PAGE_SIZE;
    for entry in [0, 1, RAM_BASE - 1, data, data + PAGE_SIZE, data + 2 * PAGE_SIZE, 1 << 63, u64::MAX] {
        let problem = format!("its entry {entry:#x} is not in an executable segment");
        assert_change_refused(&problem, |elf| elf.entry = entry);
    }
    assert_change_refused("is not in an executable segment", |elf| {
        // In the text's page, but behind its end.
        elf.segments[TEXT].memory_size = 100;
        elf.entry = RAM_BASE + 100;
    });
}

#[test]
fn segments_outside_the_range_of_images_are_refused() {
    const PROBLEM: &str = "is not between 0x200000 and 0x80000000";
    let last = u64::MAX - PAGE_SIZE + 1;
    for address in [0, PAGE_SIZE, 0x1_0000, 0x1_2000, 0x1_4000, 0x2_0000, RAM_BASE - PAGE_SIZE] {
        assert_change_refused(PROBLEM, |elf| elf.segments[TEXT].address = address);
    }
    for address in [IMAGE_END_MAX - PAGE_SIZE, IMAGE_END_MAX, 1 << 47, 1 << 63, last] {
        assert_change_refused(PROBLEM, |elf| elf.segments[DATA].address = address);
    }
    // The sum of address and size overflows, or comes close.
    for size in [IMAGE_END_MAX, 1 << 63, u64::MAX, u64::MAX - RAM_BASE, last] {
        assert_change_refused(PROBLEM, |elf| elf.segments[DATA].memory_size = size);
    }
}

#[test]
fn segments_that_do_not_begin_at_a_page_are_refused() {
    for offset in [1, 8, PAGE_SIZE - 1] {
        assert_change_refused("does not begin at a page", |elf| {
            elf.segments[DATA].address = RAM_BASE + 8 * PAGE_SIZE + offset;
        });
    }
}

#[test]
fn sizes_and_offsets_that_cannot_be_are_refused() {
    assert_change_refused("has more bytes in the file (8) than in memory (7)", |elf| {
        elf.segments[DATA].memory_size = 7;
    });
    assert_change_refused("has more bytes in the file", |elf| elf.segments[DATA].file_size = Some(u64::MAX));
    let length = Elf::valid().bytes().len() as u64;
    for offset in [length, length - 7, 1 << 40, u64::MAX - 8, u64::MAX] {
        assert_change_refused("reaches beyond the end of the file", |elf| {
            elf.segments[DATA].offset = Some(offset);
        });
    }
    assert_change_refused("reaches beyond the end of the file", |elf| {
        elf.segments[DATA].file_size = Some(2 * PAGE_SIZE);
    });
}

#[test]
fn too_many_segments_and_none_are_refused() {
    let many = |count: u64| {
        move |elf: &mut Elf| {
            let pages = (1..count).map(|page| load(RAM_BASE + page * PAGE_SIZE, READ, PAGE_SIZE));
            elf.segments.truncate(TEXT + 1);
            elf.segments.extend(pages);
        }
    };
    assert_change_refused("it has 17 loadable segments, more than 16", many(17));
    assert_change_refused("it has 60 loadable segments, more than 16", many(60));
    let mut most = Elf::valid();
    many(16)(&mut most);
    let folder = Folder::new();
    let image = Image::open(folder.file(&most.bytes())).expect("sixteen are allowed");
    let outcome = Machine::start(&image, Config::default()).unwrap().run().unwrap();
    assert!(matches!(outcome, Outcome::Exited(STATUS)), "{outcome:?}");

    assert_change_refused("it has no loadable segment", |elf| elf.segments.truncate(TEXT));
    assert_change_refused("it has no loadable segment", |elf| {
        for segment in &mut elf.segments[TEXT..] {
            (segment.memory_size, segment.file_size) = (0, Some(0));
        }
    });
}

#[test]
fn damaged_program_headers_are_refused() {
    assert_change_refused("its ELF structure is damaged", |elf| elf.header_count = Some(u16::MAX));
    assert_change_refused("its ELF structure is damaged", |elf| elf.header_entry_size = 1);
}

#[test]
fn an_image_needs_a_note() {
    const PROBLEM: &str = "it has no vCPU note";
    let with = |note: Vec<u8>| move |elf: &mut Elf| elf.segments[0] = note_segment(note);
    assert_change_refused(PROBLEM, |elf| drop(elf.segments.remove(0)));
    assert_change_refused(PROBLEM, with(note_with(b"GNU\0", NOTE_TYPE, &[0; 16])));
    assert_change_refused(PROBLEM, with(note_with(&NOTE_NAME, NOTE_WANT, b"entropy")));
    assert_change_refused(PROBLEM, with(Vec::new()));
}

#[test]
fn a_damaged_note_is_refused() {
    let with = |note: Vec<u8>| move |elf: &mut Elf| elf.segments[0] = note_segment(note);
    for size in [0, 4, 12, 20, 64] {
        let note = note_with(&NOTE_NAME, NOTE_TYPE, &vec![0; size]);
        assert_change_refused("its vCPU note has the wrong size", with(note));
    }
    let mut endless = note(INTERFACE_VERSION, 1 << 20);
    endless[4..8].fill(0xff);
    assert_change_refused("its ELF structure is damaged", with(endless));
    for offset in [1 << 20, 1 << 63, u64::MAX] {
        assert_change_refused("its ELF structure is damaged", |elf| elf.segments[0].offset = Some(offset));
    }
}

#[test]
fn an_image_for_another_version_is_refused() {
    for version in [0, INTERFACE_VERSION + 1, u32::MAX] {
        let problem = format!(
            "it was built for version {version} of the interface, and this host serves version {INTERFACE_VERSION}"
        );
        assert_change_refused(&problem, |elf| elf.segments[0] = note_segment(note(version, 1 << 20)));
    }
}

#[test]
fn an_image_says_what_it_wants_and_exports() {
    let notes = [
        (NOTE_WANT, "dir media"),
        (NOTE_EXPORT, "thumbnail"),
        (NOTE_WANT, "entropy"),
        (NOTE_WANT, "dir media:rw"),
        (NOTE_EXPORT, "decode"),
        (NOTE_WANT, "block disk:ro"),
        (NOTE_WANT, "entropy"),
        (NOTE_WANT, "dir media:ro"),
        (NOTE_EXPORT, "decode"),
        (NOTE_WANT, "function log"),
        (NOTE_WANT, "function media"),
        // Of a type that only later versions know.
        (1000, "whatever"),
    ];
    let folder = Folder::new();
    let image = Image::open(folder.file(&with_notes(notes).bytes())).unwrap();
    let wants: Vec<_> = image.wants().iter().map(ToString::to_string).collect();
    assert_eq!(wants, ["dir media:rw", "entropy", "block disk:ro", "function log", "function media"]);
    assert_eq!(image.exports(), ["decode", "thumbnail"]);
}

#[test]
fn what_is_wanted_or_exported_in_no_known_form_is_refused() {
    let assert = |kind, text: &str, problem: &str| {
        assert_refused(&with_notes([(kind, text)]).bytes(), problem);
    };
    assert(
        NOTE_WANT,
        "",
        "a note of what it wants cannot be understood: \"\" is none of dir NAME[:ro|:rw], ",
    );
    assert(NOTE_WANT, "net lan", "\"net lan\" is none of dir NAME[:ro|:rw], ");
    assert(NOTE_WANT, "dir ../up", "\"../up\" is not a name of 1 to 36 letters");
    assert(NOTE_WANT, "entropy\u{1b}[2J\n", "\\u{1b}[2J\\n");
    assert(NOTE_WANT, &"x".repeat(60_000), "xxx\" is none of ");
    assert(
        NOTE_EXPORT,
        "",
        "a note of what it exports cannot be understood: \"\" is not a name of 1 to 128 ",
    );
    assert(NOTE_EXPORT, "a b", "\"a b\" is not a name of 1 to 128 ");
    let both = with_notes([(NOTE_WANT, "dir data"), (NOTE_WANT, "block data:rw")]).bytes();
    assert_refused(&both, "it wants both dir data:ro and block data:rw, and a name is granted once");
}

#[test]
fn an_image_cannot_want_or_export_without_end() {
    let numbers: Vec<_> = (0..=EXPORTS_MAX).map(|number| format!("function f{number}")).collect();
    let wants = |count| with_notes(numbers[..count].iter().map(|text| (NOTE_WANT, text.as_str()))).bytes();
    let exports = |count| {
        with_notes(numbers[..count].iter().map(|text| (NOTE_EXPORT, &text["function ".len()..]))).bytes()
    };
    let folder = Folder::new();
    assert_eq!(Image::open(folder.file(&wants(WANTS_MAX))).unwrap().wants().len(), WANTS_MAX);
    assert_eq!(Image::open(folder.file(&exports(EXPORTS_MAX))).unwrap().exports().len(), EXPORTS_MAX);
    assert_refused(&wants(WANTS_MAX + 1), "it wants more than 64 things");
    assert_refused(&exports(EXPORTS_MAX + 1), "it exports more than 256 functions");
}

#[test]
fn an_image_is_not_started_without_what_it_wants() {
    let folder = Folder::new();
    let path = folder.file(&with_notes([(NOTE_WANT, "console log"), (NOTE_WANT, "function f")]).bytes());
    let image = Image::open(&path).unwrap();
    let config = |functions: &[&str]| Config {
        functions: functions.iter().map(ToString::to_string).collect(),
        ..Config::default()
    };
    let refused = Machine::start(&image, config(&["f"])).expect_err("nothing was granted");
    assert!(matches!(&refused, Error::NotGranted(missing) if missing.len() == 1), "{refused:?}");
    let expected = "the image wants console log, which was not granted; grant it with --console log=PATH";
    assert_eq!(refused.to_string(), expected);
    assert!(
        matches!(Machine::start(&image, config(&[])), Err(Error::NotGranted(missing)) if missing.len() == 2)
    );
}

#[test]
fn the_command_says_what_is_wanted_and_not_granted() {
    let folder = Folder::new();
    let path = folder.file(&with_notes([(NOTE_WANT, "dir media"), (NOTE_WANT, "entropy")]).bytes());
    let run = Command::new(env!("CARGO_BIN_EXE_vcpu")).arg("run").arg(&path).output().unwrap();
    let expected = "error: the image wants dir media:ro and entropy, which were not granted; \
                    grant them with --dir media=PATH --entropy\n";
    assert_eq!(String::from_utf8(run.stderr).unwrap(), expected);
    assert_eq!((run.status.code(), run.stdout), (Some(STATUS_FAILED.into()), Vec::new()));
}

/// Runs `vcpu` in a folder. Gives its status, its answer, and what it said besides.
fn vcpu(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_vcpu"))
        .args(arguments)
        .current_dir(folder.0.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap(), text(run.stdout), text(run.stderr))
}

#[test]
fn info_tells_what_an_image_wants_and_exports() {
    let folder = Folder::new();
    let notes = [(NOTE_WANT, "dir media:rw"), (NOTE_WANT, "function log"), (NOTE_EXPORT, "thumbnail")];
    folder.file(&with_notes(notes).bytes());
    let (status, answer, errors) = vcpu(&folder, &["info", "./image"]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let wants =
        "\nwants              dir media:rw\n                   function log\nexports            thumbnail\n";
    assert!(answer.contains(wants), "{answer}");
    assert!(answer.ends_with(" of memory, and --dir media=PATH:rw\n"), "{answer}");
}

#[test]
fn check_tells_what_an_image_is_granted_and_what_it_lacks() {
    let folder = Folder::new();
    let notes = [
        (NOTE_WANT, "dir media"),
        (NOTE_WANT, "dir out:rw"),
        (NOTE_WANT, "block disk:rw"),
        (NOTE_WANT, "console log"),
        (NOTE_WANT, "entropy"),
        (NOTE_WANT, "function decode"),
    ];
    folder.file(&with_notes(notes).bytes());
    let config = "\
        program = 'image'\n\
        [dir.media]\npath = '.'\naccess = 'rw'\n\
        [dir.out]\npath = '.'\n\
        [console.extra]\npath = '/dev/null'\n";
    fs::write(folder.path("sandbox.toml"), config).unwrap();
    let expected = "\
error: the image wants dir out:rw (not dir out:ro), which is not granted; write [dir.out] with its path and access = \"rw\"
error: the image wants block disk:rw, which is not granted; write [block.disk] with its path and access = \"rw\"
error: the image wants console log, which is not granted; write [console.log] with its path
error: the image wants entropy, which is not granted; write entropy = true
error: the image wants function decode, which is not granted; only a program that embeds the image gives it that
warning: dir media:rw is granted, and the image wants only dir media:ro
warning: dir out:ro is granted, and the image does not say that it wants it; leave it out if you can
warning: console extra is granted, and the image does not say that it wants it; leave it out if you can
";
    let (status, answer, errors) = vcpu(&folder, &["check"]);
    assert_eq!(errors, expected);
    let listed = "\
sandbox.toml
  program                  ./image
  dir media:rw             .
  dir out:ro               .
  console extra            /dev/null
";
    assert_eq!((status, answer.as_str()), (1, listed));

    folder.file(&with_notes([(NOTE_WANT, "dir media:rw"), (NOTE_WANT, "entropy")]).bytes());
    fs::write(folder.path("good.toml"), "entropy = true\n[dir.media]\npath = '.'\naccess = 'rw'\n").unwrap();
    let (status, answer, errors) = vcpu(&folder, &["check", "--config", "good.toml", "./image"]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(answer.ends_with("  entropy\nok\n"), "{answer}");
}

#[test]
fn check_tells_what_is_wrong_with_an_image() {
    let folder = Folder::new();
    fs::write(folder.path("sandbox.toml"), "memory = '8K'\nprogram = 'image'\n").unwrap();
    let refused = |problem: &str| {
        let (status, _, errors) = vcpu(&folder, &["check"]);
        assert!(status == 1 && errors.contains(problem) && errors.lines().count() == 1, "{errors}");
    };
    refused("\"./image\" does not exist; ");
    folder.file(b"text");
    refused("cannot run ./image: it is not an ELF file");
    folder.file(&Elf::valid().bytes());
    refused("cannot run ./image: it needs 16384 bytes of memory, and 8192 were given");
}

/// Asserts that an image that is valid cannot be started with this much memory.
#[track_caller]
fn assert_not_started(wants: u64, given: Option<u64>, problem: &str) {
    let folder = Folder::new();
    let mut elf = Elf::valid();
    elf.segments[0] = note_segment(note(INTERFACE_VERSION, wants));
    let path = folder.file(&elf.bytes());
    let image = Image::open(&path).unwrap();
    let config = Config { memory: given, ..Config::default() };
    match Machine::start(&image, config) {
        Err(Error::Image(error)) => assert_sentence(&error.to_string(), &path, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_must_hold_the_image_and_be_possible() {
    // Three pages of segments, and one that is free.
    const NEEDED: u64 = 4 * PAGE_SIZE;
    let too_small = |given| format!("it needs {NEEDED} bytes of memory, and {given} were given");
    for given in [0, 1, PAGE_SIZE, NEEDED - 1] {
        assert_not_started(1 << 20, Some(given), &too_small(given));
        assert_not_started(given, None, &too_small(given));
    }
    for given in [RAM_SIZE_MAX + 1, 1 << 47, 1 << 63, u64::MAX] {
        let problem = format!("a memory size of {given} bytes is not possible");
        assert_not_started(1 << 20, Some(given), &problem);
        assert_not_started(given, None, &problem);
    }
    let folder = Folder::new();
    let image = Image::open(folder.file(&Elf::valid().bytes())).unwrap();
    for given in [NEEDED, NEEDED + 1, RAM_SIZE_MAX] {
        let config = Config { memory: Some(given), ..Config::default() };
        let outcome = Machine::start(&image, config).unwrap().run().unwrap();
        assert!(matches!(outcome, Outcome::Exited(STATUS)), "{given}: {outcome:?}");
    }
}

/// A file may claim any size without taking room; the host must not take what it claims.
#[test]
fn sizes_that_only_a_sparse_file_has_are_refused() {
    let folder = Folder::new();
    let huge = |elf: Elf, length: u64| {
        let path = folder.file(&elf.bytes());
        fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        path
    };
    assert_refused_at(&huge(Elf::valid(), (1 << 30) + 1), "more than 1 GiB");
    let mut elf = Elf::valid();
    elf.segments[0].file_size = Some(512 << 20);
    assert_refused_at(&huge(elf, 1 << 30), "its notes take more than");
    let mut elf = Elf::valid();
    elf.header_count = Some(u16::MAX);
    assert_refused_at(&huge(elf, 1 << 30), "more than 64 program headers");
}

#[test]
fn an_image_cannot_grant_itself_much_memory() {
    assert_not_started(2 << 30, None, "it wants 2147483648 bytes of memory");
    let mut elf = Elf::valid();
    elf.segments[0].content = note(INTERFACE_VERSION, 2 << 30);
    let folder = Folder::new();
    let image = Image::open(folder.file(&elf.bytes())).unwrap();
    let config = Config { memory: Some(2 << 30), ..Config::default() };
    assert!(matches!(Machine::start(&image, config).unwrap().run(), Ok(Outcome::Exited(STATUS))));
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let folder = Folder::new();
    assert_refused_at(&folder.path("missing"), "there is no such file");
    assert_refused_at(&folder.path("missing/image"), "there is no such file");
    assert_refused_at(folder.0.path(), "it is a directory, not an image");
    assert_refused_at(Path::new("/dev/null"), "it is not a regular file");
    assert_refused_at(Path::new("/dev/zero"), "it is not a regular file");
    let link = folder.path("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert_refused_at(&link, "there is no such file");
    let below = folder.file(b"x").join("image");
    assert_refused_at(&below, "it cannot be read: ");
}

#[test]
fn a_pipe_that_nobody_writes_to_is_refused_at_once() {
    let folder = Folder::new();
    let path = folder.path("pipe");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let (tell, told) = mpsc::channel();
    let opened = path.clone();
    std::thread::spawn(move || tell.send(Image::open(opened).expect_err("a pipe is no image").to_string()));
    let sentence = told.recv_timeout(Duration::from_secs(60)).expect("opening does not hang");
    assert_sentence(&sentence, &path, "it is not a regular file");
}

#[test]
fn a_file_that_must_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.file(&Elf::valid().bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if fs::File::open(&path).is_err() {
        assert_refused_at(&path, "it cannot be read: ");
    }
}

/// Asserts that `vcpu run` refuses a file: status 126, one sentence about it, and nothing else.
#[track_caller]
fn assert_command_refuses(path: &Path, options: &[&str], problem: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_vcpu"))
        .arg("run")
        .args(options)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(STATUS_BAD_IMAGE.into()), "{errors}");
    assert_eq!(run.stdout, b"");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(path.to_str().unwrap()) && errors.contains(problem), "{errors}");
}

#[test]
fn the_command_ends_with_status_126() {
    let folder = Folder::new();
    let valid = Elf::valid();
    assert_command_refuses(&folder.path("missing"), &[], "does not exist");
    assert_command_refuses(&folder.file(b""), &[], "it is empty");
    assert_command_refuses(&folder.file(b"text"), &[], "it is not an ELF file");
    assert_command_refuses(&folder.file(&valid.bytes()[..100]), &[], "damaged");
    let mut other = valid.clone();
    other.machine = 183;
    assert_command_refuses(&folder.file(&other.bytes()), &[], "another machine");
    let mut other = valid.clone();
    other.segments[0] = note_segment(note(INTERFACE_VERSION + 1, 1 << 20));
    assert_command_refuses(&folder.file(&other.bytes()), &[], "version");
    let mut other = valid.clone();
    other.segments[TEXT].flags = READ | WRITE | EXECUTE;
    assert_command_refuses(&folder.file(&other.bytes()), &[], "writable and executable");
    assert_command_refuses(&folder.file(&valid.bytes()), &["--memory", "4096"], "memory");
}

/// Opens a file as an image. If it is one, everything that the machine relies on must hold.
fn open(path: &Path) -> Option<Image> {
    let image = match Image::open(path) {
        Ok(image) => image,
        Err(error) => {
            assert_sentence(&error.to_string(), path, "");
            return None;
        }
    };
    let segments = image.segments();
    assert!((1..=vcpu_host::SEGMENTS_MAX).contains(&segments.len()));
    assert!(segments[0].address >= RAM_BASE && image.end() <= IMAGE_END_MAX);
    assert!(segments.windows(2).all(|pair| pair[0].page_end() <= pair[1].address));
    let length = fs::metadata(path).unwrap().len();
    for segment in segments {
        assert!(segment.address.is_multiple_of(PAGE_SIZE) && segment.memory_size > 0);
        assert!(segment.file_size <= segment.memory_size && segment.file_size <= length);
        assert!(Access::from_number(segment.access.bits()).is_some());
    }
    assert!(segments.iter().any(|segment| {
        let range = segment.address..segment.address + segment.memory_size;
        segment.access.contains(Access::EXECUTE) && range.contains(&image.entry())
    }));
    assert_eq!(image.requirements().version, INTERFACE_VERSION);
    Some(image)
}

/// Runs an image for a moment, whatever it is.
fn run_a_little(image: &Image) {
    let config = Config { time_limit: Some(Duration::from_millis(5)), ..Config::default() };
    match Machine::start(image, config) {
        Ok(mut sandbox) => drop(sandbox.run().expect("what a guest does is no failure of the machine")),
        Err(Error::Image(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Values at which something might break.
fn interesting() -> impl Strategy<Value = u64> {
    const EDGES: [u64; 8] = [0, PAGE_SIZE, RAM_BASE, IMAGE_END_MAX, 1 << 32, RAM_SIZE_MAX, 1 << 47, 1 << 63];
    let edge = || prop::sample::select(&EDGES[..]);
    prop_oneof![
        (edge(), -2i64..=2).prop_map(|(edge, step)| edge.wrapping_add_signed(step)),
        (edge(), edge()).prop_map(|(one, other)| one.wrapping_add(other)),
        any::<u64>(),
        0u64..100,
    ]
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Change {
    Byte(usize, u8),
    Half(usize, u64),
    Word(usize, u64),
    Long(usize, u64),
    Length(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(400));
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        2 => (at(), interesting()).prop_map(|(at, value)| Change::Half(at & !1, value)),
        2 => (at(), interesting()).prop_map(|(at, value)| Change::Word(at & !3, value)),
        4 => (at(), interesting()).prop_map(|(at, value)| Change::Long(at & !7, value)),
        1 => (0usize..600).prop_map(Change::Length),
    ]
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    for change in changes {
        match change {
            Change::Byte(at, value) => put(*at, &[*value]),
            Change::Half(at, value) => put(*at, &value.to_le_bytes()[..2]),
            Change::Word(at, value) => put(*at, &value.to_le_bytes()[..4]),
            Change::Long(at, value) => put(*at, &value.to_le_bytes()),
            Change::Length(_) => {}
        }
    }
    for change in changes {
        if let Change::Length(length) = change {
            bytes.resize(*length, 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_an_image_makes_the_loader_fail(changes in prop::collection::vec(change(), 1..4)) {
        let folder = Folder::new();
        let notes = [(NOTE_WANT, "dir media"), (NOTE_EXPORT, "f"), (NOTE_WANT, "block disk:rw")];
        let mut bytes = with_notes(notes).bytes();
        apply(&mut bytes, &changes);
        open(&folder.file(&bytes));
    }

    #[test]
    fn no_text_of_a_note_makes_the_loader_fail(
        texts in prop::collection::vec((2u32..4, "(dir |block |function )?\\PC{0,40}(:rw)?"), 0..8)
    ) {
        let folder = Folder::new();
        let notes = texts.iter().map(|(kind, text)| (*kind, text.as_str()));
        if let Some(image) = open(&folder.file(&with_notes(notes).bytes())) {
            let wants = texts.iter().filter(|(kind, _)| *kind == NOTE_WANT).count();
            assert!(image.wants().len() <= wants && image.exports().len() <= texts.len() - wants);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_accepted_can_be_run(changes in prop::collection::vec(change(), 1..3)) {
        let folder = Folder::new();
        let mut bytes = Elf::valid().bytes();
        apply(&mut bytes, &changes);
        if let Some(image) = open(&folder.file(&bytes)) {
            run_a_little(&image);
        }
    }

    #[test]
    fn any_code_can_be_run(code in prop::collection::vec(any::<u8>(), 1..200)) {
        let folder = Folder::new();
        let mut elf = Elf::valid();
        elf.segments[TEXT].content = code;
        run_a_little(&open(&folder.file(&elf.bytes())).expect("only the code is another"));
    }
}
