//! What is said to the user, and how: answers to standard output, everything else to standard error.

use crate::status::Failure;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Says on standard error what went wrong.
pub(crate) fn error(message: &dyn fmt::Display) {
    say("error:", "\u{1b}[1;31m", message);
}

/// Says on standard error what might be wrong.
pub(crate) fn warning(message: &dyn fmt::Display) {
    say("warning:", "\u{1b}[1;33m", message);
}

/// Says on standard error what is being done.
pub(crate) fn note(message: &dyn fmt::Display) {
    say("vcpu:", "\u{1b}[1;36m", message);
}

fn say(word: &str, colour: &str, message: &dyn fmt::Display) {
    let (begin, end) = if is_coloured() { (colour, "\u{1b}[0m") } else { ("", "") };
    // Nobody is left to hear that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{begin}{word}{end} {message}");
}

/// Colour is for people: not for files and pipes, and not for those who say they want none.
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a command's answer to standard output. That a reader has left early (`vcpu info … | head`) is
/// no failure.
pub(crate) fn answer(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::runner(format_args!(
            "cannot write to standard output: {error}; send it somewhere else"
        ))),
        _ => Ok(()),
    }
}

/// Bytes as people count them, in powers of two, and exactly.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => bytesize::ByteSize(bytes).display().iec().to_string(),
    }
}
