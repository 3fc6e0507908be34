//! The program's arguments and environment, as the machine was given them. They never change.

use alloc::borrow::Cow;
use alloc::string::String;
use vcpu_kernel::machine;

/// The program's arguments, its own name first. Bytes that are not UTF-8 are replaced.
pub fn args() -> impl Iterator<Item = String> {
    machine::arguments().map(lossy)
}

/// The program's environment. It holds what the machine was given, nothing of the host's own.
pub fn vars() -> impl Iterator<Item = (String, String)> {
    machine::environment().map(|(name, value)| (lossy(name), lossy(value)))
}

/// The value of a variable of the environment.
pub fn var(name: &str) -> Option<String> {
    machine::environment().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| lossy(value))
}

fn lossy(bytes: &[u8]) -> String {
    Cow::into_owned(String::from_utf8_lossy(bytes))
}
