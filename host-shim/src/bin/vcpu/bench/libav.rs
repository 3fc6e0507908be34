//! `c.libav` and `c.libav.threads`: FFmpeg decodes a film, over the same program with the machine's C library.
//!
//! The program is the port `ffmpeg-small`, built for both by the same script. The film is MPEG-4, of shapes that move
//! and noise; it is made here, since none comes with the source. What is compared is the time of the whole
//! program, with one thread and with four, all on one core; both must print the same checksums of frames.
//!
//! Ports are built in a checkout. Where there is none around the current directory, it is said what to do.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot};
use crate::output;
use crate::status::Failure;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use vcpu_host::build::{self, BuildError, Options, port};

const PORT: &str = "ffmpeg-small";
/// Turns of guest and native program.
const ROUNDS: usize = 7;
/// The film: pixels of a line, lines, frames.
const FILM: [usize; 3] = [640, 360, 500];
/// Figures, and the threads that decode.
const FIGURES: [(&str, &str); 2] = [("c.libav", "1"), ("c.libav.threads", "4")];

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let options = Options { tool: Some(site.program.clone()), ..Options::default() };
    let native = match port::build_native(PORT, &options) {
        Err(BuildError::NoPort(_)) => {
            output::note(&"c.libav is measured in a checkout, where ports can be built: cargo vcpu bench c");
            return Ok(Vec::new());
        }
        built => built?,
    };
    let image = build::build(&[PORT], &options)?.remove(0).path;
    let place = tempfile::tempdir().map_err(|error| cannot("create a directory for a film", error))?;
    make_film(&native, place.path())?;
    let grant = format!("film={}", place.path().display());
    let mut figures = Vec::new();
    for (name, threads) in FIGURES {
        let mut inside = Command::new(&site.program);
        inside.args(["run", "--dir", &grant]).arg(&image).arg("--");
        decode(&mut inside, "/film", threads);
        let mut outside = Command::new(&native);
        decode(&mut outside, &place.path().display().to_string(), threads);
        let mut samples = [Vec::new(), Vec::new()];
        // The first round does not count.
        for round in 0..=ROUNDS {
            site.progress.round(name, round, ROUNDS + 1);
            let (inside, outside) = (timed(&mut inside)?, timed(&mut outside)?);
            if inside.1 != outside.1 {
                return Err(Failure::runner("FFmpeg decoded other frames than natively; please report this"));
            }
            samples[0].push(inside.0);
            samples[1].push(outside.0);
        }
        let [inside, outside] = samples.map(|mut samples| samples.split_off(1));
        figures.push(Figure::new(name, Unit::Ns, inside).over(&outside).at_most(Target::Ratio(1.05)));
    }
    Ok(figures)
}

/// The arguments by which FFmpeg decodes the film below a directory, and prints a checksum of each frame.
fn decode(command: &mut Command, directory: &str, threads: &str) {
    command.args(["-nostdin", "-v", "error", "-threads", threads, "-i"]).arg(format!("{directory}/film.avi"));
    command.args(["-f", "framecrc", "-"]);
}

/// Runs FFmpeg, and gives the time in ns and what it printed.
fn timed(command: &mut Command) -> Result<(f64, Vec<u8>), Failure> {
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot("run FFmpeg", error))?;
    let time = begin.elapsed().as_nanos() as f64;
    if output.status.success() && output.stdout.len() > FILM[2] {
        return Ok((time, output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::runner(format_args!("FFmpeg did not decode the film: {}", said.trim_end())))
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
