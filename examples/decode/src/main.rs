//! Decodes a film:
//!
//! ```text
//! vcpu build decode
//! cargo run -p decode -- IMAGE film.avi --y4m film.y4m --png picture-%d.png --wav film.wav
//! ```
//!
//! `vcpu build` says where the image is. Each of the outputs may be left out.

use decode::{Film, Limits, Outputs};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: decode IMAGE FILE [--y4m FILE] [--png NAME-%d.png] [--wav FILE]";

fn main() -> ExitCode {
    let Some((image, film, outputs)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match decode(&image, &film, &outputs) {
        Ok(sentence) => {
            println!("{}: {sentence}", film.display());
            ExitCode::SUCCESS
        }
        // It names the file itself, which may be another.
        Err(problem @ decode::Problem::File { .. }) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("{}: {problem}", film.display());
            ExitCode::FAILURE
        }
    }
}

/// Image, film, and what is written.
fn arguments() -> Option<(PathBuf, PathBuf, Outputs)> {
    let mut arguments = std::env::args_os().skip(1);
    let (image, film) = (arguments.next()?, arguments.next()?);
    let mut outputs = Outputs::default();
    while let Some(option) = arguments.next() {
        let value = arguments.next()?;
        match option.to_str()? {
            "--y4m" => outputs.y4m = Some(value.into()),
            "--png" => outputs.png = Some(value.into_string().ok().filter(|name| name.contains("%d"))?),
            "--wav" => outputs.wav = Some(value.into()),
            _ => return None,
        }
    }
    Some((image.into(), film.into(), outputs))
}

fn decode(image: &Path, film: &Path, outputs: &Outputs) -> Result<String, decode::Problem> {
    let mut film = Film::open(image, film, Limits::default())?;
    let (mut pictures, mut last) = (ProgressBar::new_spinner(), 0);
    if let Some(length) = film.length() {
        pictures = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}");
        pictures.set_style(style.expect("the template is right"));
    }
    let end = outputs.write(&mut film, |moment| {
        last = last.max(moment);
        pictures.set_position(last);
        pictures.set_message(format!("{:.1} s", Duration::from_micros(last).as_secs_f64()));
    });
    pictures.finish_and_clear();
    let end = end?;
    film.close()?;
    let seconds = |time: Duration| time.as_secs_f64();
    Ok(format!(
        "{:.1} s of film, damaged packets: {}; processor time of the threads: demuxer {:.3} s, video {:.3} s, audio {:.3} s",
        Duration::from_micros(last).as_secs_f64(),
        end.damaged,
        seconds(end.demuxer),
        seconds(end.video),
        seconds(end.audio)
    ))
}
