//! Ports: unmodified third-party programs in C, configured and built as their own makers say.
//!
//! A port is a folder `apps/NAME` with two files. `port.toml` names the images, where the build leaves
//! them, and the sources ([`super::source`]):
//!
//! ```toml
//! images = ["minigzip", "test/infcover"]
//!
//! [source.zlib]
//! from = "debian"
//! name = "zlib"
//! version = "1.2.13.dfsg"
//! sha256 = "71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1"
//! ```
//!
//! `build.sh` says what a porter would type. It runs in an empty directory below the workspace's target
//! directory, by `sh -e`, with these variables:
//!
//! | variable | value |
//! |---|---|
//! | `SOURCE_ZLIB` | the unpacked source named `zlib`, which may not be written to |
//! | `PORT` | the port's folder |
//! | `CC`, `CXX`, `AR`, `RANLIB`, `NM`, `STRIP`, `PKG_CONFIG` | `vcpu cc` and so on |
//! | `HOST` | `x86_64-vcpu`, for `configure --host` |
//! | `CFLAGS` | `-O2`, unless the user has set it |
//! | `JOBS` | how many jobs `make` may run, unless the user has set it |
//! | `VCPU` | the program `vcpu`, which is also the first of its name in `PATH` |
//!
//! The same `build.sh` makes the program natively, to compare with: then `CC` and the others are the
//! machine's own, and `VCPU` is not set.

use super::cargo::remove_traces;
use super::source::{self, Source, SourceError};
use super::{BuildError, Built, Options, sysroot, toolchain, workspace};
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How many lines a failed build's output is shown of.
const SHOWN: usize = 40;

/// The tools of a build: variable, the machine's own, and ours.
const TOOLS: &[(&str, &str, &str)] = &[
    ("CC", "gcc", "vcpu cc"),
    ("CXX", "g++", "vcpu c++"),
    ("AR", "ar", "vcpu ar"),
    ("RANLIB", "ranlib", "vcpu ranlib"),
    ("NM", "nm", "vcpu nm"),
    ("STRIP", "strip", "vcpu strip"),
    ("PKG_CONFIG", "pkg-config", "vcpu pkg-config"),
    ("HOST", "x86_64-linux-gnu", "x86_64-vcpu"),
];

/// Why a port cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// A source is not to be had.
    #[error(transparent)]
    Source(#[from] SourceError),

    /// `port.toml` is damaged.
    #[error("{} does not say what a port needs: {problem}", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The port makes no image of this name.
    #[error("the port `{port}` has no image `{image}`; it makes {}", .images.join(", "))]
    NoSuchImage {
        /// Name of the port.
        port: String,
        /// Name that was given.
        image: String,
        /// Names of its images.
        images: Vec<String>,
    },

    /// A file cannot be read or written.
    #[error("cannot use {}: {source}; look at its rights and at the space on its disk", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The shell did not start.
    #[error("cannot start `sh`: {0}; install a shell")]
    Shell(#[source] io::Error),

    /// This program is not `vcpu`, and nobody has said where that is.
    #[error("cannot tell where the program `vcpu` is, which ports are built with; set VCPU to its path")]
    NoTool,

    /// `build.sh` failed.
    #[error("cannot build the port `{port}`: its build.sh failed; the end of its output is above, all of it in {}", .log.display())]
    Failed {
        /// Name of the port.
        port: String,
        /// Where its output is.
        log: PathBuf,
    },

    /// `build.sh` made no image where `port.toml` says.
    #[error("the port `{port}` was built, but there is no {}; make its port.toml and build.sh agree", .image.display())]
    NoImage {
        /// Name of the port.
        port: String,
        /// Where the image should be.
        image: PathBuf,
    },
}

/// What `port.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    images: Vec<PathBuf>,
    #[serde(default)]
    source: BTreeMap<String, Source>,
}

/// One image of a port.
#[derive(Debug)]
pub(super) struct Port {
    name: String,
    directory: PathBuf,
    description: Description,
    /// The image that is meant, relative to where `build.sh` runs.
    image: PathBuf,
}

/// Builds a port, as [`super::build`] finds it, with the machine's own compiler and C library, and answers
/// where the program is: what runs in the sandbox is compared with it.
///
/// # Errors
///
/// [`BuildError`] says what is missing; also if there is no such port.
pub fn build_native(app: impl AsRef<Path>, options: &Options) -> Result<PathBuf, BuildError> {
    match locate(app.as_ref(), options)? {
        Some(port) => port.build(options, true),
        None => Err(BuildError::NoPort(app.as_ref().to_owned())),
    }
}

/// Finds a port: `NAME` is the folder `apps/NAME` in a directory around, anything with a slash is the
/// port's folder itself. `:IMAGE` after either is the image of this file name, otherwise the first is meant.
pub(super) fn locate(app: &Path, options: &Options) -> Result<Option<Port>, BuildError> {
    let (place, image) = split(app);
    let folder = if workspace::is_name(&place) {
        let around = options.manifest_dir.clone().map_or_else(std::env::current_dir, std::path::absolute);
        let around = around.map_err(BuildError::CurrentDirectory)?;
        around.ancestors().map(|ancestor| ancestor.join("apps").join(&place)).find(|folder| is_port(folder))
    } else {
        Some(std::path::absolute(&place).map_err(BuildError::CurrentDirectory)?)
    };
    let Some(directory) = folder.filter(|folder| is_port(folder)) else { return Ok(None) };
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = directory.join("port.toml");
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    let description = describe(&text).map_err(|problem| PortError::Description { path, problem })?;
    let chosen = match &image {
        None => description.images.first(),
        Some(image) => description.images.iter().find(|path| path.file_name() == Some(image)),
    };
    let Some(chosen) = chosen.cloned() else {
        let names = description.images.iter().filter_map(|path| path.file_name());
        return Err(PortError::NoSuchImage {
            port: name,
            image: image.unwrap_or_default().to_string_lossy().into_owned(),
            images: names.map(|name| format!("`{}`", name.display())).collect(),
        }
        .into());
    };
    Ok(Some(Port { name, directory, description, image: chosen }))
}

/// Whether a port is in this folder.
pub fn is_port(folder: &Path) -> bool {
    folder.join("port.toml").is_file()
}

/// Parts `PORT:IMAGE`.
fn split(app: &Path) -> (PathBuf, Option<OsString>) {
    let name = app.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.rsplit_once(':') {
        Some((port, image)) if !app.exists() => (app.with_file_name(port), Some(image.into())),
        _ => (app.to_owned(), None),
    }
}

fn describe(text: &str) -> Result<Description, String> {
    let description: Description = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if description.images.is_empty() {
        return Err("`images` is empty; name at least one".into());
    }
    let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match description.images.iter().find(|image| !inside(image)) {
        Some(image) => Err(format!("the image `{}` is not below the build's directory", image.display())),
        None => Ok(description),
    }
}

impl Port {
    /// Builds the image for a virtual CPU.
    pub(super) fn image(&self, options: &Options) -> Result<Built, BuildError> {
        let path = self.build(options, false)?;
        let name = self.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Built { name, path, kind: toolchain::choose(None, &self.directory)? })
    }

    fn build(&self, options: &Options, native: bool) -> Result<PathBuf, BuildError> {
        // Directories of the C library are named by what they are built from.
        let libraries = if native { Vec::new() } else { sysroot::sysroot()?.libraries().to_vec() };
        let ports = self.target_directory()?.join("vcpu/ports");
        fs::create_dir_all(&ports).map_err(failed(&ports))?;
        let name = if native { format!("{}-native", self.name) } else { self.name.clone() };
        let place = ports.join(&name);
        let file = |kind: &str| ports.join(format!(".{name}.{kind}"));
        let (stamp, log) = (file("built"), file("log"));

        // Of many at once, one builds and the others wait for it.
        let lock = fs::File::create(file("lock")).map_err(failed(&file("lock")))?;
        lock.lock().map_err(failed(&file("lock")))?;
        let (flags, jobs) = (variable("CFLAGS", "-O2"), variable("JOBS", &jobs()));
        let wanted = self.fingerprint(&libraries, &flags)?;
        if !fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
            let _ = fs::remove_file(&stamp);
            if place.is_dir() {
                fs::remove_dir_all(&place).map_err(failed(&place))?;
            }
            fs::create_dir_all(&place).map_err(failed(&place))?;
            let mut command = Command::new("sh");
            remove_traces(&mut command);
            command.arg("-e").arg(self.directory.join("build.sh")).current_dir(&place);
            command.env("PORT", &self.directory).env("CFLAGS", &flags).env("JOBS", &jobs).env_remove("VCPU");
            for (variable, machines, ours) in TOOLS {
                command.env(variable, if native { machines } else { ours });
            }
            if !native {
                let tool = tool(options)?;
                let old = std::env::var_os("PATH").unwrap_or_default();
                let first = tool.parent().map(Path::to_owned);
                let path = std::env::join_paths(first.into_iter().chain(std::env::split_paths(&old)));
                command.env("PATH", path.map_err(|_| PortError::NoTool)?).env("VCPU", tool);
            }
            for (name, source) in &self.description.source {
                command.env(source_variable(name), source::fetch(source).map_err(PortError::from)?);
            }
            self.run(command, &log, options)?;
            for image in &self.description.images {
                let image = place.join(image);
                if !image.is_file() {
                    return Err(PortError::NoImage { port: self.name.clone(), image }.into());
                }
            }
            fs::write(&stamp, wanted).map_err(failed(&stamp))?;
        }
        Ok(place.join(&self.image))
    }

    /// Runs `build.sh`. Its output goes to a file, and on a terminal its last line is shown.
    fn run(&self, mut command: Command, log: &Path, options: &Options) -> Result<(), PortError> {
        let hidden = options.quiet || options.verbose;
        let progress = if hidden { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if progress.is_hidden() && !options.quiet {
            eprintln!("vcpu: building the port `{}`", self.name);
        }
        progress.set_prefix(self.name.clone());
        progress.enable_steady_tick(Duration::from_millis(200));
        let mut file = fs::File::create(log).map_err(failed(log))?;
        let (reader, writer) = io::pipe().map_err(PortError::Shell)?;
        let errors = writer.try_clone().map_err(PortError::Shell)?;
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        let mut child = command.spawn().map_err(PortError::Shell)?;
        // It holds the writing ends of the pipe; only the child may.
        drop(command);
        let mut last = std::collections::VecDeque::new();
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.map_err(failed(log))?;
            file.write_all(&line).and_then(|()| file.write_all(b"\n")).map_err(failed(log))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            if options.verbose {
                eprintln!("{line}");
            }
            progress.set_message(format!("building {}: {}", self.name, line.trim()));
            last.push_back(line);
            if last.len() > SHOWN {
                last.pop_front();
            }
        }
        let status = child.wait().map_err(PortError::Shell)?;
        progress.finish_and_clear();
        if status.success() {
            return Ok(());
        }
        if !options.verbose {
            last.iter().for_each(|line| eprintln!("{line}"));
        }
        Err(PortError::Failed { port: self.name.clone(), log: log.to_owned() })
    }

    /// The target directory of the workspace around the port.
    fn target_directory(&self) -> Result<PathBuf, BuildError> {
        match workspace::manifest_around(&self.directory) {
            Some(manifest) => Ok(workspace::read(&manifest)?.target_directory.into()),
            None => Ok(self.directory.join("target")),
        }
    }

    /// A hash of all that decides what comes out.
    fn fingerprint(&self, libraries: &[PathBuf], flags: &str) -> Result<String, PortError> {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        libraries.iter().for_each(|library| add(library.as_os_str().as_encoded_bytes()));
        add(flags.as_bytes());
        for path in files(&self.directory)? {
            add(path.as_os_str().as_encoded_bytes());
            add(&fs::read(&path).map_err(failed(&path))?);
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// All files below a directory, sorted, but for those of a `target` directory and hidden ones.
fn files(directory: &Path) -> Result<Vec<PathBuf>, PortError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let name = entry.file_name();
        if name == "target" || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.path().is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The program `vcpu`: what the caller or the environment names, else the running one.
fn tool(options: &Options) -> Result<PathBuf, PortError> {
    let named = options.tool.clone().or_else(|| std::env::var_os("VCPU").map(PathBuf::from));
    let own =
        || std::env::current_exe().ok().filter(|path| path.file_name().is_some_and(|name| name == "vcpu"));
    let tool = named.or_else(own).ok_or(PortError::NoTool)?;
    std::path::absolute(&tool).map_err(failed(&tool))
}

fn source_variable(name: &str) -> String {
    format!("SOURCE_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.into())
}

fn jobs() -> String {
    std::thread::available_parallelism().map_or(1, usize::from).to_string()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PortError + use<> {
    let path = path.to_owned();
    move |source| PortError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace without packages, with a port that makes two images of its glue file.
    fn ports() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let port = place.path().join("apps/two");
        fs::create_dir_all(&port).unwrap();
        fs::write(port.join("port.toml"), "images = ['one', 'sub/other']").unwrap();
        fs::write(port.join("glue.txt"), "first").unwrap();
        fs::write(port.join("build.sh"), "mkdir sub\ncp $PORT/glue.txt one\necho $CC > sub/other\n").unwrap();
        place
    }

    fn options(place: &tempfile::TempDir) -> Options {
        Options { manifest_dir: Some(place.path().into()), quiet: true, ..Options::default() }
    }

    fn native(place: &tempfile::TempDir, app: &str) -> Result<PathBuf, BuildError> {
        build_native(app, &options(place))
    }

    #[test]
    fn the_first_image_is_meant_unless_another_is_named() {
        let place = ports();
        assert_eq!(fs::read_to_string(native(&place, "two").unwrap()).unwrap(), "first");
        assert_eq!(fs::read_to_string(native(&place, "two:other").unwrap()).unwrap(), "gcc\n");
        let folder = place.path().join("apps/two:other");
        assert!(native(&place, folder.to_str().unwrap()).unwrap().ends_with("sub/other"));
        let error = native(&place, "two:three").unwrap_err().to_string();
        assert!(error.contains("`three`") && error.contains("`one`, `other`"), "{error}");
        assert!(matches!(native(&place, "three"), Err(BuildError::NoPort(_))));
    }

    #[test]
    fn a_port_is_built_again_only_if_one_of_its_files_changed() {
        let place = ports();
        let image = native(&place, "two").unwrap();
        fs::write(&image, "mark").unwrap();
        assert_eq!(fs::read_to_string(native(&place, "two").unwrap()).unwrap(), "mark");
        fs::write(place.path().join("apps/two/glue.txt"), "second").unwrap();
        assert_eq!(fs::read_to_string(native(&place, "two").unwrap()).unwrap(), "second");
    }

    #[test]
    fn a_failed_build_says_where_its_output_is_and_is_tried_again() {
        let place = ports();
        let script = place.path().join("apps/two/build.sh");
        let good = fs::read_to_string(&script).unwrap();
        fs::write(&script, "echo it is wrong\nfalse\ntouch one sub/other").unwrap();
        let Err(BuildError::Port(PortError::Failed { log, .. })) = native(&place, "two") else { panic!() };
        assert_eq!(fs::read_to_string(log).unwrap(), "it is wrong\n");
        fs::write(&script, good).unwrap();
        native(&place, "two").unwrap();
    }

    #[test]
    fn an_image_that_was_not_made_is_named() {
        let place = ports();
        fs::write(place.path().join("apps/two/build.sh"), "touch one\n").unwrap();
        let error = native(&place, "two").unwrap_err().to_string();
        assert!(error.contains("sub/other"), "{error}");
    }

    #[test]
    fn a_description_names_images_inside_and_nothing_unknown() {
        for (text, word) in [
            ("images = []", "empty"),
            ("images = ['../x']", "../x"),
            ("images = ['/x']", "/x"),
            ("images = ['x']\nurl = 'y'", "url"),
        ] {
            let problem = describe(text).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_source_has_a_variable_that_a_shell_can_name() {
        assert_eq!(source_variable("lua-tests"), "SOURCE_LUA_TESTS");
    }
}
