//! Third-party sources: fetched when something is built from them, verified, and kept in the user's cache.
//!
//! No third-party source lies in the repository. What a build needs is named with its checksum, and comes
//! from a registry by the registry's own client, so that mirrors, proxies and offline caches that the user
//! has set up are used:
//!
//! | from | client | what is verified |
//! |---|---|---|
//! | Debian | `apt-get`, with files of its own below the cache | apt's signature, and the upstream archive's checksum |
//! | a crate | `cargo vendor` | the crate's checksum |
//! | PyPI | Python with `pip` | the source archive's checksum |
//!
//! Debian replaces the versions of a release now and then. Then what apt's signature authenticates is taken;
//! that is said once, and the version stands in the file `version` beside the source.

mod debian;
mod packages;

use super::carried::{self, UnpackError};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A third-party source, as a `port.toml` names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The registry.
    pub from: Registry,
    /// Name of the package there.
    pub name: String,
    /// Its version; of a Debian source package the upstream version, without Debian's revision.
    pub version: String,
    /// SHA-256 of the archive as 64 hexadecimal digits: of a Debian source package that of the upstream
    /// archive (`.orig.tar.*`).
    pub sha256: String,
}

/// Where sources come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// The source packages of the Debian release that the machine's apt is set up for.
    Debian,
    /// The crates that cargo is set up for.
    Crate,
    /// The Python packages that pip is set up for.
    PyPi,
}

impl std::fmt::Display for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Registry::Debian => "debian",
            Registry::Crate => "crate",
            Registry::PyPi => "pypi",
        })
    }
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The cache has no place or cannot be written.
    #[error(transparent)]
    Cache(#[from] UnpackError),

    /// A name, version or checksum that no package has.
    #[error("the {what} of a source is `{value}`; it must be {rule}")]
    Invalid {
        /// Which of the three.
        what: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        rule: &'static str,
    },

    /// A program did not start.
    #[error("cannot start `{program}`: {source}; {remedy}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },

    /// A program could not do it.
    #[error(
        "cannot fetch `{name}` {version}: `{program}` failed with \"{message}\"; look after the network and what the registry offers"
    )]
    Failed {
        /// Name of the package.
        name: String,
        /// The version that was asked for.
        version: String,
        /// The program.
        program: String,
        /// The end of what it said.
        message: String,
    },

    /// apt is not set up for any repository.
    #[error(
        "cannot fetch Debian's source package `{0}`: apt has no repositories; add Debian's to /etc/apt/sources.list"
    )]
    NoRepositories(String),

    /// The archive is not the one that was tested.
    #[error(
        "the source of `{name}` {version} has the SHA-256 checksum {got} and not {expected}; \
         it is not what this was made for: use another mirror, or look at it and change the checksum"
    )]
    Checksum {
        /// Name of the package.
        name: String,
        /// The version that was asked for.
        version: String,
        /// The checksum that was asked for.
        expected: String,
        /// The checksum of what came.
        got: String,
    },
}

/// What a registry gave: the directory with the source, and its version.
struct Fetched {
    directory: PathBuf,
    version: String,
}

/// Fetches a source, unless it is in the cache already, and answers the directory with it: what the archive
/// holds, without the directory around it. Other processes build from it, so nothing may be changed there.
///
/// # Errors
///
/// [`SourceError`] says what is missing or what does not agree.
pub fn fetch(source: &Source) -> Result<PathBuf, SourceError> {
    source.validate()?;
    let place = carried::cache_directory()?.join("sources").join(format!(
        "{}-{}-{}-{}",
        source.from,
        source.name,
        source.version,
        &source.sha256[..16]
    ));
    let directory = place.join("source");
    if directory.is_dir() {
        return Ok(directory);
    }
    // Whoever sees the place sees all of it: it is filled under another name and then renamed.
    let temporary = carried::sibling(&place);
    let done = fetch_into(source, &temporary).and_then(|()| match fs::rename(&temporary, &place) {
        Err(error) if !directory.is_dir() => Err(written(&place)(error)),
        _ => Ok(directory),
    });
    // Left over unless it was renamed; whether it can be removed changes nothing for the caller.
    let _ = fs::remove_dir_all(&temporary);
    done
}

/// Puts into a new directory what stays in the cache: `source` and `version`.
fn fetch_into(source: &Source, place: &Path) -> Result<(), SourceError> {
    let work = place.join("work");
    fs::create_dir_all(&work).map_err(written(&work))?;
    let fetched = match source.from {
        Registry::Debian => debian::fetch(source, &work)?,
        Registry::Crate => packages::fetch_crate(source, &work)?,
        Registry::PyPi => packages::fetch_sdist(source, &work)?,
    };
    if fetched.version != source.version {
        eprintln!(
            "note: Debian has replaced `{}` {} by {}, whose signature is good; it is used",
            source.name, source.version, fetched.version
        );
    }
    let version = place.join("version");
    fs::write(&version, format!("{}\n", fetched.version)).map_err(written(&version))?;
    let directory = place.join("source");
    fs::rename(&fetched.directory, &directory).map_err(written(&directory))?;
    fs::remove_dir_all(&work).map_err(written(&work))
}

impl Source {
    /// Names and versions become parts of paths and arguments of programs.
    fn validate(&self) -> Result<(), SourceError> {
        let plain = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.chars().all(|other| other.is_ascii_alphanumeric() || "+-._~".contains(other))
        };
        let sum =
            |text: &str| text.len() == 64 && text.chars().all(|digit| "0123456789abcdef".contains(digit));
        let rule = "of letters, digits and `+-._~`, and begin with a letter or digit";
        for (what, value, good, rule) in [
            ("name", &self.name, plain(&self.name), rule),
            ("version", &self.version, plain(&self.version), rule),
            ("sha256", &self.sha256, sum(&self.sha256), "64 hexadecimal digits in lower case"),
        ] {
            if !good {
                return Err(SourceError::Invalid { what, value: value.clone(), rule });
            }
        }
        Ok(())
    }

    /// Fails unless the checksum is this source's.
    fn verify(&self, got: &str) -> Result<(), SourceError> {
        if got == self.sha256 {
            return Ok(());
        }
        Err(SourceError::Checksum {
            name: self.name.clone(),
            version: self.version.clone(),
            expected: self.sha256.clone(),
            got: got.into(),
        })
    }

    /// Runs a program for its standard output. Its input is empty, and its errors are kept for ours.
    fn run(&self, command: &mut Command, remedy: &'static str) -> Result<String, SourceError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.stdin(Stdio::null()).output();
        let output =
            output.map_err(|source| SourceError::Start { program: program.clone(), source, remedy })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(SourceError::Failed {
            name: self.name.clone(),
            version: self.version.clone(),
            program,
            message: reason(&output.stderr).unwrap_or_else(|| output.status.to_string()),
        })
    }

    /// Unpacks an archive into `work`, and answers the directory of the source in it.
    fn unpack(&self, archive: &Path, work: &Path) -> Result<PathBuf, SourceError> {
        let directory = work.join("unpacked");
        fs::create_dir_all(&directory).map_err(written(&directory))?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--no-same-owner").arg("--file").arg(archive).arg("--directory");
        self.run(tar.arg(&directory), "install tar and xz")?;
        Ok(only_directory(&directory).unwrap_or(directory))
    }
}

/// The directory in this one, if it holds nothing else.
fn only_directory(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).ok()?;
    let first = entries.next()?.ok()?.path();
    (entries.next().is_none() && first.is_dir()).then_some(first)
}

/// The line of a program's errors that says what is wrong: the first that calls itself an error, else the
/// last.
fn reason(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| line.starts_with("error") || line.starts_with("E:");
    lines.clone().find(is_error).or_else(|| lines.next_back()).map(str::to_owned)
}

/// SHA-256 of a file, as hexadecimal digits.
fn checksum(path: &Path) -> Result<String, SourceError> {
    let mut hasher = Sha256::new();
    let copied = fs::File::open(path).and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut hasher)));
    copied.map_err(written(path))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Turns an error of the file system into ours.
fn written(path: &Path) -> impl FnOnce(io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    |source| UnpackError::Write { path, source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "from = 'pypi'\nname = 'lupa'\nversion = '2.6'\nsha256 = \
        '9a770a6e89576be3447668d7ced312cd6fd41d3c13c2462c9dc2c2ab570e45d9'";

    fn source() -> Source {
        toml::from_str(TEXT).unwrap()
    }

    #[test]
    fn a_source_is_read_from_toml_and_unknown_keys_are_refused() {
        let source = source();
        assert_eq!((source.from, source.name.as_str()), (Registry::PyPi, "lupa"));
        source.validate().unwrap();
        assert!(toml::from_str::<Source>(&format!("{TEXT}\nurl = 'x'")).is_err());
    }

    #[test]
    fn what_could_lead_out_of_the_cache_or_be_an_option_is_refused() {
        for name in ["", "..", "a/b", "-o", "a b", "../x"] {
            let error = Source { name: name.into(), ..source() }.validate().unwrap_err().to_string();
            assert!(error.contains("name") && error.contains(&format!("`{name}`")), "{error}");
        }
        let error = Source { sha256: "abc".into(), ..source() }.validate().unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }

    #[test]
    fn a_wrong_checksum_names_both() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"abc").unwrap();
        let got = checksum(&file).unwrap();
        assert_eq!(got, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let error = source().verify(&got).unwrap_err().to_string();
        assert!(error.contains(&got) && error.contains(&source().sha256), "{error}");
    }

    #[test]
    fn an_archive_is_unpacked_without_the_directory_around_it() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("in/lupa-2.6")).unwrap();
        fs::write(place.path().join("in/lupa-2.6/a.c"), b"int a;").unwrap();
        let archive = place.path().join("a.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(place.path().join("in")).arg("lupa-2.6");
        assert!(tar.status().unwrap().success());
        let directory = source().unpack(&archive, place.path()).unwrap();
        assert_eq!(fs::read(directory.join("a.c")).unwrap(), b"int a;");
    }

    #[test]
    fn a_missing_program_and_a_failing_one_are_named() {
        let error = source().run(&mut Command::new("/absent/tool"), "install it").unwrap_err().to_string();
        assert!(error.contains("/absent/tool") && error.ends_with("install it"), "{error}");
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'error: no such host' >&2; echo sorry >&2; exit 3"]);
        let error = source().run(&mut command, "").unwrap_err().to_string();
        assert!(error.contains("no such host") && error.contains("`lupa` 2.6"), "{error}");
    }
}
