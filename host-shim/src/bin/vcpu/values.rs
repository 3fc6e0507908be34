//! Values as people write them: sizes, durations, variables.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Name and value of a variable.
pub(crate) type Variable = (Vec<u8>, Vec<u8>);

/// The backends that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// The best that this system offers
    Auto,
    /// Linux processes, their own signal handlers and a system call filter: fast
    Seccomp,
    /// Linux processes and ptrace: the reference
    Ptrace,
}

impl From<Backend> for vcpu_host::backend::BackendKind {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Seccomp => Self::Seccomp,
            Backend::Ptrace => Self::Ptrace,
        }
    }
}

/// A number of bytes. As with container runners and emulators, a bare `K`, `M`, `G` or `T` is a power of
/// two; `MB` is a million and `MiB` is exact.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let plain = text.trim();
    let explicit = match plain.chars().last() {
        Some('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T') => format!("{plain}iB"),
        _ => plain.to_owned(),
    };
    match explicit.parse::<bytesize::ByteSize>() {
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err("this is no size; give one like 64M or 1G".into()),
    }
}

/// A size of memory.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("a guest needs some memory; give a size like 64M or 1G".into()),
        size => Ok(size),
    }
}

/// A limit of time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a guest needs some time; leave this out for no limit".into()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("this is no duration; give one like 500ms, 10s or 2m".into()),
    }
}

/// A number of calls in a second.
pub(crate) fn calls(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "give a number of calls, at least 1")
}

/// A variable of the environment: any bytes, of which the first `=` ends the name.
pub(crate) fn variable(text: OsString) -> Result<Variable, &'static str> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        None | Some(0) => Err("this is not of the form NAME=VALUE"),
        Some(end) => Ok((bytes[..end].to_vec(), bytes[end + 1..].to_vec())),
    }
}

/// Of several values for one name the last counts, as with `env` and container runners.
pub(crate) fn last_of_each(variables: Vec<Variable>) -> Vec<Variable> {
    let mut kept: Vec<Variable> = Vec::new();
    for (name, value) in variables {
        kept.retain(|(earlier, _)| *earlier != name);
        kept.push((name, value));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn sizes_are_powers_of_two_unless_they_say_otherwise() {
        for (text, bytes) in [
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("64MB", 64_000_000),
            ("1G", 1 << 30),
            ("1.5 G", 3 << 29),
            ("4096", 4096),
            ("512K", 512 << 10),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "M", "-1M", "64Q", "1e999G"] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert_eq!(bytes("0"), Ok(0), "there may be no output at all");
    }

    #[test]
    fn durations_have_a_unit_and_are_not_zero() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "0s", "10", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_is_split_at_its_first_equals_sign() {
        assert_eq!(variable("A=b=c".into()), Ok((b"A".to_vec(), b"b=c".to_vec())));
        assert_eq!(variable("A=".into()), Ok((b"A".to_vec(), Vec::new())));
        let bytes = OsString::from_vec(b"A=\xff".to_vec());
        assert_eq!(variable(bytes), Ok((b"A".to_vec(), b"\xff".to_vec())));
        assert!(variable("A".into()).is_err() && variable("=b".into()).is_err());
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let variables = ["A=1", "B=2", "A=3"].map(|text| variable(text.into()).unwrap());
        let kept = last_of_each(variables.to_vec());
        assert_eq!(kept, ["B=2", "A=3"].map(|text| variable(text.into()).unwrap()));
    }
}
