//! A logger behind the macros of the crate `log` (feature `log`): each record is a line on standard errors.
//!
//! ```text
//! [WARN  worker decoder::frame] frame 7 is damaged
//! ```
//!
//! It names level, thread and target. How much is said is the variable `RUST_LOG` of the guest's environment:
//! `off`, `error` (what is taken without it), `warn`, `info`, `debug` or `trace`. `log::set_max_level` changes
//! it while the program runs.
//!
//! ```no_run
//! libvcpu::log::init().unwrap();
//! log::error!("shown");
//! log::debug!("shown by `vcpu run --env RUST_LOG=debug …`");
//! ```

use crate::io::{self, Write};
use crate::{env, thread};
use alloc::string::String;
use core::fmt;
use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};
use vcpu_kernel::abi::call::STREAM_ERRORS;
use vcpu_kernel::{call, event};

/// The variable that says how much is logged.
const VARIABLE: &str = "RUST_LOG";

/// Makes this the program's logger.
///
/// # Errors
///
/// [`SetLoggerError`] if the program has one already.
pub fn init() -> Result<(), SetLoggerError> {
    log::set_logger(&Logger)?;
    log::set_max_level(level(env::var(VARIABLE)));
    Ok(())
}

/// The level that is asked for. Whoever asks for something else is told what there is.
fn level(asked: Option<String>) -> LevelFilter {
    let Some(asked) = asked else { return LevelFilter::Error };
    asked.parse().unwrap_or_else(|_| {
        crate::eprintln!("{VARIABLE}: `{asked}` is none of off, error, warn, info, debug, trace");
        LevelFilter::Error
    })
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    /// What cannot be written is lost: a program does not fail for want of its log.
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let thread = thread::current();
        let thread = thread.name().unwrap_or("<unnamed>");
        let (level, target, text) = (record.level(), record.target(), record.args());
        let line = format_args!("[{level:<5} {thread} {target}] {text}\n");
        if event::are_on() {
            let _ = io::stderr().write_all(alloc::fmt::format(line).as_bytes());
        } else {
            let _ = fmt::Write::write_fmt(&mut Piecewise, line);
        }
    }

    fn flush(&self) {}
}

/// Writes where nobody can wait, neither for the stream nor for the heap: what a full stream does not take
/// is lost. Nobody else writes meanwhile, so the pieces stay together.
struct Piecewise;

impl fmt::Write for Piecewise {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        call::console_write(STREAM_ERRORS, text.as_bytes()).map(drop).map_err(|_| fmt::Error)
    }
}
