//! The example `decode`: that it gives what FFmpeg's own command gives, and that damaged films cost nothing but
//! themselves. The films are made by the reduced FFmpeg (`apps/ffmpeg-small`), in the sandbox.

use decode::{End, Film, Limits, Outputs, Problem};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use vcpu_host::build::{self, Options};
use vcpu_host::embed::CallError;

const VCPU: &str = env!("CARGO_BIN_EXE_vcpu");

/// Size of the pictures, and how many there are.
const WIDTH: usize = 94;
const HEIGHT: usize = 62;
const PICTURES: usize = 30;

/// Damaged files, of all films together.
const DAMAGED: u64 = 200;

/// The films: container, and how pictures and sound are encoded.
const FILMS: [(&str, &str, &str); 4] = [
    ("film.mkv", "mpeg4", "flac"),
    ("film.avi", "mjpeg", "pcm_s16le"),
    ("film.mov", "ffv1", "pcm_s16le"),
    ("film.nut", "mpeg4", "pcm_s16le"),
];

/// An image of a port.
fn image(port: &str) -> &'static Path {
    static DECODE: OnceLock<PathBuf> = OnceLock::new();
    static FFMPEG: OnceLock<PathBuf> = OnceLock::new();
    let place = if port == "decode" { &DECODE } else { &FFMPEG };
    place.get_or_init(|| {
        let options = Options {
            manifest_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
            tool: Some(VCPU.into()),
            quiet: true,
            ..Options::default()
        };
        let built = build::build(&[port], &options).unwrap_or_else(|error| panic!("{port}: {error}"));
        built[0].path.clone()
    })
}

/// Runs FFmpeg's command in the sandbox, in this directory.
#[track_caller]
fn ffmpeg(place: &Path, arguments: &[&str]) {
    let mut command = Command::new(VCPU);
    command.args(["run", "--dir"]).arg(format!("work={}:rw", place.display())).arg(image("ffmpeg-small"));
    let output = command.args(["--", "-nostdin", "-v", "error"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All films, in one directory.
fn films() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let mut pictures = Vec::new();
    for picture in 0..PICTURES {
        let plane = |width: usize, height: usize, a: usize, b: usize| {
            (0..width * height).map(move |at| (at % width * a + at / width * b + 3 * picture) as u8)
        };
        pictures.extend(plane(WIDTH, HEIGHT, 2, 1));
        pictures.extend(plane(WIDTH / 2, HEIGHT / 2, 1, 0));
        pictures.extend(plane(WIDTH / 2, HEIGHT / 2, 0, 2));
    }
    fs::write(place.path().join("pictures.yuv"), pictures).unwrap();
    let sound: Vec<u8> = (0..60_000u32).flat_map(|at| ((at * at / 64) as i16 / 3).to_le_bytes()).collect();
    fs::write(place.path().join("sound.raw"), sound).unwrap();
    for (name, video, audio) in FILMS {
        let size = format!("{WIDTH}x{HEIGHT}");
        let raw = ["-f", "rawvideo", "-s", &size, "-r", "25", "-i", "/work/pictures.yuv"];
        let sound = ["-f", "s16le", "-ar", "24000", "-ac", "2", "-i", "/work/sound.raw"];
        let pixels = if video == "mjpeg" { "yuvj420p" } else { "yuv420p" };
        let to = ["-c:v", video, "-pix_fmt", pixels, "-c:a", audio, &format!("/work/{name}")];
        ffmpeg(place.path(), &[&raw[..], &sound, &to].concat());
    }
    place
}

fn limits() -> Limits {
    Limits {
        memory: 128 << 20,
        frame: Duration::from_secs(30),
        film: Duration::from_secs(120),
        bytes: 256 << 20,
    }
}

/// Decodes a film to files in the same directory.
fn decode(film: &Path) -> Result<End, Problem> {
    let outputs =
        Outputs { y4m: Some(film.with_extension("y4m")), png: None, wav: Some(film.with_extension("wav")) };
    let mut film = Film::open(image("decode"), film, limits())?;
    let end = outputs.write(&mut film, |_| {})?;
    film.close()?;
    Ok(end)
}

/// The pictures of a file of Y4M, without what is around them.
fn pictures(y4m: &[u8], size: usize) -> Vec<u8> {
    let line = y4m.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let header = String::from_utf8_lossy(&y4m[..line]);
    assert!(header.starts_with(&format!("YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 ")), "{header}");
    let picture = |bytes: &[u8]| bytes.strip_prefix(b"FRAME\n").unwrap().to_vec();
    y4m[line..].chunks(size + 6).flat_map(picture).collect()
}

#[test]
#[ignore = "builds FFmpeg's libraries"]
fn films_are_decoded_as_ffmpeg_itself_does_by_three_threads() {
    let place = films();
    for (name, ..) in FILMS {
        let film = place.path().join(name);
        let end = decode(&film).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(end.damaged, 0, "{name}");
        for time in [end.demuxer, end.video, end.audio] {
            assert!(time > Duration::ZERO && time < limits().film, "{name}: {end:?}");
        }
        let from = format!("/work/{name}");
        let video = ["-map", "0:v", "-vsync", "passthrough", "-f", "rawvideo", "/work/expected.yuv"];
        let audio = ["-map", "0:a", "-f", "s16le", "/work/expected.raw"];
        ffmpeg(place.path(), &[&["-y", "-i", &from][..], &video, &audio].concat());

        let expected = fs::read(place.path().join("expected.yuv")).unwrap();
        let found = fs::read(film.with_extension("y4m")).unwrap();
        assert_eq!(expected.len(), PICTURES * WIDTH * HEIGHT * 3 / 2);
        assert!(pictures(&found, WIDTH * HEIGHT * 3 / 2) == expected, "{name}");

        let expected = fs::read(place.path().join("expected.raw")).unwrap();
        let found = fs::read(film.with_extension("wav")).unwrap();
        assert_eq!(&found[..4], b"RIFF");
        assert_eq!((&found[36..40], found.len()), (&b"data"[..], 44 + expected.len()), "{name}");
        assert!(found[44..] == expected, "{name}");
    }
}

#[test]
#[ignore = "builds FFmpeg's libraries"]
fn a_picture_becomes_a_png_of_the_same_colours() {
    let place = films();
    let name = place.path().join("picture-%d.png").to_str().unwrap().to_owned();
    let outputs = Outputs { png: Some(name.clone()), ..Outputs::default() };
    let film = place.path().join("film.mov");
    outputs.write(&mut Film::open(image("decode"), &film, limits()).unwrap(), |_| {}).unwrap();
    let raw = fs::read(place.path().join("pictures.yuv")).unwrap();
    for number in [1, PICTURES] {
        let file = fs::File::open(name.replace("%d", &number.to_string())).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels.len(), WIDTH * HEIGHT * 3);
        // The film is not lossy.
        let planes = &raw[(number - 1) * WIDTH * HEIGHT * 3 / 2..];
        let (colour, quarter) = (WIDTH * HEIGHT, WIDTH * HEIGHT / 4);
        for (at, found) in pixels.chunks(3).enumerate() {
            let of_colour = |plane| {
                let place = at / WIDTH / 2 * (WIDTH / 2) + at % WIDTH / 2;
                f64::from(planes[colour + plane * quarter + place]) - 128.0
            };
            let (y, b, r) = (1.164_383 * (f64::from(planes[at]) - 16.0), of_colour(0), of_colour(1));
            let expected = [y + 1.596_027 * r, y - 0.391_762 * b - 0.812_968 * r, y + 2.017_232 * b];
            for (expected, found) in expected.iter().zip(found) {
                let difference = expected.clamp(0.0, 255.0) - f64::from(*found);
                assert!(difference.abs() < 1.1, "pixel {at} of {number}: {expected} is {found}");
            }
        }
    }
    assert!(!Path::new(&name.replace("%d", &(PICTURES + 1).to_string())).exists());
}

#[test]
#[ignore = "builds FFmpeg's libraries"]
fn damaged_films_cost_nothing_but_themselves() {
    let place = films();
    let (mut refused, mut made, mut ended) = (0, 0, 0);
    for (index, (name, ..)) in FILMS.iter().enumerate() {
        let film = place.path().join(name);
        let whole = fs::read(&film).unwrap();
        decode(&film).unwrap();
        let expected = fs::read(film.with_extension("y4m")).unwrap();
        let damaged = place.path().join(format!("damaged-{name}"));
        for seed in (index as u64..DAMAGED).step_by(FILMS.len()) {
            fs::write(&damaged, damage(&whole, seed)).unwrap();
            match decode(&damaged) {
                Ok(_) => made += 1,
                Err(Problem::Call(CallError::Failed(_)) | Problem::Format(_)) => refused += 1,
                // It has had all its memory; one that hangs is not among these.
                Err(Problem::Call(CallError::Ended(outcome)))
                    if outcome.report().is_some_and(|report| report.sentence.contains("memory")) =>
                {
                    ended += 1;
                }
                Err(problem) => panic!("{name}, {seed}: {problem}"),
            }
        }
        decode(&film).unwrap();
        assert!(fs::read(film.with_extension("y4m")).unwrap() == expected);
    }
    assert!(made > 50 && refused > 10, "{made} were decoded, {refused} refused, {ended} ended");
}

/// A file that was cut, or of which bytes were changed, left out, doubled or filled.
fn damage(file: &[u8], seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut file = file.to_vec();
    for _ in 0..=next(6) {
        // Much of what can be damaged well is at the beginning.
        let span = if next(2) == 0 { file.len().min(1500) } else { file.len() };
        let at = next(span);
        let end = (at + next(40)).min(file.len());
        match next(6) {
            0 => file.truncate(at),
            1 if at < file.len() => file[at] ^= 1 << next(8),
            2 if at < file.len() => file[at] = 0xff,
            3 => drop(file.drain(at..end)),
            4 => {
                let part = file[at..end].to_vec();
                file.splice(at..at, part);
            }
            _ => file[at..end].fill_with(|| next(256) as u8),
        }
    }
    file
}
