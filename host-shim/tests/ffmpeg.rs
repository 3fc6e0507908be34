//! FFmpeg's own regression suite, FATE, run through the sandbox: the tests of it that need no sample files.
//!
//! FATE compares what comes out, mostly checksums of decoded and encoded media, with references that come with
//! the source. FFmpeg's makefiles run it; the programs that they start, they start by `apps/ffmpeg/run.sh`.
//!
//! All of it takes many minutes and is run by `cargo xtask full`; 60 tests are run here, with a reduced FFmpeg.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs, iter};
use vcpu_host::build::{self, Options};

const VCPU: &str = env!("CARGO_BIN_EXE_vcpu");

/// Tests of each kind that the reduced FFmpeg has: codecs, containers, filters, seeking, threads, the assembly
/// against the code in C, and what FFmpeg has itself of a C library.
const SOME: &[&str] = &[
    "api-flac",
    "api-threadmessage",
    "acodec-flac",
    "acodec-flac-exact-rice",
    "acodec-pcm-s16le",
    "checkasm-audiodsp",
    "checkasm-blockdsp",
    "checkasm-bswapdsp",
    "checkasm-flacdsp",
    "checkasm-float_dsp",
    "checkasm-huffyuvdsp",
    "checkasm-idctdsp",
    "checkasm-llviddsp",
    "checkasm-pixblockdsp",
    "checkasm-sw_rgb",
    "checkasm-sw_scale",
    "checkasm-videodsp",
    "adler32",
    "aes",
    "audio_fifo",
    "avstring",
    "base64",
    "bprint",
    "cpu_init",
    "crc",
    "dct8x8",
    "des",
    "dict",
    "eval",
    "filter-crop",
    "filter-null",
    "filter-vflip",
    "hash",
    "imgutils",
    "integer",
    "lfg",
    "mathops",
    "md5",
    "opt",
    "parseutils",
    "pixfmt-rgb24",
    "pixfmt-yuv420p",
    "random_seed",
    "rangecoder",
    "seek-acodec-flac",
    "seek-lavf-wav",
    "sha512",
    "swr-resample-s16p-44100-8000",
    "sws-pixdesc-query",
    "lavf-wav",
    "unknown_layout-pcm",
    "vsynth1-ffv1",
    "vsynth1-ffv1-v3-yuv420p",
    "vsynth1-huffyuv",
    "vsynth1-mjpeg",
    "vsynth1-mjpeg-huffman",
    "vsynth1-mpeg4-thread",
    "vsynth1-mpeg4-qprd",
    "vsynth2-mpeg4-rc",
    "vsynth3-mpeg4-thread",
];

/// Builds a port, and gives the directory where it was built.
#[track_caller]
fn built(name: &str) -> PathBuf {
    let options = Options {
        manifest_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        tool: Some(VCPU.into()),
        quiet: true,
        ..Options::default()
    };
    let built = build::build(&[name], &options).unwrap_or_else(|error| panic!("{name}: {error}"));
    built[0].path.parent().expect("it is in a directory").into()
}

/// Runs `make` where a port was built, with this `vcpu`.
fn make(place: &Path, goals: impl IntoIterator<Item = impl AsRef<str>>) -> Output {
    let tool = Path::new(VCPU).parent().expect("it is in a directory").to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(iter::once(tool).chain(env::split_paths(&path))).expect("directories");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg("-C").arg(place).args(["--keep-going", &format!("-j{jobs}")]).env_remove("MAKEFLAGS");
    make.env("PATH", path).env("VCPU", VCPU).stdin(Stdio::null());
    make.args(goals.into_iter().map(|goal| goal.as_ref().to_owned())).output().expect("make is installed")
}

/// Runs tests of FATE, and gives how many ran.
#[track_caller]
fn fate(place: &Path, goals: impl IntoIterator<Item = impl AsRef<str>>) -> usize {
    let output = make(place, goals);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<_> = said.lines().filter(|line| line.ends_with("for details.")).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(failed.is_empty(), "{} failed:\n{}\n{errors}", failed.len(), failed.join("\n"));
    assert!(output.status.success(), "{errors}");
    said.lines().filter(|line| line.starts_with("TEST ")).count()
}

#[test]
fn sixty_tests_of_fate_pass_with_a_reduced_ffmpeg() {
    let place = built("ffmpeg-small");
    assert_eq!(fate(&place, SOME.iter().map(|name| format!("fate-{name}"))), SOME.len());
}

#[test]
#[ignore = "takes ten minutes"]
fn all_tests_of_fate_that_need_no_samples_pass() {
    let count = fate(&built("ffmpeg"), ["fate"]);
    assert!(count >= 1650, "only {count} tests ran");
}

/// A FLAC file with a tone, made by the reduced FFmpeg, and its samples.
fn tone(place: &Path) -> (Vec<u8>, Vec<u8>) {
    let samples: Vec<u8> =
        (0..200_000u32).flat_map(|at| ((at.wrapping_mul(at) / 64) as i16 / 3).to_le_bytes()).collect();
    fs::write(place.join("tone.raw"), &samples).unwrap();
    let mut command = Command::new(VCPU);
    command.args(["run", "--dir"]).arg(format!("work={}:rw", place.display()));
    command.arg(built("ffmpeg-small").join("ffmpeg")).args(["--", "-nostdin", "-v", "error", "-f", "s16le"]);
    command.args(["-ar", "48000", "-ac", "2", "-i", "/work/tone.raw", "/work/tone.flac"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (fs::read(place.join("tone.flac")).unwrap(), samples)
}

#[test]
#[ignore = "builds the libraries once more"]
fn the_decoding_libraries_alone_give_back_the_samples() {
    let image = built("libavcodec").join("decode");
    let place = tempfile::tempdir().unwrap();
    let (encoded, samples) = tone(place.path());
    assert!(encoded.len() < samples.len());
    let run = |file: &str| {
        let input = fs::File::open(place.path().join(file)).unwrap();
        Command::new(VCPU).arg("run").arg(&image).stdin(input).output().unwrap()
    };
    let output = run("tone.flac");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == samples);
    // A damaged file is an error of the decoder's, not of the machine.
    fs::write(place.path().join("half.flac"), &encoded[..encoded.len() / 2]).unwrap();
    let output = run("half.flac");
    assert!(output.status.code() < Some(2) && samples.starts_with(&output.stdout[..4096]));
    let size = fs::metadata(&image).unwrap().len();
    assert!(size < 700_000, "{size} bytes are not what somebody embeds for one format");
}
