//! Running a part of a test in a process of its own: one that can be killed, or measured undisturbed.
//!
//! The process is this test binary again, told to run one test only. That test finds that it is the
//! other process, and plays its part:
//!
//! ```no_run
//! use vcpu_tests::again;
//!
//! # fn work() -> ! { loop {} }
//! fn the_test() {
//!     if again::is_other() {
//!         work();
//!     }
//!     let mut other = again::start("the_test");
//!     other.kill().unwrap();
//! }
//! ```

use crate::BackendKind;
use std::process::{Child, Command, Stdio};

/// Set in the other process.
const VARIABLE: &str = "VCPU_TESTS_OTHER_PROCESS";

/// Whether this is the other process.
pub fn is_other() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The full name of a function's test for a backend.
pub fn test(function: &str, backend: BackendKind) -> String {
    format!("{function}::{}", backend.name())
}

/// Starts the other process for the test with this full name. Its standard input and output are pipes;
/// the first lines of its output are the test harness's.
///
/// # Panics
///
/// If it cannot be started.
pub fn start(test: &str) -> Child {
    let this = std::env::current_exe().expect("this program has a path");
    Command::new(this)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again")
}

/// Makes a command that runs this program be the other process.
pub fn in_other(command: &mut Command) -> &mut Command {
    command.env(VARIABLE, "1")
}

/// Runs the other process for the test with this full name to its end.
///
/// # Panics
///
/// If the test fails there.
#[track_caller]
pub fn run(test: &str) {
    let output = start(test).wait_with_output().expect("the other process ends");
    assert!(output.status.success(), "in the other process: {}", String::from_utf8_lossy(&output.stdout));
}
