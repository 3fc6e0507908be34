//! What there is to grant, as text, and which grant is enough for which want.
//!
//! ```text
//! dir NAME[:ro|:rw]      a directory and all below it
//! block NAME[:ro|:rw]    an image of a disk
//! console NAME           a stream of bytes in each direction
//! entropy                random bytes
//! function NAME          a function of the program that embeds the image
//! ```
//!
//! Without `:ro` or `:rw` it is read-only. The name of a directory may be a path, like `/home/u/build`: that is
//! where the guest finds it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Most bytes of a grant's name: as many as the tag of a file system has.
pub const GRANT_NAME_MAX: usize = 36;

/// Most bytes of a path that is a directory's name.
const GRANT_PATH_MAX: usize = 255;

/// Most bytes of a function's name.
pub const FUNCTION_NAME_MAX: usize = 128;

/// Most bytes of a text that are shown when it is refused.
const SHOWN_MAX: usize = 100;

/// Something that an image wants, or what a grant gives: a kind, a name, a right.
///
/// ```
/// use vcpu_host::Want;
/// let wanted: Want = "dir media".parse()?;
/// assert_eq!(wanted.to_string(), "dir media:ro");
/// assert!(wanted.is_satisfied_by(&"dir media:rw".parse()?));
/// # Ok::<(), vcpu_host::WantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the same everywhere: a name, and whether it may be written")]
pub enum Want {
    /// A directory and all below it.
    Directory { name: String, writable: bool },
    /// An image of a disk.
    Block { name: String, writable: bool },
    /// A stream of bytes in each direction, besides the standard streams.
    Console { name: String },
    /// Random bytes.
    Entropy,
    /// A function of the program that embeds the image.
    Function { name: String },
}

/// Why a text is no [`Want`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantError {
    /// It is none of the forms.
    #[error(
        "{0:?} is none of dir NAME[:ro|:rw], block NAME[:ro|:rw], console NAME, entropy and function NAME"
    )]
    NoSuchForm(String),
    /// Its name is none.
    #[error("{name:?} is not a name of 1 to {most} letters, digits and -_. that does not begin with a dot")]
    BadName {
        /// What should be a name.
        name: String,
        /// Most bytes of such a name.
        most: usize,
    },
    /// The path that is to be a directory's name is none.
    #[error(
        "{0:?} is not a path of at most {GRANT_PATH_MAX} bytes whose parts are letters, digits and -_.+~@, and none \
         of them \".\" or \"..\""
    )]
    BadPath(String),
}

/// Whether a text is a name of at most so many bytes.
pub(crate) fn is_name(text: &str, most: usize) -> bool {
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=most).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(possible)
}

/// Whether a text is a path that can be a directory's name.
pub(crate) fn is_path(text: &str) -> bool {
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~@,".contains(&byte);
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(possible);
    text.len() <= GRANT_PATH_MAX && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_part))
}

/// Checks a directory's name.
fn directory_name(text: &str) -> Result<String, WantError> {
    match text {
        _ if !text.starts_with('/') => name(text, GRANT_NAME_MAX),
        _ if is_path(text) => Ok(text.to_owned()),
        _ => Err(WantError::BadPath(shown(text))),
    }
}

/// The beginning of a text, which may be long and hold anything.
fn shown(text: &str) -> String {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// Checks a name.
pub(crate) fn name(text: &str, most: usize) -> Result<String, WantError> {
    if is_name(text, most) {
        Ok(text.to_owned())
    } else {
        Err(WantError::BadName { name: shown(text), most })
    }
}

impl FromStr for Want {
    type Err = WantError;

    fn from_str(text: &str) -> Result<Want, WantError> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (plain, writable) = match rest.strip_suffix(":rw") {
            Some(plain) => (plain, true),
            None => (rest.strip_suffix(":ro").unwrap_or(rest), false),
        };
        match kind {
            "dir" => Want::directory(plain, writable),
            "block" => Want::block(plain, writable),
            "console" => Want::console(rest),
            "function" => Ok(Want::Function { name: name(rest, FUNCTION_NAME_MAX)? }),
            "entropy" if text == kind => Ok(Want::Entropy),
            _ => Err(WantError::NoSuchForm(shown(text))),
        }
    }
}

impl Display for Want {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let right = |writable| if writable { "rw" } else { "ro" };
        match self {
            Want::Directory { name, writable } => write!(f, "dir {name}:{}", right(*writable)),
            Want::Block { name, writable } => write!(f, "block {name}:{}", right(*writable)),
            Want::Console { name } => write!(f, "console {name}"),
            Want::Entropy => write!(f, "entropy"),
            Want::Function { name } => write!(f, "function {name}"),
        }
    }
}

impl Want {
    /// A directory of this name, which may be a path: where the guest finds it.
    ///
    /// # Errors
    ///
    /// If it is not a name.
    pub fn directory(text: &str, writable: bool) -> Result<Want, WantError> {
        Ok(Want::Directory { name: directory_name(text)?, writable })
    }

    /// An image of a disk of this name.
    ///
    /// # Errors
    ///
    /// If it is not a name.
    pub fn block(text: &str, writable: bool) -> Result<Want, WantError> {
        Ok(Want::Block { name: name(text, GRANT_NAME_MAX)?, writable })
    }

    /// A console of this name.
    ///
    /// # Errors
    ///
    /// If it is not a name.
    pub fn console(text: &str) -> Result<Want, WantError> {
        Ok(Want::Console { name: name(text, GRANT_NAME_MAX)? })
    }

    /// Whether this grant is enough: it is of the same kind and name, and gives no less.
    pub fn is_satisfied_by(&self, granted: &Want) -> bool {
        match (self, granted) {
            (Want::Directory { name, writable }, Want::Directory { name: given, writable: may })
            | (Want::Block { name, writable }, Want::Block { name: given, writable: may }) => {
                name == given && (*may || !*writable)
            }
            _ => self == granted,
        }
    }

    /// The same, to write.
    pub(super) fn writable(&self) -> Want {
        match self.clone() {
            Want::Directory { name, .. } => Want::Directory { name, writable: true },
            Want::Block { name, .. } => Want::Block { name, writable: true },
            other => other,
        }
    }

    /// The name of the device that it is for the guest; `None` for a function.
    pub fn device(&self) -> Option<&str> {
        match self {
            Want::Directory { name, .. } | Want::Block { name, .. } | Want::Console { name } => Some(name),
            Want::Entropy => Some(super::ENTROPY),
            Want::Function { .. } => None,
        }
    }

    /// Whether both would be the same device.
    pub(crate) fn collides_with(&self, other: &Want) -> bool {
        self.device().is_some() && self.device() == other.device()
    }

    /// The option of `vcpu run` that grants it; `None` for a function, which only a program that embeds the
    /// image can give.
    pub fn option(&self) -> Option<String> {
        let right = |writable: &bool| if *writable { ":rw" } else { "" };
        match self {
            Want::Directory { name, writable } => Some(format!("--dir {name}=PATH{}", right(writable))),
            Want::Block { name, writable } => Some(format!("--block {name}=FILE{}", right(writable))),
            Want::Console { name } => Some(format!("--console {name}=PATH")),
            Want::Entropy => Some("--entropy".to_owned()),
            Want::Function { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_right_it_is_read_only() {
        for (text, shown) in [
            ("dir media", "dir media:ro"),
            ("dir media:ro", "dir media:ro"),
            ("dir media:rw", "dir media:rw"),
            ("block d-i_s.k", "block d-i_s.k:ro"),
            ("console log", "console log"),
            ("entropy", "entropy"),
            ("function decode", "function decode"),
        ] {
            assert_eq!(text.parse::<Want>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused_and_shown() {
        for text in ["", "media", "Dir media", " dir media", "entropy x", "entropy ", "net lan", "dir\tmedia"]
        {
            assert_eq!(text.parse::<Want>(), Err(WantError::NoSuchForm(text.to_owned())));
        }
        let long = "é".repeat(1000);
        let refused = long.parse::<Want>().unwrap_err().to_string();
        assert!(refused.len() < 300, "{refused}");
    }

    #[test]
    fn a_directory_may_be_named_by_a_path() {
        let want: Want = "dir /home/u/.cache/g++-12~rc@1,2:rw".parse().unwrap();
        assert_eq!(want.device(), Some("/home/u/.cache/g++-12~rc@1,2"));
        assert_eq!(want.to_string().parse(), Ok(want));
        let long = format!("/{}", "n".repeat(254));
        assert!(format!("dir {long}").parse::<Want>().is_ok());
        for name in
            ["/", "//a", "/a/", "/a//b", "/.", "/a/..", "/a b", "/a:b", "/a=b", "/ä", &format!("{long}n")]
        {
            let refused = format!("dir {name}").parse::<Want>();
            assert!(matches!(refused, Err(WantError::BadPath(_))), "{name:?}");
        }
        for kind in ["block", "console", "function"] {
            assert!(matches!(format!("{kind} /a").parse::<Want>(), Err(WantError::BadName { .. })), "{kind}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "n".repeat(37);
        for name in
            ["", " media", "media ", "a b", ".", "..", ".media", "a/b", "a:b", "ä", "a\n", "a:rx", &long]
        {
            for kind in ["dir", "block", "console"] {
                let text = format!("{kind} {name}");
                assert!(matches!(text.parse::<Want>(), Err(WantError::BadName { .. })), "{text:?}");
            }
        }
        for text in ["console log:rw", "function f:ro", "dir media:rw:rw"] {
            assert!(matches!(text.parse::<Want>(), Err(WantError::BadName { .. })), "{text:?}");
        }
        assert!(format!("dir {}", &long[1..]).parse::<Want>().is_ok());
        assert!(format!("function {}", "f".repeat(128)).parse::<Want>().is_ok());
        assert!(format!("function {}", "f".repeat(129)).parse::<Want>().is_err());
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,35}"
    }

    fn any_want() -> impl Strategy<Value = Want> {
        prop_oneof![
            (any_name(), any::<bool>()).prop_map(|(name, writable)| Want::Directory { name, writable }),
            (any_name(), any::<bool>()).prop_map(|(name, writable)| Want::Block { name, writable }),
            any_name().prop_map(|name| Want::Console { name }),
            Just(Want::Entropy),
            any_name().prop_map(|name| Want::Function { name }),
        ]
    }

    /// What a want allows, as a set: the model of what is enough.
    fn rights(want: &Want) -> Vec<String> {
        let read = want.to_string().replace(":rw", ":ro");
        let write = want.to_string();
        if read == write { vec![read] } else { vec![read, write] }
    }

    proptest! {
        #[test]
        fn a_want_is_read_as_it_is_shown(want in any_want()) {
            prop_assert_eq!(want.to_string().parse(), Ok(want));
        }

        #[test]
        fn no_text_makes_reading_fail_otherwise(text in any::<String>()) {
            if let Ok(want) = text.parse::<Want>() {
                let shown = want.to_string();
                let explicit = format!("{text}:ro");
                prop_assert!(shown == text || shown == explicit);
            }
        }

        #[test]
        fn a_grant_is_enough_if_it_gives_all_that_is_wanted(one in any_want(), other in any_want()) {
            let model = rights(&one).iter().all(|right| rights(&other).contains(right));
            prop_assert_eq!(one.is_satisfied_by(&other), model);
        }

        #[test]
        fn reading_and_writing_is_enough_for_reading(name in any_name(), wanted: bool, given: bool) {
            let want = Want::Directory { name: name.clone(), writable: wanted };
            let grant = Want::Directory { name: name.clone(), writable: given };
            prop_assert_eq!(want.is_satisfied_by(&grant), given || !wanted);
            let block = Want::Block { name, writable: given };
            prop_assert!(!want.is_satisfied_by(&block));
        }
    }
}
