//! `sandbox.toml`: what a guest is given, in a file.
//!
//! Paths in it are relative to it. What it does not know is refused, with the line: a grant or a limit that was
//! misspelt must not be one that is not there.

use crate::grants::Granted;
use crate::values::{self, Backend, Variable};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vcpu_host::Want;

/// What a file says, with paths as they are from the current directory.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// An image, or the directory of an app's package.
    pub(crate) program: Option<OsString>,
    pub(crate) memory: Option<u64>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) output_limit: Option<u64>,
    pub(crate) calls_per_second: Option<NonZeroU32>,
    pub(crate) backend: Option<Backend>,
    pub(crate) pin: Option<bool>,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<Variable>,
    pub(crate) granted: Vec<Granted>,
}

/// The file as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    program: Option<PathBuf>,
    memory: Option<Memory>,
    time_limit: Option<Time>,
    cpu_time: Option<Time>,
    output_limit: Option<Bytes>,
    calls_per_second: Option<Calls>,
    backend: Option<Backend>,
    pin: Option<bool>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<VariableName, String>,
    #[serde(default)]
    entropy: bool,
    #[serde(default)]
    dir: BTreeMap<GrantName, Directory>,
    #[serde(default)]
    block: BTreeMap<GrantName, WithAccess>,
    #[serde(default)]
    console: BTreeMap<GrantName, WithPath>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    path: PathBuf,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    exclusive: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WithAccess {
    path: PathBuf,
    #[serde(default)]
    access: Access,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WithPath {
    path: PathBuf,
}

#[derive(Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Access {
    #[default]
    Ro,
    Rw,
}

/// Makes a type that is read from a text, or also from a number, by functions.
macro_rules! read_by {
    ($name:ident($inner:ty), $expected:literal, $from:expr $(, or number by $number:expr)?) => {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $from(text).map($name).map_err(E::custom)
                    }

                    $(
                        fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                            $number(number).map($name).map_err(E::custom)
                        }
                    )?
                }
                deserializer.deserialize_any(Reader)
            }
        }
    };
}

read_by!(Memory(u64), "a size like \"64M\"", values::memory, or number by |number: i64| values::memory(&number.to_string()));
read_by!(Bytes(u64), "a size like \"64M\"", values::bytes, or number by |number: i64| values::bytes(&number.to_string()));
read_by!(Time(Duration), "a duration like \"10s\"", values::duration);
read_by!(
    Calls(NonZeroU32),
    "a number of calls, at least 1",
    |_: &str| Err("this is a text; give a number of calls, at least 1"),
    or number by |number: i64| values::calls(&number.to_string())
);
read_by!(GrantName(String), "a name", |text: &str| Want::console(text).map(|_| text.to_owned()));
read_by!(VariableName(String), "the name of a variable", |text: &str| {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err("the name of a variable is not empty and holds neither `=` nor a zero byte");
    }
    Ok(text.to_owned())
});

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// One sentence with the file's name and, if it is what the file says, the line.
    pub(crate) fn read(path: &Path) -> Result<Config, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("cannot read {}: {error}; name a file that can be read", path.display())
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Config, String> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| place(text, span.start)).unwrap_or_default();
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{}{place}: {message}", path.display())
        })?;
        Ok(written.beside(path.parent().unwrap_or(Path::new(""))))
    }
}

/// Line and column of a byte of the text, behind a colon each.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

impl Written {
    /// What it says if it lies in this directory; the empty path is the current one.
    fn beside(self, base: &Path) -> Config {
        let writable = |access| access == Access::Rw;
        let granted = |want, path: PathBuf| Granted::new(want, base.join(path));
        let directories = self.dir.into_iter().map(|(GrantName(name), directory)| {
            let Directory { path, access, exclusive } = directory;
            Granted { exclusive, ..granted(Want::Directory { name, writable: writable(access) }, path) }
        });
        let disks = self.block.into_iter().map(|(GrantName(name), WithAccess { path, access })| {
            granted(Want::Block { name, writable: writable(access) }, path)
        });
        let consoles = self
            .console
            .into_iter()
            .map(|(GrantName(name), WithPath { path })| granted(Want::Console { name }, path));
        let entropy = self.entropy.then(Granted::entropy);
        Config {
            // Not a name, but a path, also if it lies right here.
            program: self.program.map(|program| Path::new(".").join(base).join(program).into_os_string()),
            memory: self.memory.map(|Memory(size)| size),
            time_limit: self.time_limit.map(|Time(time)| time),
            cpu_time: self.cpu_time.map(|Time(time)| time),
            output_limit: self.output_limit.map(|Bytes(size)| size),
            calls_per_second: self.calls_per_second.map(|Calls(number)| number),
            backend: self.backend,
            pin: self.pin,
            arguments: self.args.into_iter().map(OsString::from).collect(),
            environment: self
                .env
                .into_iter()
                .map(|(VariableName(name), value)| (name.into_bytes(), value.into_bytes()))
                .collect(),
            granted: directories.chain(disks).chain(consoles).chain(entropy).collect(),
        }
    }
}
