//! Grants: what a guest is given of the world, each by a name of its own.
//!
//! A guest has nothing but its memory, a clock, and what it is granted. What there is to grant has one form in
//! text, a [`Want`], wherever it is written: in an image, on the command line, in a file, in an error.
//!
//! | module | its subject |
//! |---|---|
//! | [`want`] | the form in text, and which grant is enough for which want; plain policy |
//! | `refusals` | what a guest is refused while it runs, in the host's log |
//! | [`open`] | making a grant of a path, and what can be wrong with that path |

mod open;
mod refusals;
mod want;

use crate::Error;
use std::fmt::{self, Display};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use vcpu_abi::device::DEVICES_MAX;

pub use open::GrantError;
pub(crate) use refusals::Refusals;
pub(crate) use want::name;
pub use want::{FUNCTION_NAME_MAX, GRANT_NAME_MAX, Want, WantError};

/// The name of the device that gives random bytes.
pub(crate) const ENTROPY: &str = "entropy";

/// Something that a guest is given, which it finds as a device of this name.
#[derive(Debug)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// What it is.
    pub resource: Resource,
}

/// What can be granted.
#[derive(Debug)]
pub enum Resource {
    /// A directory and all below it.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// Whether the guest may change anything there.
        writable: bool,
        /// Whether nobody else does as long as the guest runs, so that it may keep what it has read.
        exclusive: bool,
    },
    /// An image of a disk.
    Block {
        /// The image, open to read and, if it is writable, to write.
        file: File,
        /// Whether the guest may write it.
        writable: bool,
    },
    /// A stream of bytes in each direction, besides the standard streams.
    Console {
        /// What the guest reads.
        input: OwnedFd,
        /// What the guest writes.
        output: OwnedFd,
    },
    /// Random bytes.
    Entropy,
}

impl Grant {
    /// Checks the names under which a guest is granted something: each is a name, and used once, and there are
    /// not more than a guest can have devices.
    ///
    /// # Errors
    ///
    /// The first that is wrong.
    pub fn check_names(names: &[&str]) -> Result<(), GrantError> {
        if names.len() > DEVICES_MAX as usize {
            return Err(GrantError::TooMany(names.len()));
        }
        for (index, name) in names.iter().enumerate() {
            if !want::is_name(name, GRANT_NAME_MAX) && !want::is_path(name) {
                return Err(GrantError::BadName((*name).to_owned()));
            }
            if names[..index].contains(name) {
                return Err(GrantError::Twice((*name).to_owned()));
            }
        }
        Ok(())
    }

    /// What it is in words: the want for which it is just enough.
    pub fn as_want(&self) -> Want {
        let name = self.name.clone();
        match self.resource {
            Resource::Directory { writable, .. } => Want::Directory { name, writable },
            Resource::Block { writable, .. } => Want::Block { name, writable },
            Resource::Console { .. } => Want::Console { name },
            Resource::Entropy => Want::Entropy,
        }
    }
}

/// Something that an image wants and was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What the image wants.
    pub wanted: Want,
    /// What was granted under that name, which is not enough, if anything was.
    pub granted: Option<Want>,
}

impl Missing {
    /// What these wants lack, given what is granted.
    pub fn find(wants: &[Want], granted: &[Want]) -> Vec<Missing> {
        let lacks = |wanted: &&Want| !granted.iter().any(|granted| wanted.is_satisfied_by(granted));
        let missing = |wanted: &Want| Missing {
            wanted: wanted.clone(),
            granted: granted.iter().find(|granted| granted.collides_with(wanted)).cloned(),
        };
        wants.iter().filter(lacks).map(missing).collect()
    }
}

impl Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.wanted)?;
        match &self.granted {
            Some(granted) => write!(f, " (not {granted})"),
            None => Ok(()),
        }
    }
}

/// The sentence about what an image wants and was not granted.
pub(crate) fn sentence(missing: &[Missing]) -> String {
    let list = enumerate(missing.iter().map(ToString::to_string).collect());
    let (verb, them) = if missing.len() == 1 { ("was", "it") } else { ("were", "them") };
    let options: Vec<_> = missing.iter().filter_map(|missing| missing.wanted.option()).collect();
    let functions: Vec<_> = missing
        .iter()
        .filter(|missing| missing.wanted.option().is_none())
        .map(|missing| missing.wanted.to_string())
        .collect();
    let mut remedies = Vec::new();
    if !options.is_empty() {
        let them = if functions.is_empty() { them } else { "the others" };
        remedies.push(format!("grant {them} with {}", options.join(" ")));
    }
    if !functions.is_empty() {
        remedies.push(format!("only a program that embeds the image gives it {}", enumerate(functions)));
    }
    format!("the image wants {list}, which {verb} not granted; {}", remedies.join("; "))
}

/// Makes one text of several, as in "one, two and three".
fn enumerate(mut texts: Vec<String>) -> String {
    let last = texts.pop().unwrap_or_default();
    if texts.is_empty() { last } else { format!("{} and {last}", texts.join(", ")) }
}

/// Checks that names are names and used once, that there are not too many, and that nothing is missing of what
/// the image wants. `functions` are the names of the host's functions.
pub(crate) fn check(wants: &[Want], grants: &[Grant], functions: &[String]) -> Result<(), Error> {
    if wants.is_empty() && grants.is_empty() {
        return Ok(());
    }
    Grant::check_names(&grants.iter().map(|grant| grant.name.as_str()).collect::<Vec<_>>())?;
    let granted = grants.iter().map(Grant::as_want);
    let functions = functions.iter().map(|name| Want::Function { name: name.clone() });
    let missing = Missing::find(wants, &granted.chain(functions).collect::<Vec<_>>());
    if missing.is_empty() { Ok(()) } else { Err(Error::NotGranted(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(texts: &[&str]) -> Vec<Want> {
        texts.iter().map(|text| text.parse().expect("a want")).collect()
    }

    #[track_caller]
    fn assert_lacks(wanted: &[&str], granted: &[&str], expected: &str) {
        let missing = Missing::find(&wants(wanted), &wants(granted));
        assert_eq!(sentence(&missing), expected);
    }

    #[test]
    fn what_is_missing_is_one_sentence_with_the_options_that_grant_it() {
        assert_lacks(
            &["dir media"],
            &["dir other", "entropy"],
            "the image wants dir media:ro, which was not granted; grant it with --dir media=PATH",
        );
        assert_lacks(
            &["dir media:rw"],
            &["dir media:ro"],
            "the image wants dir media:rw (not dir media:ro), which was not granted; \
             grant it with --dir media=PATH:rw",
        );
        assert_lacks(
            &["block disk", "console log", "entropy", "function log"],
            &["dir disk:rw"],
            "the image wants block disk:ro (not dir disk:rw), console log, entropy and function log, which \
             were not granted; grant the others with --block disk=FILE --console log=PATH --entropy; only a \
             program that embeds the image gives it function log",
        );
        assert_lacks(
            &["function log"],
            &["console log"],
            "the image wants function log, which was not granted; only a program that embeds the image \
             gives it function log",
        );
    }

    #[test]
    fn nothing_is_missing_of_what_is_granted() {
        let all = ["dir a:rw", "block b:ro", "console c", "entropy", "function f"];
        assert_eq!(Missing::find(&wants(&all), &wants(&all)), []);
        assert_eq!(Missing::find(&wants(&["dir a"]), &wants(&all)), []);
        assert_eq!(Missing::find(&[], &[]), []);
    }

    fn entropy(name: &str) -> Grant {
        Grant { name: name.to_owned(), resource: Resource::Entropy }
    }

    #[test]
    fn names_are_checked_and_used_once_and_not_too_often() {
        let refused = |grants: &[Grant]| check(&[], grants, &[]).expect_err("refused").to_string();
        assert!(refused(&[entropy("../up")]).starts_with("\"../up\" cannot be the name of a grant: "));
        assert!(refused(&[entropy("a"), entropy("b"), entropy("a")]).starts_with("a is granted twice; "));
        let many: Vec<_> = (0..=DEVICES_MAX).map(|number| entropy(&number.to_string())).collect();
        assert_eq!(refused(&many), "a guest can have 16 grants, and these are 17; leave some out");
        assert!(check(&[], &many[1..], &[]).is_ok());
    }

    #[test]
    fn a_function_is_granted_by_its_registration() {
        let wants = wants(&["function log"]);
        assert!(check(&wants, &[], &["log".to_owned()]).is_ok());
        assert!(matches!(check(&wants, &[], &[]), Err(Error::NotGranted(missing)) if missing.len() == 1));
    }
}
