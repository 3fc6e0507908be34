//! The information area: what the guest is told before its first instruction.

use crate::Error;
use crate::clock::Clock;
use crate::sys;
use std::arch::x86_64::__cpuid_count;
use vcpu_abi::INTERFACE_VERSION;
use vcpu_abi::info::{Features, InfoPage, StringList};
use vcpu_abi::layout::INFO_SIZE_MAX;

/// The information page and the strings behind it, as bytes.
///
/// # Errors
///
/// If the strings are too long or cannot be strings of the list.
pub(crate) fn area(
    ram_size: u64,
    clock: &Clock,
    arguments: &[Vec<u8>],
    environment: &[(Vec<u8>, Vec<u8>)],
) -> Result<Vec<u8>, Error> {
    let mut strings: Vec<u8> = Vec::new();
    let refuse = |bytes: &[u8]| Error::BadArgument(String::from_utf8_lossy(bytes).into_owned());
    for argument in arguments {
        if argument.contains(&0) {
            return Err(refuse(argument));
        }
        strings.extend(argument);
        strings.push(0);
    }
    let arguments_length = strings.len();
    for (name, value) in environment {
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) || value.contains(&0) {
            return Err(refuse(name));
        }
        strings.extend([name, &b"="[..], value, &b"\0"[..]].concat());
    }
    let header = size_of::<InfoPage>();
    let room = INFO_SIZE_MAX as usize - header;
    if strings.len() > room {
        return Err(Error::ArgumentsTooLong { size: strings.len(), room });
    }
    let mut features = Features::empty();
    features.set(Features::TSC_CLOCK, clock.parameters().is_some());
    features.set(Features::FSGSBASE, has_fsgsbase());
    let parameters = clock.parameters().unwrap_or_default();
    let wall_clock = sys::clock(libc::CLOCK_REALTIME);
    let list =
        |from: usize, to: usize| StringList { offset: (header + from) as u32, length: (to - from) as u32 };
    let page = InfoPage {
        version: INTERFACE_VERSION,
        features: features.bits(),
        ram_size,
        clock: parameters,
        // Virtual time begins at a fixed moment, so that runs are equal.
        wall_clock_base: if clock.is_virtual() { 0 } else { wall_clock.saturating_sub(clock.now()) },
        arguments: list(0, arguments_length),
        environment: list(arguments_length, strings.len()),
    };
    let mut area = Vec::with_capacity(header + strings.len());
    area.extend(page.version.to_le_bytes());
    area.extend(page.features.to_le_bytes());
    area.extend(page.ram_size.to_le_bytes());
    area.extend(page.clock.counter_base.to_le_bytes());
    area.extend(page.clock.multiplier.to_le_bytes());
    area.extend(page.clock.shift.to_le_bytes());
    area.extend(page.clock.reserved.to_le_bytes());
    area.extend(page.wall_clock_base.to_le_bytes());
    for list in [page.arguments, page.environment] {
        area.extend(list.offset.to_le_bytes());
        area.extend(list.length.to_le_bytes());
    }
    debug_assert_eq!(area.len(), header);
    area.extend(strings);
    Ok(area)
}

/// Whether processor and kernel let user code use `rdfsbase` and its kin.
fn has_fsgsbase() -> bool {
    /// Set by the kernel when it has enabled the instructions.
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: no pointers.
    let enabled = unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE != 0;
    enabled && __cpuid_count(7, 0).ebx & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockMode;

    fn make(arguments: &[&[u8]], environment: &[(&[u8], &[u8])]) -> Result<Vec<u8>, Error> {
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_vec()).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        area(1 << 20, &Clock::start(ClockMode::Virtual), &arguments, &environment)
    }

    #[test]
    fn strings_follow_the_page_in_the_order_given() {
        let area = make(&[b"a", b""], &[(b"N", b"v")]).unwrap();
        assert_eq!(&area[size_of::<InfoPage>()..], b"a\0\0N=v\0");
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
