//! Reading the lists of zero-terminated strings in which a machine hands over arguments and environment.

/// The strings of a list in which each ends with a zero byte. Bytes behind the last zero do not count.
///
/// ```
/// let mut list = vcpu_kernel_core::strings::split(b"gunzip\0--force\0");
/// assert_eq!(list.next(), Some(&b"gunzip"[..]));
/// assert_eq!(list.next(), Some(&b"--force"[..]));
/// assert_eq!(list.next(), None);
/// ```
pub fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split_inclusive(|byte| *byte == 0).filter_map(|item| item.strip_suffix(&[0]))
}

/// Splits `NAME=value` at its first equals sign; `None` if there is none or the name is empty.
pub fn variable(string: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = string.iter().position(|byte| *byte == b'=')?;
    (at > 0).then(|| (&string[..at], &string[at + 1..]))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn an_empty_list_has_no_strings() {
        assert_eq!(split(b"").count(), 0);
    }

    #[test]
    fn empty_strings_count_and_an_unterminated_rest_does_not() {
        assert_eq!(split(b"\0a\0rest").collect::<Vec<_>>(), [&b""[..], b"a"]);
    }

    #[test]
    fn a_variable_is_split_at_its_first_equals_sign() {
        assert_eq!(variable(b"A=b=c"), Some((&b"A"[..], &b"b=c"[..])));
        assert_eq!(variable(b"A="), Some((&b"A"[..], &b""[..])));
        assert_eq!(variable(b"=x"), None);
        assert_eq!(variable(b"A"), None);
    }
}
