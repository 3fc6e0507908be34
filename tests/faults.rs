//! Whatever a guest does wrong, its own handler sees it first; without one it ends with a report.
//!
//! `apps/faults` has a case for everything that can go wrong. Each case is run twice: without a handler,
//! where sentence, backtrace and text of the report are looked at, and with one, which says what it saw.

use std::ops::Range;
use std::time::Duration;
use vcpu_abi::call::Access;
use vcpu_abi::layout::TRAP_PAGE;
use vcpu_host::{Frame, Image, Outcome, Report};
use vcpu_tests::{BackendKind, Ended, Guest, image, on_every_backend};

/// An exception that a case raises.
struct Case {
    name: &'static str,
    /// The innermost function of `faults` in the backtrace.
    function: &'static str,
    expected: Expected,
}

/// What the report and the handler say of the exception.
enum Expected {
    /// One of these causes; processors differ.
    Cause(&'static [&'static str]),
    /// A page fault at an address like this.
    PageFault(At),
}

/// An address that cannot be accessed.
enum At {
    Exactly(u64),
    /// In a segment with these rights.
    In(Access),
    /// Outside all segments: in a guard page.
    Guard,
}

/// As a handler prints them, and as the sentence of a report has them.
const OUTSIDE_CALL: &str = "attempted system call of the world outside";
const INVALID_OPCODE: &str = "invalid opcode";
const GENERAL_PROTECTION: &str = "general protection fault";
const PAGE_FAULT: &str = "page fault";
const LEFT_64_BIT_MODE: &str = "left 64-bit mode";

const fn case(name: &'static str, function: &'static str, expected: Expected) -> Case {
    Case { name, function, expected }
}

fn cases() -> [Case; 16] {
    use At::*;
    use Expected::*;
    [
        case("null", "null", PageFault(Exactly(0))),
        case("write-text", "write_text", PageFault(In(Access::READ | Access::EXECUTE))),
        case("execute-data", "execute_data", PageFault(In(Access::READ | Access::WRITE))),
        case("divide", "divide", Cause(&["divide error"])),
        case("invalid-opcode", "invalid_opcode", Cause(&[INVALID_OPCODE])),
        case("breakpoint", "breakpoint", Cause(&["breakpoint"])),
        case("misaligned", "misaligned", Cause(&["alignment check"])),
        case("non-canonical", "non_canonical", Cause(&[GENERAL_PROTECTION])),
        case("stack-overflow", "stack_overflow::deeper", PageFault(Guard)),
        case("syscall", "syscall", Cause(&[OUTSIDE_CALL])),
        case("int80", "int80", Cause(&[OUTSIDE_CALL, GENERAL_PROTECTION])),
        case(
            "sysenter",
            "sysenter",
            Cause(&[INVALID_OPCODE, OUTSIDE_CALL, PAGE_FAULT, GENERAL_PROTECTION, LEFT_64_BIT_MODE]),
        ),
        case("vsyscall", "vsyscall", Cause(&[OUTSIDE_CALL, PAGE_FAULT, GENERAL_PROTECTION])),
        case("far-jump-32", "faults_stub_32", Cause(&[LEFT_64_BIT_MODE])),
        case("trap-page-read", "trap_page_read", PageFault(Exactly(TRAP_PAGE))),
        case("trap-page-wrong", "trap_page_wrong", PageFault(Exactly(TRAP_PAGE))),
    ]
}

/// The cases that the tests below run one by one.
const OTHERS: [&str; 5] = ["bad-calls", "fault-in-handler", "loop-events-off", "out-of-memory", "panic"];

impl At {
    #[track_caller]
    fn check(&self, address: u64, context: &str) {
        let image = Image::open(image("faults")).unwrap();
        let segment = image.segments().iter().find(|segment| {
            let range: Range<u64> = segment.address..segment.page_end();
            range.contains(&address)
        });
        let fits = match self {
            At::Exactly(expected) => address == *expected,
            At::In(access) => segment.is_some_and(|segment| segment.access == *access),
            At::Guard => segment.is_none() && address < image.end(),
        };
        assert!(fits, "wrong address {address:#x}: {context}");
    }
}

impl Expected {
    /// Checks the description of an exception: a cause, and after `at` the address if there is one.
    #[track_caller]
    fn check(&self, text: &str, context: &str) {
        match self {
            Expected::Cause(causes) => {
                let begins = |cause: &&str| text.starts_with(*cause);
                assert!(causes.iter().any(begins), "wrong cause: {context}");
            }
            Expected::PageFault(at) => {
                let rest = text.strip_prefix("page fault at ").unwrap_or_else(|| panic!("{context}"));
                let digits = rest.trim_start_matches("address ").trim_start_matches("0x");
                let end = digits.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(digits.len());
                at.check(u64::from_str_radix(&digits[..end], 16).expect(context), context);
            }
        }
    }
}

fn faults(case: &str, backend: BackendKind) -> Guest {
    Guest::new("faults", backend).arguments([case])
}

/// The report of a guest that faulted.
#[track_caller]
fn faulted(ended: &Ended) -> &Report {
    match &ended.outcome {
        Outcome::Faulted(report) => report,
        _ => panic!("the guest did not fault: {ended}"),
    }
}

/// The innermost function of the program itself; inlined functions of `core` may come before it.
#[track_caller]
fn innermost(report: &Report) -> &Frame {
    let own = |frame: &&Frame| {
        frame
            .function
            .as_deref()
            .is_some_and(|name| name.starts_with("faults") && !name.ends_with("FUNCTION"))
    };
    report.backtrace.iter().find(own).unwrap_or_else(|| panic!("no function of the program: {report}"))
}

/// The lines of `apps/faults/src/cases.rs` between the head of a function and the next case.
fn lines_of(function: &str) -> Range<u32> {
    let source = include_str!("../apps/faults/src/cases.rs");
    let function = function.split("::").next().unwrap();
    let head = format!("extern \"C\" fn {function}()");
    let begin = source.lines().position(|line| line.contains(&head)).expect("the function is there") + 1;
    let after = source.lines().skip(begin).position(|line| line == "}").expect("the function ends");
    begin as u32..(begin + after + 2) as u32
}

/// Checks that the backtrace leads to a case: its function, its file, a line inside it, and `main` below.
#[track_caller]
fn check_place(report: &Report, function: &str) {
    let frame = innermost(report);
    let name = frame.function.as_deref().unwrap();
    assert!(name.ends_with(&format!("::{function}")), "wrong function: {report}");
    let (file, line) = frame.location.as_ref().unwrap_or_else(|| panic!("no line: {report}"));
    assert!(file.ends_with("faults/src/cases.rs"), "wrong file: {report}");
    assert!(lines_of(function).contains(line), "wrong line: {report}");
}

/// A report is for a terminal, which a guest must not control.
#[track_caller]
fn check_harmless(report: &Report) {
    let text = report.to_string();
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
}

fn an_unhandled_exception_ends_the_guest_with_a_report(backend: BackendKind) {
    for case in cases() {
        let ended = faults(case.name, backend).run();
        let context = format!("{}: {ended}", case.name);
        let report = faulted(&ended);
        let sentence = report.sentence.strip_prefix("the guest did not handle ");
        case.expected.check(sentence.unwrap_or_else(|| panic!("{context}")), &context);
        let registers = report.registers.as_ref().unwrap_or_else(|| panic!("no registers: {context}"));
        assert!(report.sentence.contains(&format!("(instruction at {:#x})", registers.raw.rip)), "{context}");
        match case.name {
            // Assembly without line numbers.
            "far-jump-32" => assert_eq!(innermost(report).function.as_deref(), Some(case.function)),
            _ => check_place(report, case.function),
        }
        check_harmless(report);
        assert_eq!((&ended.output[..], &ended.errors[..]), (&b""[..], &b""[..]), "{context}");
    }
}

fn the_guests_own_handler_sees_an_exception_first(backend: BackendKind) {
    for case in cases() {
        let ended = faults(case.name, backend).arguments(["--handled"]).run();
        let context = format!("{}: {ended}", case.name);
        assert_eq!(ended.status(), 0, "{context}");
        let text = ended.output_text().strip_prefix("handled: ").and_then(|text| text.strip_suffix('\n'));
        case.expected.check(text.unwrap_or_else(|| panic!("{context}")), &context);
        assert_eq!(ended.errors_text(), "", "{context}");
    }
}

fn every_case_is_tested(backend: BackendKind) {
    let listed = Guest::new("faults", backend).run();
    let mut names: Vec<_> =
        listed.output_text().lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut tested: Vec<_> = cases().map(|case| case.name).into_iter().chain(OTHERS).collect();
    names.sort_unstable();
    tested.sort_unstable();
    assert_eq!(names, tested);
}

fn a_stack_overflow_is_called_by_its_name(backend: BackendKind) {
    let ended = faults("stack-overflow", backend).run();
    assert!(
        faulted(&ended).sentence.ends_with("the main program overflowed its stack of 256 KiB"),
        "{ended}"
    );
}

fn a_call_into_data_shows_who_called(backend: BackendKind) {
    let ended = faults("execute-data", backend).run();
    let report = faulted(&ended);
    let registers = report.registers.as_ref().unwrap();
    assert_eq!(report.backtrace[0].address, registers.raw.rip, "{report}");
    assert_eq!(report.backtrace[1], *innermost(report), "{report}");
}

fn a_backtrace_leads_to_the_entry(backend: BackendKind) {
    let ended = faults("null", backend).run();
    let report = faulted(&ended);
    let position = |name: &str| {
        report.backtrace.iter().position(|frame| frame.function.as_deref() == Some(name)).expect(name)
    };
    assert!(position("faults::cases::null") < position("faults::main"), "{report}");
    assert!(position("faults::main") < position("vcpu_entry"), "{report}");
    assert_eq!(position("vcpu_entry"), report.backtrace.len() - 1, "{report}");
}

fn a_fault_in_a_fault_handler_is_a_double_fault(backend: BackendKind) {
    let ended = faults("fault-in-handler", backend).run();
    let report = faulted(&ended);
    assert!(
        report.sentence.starts_with("double fault: page fault at address 0x0 (instruction at "),
        "{report}"
    );
    // The second fault is in `null`, called by the handler.
    check_place(report, "null");
    let names: Vec<_> = report.backtrace.iter().filter_map(|frame| frame.function.as_deref()).collect();
    assert!(names.iter().any(|name| name.ends_with("fault_in_handler::faulty")), "{report}");
    check_harmless(report);
}

fn a_loop_with_events_off_ends_at_the_time_limit(backend: BackendKind) {
    let limit = |config: &mut vcpu_host::Config| config.time_limit = Some(Duration::from_millis(100));
    let ended = faults("loop-events-off", backend).with(limit).run();
    let Outcome::TimeLimit(report) = &ended.outcome else { panic!("{ended}") };
    check_place(report, "loop_events_off");
    check_harmless(report);
}

fn a_guest_that_waits_for_ever_ends_at_the_time_limit(backend: BackendKind) {
    let limit = |config: &mut vcpu_host::Config| config.time_limit = Some(Duration::from_millis(100));
    let ended = Guest::new("guest-events", backend).arguments(["wait-until-raised"]).with(limit).run();
    let Outcome::TimeLimit(report) = &ended.outcome else { panic!("{ended}") };
    // Nobody has the processor, so the report is about the kernel's own flow.
    let names: Vec<_> = report.backtrace.iter().filter_map(|frame| frame.function.as_deref()).collect();
    assert!(names.iter().any(|name| name.ends_with("scheduler::service")), "{report}");
}

fn a_call_with_wrong_arguments_is_answered_and_changes_nothing(backend: BackendKind) {
    faults("bad-calls", backend).run().assert_output(include_str!("expected/bad-calls.txt"));
}

fn a_panic_names_its_place_and_shows_the_program_first(backend: BackendKind) {
    let ended = faults("panic", backend).run();
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.starts_with("the guest panicked at apps/faults/src/cases.rs:"), "{report}");
    let message = "index out of bounds: the len is 4 but the index is 4";
    assert!(report.sentence.ends_with(message), "{report}");
    assert_eq!(report.backtrace[0], *innermost(report), "{report}");
    check_place(report, "panic");
    check_harmless(report);
}

fn a_program_without_memory_gets_an_error_and_then_panics(backend: BackendKind) {
    let ended = faults("out-of-memory", backend).run();
    assert_eq!(ended.output_text(), "handled: out of memory\n");
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.ends_with("memory allocation of 1048576 bytes failed"), "{report}");
    check_place(report, "out_of_memory");
}

fn inlined_functions_are_frames_of_their_own(backend: BackendKind) {
    let ended = Guest::new("guest-reports", backend).arguments(["inlined"]).run();
    let report = faulted(&ended);
    let frames = &report.backtrace[..3];
    let names: Vec<_> = frames.iter().map(|frame| frame.function.as_deref().unwrap_or_default()).collect();
    assert_eq!(names, ["guest_reports::inner", "guest_reports::middle", "guest_reports::outer"], "{report}");
    assert!(frames.iter().all(|frame| frame.address == frames[0].address), "{report}");
    let lines: Vec<_> = frames.iter().map(|frame| frame.location.as_ref().expect("a line").1).collect();
    assert!(lines[0] > lines[1] && lines[1] > lines[2], "each has its own line: {report}");
}

fn a_message_cannot_control_the_terminal(backend: BackendKind) {
    let ended = Guest::new("guest-reports", backend).arguments(["escapes"]).run();
    let report = ended.report();
    let text = report.to_string();
    assert!(text.contains("red") && text.contains("over") && text.contains(" end\n"), "{text}");
    check_harmless(report);
}

fn a_message_of_any_length_makes_a_short_report(backend: BackendKind) {
    let ended = Guest::new("guest-reports", backend).arguments(["endless-message"]).run();
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.len() < 16 << 10, "{} bytes", report.sentence.len());
}

on_every_backend!(
    an_unhandled_exception_ends_the_guest_with_a_report,
    the_guests_own_handler_sees_an_exception_first,
    every_case_is_tested,
    a_stack_overflow_is_called_by_its_name,
    a_call_into_data_shows_who_called,
    a_backtrace_leads_to_the_entry,
    a_fault_in_a_fault_handler_is_a_double_fault,
    a_loop_with_events_off_ends_at_the_time_limit,
    a_guest_that_waits_for_ever_ends_at_the_time_limit,
    a_call_with_wrong_arguments_is_answered_and_changes_nothing,
    a_panic_names_its_place_and_shows_the_program_first,
    a_program_without_memory_gets_an_error_and_then_panics,
    inlined_functions_are_frames_of_their_own,
    a_message_cannot_control_the_terminal,
    a_message_of_any_length_makes_a_short_report,
);
