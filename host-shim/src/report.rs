//! What became of a guest, in words: one sentence, the registers, the functions that were active.

use crate::backend::Exception;
use crate::registers::Registers;
use crate::unwind::Frame;
use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use vcpu_abi::cause::Cause;
use vcpu_abi::layout::{GATE, PAGE_SIZE, TRAP_PAGE};
use vcpu_abi::page::{GENERAL_REGISTER_NAMES, StateSaveArea};

/// How a guest ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It ended itself, with this status.
    Exited(u8),
    /// It panicked.
    Panicked(Report),
    /// It did something that is not permitted, and did not handle it.
    Faulted(Report),
    /// Its time was over.
    TimeLimit(Report),
    /// Its process was ended from outside.
    Killed(Report),
}

/// Exit status of a run that ended with a panic of the guest.
pub const STATUS_PANICKED: u8 = 101;
/// Exit status of a run that ended with an exception that the guest did not handle.
pub const STATUS_FAULTED: u8 = 123;
/// Exit status of a run whose time was over.
pub const STATUS_TIME_LIMIT: u8 = 124;
/// Exit status of a run that failed for reasons that are not the guest's.
pub const STATUS_FAILED: u8 = 125;
/// Exit status when the image cannot be run.
pub const STATUS_BAD_IMAGE: u8 = 126;

impl Outcome {
    /// The status with which a program that runs this guest should end.
    pub fn status(&self) -> u8 {
        match self {
            Outcome::Exited(status) => *status,
            Outcome::Panicked(_) => STATUS_PANICKED,
            Outcome::Faulted(_) => STATUS_FAULTED,
            Outcome::TimeLimit(_) => STATUS_TIME_LIMIT,
            Outcome::Killed(_) => STATUS_FAILED,
        }
    }

    /// What there is to say of a guest that did not end itself.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Outcome::Exited(_) => None,
            Outcome::Panicked(report)
            | Outcome::Faulted(report)
            | Outcome::TimeLimit(report)
            | Outcome::Killed(report) => Some(report),
        }
    }
}

/// What is known of a guest that did not end itself. Shown, it is several lines.
#[derive(Clone, Debug)]
pub struct Report {
    /// What happened.
    pub sentence: String,
    /// The registers, if the guest still existed.
    pub registers: Option<Box<Registers>>,
    /// The active functions, innermost first.
    pub backtrace: Vec<Frame>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // What follows a line feed of the guest's is indented: it must not look like a part of the report.
        for (index, line) in self.sentence.split('\n').enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "\n    " }, Harmless(line))?;
        }
        if let Some(registers) = &self.registers {
            let raw = &registers.raw;
            let others = [("rip", raw.rip), ("rsp", raw.rsp), ("rflags", raw.eflags)];
            let general = GENERAL_REGISTER_NAMES.into_iter().zip(registers.general());
            write!(f, "\nregisters:")?;
            for (index, (name, value)) in others.into_iter().chain(general.rev()).enumerate() {
                write!(f, "{}{name:>6} {value:016x}", if index % 3 == 0 { "\n" } else { "  " })?;
            }
        }
        // Files below the current directory are shown as one would name them.
        let here = std::env::current_dir().unwrap_or_default();
        if !self.backtrace.is_empty() {
            write!(f, "\nbacktrace:")?;
        }
        for (index, frame) in self.backtrace.iter().enumerate() {
            let name = frame.function.as_deref().unwrap_or(place(frame.address));
            write!(f, "\n{index:>4}: {:#010x} {}", frame.address, Harmless(name))?;
            if let Some((file, line)) = &frame.location {
                let file = Path::new(file).strip_prefix(&here).ok().and_then(Path::to_str).unwrap_or(file);
                write!(f, "\n            at {}:{line}", Harmless(file))?;
            }
        }
        Ok(())
    }
}

/// The outcome for a guest whose process has ended by a signal.
pub(crate) fn killed(signal: i32) -> Outcome {
    let report = |sentence| Report { sentence, registers: None, backtrace: Vec::new() };
    if signal == libc::SIGKILL {
        let sentence = "the guest's process was killed from outside, or for lack of memory, by signal 9";
        return Outcome::Killed(report(sentence.to_owned()));
    }
    // No other signal gets through, unless the guest has blocked those that its handlers need, or has
    // taken their stack away.
    Outcome::Faulted(report(format!(
        "the guest has disabled the handling of its own faults, and ended by signal {signal}"
    )))
}

/// The sentence for an exception while the guest took none.
pub(crate) fn double_fault(exception: Exception, registers: &Registers) -> String {
    format!("double fault: {}, while the guest took no exceptions", describe(exception, registers))
}

/// The sentence for the exception that the state save area describes, and the registers there.
pub(crate) fn unhandled(ssa: &StateSaveArea, message: &str) -> (String, Registers) {
    let registers = Registers::load(ssa);
    let what = match Cause::from_number(ssa.cause.load(Relaxed)) {
        Some(cause) => {
            let exception = Exception { cause, address: ssa.fault_address.load(Relaxed), error_code: 0 };
            describe(exception, &registers)
        }
        None => "an exception without a known cause".to_owned(),
    };
    let colon = if message.is_empty() { "" } else { ": " };
    (format!("the guest did not handle {what}{colon}{message}"), registers)
}

/// Cause, address and instruction of an exception.
fn describe(exception: Exception, registers: &Registers) -> String {
    let rip = registers.raw.rip;
    match exception.cause {
        Cause::PageFault => {
            format!("page fault at address {:#x} (instruction at {rip:#x})", exception.address)
        }
        cause => format!("{cause} (instruction at {rip:#x})"),
    }
}

/// What an address is that belongs to no function.
fn place(address: u64) -> &'static str {
    match address / PAGE_SIZE * PAGE_SIZE {
        0 => "(page zero)",
        GATE => "(the gate)",
        TRAP_PAGE => "(the trap page)",
        _ => "(unknown)",
    }
}

/// A line of text from a guest, shown so that it can neither control a terminal nor look like anything
/// else: characters that control, end lines or change the direction of writing are replaced.
pub(crate) struct Harmless<'a>(pub(crate) &'a str);

impl Display for Harmless<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| f.write_char(harmless(character)))
    }
}

fn harmless(character: char) -> char {
    match character {
        '\t' => character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

/// Drops the frames by which a panic reaches the machine, so that the first one is the program's.
pub(crate) fn without_panic_machinery(backtrace: Vec<Frame>) -> Vec<Frame> {
    const MACHINERY: [&str; 8] = [
        "vcpu_kernel::",
        "vcpu_panic_handler",
        "rust_begin_unwind",
        "core::panicking",
        "__rustc::",
        "core::result::unwrap_failed",
        "core::option::",
        "alloc::alloc::handle_alloc_error",
    ];
    let machinery = |frame: &Frame| {
        frame.function.as_deref().is_none_or(|name| MACHINERY.iter().any(|part| name.contains(part)))
    };
    match backtrace.iter().position(|frame| !machinery(frame)) {
        Some(first) => backtrace[first..].to_vec(),
        None => backtrace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Frame {
        Frame { address: 0x20_0000, function: Some(name.to_owned()), location: None }
    }

    fn report(sentence: &str, backtrace: Vec<Frame>) -> String {
        Report { sentence: sentence.to_owned(), registers: None, backtrace }.to_string()
    }

    #[test]
    fn a_guest_cannot_control_the_terminal() {
        let text = report("a\x1b[31mb\r\x07\u{9b}2J\ttab", vec![frame("f\x1b]0;x")]);
        assert!(text.chars().all(|shown| !shown.is_control() || "\n\t".contains(shown)), "{text:?}");
        assert!(text.contains("\ttab"), "{text:?}");
    }

    #[test]
    fn a_guest_cannot_change_the_direction_of_writing() {
        let controls =
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let text = report(controls, vec![frame(controls)]);
        assert!(!text.contains(|shown| controls.contains(shown)), "{text:?}");
    }

    #[test]
    fn a_guest_cannot_forge_lines_of_a_report() {
        let forged = "\nbacktrace:\n   0: 0x00200000 innocent\u{2028}line\u{2029}line";
        let mut innocent = frame(forged);
        innocent.location = Some((forged.to_owned(), 1));
        let text = report(forged, vec![innocent]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..3],
            ["", "    backtrace:", "       0: 0x00200000 innocent\u{fffd}line\u{fffd}line"]
        );
        assert_eq!((lines[3], lines.len()), ("backtrace:", 6), "name and path are one line each: {text}");
    }

    #[test]
    fn a_panics_backtrace_begins_with_the_program() {
        let names = [
            "vcpu_kernel::call::panic",
            "core::panicking::panic_fmt",
            "app::main",
            "vcpu_kernel::boot::start",
        ];
        let frames = without_panic_machinery(names.map(frame).to_vec());
        assert_eq!(frames[0].function.as_deref(), Some("app::main"));
        assert_eq!(frames.len(), 2);
    }
}
