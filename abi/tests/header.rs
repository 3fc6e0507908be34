//! Keeps `include/vcpu.h` and the crate equal.
//!
//! From the Rust side this test computes every constant, offset and size, writes them down as static
//! assertions of C, and has the system's compilers check them. In the other direction, every macro of the
//! header and every public constant of the crate must be among what was asserted.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;
use vcpu_abi::call::{self, Access, Call, Error};
use vcpu_abi::cause::Cause;
use vcpu_abi::device::{self, Kind, Register};
use vcpu_abi::exchange::{self, ReplyStatus};
use vcpu_abi::info::{ClockParameters, Features, InfoPage, StringList};
use vcpu_abi::note::{self, BuildFlags, Note, Requirements};
use vcpu_abi::page::{self, State, StateSaveArea, Sticky, VcpuPage};
use vcpu_abi::{INTERFACE_VERSION, layout};

const HEADER: &str = include_str!("../include/vcpu.h");

/// The crate's modules, to find public constants that nobody asserts.
const SOURCES: [&str; 9] = [
    include_str!("../src/lib.rs"),
    include_str!("../src/call.rs"),
    include_str!("../src/cause.rs"),
    include_str!("../src/device.rs"),
    include_str!("../src/exchange.rs"),
    include_str!("../src/info.rs"),
    include_str!("../src/layout.rs"),
    include_str!("../src/note.rs"),
    include_str!("../src/page.rs"),
];

/// Assertions of C, and the macros that they are about.
#[derive(Default)]
struct Assertions {
    text: String,
    macros: BTreeSet<String>,
}

impl Assertions {
    fn holds(&mut self, condition: &str) {
        let quoted = condition.replace('\\', "\\\\").replace('"', "\\\"");
        writeln!(self.text, "_Static_assert({condition}, \"{quoted}\");").expect("a string can be written");
    }

    /// The macro `VCPU_name` is this number.
    fn number(&mut self, name: &str, value: impl Into<i128>) {
        let name = if name.starts_with("VCPU_") { name.into() } else { format!("VCPU_{name}") };
        let value = value.into();
        // An unsigned 64-bit literal needs its suffix; a negative number must not have one.
        let literal = if value < 0 { format!("({value})") } else { format!("UINT64_C({value})") };
        self.holds(&format!("{name} == {literal}"));
        // The comparison above would take -1 for 2^64 - 1.
        self.holds(&format!("({name} < 0) == {}", i32::from(value < 0)));
        self.macros.insert(name);
    }

    /// The macro `VCPU_name` is a literal of these bytes.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let name = format!("VCPU_{name}");
        let literal: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        self.holds(&format!("sizeof({name}) == {}", bytes.len() + 1));
        self.holds(&format!("__builtin_memcmp({name}, \"{literal}\", {}) == 0", bytes.len()));
        self.macros.insert(name);
    }

    fn offset(&mut self, structure: &str, field: &str, offset: usize) {
        self.holds(&format!("offsetof(struct {structure}, {field}) == {offset}"));
    }

    fn size(&mut self, structure: &str, size: usize) {
        self.holds(&format!("sizeof(struct {structure}) == {size}"));
    }
}

/// Asserts the place and the size of fields that have the same name on both sides.
macro_rules! fields {
    ($assertions:ident, $structure:literal, $type:ty, $($field:ident),*) => {
        $(
            $assertions.offset($structure, stringify!($field), offset_of!($type, $field));
            let size = size_of_field(|value: &$type| &raw const value.$field);
            $assertions.holds(&format!(
                "sizeof(((struct {} *)0)->{}) == {size}", $structure, stringify!($field)
            ));
        )*
        $assertions.size($structure, size_of::<$type>());
    };
}

/// The size of the type to which a pointer to a field points.
fn size_of_field<S, F>(_: impl Fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

/// `NoSuchCall` as `NO_SUCH_CALL`.
fn upper_case(name: impl std::fmt::Debug) -> String {
    let mut result = String::new();
    let mut before = 'A';
    for letter in format!("{name:?}").chars() {
        let digit_begins = letter.is_ascii_digit() && before.is_ascii_lowercase();
        if digit_begins || letter.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            result.push('_');
        }
        result.push(letter.to_ascii_uppercase());
        before = letter;
    }
    result
}

fn constants(to: &mut Assertions) {
    to.number("INTERFACE_VERSION", INTERFACE_VERSION);

    to.number("PAGE_SIZE", layout::PAGE_SIZE);
    to.number("VCPU_PAGE", layout::VCPU_PAGE);
    to.number("GATE", layout::GATE);
    to.number("TRAP_PAGE", layout::TRAP_PAGE);
    to.bytes("TRAP_INSTRUCTION", &layout::TRAP_INSTRUCTION);
    to.number("INFO_PAGE", layout::INFO_PAGE);
    to.number("INFO_SIZE_MAX", layout::INFO_SIZE_MAX);
    to.number("RAM_BASE", layout::RAM_BASE);
    to.number("RAM_SIZE_MAX", layout::RAM_SIZE_MAX);
    to.number("IMAGE_END_MAX", layout::IMAGE_END_MAX);

    to.number("EVENT_LINES", page::EVENT_LINES);
    to.number("CONSOLE_LINE", page::CONSOLE_LINE);
    to.number("ERROR_CODE_KNOWN", page::ERROR_CODE_KNOWN);
    to.number("GENERAL_REGISTERS", page::GENERAL_REGISTERS as u64);
    for (index, register) in page::GENERAL_REGISTER_NAMES.into_iter().enumerate() {
        to.number(&format!("REGISTER_{}", register.to_uppercase()), index as u64);
    }
    for (name, flag) in State::all().iter_names() {
        to.number(&format!("STATE_{name}"), flag.bits());
    }
    for (name, flag) in Sticky::all().iter_names() {
        to.number(&format!("STICKY_{name}"), flag.bits());
    }

    for cause in Cause::ALL {
        to.number(&format!("CAUSE_{}", upper_case(cause)), cause as u32);
    }
    for call in Call::ALL {
        to.number(&format!("CALL_{}", upper_case(call)), call as u32);
    }
    for error in Error::ALL {
        to.number(&format!("ERROR_{}", upper_case(error)), error as i64);
    }
    to.number("NEVER", call::NEVER);
    to.number("STREAM_INPUT", call::STREAM_INPUT);
    to.number("STREAM_OUTPUT", call::STREAM_OUTPUT);
    to.number("STREAM_ERRORS", call::STREAM_ERRORS);
    for (name, flag) in Access::all().iter_names() {
        to.number(&format!("ACCESS_{name}"), flag.bits());
    }

    to.number("DEVICES_MAX", device::DEVICES_MAX);
    to.number("FIRST_DEVICE_LINE", device::FIRST_DEVICE_LINE);
    to.number("QUEUE_SIZE_MAX", device::QUEUE_SIZE_MAX);
    to.number("REQUEST_MAX", device::REQUEST_MAX);
    to.number("CONSOLE_CLOSED", device::CONSOLE_CLOSED);
    to.number("CONSOLE_INPUT_ENDED", device::CONSOLE_INPUT_ENDED);
    to.number("CONSOLE_OUTPUT_CLOSED", device::CONSOLE_OUTPUT_CLOSED);
    to.number("CONFIG", device::CONFIG);
    to.number("CONFIG_SIZE_MAX", device::CONFIG_SIZE_MAX);
    for register in Register::ALL {
        to.number(&format!("DEVICE_{}", upper_case(register)), register as u32);
    }
    for kind in Kind::ALL {
        to.number(&format!("KIND_{}", upper_case(kind)), kind as u32);
    }
    to.number("MESSAGE_MAX", exchange::MESSAGE_MAX);
    for status in ReplyStatus::ALL {
        to.number(&format!("REPLY_{}", upper_case(status)), status as u8);
    }

    for (name, flag) in Features::all().iter_names() {
        to.number(&format!("FEATURE_{name}"), flag.bits());
    }

    to.bytes("NOTE_SECTION", note::NOTE_SECTION.as_bytes());
    let name = note::NOTE_NAME.strip_suffix(&[0]).expect("the name ends with a zero byte, as C's do");
    to.bytes("NOTE_NAME", name);
    to.number("NOTE_TYPE", note::NOTE_TYPE);
    to.number("NOTE_WANT", note::NOTE_WANT);
    to.number("NOTE_EXPORT", note::NOTE_EXPORT);
    for (name, flag) in BuildFlags::all().iter_names() {
        to.number(&format!("BUILD_{name}"), flag.bits());
    }
}

fn structures(to: &mut Assertions) {
    fields!(
        to,
        "vcpu_page",
        VcpuPage,
        state,
        saved_state,
        sticky,
        entry_ip,
        entry_sp,
        pending,
        doorbell,
        ssa
    );
    to.holds(&format!("__alignof__(struct vcpu_page) == {}", align_of::<VcpuPage>()));
    fields!(
        to,
        "vcpu_state_save_area",
        StateSaveArea,
        general,
        rip,
        rflags,
        rsp,
        cause,
        error_code,
        fault_address
    );
    fields!(to, "vcpu_clock_parameters", ClockParameters, counter_base, multiplier, shift, reserved);
    fields!(to, "vcpu_string_list", StringList, offset, length);
    fields!(
        to,
        "vcpu_info_page",
        InfoPage,
        version,
        features,
        ram_size,
        clock,
        wall_clock_base,
        arguments,
        environment,
        devices
    );
    note_structure(to);
}

/// The note's fields are private: a note with known content shows where they lie.
fn note_structure(to: &mut Assertions) {
    let note =
        Note::new(Requirements { version: 0x1111_1111, flags: 0x2222_2222, memory: 0x4444_4444_3333_3333 });
    // SAFETY: a note consists of integers, without padding between them (its size is their sum), so
    // every byte of it has a value.
    let bytes: [u8; size_of::<Note>()] = unsafe { std::mem::transmute(note) };
    let mut found = |field: &str, content: &[u8]| {
        let at = bytes.windows(content.len()).position(|window| window == content);
        to.offset("vcpu_note", field, at.expect("the note holds what it was made of"));
    };
    found("name_size", &8u32.to_le_bytes());
    found("description_size", &(size_of::<Requirements>() as u32).to_le_bytes());
    found("type", &note::NOTE_TYPE.to_le_bytes());
    found("name", &note::NOTE_NAME);
    found("version", &[0x11; 4]);
    found("flags", &[0x22; 4]);
    found("memory_low", &[0x33; 4]);
    found("memory_high", &[0x44; 4]);
    to.size("vcpu_note", size_of::<Note>());
}

/// Whether there is such a compiler.
fn exists(compiler: &str) -> bool {
    Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Has a compiler look at a source text, with all warnings on.
///
/// # Errors
///
/// What the compiler says.
fn compile(compiler: &str, language: &str, standard: &str, text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let file = folder.path().join("source");
    std::fs::write(&file, text).expect("a temporary file can be written");
    let output = Command::new(compiler)
        .args(["-x", language, standard, "-fsyntax-only", "-Wall", "-Wextra", "-Wno-type-limits", "-Werror"])
        .arg("-I")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg(&file)
        .output()
        .expect("the compiler can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// A source text that checks the assertions.
fn source(assertions: &str) -> String {
    format!(
        "#include \"vcpu.h\"\n\
         #include <stddef.h>\n\
         #ifdef __cplusplus\n\
         #define _Static_assert static_assert\n\
         #endif\n\
         {assertions}"
    )
}

fn assertions() -> Assertions {
    let mut assertions = Assertions::default();
    constants(&mut assertions);
    structures(&mut assertions);
    assertions
}

#[test]
fn the_header_says_in_c_what_the_crate_says() {
    let text = source(&assertions().text);
    for standard in ["-std=c99", "-std=c11"] {
        compile("cc", "c", standard, &text).unwrap_or_else(|said| panic!("{standard}: {said}"));
    }
}

#[test]
fn the_header_says_in_cpp_what_the_crate_says() {
    if !exists("c++") {
        eprintln!("skipped: there is no C++ compiler");
        return;
    }
    let text = source(&assertions().text);
    compile("c++", "c++", "-std=c++11", &text).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn the_header_compiles_alone_and_keeps_to_the_standard() {
    let text = "#include \"vcpu.h\"\n#include \"vcpu.h\"\nextern int used;\n";
    let strictly = format!("#pragma GCC diagnostic error \"-Wpedantic\"\n{text}");
    compile("cc", "c", "-std=c99", &strictly).unwrap_or_else(|said| panic!("{said}"));
    if exists("c++") {
        compile("c++", "c++", "-std=c++11", &strictly).unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn a_wrong_number_is_found() {
    for wrong in [
        "_Static_assert(VCPU_GATE == UINT64_C(0x13000), \"\");",
        "_Static_assert((VCPU_ERROR_AGAIN < 0) == 0, \"\");",
        "_Static_assert(offsetof(struct vcpu_page, doorbell) == 0x44, \"\");",
        "_Static_assert(__builtin_memcmp(VCPU_TRAP_INSTRUCTION, \"\\x89\\x3d\", 2) == 0, \"\");",
    ] {
        let said = compile("cc", "c", "-std=c11", &source(wrong)).expect_err(wrong);
        assert!(said.contains("static assertion failed"), "{wrong}: {said}");
    }
}

#[test]
fn every_macro_of_the_header_is_compared() {
    let asserted = assertions().macros;
    let defined = HEADER.lines().filter_map(|line| line.strip_prefix("#define "));
    for definition in defined {
        let (name, value) = definition.split_once(' ').unwrap_or((definition, ""));
        let guard = value.is_empty();
        assert!(guard || asserted.contains(name), "nothing compares {name} with the crate");
    }
}

#[test]
fn every_constant_of_the_crate_is_in_the_header() {
    // In C this list of names is the macros `VCPU_REGISTER_*`.
    let asserted_otherwise = ["GENERAL_REGISTER_NAMES"];
    let asserted = assertions().macros;
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        let Some((name, _)) = line
            .strip_prefix("pub const ")
            .filter(|rest| !rest.starts_with("fn "))
            .and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        let macros = [name.to_owned(), format!("VCPU_{name}")];
        assert!(
            asserted_otherwise.contains(&name) || macros.iter().any(|name| asserted.contains(name)),
            "vcpu.h lacks {name}, or this test does"
        );
    }
}
