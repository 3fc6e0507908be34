//! What the kernel knows about threads and event lines, as a table to read.
//!
//! ```text
//! thread                    state      priority     cpu ms      %    switches     stack, KiB        heap
//!      1 main               running    31 as 40       12.4    3.1         912      9 of 256         2048
//!      2 decode             blocked          40      380.0   95.0       11230      5 of 64         10112  waits for mutex #3, held by thread 'main' (1)
//!        idle                                          7.6    1.9
//! event line     count   worst latency, cycles
//!         63        25                   21684 (scheduler)
//! heap: 174448 bytes in use, 66203136 free, 0 stacks abandoned
//! ```
//!
//! A priority of `31 as 40` is 31 and inherited 40; percentages are of the time since the guest's start;
//! `suspended+` is blocked as well. The figures are kept at every switch and every event, and cost a few
//! additions there; only writing the table takes time.

use crate::console;
use crate::event;
use crate::heap;
use crate::machine;
use crate::message::Message;
use crate::thread::{self, Handle, State, Waiting};
use crate::{clock, deadlock, scheduler};
use core::fmt::{self, Write};
use vcpu_abi::call::STREAM_ERRORS;
use vcpu_abi::page::EVENT_LINES;

/// Writes the table, a line at a time. Threads run on meanwhile.
///
/// # Errors
///
/// Those of `output`.
///
/// # Panics
///
/// In a handler function.
pub fn write(output: &mut impl Write) -> fmt::Result {
    writeln!(
        output,
        "thread                    state      priority     cpu ms      %    switches     stack, KiB        heap"
    )?;
    let mut result = Ok(());
    thread::for_each(|handle| {
        if result.is_ok() && !handle.is_finished() {
            result = write_thread(output, &handle);
        }
    });
    result?;
    let ended = thread::ended();
    if ended.count > 0 {
        write!(
            output,
            "{:>6} {:<36} {:>11} {:>6} {:>11}",
            ended.count,
            "ended",
            Milliseconds(ended.cpu_time),
            Percent(ended.cpu_time),
            ended.switches
        )?;
        if ended.died > 0 {
            write!(output, "  ({} died and left {} bytes)", ended.died, ended.left)?;
        }
        writeln!(output)?;
    }
    let idle = thread::service_time();
    writeln!(output, "{:>6} {:<36} {:>11} {:>6}", "", "idle", Milliseconds(idle), Percent(idle))?;
    writeln!(output, "event line     count   worst latency, cycles")?;
    for line in 0..EVENT_LINES {
        let count = event::count(line);
        if count > 0 {
            let label = if line == event::ALARM_LINE { " (scheduler)" } else { "" };
            writeln!(output, "{line:>10} {count:>9} {:>23}{label}", event::worst_latency(line))?;
        }
    }
    let heap = heap::statistics();
    writeln!(
        output,
        "heap: {} bytes in use, {} free, {} stacks abandoned",
        heap.used,
        heap.free,
        thread::abandoned_stacks()
    )
}

fn write_thread(output: &mut impl Write, handle: &Handle) -> fmt::Result {
    let it = handle.statistics();
    let state = match it.state {
        State::Ready => "ready",
        State::Running => "running",
        State::Blocked => "blocked",
        State::Suspended => "suspended",
        State::BlockedSuspended => "suspended+",
        State::Exited => "over",
    };
    let mut priority = Message::new();
    if it.effective_priority == it.priority {
        write!(priority, "{}", it.priority.level())?;
    } else {
        write!(priority, "{} as {}", it.priority.level(), it.effective_priority.level())?;
    }
    let name: Cut<18> = Cut(handle.name().unwrap_or("<unnamed>"));
    write!(
        output,
        "{:>6} {name:<18} {state:<10} {:>8} {:>10} {:>6} {:>11} {:>6} of {:<5} {:>10}",
        it.number,
        priority.as_str(),
        Milliseconds(it.cpu_time),
        Percent(it.cpu_time),
        it.switches,
        it.stack_used.div_ceil(1024),
        it.stack_size / 1024,
        it.heap
    )?;
    if it.waiting != Waiting::Nothing {
        // A name in it may be freed as soon as events are on, so the text is made with events off.
        let mut waiting = Message::new();
        scheduler::quick(|policy| deadlock::write_waiting(&mut waiting, policy, it.waiting))?;
        write!(output, "  {}", waiting.as_str())?;
    }
    writeln!(output)
}

/// Nanoseconds, in ms with one digit.
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Message::new();
        write!(text, "{}.{}", self.0 / 1_000_000, self.0 / 100_000 % 10)?;
        formatter.pad(text.as_str())
    }
}

/// Nanoseconds as a part of the time since the start, in percent with one digit.
struct Percent(u64);

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = u128::from(self.0) * 1000 / u128::from(clock::now().max(1));
        let mut text = Message::new();
        write!(text, "{}.{}", thousandths / 10, thousandths % 10)?;
        formatter.pad(text.as_str())
    }
}

/// Text, cut after so many characters.
struct Cut<'a, const LENGTH: usize>(&'a str);

impl<const LENGTH: usize> fmt::Display for Cut<'_, LENGTH> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(LENGTH).map_or(self.0.len(), |(end, _)| end);
        formatter.pad(&self.0[..end])
    }
}

/// Standard errors, for the kernel's own words.
struct Errors;

impl Write for Errors {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        console::write_all(STREAM_ERRORS, text);
        Ok(())
    }
}

/// Writes the table to standard errors if the environment has `VCPU_STATS=1`. The guest ends.
pub(crate) fn at_end() {
    if machine::environment().any(|variable| variable == (b"VCPU_STATS", b"1")) {
        // Standard errors take what they can.
        let _ = write(&mut Errors);
    }
}
