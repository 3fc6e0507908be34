//! `data`: a guest that moves and transforms much data, over the same crate in an ordinary program.
//!
//! Both are whole processes that read a compressed file from memory and write to nowhere. What they make
//! of the file is checked once before.
//!
//! [`stream`] adds the figures of guests that only move data.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot, memory_file};
use super::stream;
use crate::status::Failure;
use cargo_metadata::Message;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Turns of sandbox and native program.
const RUNS: usize = 20;
/// Turns that do not count.
const WARM_UP: usize = 1;
/// Bytes of the decompressed file.
const SIZE: usize = 100_000_000;
/// The compressor's effort, of 10: what `gzip` does if it is not told otherwise.
const LEVEL: u8 = 6;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    site.progress.show("building the native gunzip");
    let mut native = Command::new(build_native(site)?);
    let mut sandboxed = Command::new(&site.program);
    sandboxed.arg("run").arg(site.image("gunzip"));

    site.progress.show("making a file of 100 MB");
    let content = text(SIZE);
    let file = compressed(&content)?;
    for command in [&mut sandboxed, &mut native] {
        check(command, &file, &content)?;
    }
    drop(content);

    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for run in 0..WARM_UP + RUNS {
        site.progress.round("data", run, WARM_UP + RUNS);
        inside.push(time(&mut sandboxed, &file)?);
        outside.push(time(&mut native, &file)?);
    }
    let figure = Figure::new("data.gunzip", Unit::Ns, inside.split_off(WARM_UP));
    let mut figures = vec![figure.over(&outside[WARM_UP..]).at_most(Target::Ratio(1.05))];
    figures.extend(stream::measure(site)?);
    Ok(figures)
}

/// Builds the same decompressor as an ordinary program, from the same sources with the same versions of
/// foreign crates and the same profile, and gives its path.
fn build_native(site: &Site) -> Result<PathBuf, Failure> {
    let failed = || Failure::runner("cannot build the native gunzip; cargo's messages above say why");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(&site.crates)
        .args(["build", "--release", "--quiet", "--message-format", "json-render-diagnostics"])
        .args(["--package", "gunzip", "--example", "native"])
        // As images are built. No flags is a setting too: the user's are not for images either.
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "limited")
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .env_remove("CARGO_BUILD_TARGET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot("start cargo", error))?;
    let mut program = None;
    for message in
        child.stdout.take().into_iter().flat_map(|output| Message::parse_stream(BufReader::new(output)))
    {
        if let Ok(Message::CompilerArtifact(artifact)) = message
            && artifact.target.is_example()
            && artifact.target.name == "native"
        {
            program = artifact.executable.map(PathBuf::from);
        }
    }
    let status = child.wait().map_err(|error| cannot("wait for cargo", error))?;
    if status.success() { program.ok_or_else(failed) } else { Err(failed()) }
}

/// A command that decompresses the file from its beginning.
fn decompress<'a>(command: &'a mut Command, file: &File, output: Stdio) -> Result<&'a mut Command, Failure> {
    let mut input = file.try_clone().map_err(|error| cannot("copy a descriptor", error))?;
    // The position belongs to all copies of a descriptor.
    input.rewind().map_err(|error| cannot("rewind a file", error))?;
    Ok(command.stdin(input).stdout(output))
}

/// Runs a command to its end, which must be a good one.
fn run(command: &mut Command) -> Result<(), Failure> {
    let name = Path::new(command.get_program()).display().to_string();
    let status = command.status().map_err(|error| cannot(&format!("run {name}"), error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::runner(format_args!("cannot measure `gunzip`: {name} failed, {status}")))
}

/// What a command takes to decompress the file, in ns.
fn time(command: &mut Command, file: &File) -> Result<f64, Failure> {
    let command = decompress(command, file, Stdio::null())?;
    let begin = Instant::now();
    run(command)?;
    Ok(begin.elapsed().as_nanos() as f64)
}

/// Has a command decompress the file, and compares.
fn check(command: &mut Command, file: &File, content: &[u8]) -> Result<(), Failure> {
    let mut output = memory_file()?;
    let copy = output.try_clone().map_err(|error| cannot("copy a descriptor", error))?;
    run(decompress(command, file, copy.into())?)?;
    let mut result = Vec::with_capacity(content.len());
    output
        .rewind()
        .and_then(|()| output.read_to_end(&mut result))
        .map_err(|error| cannot("read what was decompressed", error))?;
    if result == content {
        return Ok(());
    }
    let name = Path::new(command.get_program()).display();
    Err(Failure::runner(format_args!("{name} decompressed a file wrongly; please report this")))
}

/// A gzip file (RFC 1952) of these bytes, in memory.
fn compressed(content: &[u8]) -> Result<File, Failure> {
    /// Magic number, method deflate, no flags, no time, no hint, unknown system.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let data = miniz_oxide::deflate::compress_to_vec(content, LEVEL);
    let checksum = crc32fast::hash(content).to_le_bytes();
    let length = (content.len() as u32).to_le_bytes();
    let mut file = memory_file()?;
    [&HEADER[..], &data, &checksum, &length]
        .into_iter()
        .try_for_each(|part| file.write_all(part))
        .map_err(|error| cannot("write a file in memory", error))?;
    Ok(file)
}

/// Bytes that look like text to a compressor, the same in every run: made-up words, of which few are
/// frequent and many are rare, in sentences and lines.
fn text(size: usize) -> Vec<u8> {
    const WORDS: u64 = 8_000;
    // A word's number is a product of so many random numbers below one: the more, the rarer are most.
    const FACTORS: u32 = 5;
    let mut random = Random(1);
    let vocabulary: Vec<Vec<u8>> = (0..WORDS).map(|_| word(&mut random)).collect();
    let mut text = Vec::with_capacity(size + 64);
    let mut line = 0;
    while text.len() < size {
        let index = (0..FACTORS).fold(WORDS, |product, _| random.below(product.max(1)));
        let word = &vocabulary[index as usize];
        text.extend(word);
        line += word.len() + 1;
        if random.below(12) == 0 {
            text.extend(b".");
        }
        text.push(if line > 72 { b'\n' } else { b' ' });
        line = if line > 72 { 0 } else { line };
    }
    text.truncate(size);
    text
}

/// A word of one to five syllables.
fn word(random: &mut Random) -> Vec<u8> {
    const CONSONANTS: &[u8] = b"bcdfghklmnprstvwz";
    const VOWELS: &[u8] = b"aeiou";
    let mut letter = |letters: &[u8]| letters[random.below(letters.len() as u64) as usize];
    let syllables = usize::from(letter(b"\x01\x02\x02\x03\x03\x04\x05"));
    (0..syllables).flat_map(|_| [letter(CONSONANTS), letter(VOWELS)]).collect()
}

/// Pseudo-random numbers (SplitMix64): short, good enough, and the same everywhere.
struct Random(u64);

impl Random {
    /// A number below `limit`, which is far below 2^32.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 32) * limit) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_same_in_every_run_and_compresses_like_text() {
        let content = text(1 << 20);
        assert_eq!(content.len(), 1 << 20);
        assert_eq!(content, text(1 << 20));
        let file = compressed(&content).unwrap();
        let ratio = content.len() as f64 / file.metadata().unwrap().len() as f64;
        assert!((3.0..4.0).contains(&ratio), "it compresses {ratio}:1");
    }

    #[test]
    fn the_file_is_what_gunzip_takes() {
        let content = text(1 << 16);
        let mut file = compressed(&content).unwrap();
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
        let data = &bytes[10..bytes.len() - 8];
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(data).unwrap(), content);
        assert_eq!(bytes[bytes.len() - 8..][..4], crc32fast::hash(&content).to_le_bytes());
    }

    #[test]
    fn random_numbers_stay_below_their_limit_and_reach_it() {
        let mut random = Random(1);
        let numbers: Vec<_> = (0..1000).map(|_| random.below(3)).collect();
        assert!((0..3).all(|number| numbers.contains(&number)) && numbers.iter().all(|number| *number < 3));
    }
}
