//! `storage`: files and disks that a guest was granted, over the same system calls without one.
//!
//! All that is read is in the system's cache, so what differs is the way there. Guest and host have a core each,
//! where there are two, and look for each other's words; `fs.read.together` and `block.read.together` share one.

use super::figure::{Figure, Target, Unit};
use super::place::{Place, numbers, other_core, streams};
use super::site::{Site, cannot, memory_file, text};
use crate::status::Failure;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;
use vcpu_host::{Config, Grant, Image, Outcome, Resource};

/// The app that reads.
pub(super) const APP: &str = "storage";
/// Bytes of the file, which is the disk as well.
const SIZE: usize = 256 << 20;
/// Bytes of a piece of the file, and of one of the disk.
const FILE_PIECE: usize = 1 << 20;
const DISK_PIECE: usize = 4096;
/// How often the file is read; the first time does not count.
const FILE_TIMES: usize = 11;
/// Samples of reads of the disk, and reads that are one; the first sample does not count.
const DISK_TIMES: usize = 101;
const READS: usize = 1000;

/// A directory with one file, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Folder, Failure> {
        let path = std::env::temp_dir().join(format!("vcpu-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| cannot("make a directory for files to read", error))?;
        let folder = Folder(path);
        let piece: Vec<u8> = (0..FILE_PIECE).map(|at| (at % 251) as u8).collect();
        let failed = |error| cannot("write a file to read", error);
        let mut file = File::create(folder.file()).map_err(failed)?;
        (0..SIZE / FILE_PIECE).try_for_each(|_| file.write_all(&piece)).map_err(failed)?;
        Ok(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays; it is in the place for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    site.progress.show("writing a file of 256 MiB");
    let folder = Folder::make()?;
    let failed = |error| cannot("read a file", error);
    let mut file = File::open(folder.file()).map_err(failed)?;
    let apart = if other_core().is_some() { Place::Spinning } else { Place::Together };
    let (mut read, mut together) = (Vec::new(), Vec::new());
    let mut native = Vec::new();
    // In turns, so that all see the same disturbances.
    for round in 0..FILE_TIMES {
        site.progress.round("fs.read", round, FILE_TIMES);
        for (place, samples) in [(apart, &mut read), (Place::Together, &mut together)] {
            // The first time the guest touches its memory.
            let [path, piece] = ["/files/data", &FILE_PIECE.to_string()];
            let times = guest(site, &folder, place, &["file", path, piece, "2"], 2)?;
            samples.push(times[1]);
        }
        native.push(native_file(&mut file).map_err(failed)?);
    }
    let piece = DISK_PIECE.to_string();
    let (times, reads) = (DISK_TIMES.to_string(), READS.to_string());
    let arguments = ["disk", "disk", &piece, &times, &reads];
    site.progress.show("block.read");
    let disk = guest(site, &folder, apart, &arguments, DISK_TIMES)?;
    let native_disk = native_disk(&file).map_err(failed)?;
    let disk_together = guest(site, &folder, Place::Together, &arguments, DISK_TIMES)?;
    let each = |times: Vec<f64>| times[1..].iter().map(|time| time / READS as f64).collect::<Vec<_>>();
    let (disk, native_disk, disk_together) = (each(disk), each(native_disk), each(disk_together));
    let (read, together, native) = (&read[1..], &together[1..], &native[1..]);
    Ok(vec![
        Figure::new("fs.read", Unit::Ns, read.to_vec()).over(native).at_most(Target::Ratio(1.5)),
        Figure::new("fs.read.together", Unit::Ns, together.to_vec()).over(native),
        Figure::new("block.read", Unit::Ns, disk).over(&native_disk).at_most(Target::Ratio(3.0)),
        Figure::new("block.read.together", Unit::Ns, disk_together).over(&native_disk),
    ])
}

/// Runs the app, which is granted directory and disk, and gives the times that it tells.
fn guest(
    site: &Site,
    folder: &Folder,
    place: Place,
    arguments: &[&str],
    count: usize,
) -> Result<Vec<f64>, Failure> {
    let image = Image::open(site.image(APP)).map_err(Failure::image)?;
    let (mut output, mut errors) = (memory_file()?, memory_file()?);
    let disk = File::open(folder.file()).map_err(|error| cannot("open a file", error))?;
    let directory = Resource::Directory { path: folder.0.clone(), writable: false, exclusive: false };
    let grants = [("files", directory), ("disk", Resource::Block { file: disk, writable: false })];
    let config = Config {
        arguments: std::iter::once(&APP).chain(arguments).map(|text| text.as_bytes().to_vec()).collect(),
        pin: place == Place::Together,
        streams: Some(streams(&output, &errors)?),
        grants: grants.map(|(name, resource)| Grant { name: name.to_owned(), resource }).into(),
        ..Config::default()
    };
    match place.start(&image, config)?.run()? {
        Outcome::Exited(0) => {
            Ok(numbers(&text(&mut output)?, count)?.into_iter().map(|time| time as f64).collect())
        }
        outcome => Err(Failure::runner(format_args!(
            "cannot measure by the app `{APP}`: it ended with status {}; {}",
            outcome.status(),
            text(&mut errors)?.trim_end()
        ))),
    }
}

/// What it takes to read the file in an ordinary process, in ns.
fn native_file(file: &mut File) -> std::io::Result<f64> {
    let mut buffer = vec![0; FILE_PIECE];
    // As for the guest, the buffer's pages are there.
    file.rewind()?;
    while file.read(&mut buffer)? > 0 {}
    file.rewind()?;
    let begin = Instant::now();
    while file.read(&mut buffer)? > 0 {}
    Ok(begin.elapsed().as_nanos() as f64)
}

/// What it takes to read pieces of the disk, in ns, each time; at the same places as the guest.
fn native_disk(file: &File) -> std::io::Result<Vec<f64>> {
    let pieces = (SIZE / DISK_PIECE) as u64;
    let mut buffer = vec![0; DISK_PIECE];
    let mut random = 1u64;
    let mut all = Vec::new();
    for _ in 0..DISK_TIMES {
        let begin = Instant::now();
        for _ in 0..READS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            file.read_exact_at(&mut buffer, random % pieces * DISK_PIECE as u64)?;
        }
        all.push(begin.elapsed().as_nanos() as f64);
    }
    Ok(all)
}
