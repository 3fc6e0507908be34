//! What the system says of a process, in `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for what must happen soon. Long enough for the slowest machine, since nothing is
/// concluded from how long it took.
const DEADLINE: Duration = Duration::from_secs(60);

/// The text of a file below `/proc/PID`.
///
/// # Panics
///
/// If it cannot be read.
#[track_caller]
pub fn read(pid: i32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A field of `/proc/PID/status`, or `None` if there is no such process.
pub fn status(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

/// A field of `/proc/PID/status` that is a size in kB, in bytes.
///
/// # Panics
///
/// If there is no such process or field.
#[track_caller]
pub fn size(pid: i32, field: &str) -> u64 {
    let value = status(pid, field).unwrap_or_else(|| panic!("no {field} of process {pid}"));
    let kilobytes = value.strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or_else(|| panic!("{field} of process {pid} is {value}")) << 10
}

/// Whether there is such a process, be it a zombie.
pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until something holds.
///
/// # Panics
///
/// If it does not come to hold.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
