//! The information area: what the guest is told before its first instruction.

use crate::Error;
use crate::clock::Clock;
use std::time::SystemTime;
use vcpu_abi::INTERFACE_VERSION;
use vcpu_abi::info::{Features, InfoPage, StringList};
use vcpu_abi::layout::INFO_SIZE_MAX;

/// Arguments, environment and names of devices, as they lie behind the information page.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    pub(crate) bytes: Vec<u8>,
    arguments_length: usize,
    environment_end: usize,
}

/// Bytes before the strings.
pub(crate) const HEADER: usize = size_of::<InfoPage>();

impl Strings {
    /// Joins arguments, variables and names of devices, each ended by a zero byte.
    ///
    /// # Errors
    ///
    /// If they are too long, or cannot be strings of such a list.
    pub(crate) fn new(
        arguments: &[Vec<u8>],
        environment: &[(Vec<u8>, Vec<u8>)],
        devices: &[Vec<u8>],
    ) -> Result<Strings, Error> {
        let refuse = |bytes: &[u8]| Error::BadArgument(String::from_utf8_lossy(bytes).into_owned());
        if let Some(bad) = arguments.iter().chain(devices).find(|argument| argument.contains(&0)) {
            return Err(refuse(bad));
        }
        let is_bad = |(name, value): &&(Vec<u8>, Vec<u8>)| {
            name.is_empty() || name.contains(&b'=') || name.contains(&0) || value.contains(&0)
        };
        if let Some((bad, _)) = environment.iter().find(is_bad) {
            return Err(refuse(bad));
        }
        let mut bytes: Vec<u8> =
            arguments.iter().flat_map(|argument| [argument, &b"\0"[..]].concat()).collect();
        let arguments_length = bytes.len();
        bytes.extend(environment.iter().flat_map(|(name, value)| [name, &b"="[..], value, b"\0"].concat()));
        let environment_end = bytes.len();
        bytes.extend(devices.iter().flat_map(|name| [name, &b"\0"[..]].concat()));
        let room = INFO_SIZE_MAX as usize - HEADER;
        if bytes.len() > room {
            return Err(Error::ArgumentsTooLong { size: bytes.len(), room });
        }
        Ok(Strings { bytes, arguments_length, environment_end })
    }
}

/// The information page.
pub(crate) fn page(ram_size: u64, clock: &Clock, strings: &Strings) -> InfoPage {
    let mut features = Features::empty();
    features.set(Features::TSC_CLOCK, clock.parameters().is_some());
    features.set(Features::FSGSBASE, has_fsgsbase());
    let wall_clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let list =
        |from: usize, to: usize| StringList { offset: (HEADER + from) as u32, length: (to - from) as u32 };
    InfoPage {
        version: INTERFACE_VERSION,
        features: features.bits(),
        ram_size,
        clock: clock.parameters().unwrap_or_default(),
        // Virtual time begins at a fixed moment, so that runs are equal.
        wall_clock_base: if clock.is_virtual() {
            0
        } else {
            (wall_clock.as_nanos() as u64).saturating_sub(clock.now())
        },
        arguments: list(0, strings.arguments_length),
        environment: list(strings.arguments_length, strings.environment_end),
        devices: list(strings.environment_end, strings.bytes.len()),
    }
}

/// Whether processor and kernel let user code use `rdfsbase` and its kin.
pub(crate) fn has_fsgsbase() -> bool {
    /// Set by the kernel when the processor has the instructions and it has enabled them.
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: no pointers.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(arguments: &[&[u8]], environment: &[(&[u8], &[u8])]) -> Result<Strings, Error> {
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_vec()).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Strings::new(&arguments, &environment, &[b"d".to_vec()])
    }

    #[test]
    fn strings_follow_the_page_in_the_order_given() {
        let strings = make(&[b"a", b""], &[(b"N", b"v")]).unwrap();
        assert_eq!(strings.bytes, b"a\0\0N=v\0d\0");
        let page = page(1 << 20, &Clock::start(crate::ClockMode::Virtual, 0), &strings);
        assert_eq!((page.arguments.offset, page.arguments.length), (HEADER as u32, 3));
        assert_eq!((page.environment.offset, page.environment.length), (HEADER as u32 + 3, 4));
        assert_eq!((page.devices.offset, page.devices.length), (HEADER as u32 + 7, 2));
    }

    #[test]
    fn what_cannot_be_a_string_is_refused() {
        assert!(make(&[b"a\0b"], &[]).is_err());
        assert!(make(&[], &[(b"", b"v")]).is_err());
        assert!(make(&[], &[(b"A=", b"v")]).is_err());
        let long = vec![b'x'; INFO_SIZE_MAX as usize];
        assert!(matches!(make(&[&long], &[]), Err(Error::ArgumentsTooLong { .. })));
    }
}
