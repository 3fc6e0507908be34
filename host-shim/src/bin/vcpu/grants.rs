//! What a guest is granted, as the command line says it: a name, a path, a right.
//!
//! ```text
//! --dir [NAME=]PATH[:ro|:rw[,exclusive]]   --block [NAME=]FILE[:ro|:rw]   --console NAME=PATH   --entropy
//! ```
//!
//! What stands before the first `=` is the name, unless there is a slash in it. Without a name, that of a
//! directory is the last part of its path, and that of an image of a disk the same without its extension.
//!
//! A directory's name may be a path from the root on: `--dir /home/u/build=.` is `/home/u/build` for the guest.
//! `:ro,exclusive` and `:rw,exclusive` say that nobody else changes anything in it meanwhile.

use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vcpu_host::{Grant, GrantError, Want, WantError};

/// Something that is granted, before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// What it is.
    pub(crate) want: Want,
    /// Where it is; empty for what is nowhere.
    pub(crate) path: PathBuf,
    /// Whether nobody else changes anything in the directory that it is.
    pub(crate) exclusive: bool,
}

impl Granted {
    pub(crate) fn new(want: Want, path: impl Into<PathBuf>) -> Granted {
        Granted { want, path: path.into(), exclusive: false }
    }

    /// Random bytes.
    pub(crate) fn entropy() -> Granted {
        Granted::new(Want::Entropy, "")
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<Grant, GrantError> {
        match &self.want {
            Want::Directory { name, writable } if self.exclusive => {
                Grant::exclusive_directory(name, &self.path, *writable)
            }
            Want::Directory { name, writable } => Grant::directory(name, &self.path, *writable),
            Want::Block { name, writable } => Grant::block(name, &self.path, *writable),
            Want::Console { name } => Grant::console(name, &self.path),
            Want::Entropy => Ok(Grant::entropy()),
            Want::Function { .. } => unreachable!("no option grants a function"),
        }
    }
}

/// The options that grant something.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Grants")]
pub(crate) struct Options {
    /// A directory and all below it, read-only unless it says :rw; without a name, it is the path's last
    /// part; a name like /home/u/build is where the guest finds it; with `:rw,exclusive` the guest keeps what
    /// it has read, as long as nobody else changes anything there
    #[arg(
        long,
        value_name = "[NAME=]PATH[:ro|:rw[,exclusive]]",
        value_parser = OsStringValueParser::new().try_map(|text| directory(&text))
    )]
    dir: Vec<Granted>,

    /// An image of a disk, read-only unless it says :rw; without a name, it is the file's, less its
    /// extension
    #[arg(
        long,
        value_name = "[NAME=]FILE[:ro|:rw]",
        value_parser = OsStringValueParser::new().try_map(|text| block(&text))
    )]
    block: Vec<Granted>,

    /// A stream of bytes in each direction: a terminal, a socket, /dev/null; a pipe or a file takes the
    /// guest's output
    #[arg(
        long,
        value_name = "NAME=PATH",
        value_parser = OsStringValueParser::new().try_map(|text| console(&text))
    )]
    console: Vec<Granted>,

    /// Random bytes
    #[arg(long)]
    entropy: bool,
}

impl Options {
    /// All that they grant.
    pub(crate) fn all(self) -> Vec<Granted> {
        let entropy = self.entropy.then(Granted::entropy);
        self.dir.into_iter().chain(self.block).chain(self.console).chain(entropy).collect()
    }
}

/// Why a value grants nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("there is no path; give one: NAME=PATH")]
    NoPath,
    #[error("its last part is no name; give it one: NAME={}", .0.display())]
    NoName(PathBuf),
    #[error("a console needs a name; give it one: NAME={}", .0.display())]
    Unnamed(PathBuf),
    #[error(transparent)]
    BadName(#[from] WantError),
}

/// Splits off the name, if there is one.
fn split_name(text: &OsStr) -> Result<(Option<&OsStr>, &Path), Problem> {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').filter(|end| !bytes[..*end].contains(&b'/'));
    let (name, path) = match end {
        Some(end) => (Some(OsStr::from_bytes(&bytes[..end])), &bytes[end + 1..]),
        None => (None, bytes),
    };
    if path.is_empty() { Err(Problem::NoPath) } else { Ok((name, Path::new(OsStr::from_bytes(path)))) }
}

/// Splits off the right, if there is one. Gives whether it is to write.
fn split_right(text: &OsStr) -> (&OsStr, bool) {
    let bytes = text.as_bytes();
    match (bytes.strip_suffix(b":rw"), bytes.strip_suffix(b":ro")) {
        (Some(rest), _) => (OsStr::from_bytes(rest), true),
        (_, Some(rest)) => (OsStr::from_bytes(rest), false),
        _ => (text, false),
    }
}

fn directory(text: &OsStr) -> Result<Granted, Problem> {
    let exclusive = text.as_bytes().strip_suffix(b",exclusive");
    let exclusive = exclusive.filter(|rest| rest.ends_with(b":ro") || rest.ends_with(b":rw"));
    let granted = shared_directory(exclusive.map_or(text, OsStr::from_bytes))?;
    Ok(Granted { exclusive: exclusive.is_some(), ..granted })
}

fn shared_directory(text: &OsStr) -> Result<Granted, Problem> {
    let (text, writable) = split_right(text);
    let bytes = text.as_bytes();
    if let Some(end) = bytes.iter().position(|byte| *byte == b'=').filter(|_| bytes.starts_with(b"/")) {
        let (name, path) = (&text.to_string_lossy()[..], OsStr::from_bytes(&bytes[end + 1..]));
        let name = name.split('=').next().unwrap_or_default();
        let want = Want::directory(name, writable)?;
        return if path.is_empty() { Err(Problem::NoPath) } else { Ok(Granted::new(want, path)) };
    }
    named(text, Path::file_name, |name| Want::directory(name, writable))
}

fn block(text: &OsStr) -> Result<Granted, Problem> {
    let (text, writable) = split_right(text);
    named(text, Path::file_stem, |name| Want::block(name, writable))
}

fn console(text: &OsStr) -> Result<Granted, Problem> {
    match split_name(text)? {
        (Some(name), path) => Ok(Granted::new(Want::console(&name.to_string_lossy())?, path)),
        (None, path) => Err(Problem::Unnamed(path.to_owned())),
    }
}

/// Gives it the name that it has or, if it has none, that of its path.
fn named(
    text: &OsStr,
    own_name: impl FnOnce(&Path) -> Option<&OsStr>,
    want: impl FnOnce(&str) -> Result<Want, WantError>,
) -> Result<Granted, Problem> {
    let (name, path) = split_name(text)?;
    let want = match name {
        Some(name) => want(&name.to_string_lossy())?,
        None => {
            let name = own_name(path).unwrap_or_default();
            want(&name.to_string_lossy()).map_err(|_| Problem::NoName(path.to_owned()))?
        }
    };
    Ok(Granted::new(want, path))
}

/// What the command line grants and what a file does: a name that both have is the command line's.
pub(crate) fn merge(mut file: Vec<Granted>, line: Vec<Granted>) -> Vec<Granted> {
    file.retain(|old| !line.iter().any(|new| new.want.device() == old.want.device()));
    file.extend(line);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    type Parse = fn(&OsStr) -> Result<Granted, Problem>;

    #[track_caller]
    fn assert_grants(parse: Parse, text: &str, want: &str, path: &str) {
        let expected = Granted::new(want.parse().unwrap(), path);
        assert_eq!(parse(OsStr::new(text)), Ok(expected), "{text}");
    }

    #[test]
    fn name_path_and_right_are_told_apart() {
        assert_grants(directory, "media=./samples", "dir media:ro", "./samples");
        assert_grants(directory, "media=./samples:ro", "dir media:ro", "./samples");
        assert_grants(directory, "media=./samples:rw", "dir media:rw", "./samples");
        assert_grants(directory, "media=a=b:c", "dir media:ro", "a=b:c");
        assert_grants(directory, "media=samples:rw:ro", "dir media:ro", "samples:rw");
        assert_grants(block, "disk=a.img:rw", "block disk:rw", "a.img");
        assert_grants(console, "log=/dev/null", "console log", "/dev/null");
        assert_grants(console, "log=a:rw", "console log", "a:rw");
    }

    #[test]
    fn a_directory_may_be_granted_exclusively() {
        for (text, want) in [("d=x:rw,exclusive", "dir d:rw"), ("d=x:ro,exclusive", "dir d:ro")] {
            let granted = Granted { exclusive: true, ..Granted::new(want.parse().unwrap(), "x") };
            assert_eq!(directory(OsStr::new(text)), Ok(granted));
        }
        assert!(directory(OsStr::new("/a=x:rw,exclusive")).unwrap().exclusive);
        assert_grants(directory, "d=x,exclusive", "dir d:ro", "x,exclusive");
        assert_grants(block, "d=x:rw,exclusive", "block d:ro", "x:rw,exclusive");
    }

    #[test]
    fn without_a_name_it_is_the_paths() {
        assert_grants(directory, "./samples/", "dir samples:ro", "./samples/");
        assert_grants(directory, "/usr/lib/python3.13:rw", "dir python3.13:rw", "/usr/lib/python3.13");
        assert_grants(directory, "./a=b/c", "dir c:ro", "./a=b/c");
        assert_grants(block, "images/disk.img", "block disk:ro", "images/disk.img");
        for path in [".", "..", "/", "a/..", "./ä", "./.git"] {
            assert_eq!(directory(OsStr::new(path)), Err(Problem::NoName(path.into())));
        }
        assert_grants(directory, "/home/u/b=.:rw", "dir /home/u/b:rw", ".");
        assert_grants(directory, "/a=/b=c", "dir /a:ro", "/b=c");
        assert!(matches!(directory(OsStr::new("/a/../b=.")), Err(Problem::BadName(_))));
        assert_eq!(directory(OsStr::new("/a=")), Err(Problem::NoPath));
        assert_eq!(console(OsStr::new("/dev/null")), Err(Problem::Unnamed("/dev/null".into())));
    }

    #[test]
    fn what_is_no_name_or_no_path_is_refused() {
        for parse in [directory, block, console] as [Parse; 3] {
            for text in ["=x", ".a=x", "a b=x", "ä=x", "a:rw=x"] {
                assert!(matches!(parse(OsStr::new(text)), Err(Problem::BadName(_))), "{text}");
            }
            assert_eq!(parse(OsStr::new("media=")), Err(Problem::NoPath));
            assert_eq!(parse(OsStr::new("")), Err(Problem::NoPath));
        }
        assert_eq!(directory(OsStr::new("media=:rw")), Err(Problem::NoPath));
    }

    #[test]
    fn a_path_may_hold_any_bytes() {
        let text = OsString::from_vec(b"media=\xff:rw".to_vec());
        assert_eq!(directory(&text).unwrap().path, Path::new(OsStr::from_bytes(b"\xff")));
    }

    #[test]
    fn the_command_line_replaces_what_a_file_grants_under_the_same_name() {
        let grants = |texts: &[&str]| -> Vec<_> {
            texts.iter().map(|text| directory(OsStr::new(text)).unwrap()).collect()
        };
        let merged = merge(grants(&["a=1", "b=2:rw"]), grants(&["b=3", "c=4"]));
        assert_eq!(merged, grants(&["a=1", "b=3", "c=4"]));
        let entropy = || vec![Granted::entropy()];
        assert_eq!(merge(entropy(), entropy()), entropy());
    }
}
