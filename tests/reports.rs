//! Bombs: images whose file says of itself what would cost a host that believed it.
//!
//! What is in an image beside what runs is read when a report is made, and it is as untrusted as the guest.
//! Each test here replaces sections of a good image by some that describe far more than they are: what they
//! would take is beyond any memory, stack or patience. Of the host they may take little, and the guest must
//! end as it would have ended anyway.

use object::{Object, ObjectSection};
use std::fs::{self, File};
use std::io::Write;
use vcpu_abi::layout::RAM_BASE;
use vcpu_host::{Config, FILE_SIZE_MAX, Image, Machine, Outcome, Report};
use vcpu_tests::{BackendKind, again, image, on_every_backend, proc};

/// Most memory that a report may take: what is read of a file, and a little.
const GROWTH_MAX: u64 = 128 << 20;

/// Most bytes of a report of these guests.
const TEXT_MAX: usize = 256 << 10;

/// The code that bombs claim to describe.
const CODE: u64 = RAM_BASE;
const CODE_SIZE: u64 = 0x10_0000;

/// Sections that replace those of an image, by their names; what is empty is there no more.
type Sections = Vec<(&'static str, Vec<u8>)>;

/// Writes an image with other sections, and gives its file the length of `sparse` if that is more.
fn write(file: &mut File, sections: Sections, sparse: u64) {
    let mut bytes = fs::read(image("faults")).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let headers = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let header = |name: &str| headers + 64 * elf.section_by_name(name).expect(name).index().0;
    let mut end = bytes.len();
    // Offset and size of each section.
    let mut patches = Vec::new();
    for (name, bytes) in &sections {
        patches.push((header(name) + 24, end, bytes.len()));
        end += bytes.len();
    }
    for (at, offset, size) in patches {
        bytes[at..at + 8].copy_from_slice(&(offset as u64).to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&(size as u64).to_le_bytes());
    }
    file.write_all(&bytes).unwrap();
    sections.iter().for_each(|(_, bytes)| file.write_all(bytes).unwrap());
    file.set_len(sparse.max(end as u64)).unwrap();
}

/// Makes a report of such an image in a process of its own, and checks what that took.
fn explode(test: &str, backend: BackendKind, make: fn() -> Sections, sparse: u64, check: fn(&Report)) {
    if !again::is_other() {
        again::run(&again::test(test, backend));
        return;
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write(file.as_file_mut(), make(), sparse);
    let bomb = Image::open(file.path()).expect("nothing that is needed to run it is changed");
    // Deep in its stack, so there are as many frames as can be.
    let arguments = ["faults", "stack-overflow"].map(|argument| argument.as_bytes().to_vec()).to_vec();
    let mut sandbox = Machine::start(&bomb, Config { arguments, backend, ..Config::default() }).unwrap();
    // The peak is from now on.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let this = std::process::id() as i32;
    let before = proc::size(this, "VmHWM");
    let outcome = sandbox.run().unwrap();
    let growth = proc::size(this, "VmHWM") - before;
    let Outcome::Faulted(report) = &outcome else { panic!("{outcome:?}") };
    let text = report.to_string();
    assert!(text.len() < TEXT_MAX, "a report of {} bytes", text.len());
    assert!(growth < GROWTH_MAX, "it took {} MiB", growth >> 20);
    println!("{} KiB of memory, {} bytes of text", growth >> 10, text.len());
    check(report);
}

/// A number in the encoding LEB128.
fn leb(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// An abbreviation: number, tag, whether there are children, attributes with their forms.
fn abbreviation(
    number: u64,
    tag: gimli::DwTag,
    children: bool,
    attributes: &[(gimli::DwAt, gimli::DwForm)],
) -> Vec<u8> {
    let mut bytes = [leb(number), leb(tag.0.into()), vec![children.into()]].concat();
    for (name, form) in attributes {
        bytes.extend([leb(name.0.into()), leb(form.0.into())].concat());
    }
    bytes.extend([0, 0]);
    bytes
}

/// Bytes with their length before them.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// A unit of entries, whose abbreviations are at an offset.
fn unit(abbreviations: u32, entries: &[u8]) -> Vec<u8> {
    counted(&[&[4, 0], &abbreviations.to_le_bytes()[..], &[8], entries].concat())
}

/// Debug information of these units, in place of all that there is.
fn units(abbreviations: Vec<u8>, units: Vec<u8>, other: (&'static str, Vec<u8>)) -> Sections {
    vec![(".debug_aranges", Vec::new()), (".debug_abbrev", abbreviations), (".debug_info", units), other]
}

fn range() -> Vec<u8> {
    [CODE.to_le_bytes(), CODE_SIZE.to_le_bytes()].concat()
}

const RANGE: [(gimli::DwAt, gimli::DwForm); 2] =
    [(gimli::DW_AT_low_pc, gimli::DW_FORM_addr), (gimli::DW_AT_high_pc, gimli::DW_FORM_data8)];
const NAME: (gimli::DwAt, gimli::DwForm) = (gimli::DW_AT_name, gimli::DW_FORM_strp);

/// Abbreviations 1 to 3: a unit, a function, an inlined function, each around what follows.
fn nesting(inlined: &[(gimli::DwAt, gimli::DwForm)]) -> Vec<u8> {
    let function = [&RANGE[..], &[NAME]].concat();
    [
        abbreviation(1, gimli::DW_TAG_compile_unit, true, &RANGE),
        abbreviation(2, gimli::DW_TAG_subprogram, true, &function),
        abbreviation(3, gimli::DW_TAG_inlined_subroutine, true, inlined),
        vec![0],
    ]
    .concat()
}

fn a_million_functions_inlined_into_each_other(backend: BackendKind) {
    const DEPTH: usize = 1 << 20;
    let make = || {
        let entries =
            [&[1], &range()[..], &[2], &range(), &[0; 4], &vec![3; DEPTH], &vec![0; DEPTH + 2]].concat();
        units(nesting(&[]), unit(0, &entries), (".debug_str", b"name\0".to_vec()))
    };
    explode("a_million_functions_inlined_into_each_other", backend, make, 0, |_| {});
}

fn names_that_are_long_and_many(backend: BackendKind) {
    const DEPTH: usize = 2000;
    let make = || {
        let named = [&RANGE[..], &[NAME]].concat();
        let inlined = [&[3], &range()[..], &[0; 4]].concat().repeat(DEPTH);
        let entries = [&[1], &range()[..], &[2], &range(), &[0; 4], &inlined, &[0; DEPTH + 2]].concat();
        let name = [vec![b'A'; 256 << 10], vec![0]].concat();
        units(nesting(&named), unit(0, &entries), (".debug_str", name))
    };
    explode("names_that_are_long_and_many", backend, make, 0, |report| {
        assert!(report.backtrace.iter().all(|frame| frame.function.as_ref().unwrap().len() <= 512));
        assert!(report.backtrace.len() <= 256, "{} frames", report.backtrace.len());
    });
}

/// One unit with a line program, which follows a small one that the unit names first.
fn lines(program: Vec<u8>) -> Sections {
    let program = [counted(&instructions(&[])), counted(&program)];
    let attribute = (gimli::DW_AT_stmt_list, gimli::DW_FORM_sec_offset);
    let attributes = [&RANGE[..], &[attribute; 2]].concat();
    let abbreviations = [abbreviation(1, gimli::DW_TAG_compile_unit, false, &attributes), vec![0]].concat();
    let entries = [&[1], &range()[..], &[0; 4], &(program[0].len() as u32).to_le_bytes()].concat();
    units(abbreviations, unit(0, &entries), (".debug_line", program.concat()))
}

/// A line program of version 4 with a file, at the beginning of the code.
fn instructions(instructions: &[u8]) -> Vec<u8> {
    let header =
        [&[1, 1, 1, 251, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0][..], b"file\0\0\0\0\0"].concat();
    [&[4, 0], &counted(&header)[..], &[0, 9, 2], &CODE.to_le_bytes(), instructions, &[0, 1, 1]].concat()
}

fn a_line_program_that_makes_a_row_of_every_byte(backend: BackendKind) {
    let make = || lines(instructions(&vec![0x20; 48 << 20]));
    explode("a_line_program_that_makes_a_row_of_every_byte", backend, make, 0, |_| {});
}

fn a_line_program_that_counts_beyond_all_numbers(backend: BackendKind) {
    /// The instruction, and the least of all numbers.
    const ADVANCE_LINE: [u8; 11] = [3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    let make = || lines(instructions(&ADVANCE_LINE));
    explode("a_line_program_that_counts_beyond_all_numbers", backend, make, 0, |_| {});
}

fn a_line_program_with_millions_of_files(backend: BackendKind) {
    let make = || {
        const PATH_AS_BYTE: [u8; 3] = [1, 1, 0x0b];
        let files = 40 << 20;
        let header =
            [&[1, 1, 1, 251, 14, 1][..], &PATH_AS_BYTE, &leb(files), &vec![0; files as usize]].concat();
        lines([&[5, 0, 8, 0], &counted(&header)[..]].concat())
    };
    explode("a_line_program_with_millions_of_files", backend, make, 0, |_| {});
}

fn functions_that_share_a_long_list_of_ranges(backend: BackendKind) {
    let make = || {
        let listed = [(gimli::DW_AT_ranges, gimli::DW_FORM_sec_offset)];
        let abbreviations = [
            abbreviation(1, gimli::DW_TAG_compile_unit, true, &RANGE),
            abbreviation(2, gimli::DW_TAG_subprogram, false, &listed),
            vec![0],
        ];
        let entries = [&[1], &range()[..], &[2, 0, 0, 0, 0].repeat(10_000)].concat();
        let elsewhere = [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
        let ranges = [elsewhere.repeat(10_000), vec![0; 16]].concat();
        units(abbreviations.concat(), unit(0, &entries), (".debug_ranges", ranges))
    };
    explode("functions_that_share_a_long_list_of_ranges", backend, make, 0, |_| {});
}

fn units_that_share_a_long_table_of_abbreviations(backend: BackendKind) {
    let make = || {
        let one = abbreviation(1, gimli::DW_TAG_compile_unit, false, &RANGE);
        let others: Vec<_> = (2..200_000)
            .flat_map(|number| abbreviation(number, gimli::DW_TAG_subprogram, false, &[NAME]))
            .collect();
        let elsewhere = [&[1][..], &[0; 16]].concat();
        units(
            [one, others, vec![0]].concat(),
            unit(0, &elsewhere).repeat(500_000),
            (".debug_str", b"name\0".to_vec()),
        )
    };
    explode("units_that_share_a_long_table_of_abbreviations", backend, make, 0, |_| {});
}

/// Call frame information that finds a caller for every frame, by an entry with these instructions, behind
/// as many others; and the table for it.
fn call_frames(others: usize, instructions: &[u8]) -> Sections {
    let elf = fs::read(image("faults")).unwrap();
    let elf = object::File::parse(&*elf).unwrap();
    let address = |name| elf.section_by_name(name).unwrap().address();
    let (table, entries) = (address(".eh_frame_hdr"), address(".eh_frame"));
    // Version, no augmentation, the factors, the return address in register 16; the frame is eight bytes
    // above the stack pointer, and everything was called from where it is.
    let common = counted(&[0, 0, 0, 0, 1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x09, 16, 16, 0]);
    let mut bytes = common;
    let add = |bytes: &mut Vec<u8>, begin: u64, size: u64, instructions: &[u8]| {
        let back = bytes.len() as u32 + 4;
        let head = [&back.to_le_bytes()[..], &begin.to_le_bytes(), &size.to_le_bytes()].concat();
        bytes.extend(((head.len() + instructions.len()) as u32).to_le_bytes());
        bytes.extend([&head, instructions].concat());
    };
    for _ in 0..others {
        add(&mut bytes, 0x7000_0000, 1, &[]);
    }
    let last = bytes.len() as u64;
    add(&mut bytes, CODE, CODE_SIZE, instructions);
    bytes.extend([0; 4]);
    let relative = |to: u64| (to.wrapping_sub(table) as i32).to_le_bytes();
    let head = [[1, 0x1b, 3, 0x3b], relative(entries - 4), 1u32.to_le_bytes()];
    let row = [relative(CODE), relative(entries + last)];
    vec![(".eh_frame_hdr", [head.concat(), row.concat()].concat()), (".eh_frame", bytes)]
}

fn call_frame_information_with_hundreds_of_thousands_of_entries(backend: BackendKind) {
    let test = "call_frame_information_with_hundreds_of_thousands_of_entries";
    explode(test, backend, || call_frames(900_000, &[]), 0, |_| {});
}

fn call_frame_information_with_millions_of_instructions(backend: BackendKind) {
    let test = "call_frame_information_with_millions_of_instructions";
    explode(test, backend, || call_frames(0, &vec![0; 20 << 20]), 0, |_| {});
}

fn a_file_with_a_gigabyte_of_nothing(backend: BackendKind) {
    explode("a_file_with_a_gigabyte_of_nothing", backend, Vec::new, FILE_SIZE_MAX, |report| {
        let named = |name: &str| report.backtrace.iter().any(|frame| frame.function.as_deref() == Some(name));
        assert!(named("faults::cases::stack_overflow::deeper"), "{report}");
    });
}

on_every_backend!(
    a_million_functions_inlined_into_each_other,
    names_that_are_long_and_many,
    a_line_program_that_makes_a_row_of_every_byte,
    a_line_program_that_counts_beyond_all_numbers,
    a_line_program_with_millions_of_files,
    functions_that_share_a_long_list_of_ranges,
    units_that_share_a_long_table_of_abbreviations,
    call_frame_information_with_hundreds_of_thousands_of_entries,
    call_frame_information_with_millions_of_instructions,
    a_file_with_a_gigabyte_of_nothing,
);
