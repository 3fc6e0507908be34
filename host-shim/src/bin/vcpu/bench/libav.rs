//! `c.libav` and `c.libav.threads`: FFmpeg decodes a film, over the same program with the machine's C library.
//!
//! The program is the port `ffmpeg-small`, built for both by the same script. The film is MPEG-4, of shapes that move
//! and noise; it is made here, since none comes with the source. What is compared is the time of the whole
//! program, with one thread and with four, all on one core; both must print the same checksums of frames.

use super::figure::{Figure, Target};
use super::programs::{build_port, compare, run};
use super::site::{Site, cannot};
use crate::status::Failure;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The film: pixels of a line, lines, frames.
const FILM: [usize; 3] = [640, 360, 500];
/// Figures, and the threads that decode.
const FIGURES: [(&str, &str); 2] = [("c.libav", "1"), ("c.libav.threads", "4")];

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let Some(program) = build_port(site, "ffmpeg-small")? else { return Ok(Vec::new()) };
    let place = tempfile::tempdir().map_err(|error| cannot("create a directory for a film", error))?;
    make_film(&program.native, place.path())?;
    let mut figures = Vec::new();
    for (name, threads) in FIGURES {
        let mut inside = run(site, place.path(), &program.image);
        decode(&mut inside, ".", threads);
        let mut outside = Command::new(&program.native);
        decode(&mut outside, &place.path().display().to_string(), threads);
        figures.push(compare(site, name, [&mut inside, &mut outside])?.at_most(Target::Ratio(1.05)));
    }
    Ok(figures)
}

/// The arguments by which FFmpeg decodes the film below a directory, and prints a checksum of each frame.
fn decode(command: &mut Command, directory: &str, threads: &str) {
    command.args(["-nostdin", "-v", "error", "-threads", threads, "-i"]).arg(format!("{directory}/film.avi"));
    command.args(["-f", "framecrc", "-"]);
}

/// Has FFmpeg encode a film into `film.avi` below a directory.
fn make_film(program: &Path, directory: &Path) -> Result<(), Failure> {
    let [width, height, frames] = FILM;
    let mut command = Command::new(program);
    command.args(["-v", "error", "-f", "rawvideo", "-video_size", &format!("{width}x{height}"), "-i", "-"]);
    command.args(["-c:v", "mpeg4", "-q:v", "3"]).arg(directory.join("film.avi")).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot("run FFmpeg", error))?;
    let mut input = child.stdin.take().expect("it is a pipe");
    let mut noise = 1u32;
    let written = (0..frames).try_for_each(|frame| {
        let luma = (0..width * height).map(|at| {
            let (x, y) = (at % width, at / width);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let shape = if (x + 3 * frame) / 40 % 2 == (y + frame) / 40 % 2 { 160 } else { x * 80 / width };
            shape as u8 + (noise >> 28) as u8
        });
        let colour = |at: usize| (at / 256 + frame) as u8;
        let picture: Vec<u8> = luma.chain((0..width * height / 2).map(colour)).collect();
        input.write_all(&picture)
    });
    drop(input);
    let status = child.wait().map_err(|error| cannot("wait for FFmpeg", error))?;
    match written {
        Ok(()) if status.success() => Ok(()),
        Err(error) if status.success() => Err(cannot("give FFmpeg the frames of a film", error)),
        _ => Err(Failure::runner("FFmpeg did not encode a film; its reason is above")),
    }
}
