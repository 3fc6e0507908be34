//! Where figures are measured: the images, and one core for everything.

use super::place;
use super::progress::Progress;
use super::record::Versions;
use crate::status::Failure;
use rustix::fs::MemfdFlags;
use rustix::thread::sched_getcpu;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;
use vcpu_abi::INTERFACE_VERSION;
use vcpu_host::build::{self, Built, Options, carried};
use vcpu_host::{Config, Image, Machine, Outcome};

/// The place of a run.
#[derive(Debug)]
pub(super) struct Site {
    /// What is measured, exactly.
    pub(super) versions: Versions,
    /// Says what is being done.
    pub(super) progress: Progress,
    /// This program, which runs images in processes of their own.
    pub(super) program: PathBuf,
    /// Where the carried crates and apps are.
    pub(super) crates: PathBuf,
    images: Vec<Built>,
}

impl Site {
    /// Builds the images of these apps, and keeps this thread and its children on one core from now on.
    pub(super) fn prepare(mut apps: Vec<&str>) -> Result<Site, Failure> {
        let progress = Progress::new();
        let program = std::env::current_exe()
            .map_err(|error| Failure::runner(format_args!("cannot tell where vcpu itself is: {error}")))?;
        apps.sort();
        apps.dedup();
        let crates = carried::unpack_guest().map_err(Failure::runner)?;
        let options =
            Options { manifest_dir: Some(crates.clone()), quiet: !progress.is_shown(), ..Options::default() };
        // What is built by one call of cargo shares the features of its crates.
        let apart = apps.extract_if(.., |app| *app == super::events_off::APP).collect::<Vec<_>>();
        let mut images = build::build(&apps, &options)?;
        images.extend(build::build(&apart, &options)?);
        let versions = versions(images.first(), &crates);
        pin()?;
        Ok(Site { versions, progress, program, crates, images })
    }

    /// Where the image of an app is.
    pub(super) fn image(&self, app: &str) -> &Path {
        let found = self.images.iter().find(|built| built.name == app);
        &found.expect("a group names the app that it measures").path
    }

    /// Runs an app to its end in this process, with its name, these arguments and so much RAM, if that is not
    /// for the image to say, and gives its output.
    pub(super) fn guest_with(
        &self,
        app: &'static str,
        arguments: &[&str],
        memory: Option<u64>,
    ) -> Result<String, Failure> {
        let image = Image::open(self.image(app)).map_err(Failure::image)?;
        let (mut output, mut errors) = (memory_file()?, memory_file()?);
        match self.sandbox(&image, app, arguments, memory, [&output, &errors])?.run()? {
            Outcome::Exited(0) => text(&mut output),
            outcome => Err(Failure::runner(format_args!(
                "cannot measure by the app `{app}`: it ended with status {}; {}",
                outcome.status(),
                text(&mut errors)?.trim_end()
            ))),
        }
    }

    /// Starts an app whose output and errors go to these files.
    pub(super) fn sandbox(
        &self,
        image: &Image,
        app: &'static str,
        arguments: &[&str],
        memory: Option<u64>,
        [output, errors]: [&File; 2],
    ) -> Result<Machine, Failure> {
        let streams = place::streams(output, errors)?;
        let arguments = std::iter::once(&app).chain(arguments).map(|argument| argument.as_bytes().to_vec());
        let arguments = arguments.collect();
        let config = Config { memory, arguments, streams: Some(streams), ..Config::default() };
        Ok(Machine::start(image, config)?)
    }
}

/// Says what could not be done.
pub(super) fn cannot(what: &str, error: io::Error) -> Failure {
    Failure::runner(format_args!("cannot {what}: {error}"))
}

/// An empty file in memory, for bytes that no disk shall slow down.
pub(super) fn memory_file() -> Result<File, Failure> {
    let file = rustix::fs::memfd_create("vcpu-bench", MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(|error| cannot("create a file in memory", error.into()))
}

/// What a guest has written.
pub(super) fn text(file: &mut File) -> Result<String, Failure> {
    let mut text = String::new();
    file.rewind()
        .and_then(|()| file.read_to_string(&mut text))
        .map_err(|error| cannot("read what a guest has written", error))?;
    Ok(text)
}

/// Keeps this thread, and every process that it starts, on the core that it is on: waking another core
/// costs more than most of what is measured here, and varies.
fn pin() -> Result<(), Failure> {
    place::stay(None, sched_getcpu()).map_err(|error| cannot("stay on one core", error))
}

/// The versions of this program, and of these images and of the compiler that made them.
fn versions(image: Option<&Built>, crates: &Path) -> Versions {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = || {
        let output = Command::new(compiler).arg("--version").current_dir(crates).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    Versions {
        vcpu: env!("CARGO_PKG_VERSION").into(),
        interface: INTERFACE_VERSION,
        rustc: image.and_then(|_| rustc()),
        images: image.map(|image| image.kind.to_string()),
    }
}
