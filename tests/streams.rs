//! Standard streams, arguments and environment: `gunzip` as any user would use it, whatever its readers and
//! writers do; and what a guest is told when it starts.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use vcpu_abi::layout::INFO_SIZE_MAX;
use vcpu_host::{Error, Outcome, Streams};
use vcpu_tests::{BackendKind, Guest, Live, on_every_backend, proc};

fn gunzip(backend: BackendKind) -> Guest {
    Guest::new("gunzip", backend)
}

/// Runs the system's own `gzip` as a filter.
fn gzip(options: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the system has gzip");
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("gzip reads"));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// Bytes that compress somewhat, as text does: words of a small vocabulary.
fn text(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 16);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    while bytes.len() < length {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let word = (random >> 32) % 5000;
        bytes.extend(format!("{word:x}{:x} ", word * word).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The files below a folder, in a fixed order, as far as they can be read.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Ten real files of this machine, compressed by others: changelogs and the like, the largest and some of
/// all sizes. A machine without documentation has other files, which are compressed here.
fn real_files() -> Vec<Vec<u8>> {
    const COUNT: usize = 10;
    let mut paths = Vec::new();
    files(Path::new("/usr/share"), &mut paths);
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let is_compressed = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "gz");
    let mut compressed: Vec<_> = paths.iter().filter(is_compressed).collect();
    compressed.sort_by_key(|path| std::cmp::Reverse(size(path)));
    if compressed.len() >= COUNT {
        let step = compressed.len() / COUNT;
        return compressed.iter().step_by(step).take(COUNT).map(|path| fs::read(path).unwrap()).collect();
    }
    let mut others: Vec<_> = paths.iter().filter(|path| size(path) < 4 << 20).collect();
    others.sort_by_key(|path| std::cmp::Reverse(size(path)));
    assert!(others.len() >= COUNT, "this machine has no files");
    others.iter().take(COUNT).map(|path| gzip(&["-9"], &fs::read(path).unwrap())).collect()
}

fn gunzip_gives_what_gzip_gives_for_real_files(backend: BackendKind) {
    for file in real_files() {
        let ended = gunzip(backend).input(file.clone()).run();
        assert_eq!(ended.status(), 0, "{ended}");
        assert!(
            ended.output == gzip(&["-dc"], &file),
            "the outputs of a file of {} bytes differ",
            file.len()
        );
    }
}

fn files_are_streams_as_pipes_are(backend: BackendKind) {
    let text = text(300_000);
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    fs::write(path("input"), gzip(&[], &text)).unwrap();
    let create = |name| File::create(path(name)).unwrap().into();
    let input = File::open(path("input")).unwrap().into();
    let streams = Streams { input, output: create("output"), errors: create("errors") };
    let guest = gunzip(backend).with(|config| config.streams = Some(streams));
    let outcome = guest.here(|mut sandbox| sandbox.run()).unwrap();
    assert!(matches!(outcome, Outcome::Exited(0)), "{outcome:?}");
    assert!(fs::read(path("output")).unwrap() == text);
    assert_eq!(fs::read(path("errors")).unwrap(), b"");
}

/// More data than the guest has memory, so it cannot but stream.
fn a_stream_can_be_larger_than_memory(backend: BackendKind) {
    const MEMORY: u64 = 8 << 20;
    const LENGTH: usize = 80 << 20;
    let piece = text(1 << 20);
    let live = gunzip(backend).with(|config| config.memory = Some(MEMORY)).start();
    let Live { input, mut output, outcome, .. } = live;
    let mut compressor = Command::new("gzip")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(input)
        .spawn()
        .expect("the system has gzip");
    let mut stdin = compressor.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..LENGTH / piece.len() {
                stdin.write_all(&piece).expect("gzip reads");
            }
            drop(stdin);
            assert!(compressor.wait().unwrap().success());
        });
        let mut bytes = vec![0; piece.len()];
        for _ in 0..LENGTH / piece.len() {
            output.read_exact(&mut bytes).unwrap();
            assert!(bytes == piece);
        }
        assert_eq!(output.read(&mut bytes).unwrap(), 0, "there is too much output");
    });
    assert!(matches!(outcome.join().unwrap(), Outcome::Exited(0)));
}

/// Bytes that lie in a pipe.
fn in_pipe(pipe: &impl AsRawFd) -> i32 {
    let mut count = 0;
    // SAFETY: the request writes a number.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) }, 0);
    count
}

fn input_may_come_byte_by_byte(backend: BackendKind) {
    let text = text(1000);
    let mut live = gunzip(backend).start();
    for byte in gzip(&[], &text) {
        live.input.write_all(&[byte]).unwrap();
        // The guest has taken it, and will find nothing.
        proc::wait_until("the byte is taken", || in_pipe(&live.input) == 0);
    }
    let ended = live.end(b"");
    assert_eq!((ended.status(), &ended.output), (0, &text), "{ended}");
}

fn input_may_come_after_a_pause(backend: BackendKind) {
    let text = text(1000);
    let compressed = gzip(&[], &text);
    let mut live = gunzip(backend).start();
    for half in [&compressed[..compressed.len() / 2], &compressed[compressed.len() / 2..]] {
        thread::sleep(Duration::from_millis(30));
        live.input.write_all(half).unwrap();
    }
    let ended = live.end(b"");
    assert_eq!((ended.status(), &ended.output), (0, &text), "{ended}");
}

fn output_may_be_read_slowly(backend: BackendKind) {
    let text = text(400_000);
    let Live { mut input, mut output, outcome, .. } = gunzip(backend).start();
    thread::scope(|scope| {
        scope.spawn(|| {
            input.write_all(&gzip(&[], &text)).unwrap();
            drop(input);
        });
        let mut found: Vec<u8> = Vec::new();
        let mut bytes = [0; 20_000];
        loop {
            // The guest fills the pipe, and waits.
            thread::sleep(Duration::from_millis(2));
            let count = output.read(&mut bytes).unwrap();
            if count == 0 {
                break;
            }
            found.extend(&bytes[..count]);
        }
        assert!(found == text);
    });
    assert!(matches!(outcome.join().unwrap(), Outcome::Exited(0)));
}

#[track_caller]
fn check_failure(guest: vcpu_tests::Ended, sentence: &str) {
    assert_eq!(guest.status(), 1, "{guest}");
    assert_eq!(guest.errors_text(), format!("gunzip: {sentence}\n"), "{guest}");
}

fn a_file_cut_short_anywhere_is_an_error(backend: BackendKind) {
    let compressed = gzip(&[], &text(3000));
    for length in
        (1..20).chain((20..compressed.len()).step_by(97)).chain(compressed.len() - 9..compressed.len())
    {
        let ended = gunzip(backend).input(&compressed[..length]).run();
        check_failure(ended, "the input ends unexpectedly");
    }
}

fn an_empty_input_is_an_error(backend: BackendKind) {
    assert_eq!(gunzip(backend).run().status(), 1);
}

fn input_that_ends_while_the_guest_waits_ends_the_stream(backend: BackendKind) {
    let live = gunzip(backend).start();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(live.end(b"").status(), 1);
}

/// Puts a pipe whose reader is gone in the place of the output.
fn without_reader(live: &mut Live) {
    let (reader, _writer): (PipeReader, PipeWriter) = pipe().unwrap();
    live.output = reader;
}

fn a_guest_whose_reader_is_gone_is_told_so(backend: BackendKind) {
    let compressed = gzip(&[], &text(10_000));
    let mut live = gunzip(backend).start();
    without_reader(&mut live);
    check_failure(live.end(&compressed), "the output cannot be written: the other end of the stream is gone");
}

fn a_guest_whose_reader_goes_while_it_waits_is_told_so(backend: BackendKind) {
    let compressed = gzip(&[], &text(1 << 20));
    let mut live = gunzip(backend).start();
    let mut input = live.input.try_clone().unwrap();
    let feeder = thread::spawn(move || input.write_all(&compressed));
    let mut before = 0;
    proc::wait_until("the pipe is full", || {
        thread::sleep(Duration::from_millis(20));
        std::mem::replace(&mut before, in_pipe(&live.output)) == before && before > 0
    });
    without_reader(&mut live);
    let ended = live.end(b"");
    check_failure(ended, "the output cannot be written: the other end of the stream is gone");
    // It has not read all of its input, and that is no harm.
    let _ = feeder.join().unwrap();
}

fn a_guest_that_never_had_a_reader_is_told_so(backend: BackendKind) {
    let (input, mut stdin) = pipe().unwrap();
    stdin.write_all(&gzip(&[], b"some text")).unwrap();
    let (mut errors, stderr) = pipe().unwrap();
    let streams = Streams { input: input.into(), output: pipe().unwrap().1.into(), errors: stderr.into() };
    drop(stdin);
    let guest = gunzip(backend).with(|config| config.streams = Some(streams));
    let outcome = guest.here(|mut sandbox| sandbox.run()).unwrap();
    assert!(matches!(outcome, Outcome::Exited(1)), "{outcome:?}");
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(text, "gunzip: the output cannot be written: the other end of the stream is gone\n");
}

fn printing_without_a_reader_is_a_panic(backend: BackendKind) {
    let streams = Streams { output: pipe().unwrap().1.into(), ..Streams::null().unwrap() };
    let guest = Guest::new("guest-reports", backend).arguments(["closed-output"]);
    let outcome =
        guest.with(|config| config.streams = Some(streams)).here(|mut sandbox| sandbox.run()).unwrap();
    let Outcome::Panicked(report) = &outcome else { panic!("{outcome:?}") };
    assert!(report.sentence.ends_with("failed printing: the other end of the stream is gone"), "{report}");
}

fn a_guest_without_streams_reads_nothing_and_writes_nowhere(backend: BackendKind) {
    let outcome = Guest::new("hello", backend).here(|mut sandbox| sandbox.run()).unwrap();
    assert!(matches!(outcome, Outcome::Exited(0)), "{outcome:?}");
    let outcome = gunzip(backend).here(|mut sandbox| sandbox.run()).unwrap();
    assert!(matches!(outcome, Outcome::Exited(1)), "{outcome:?}");
}

fn arguments_and_environment_arrive_byte_for_byte(backend: BackendKind) {
    let ended = Guest::new("guest-arguments", backend)
        .arguments([&b"two words"[..], b"", b"\xff\xfe not UTF-8", b"line\nfeed", b"--option=value", b""])
        .with(|config| {
            let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
            config.environment = vec![
                pair(b"NAME", b"value"),
                pair(b"EMPTY", b""),
                pair(b"B\xff", b"\xfe"),
                pair(b"E", b"a=b"),
            ];
        })
        .run();
    assert_eq!(ended.status(), 0, "{ended}");
    let expected: [&[u8]; 15] = [
        b"argument 15: guest-arguments",
        b"argument 9: two words",
        b"argument 0: ",
        b"argument 12: \xff\xfe not UTF-8",
        b"argument 9: line\nfeed",
        b"argument 14: --option=value",
        b"argument 0: ",
        b"name 4: NAME",
        b"value 5: value",
        b"name 5: EMPTY",
        b"value 0: ",
        b"name 2: B\xff",
        b"value 1: \xfe",
        b"name 1: E",
        b"value 3: a=b",
    ];
    let expected: Vec<u8> = expected.iter().flat_map(|line| [*line, b"\n"].concat()).collect();
    assert!(ended.output == expected, "{ended}");
}

fn nothing_of_the_hosts_environment_arrives(backend: BackendKind) {
    assert!(std::env::var_os("PATH").is_some(), "the host has an environment");
    let ended = Guest::new("guest-arguments", backend).run();
    ended.assert_output("argument 15: guest-arguments\n");
}

fn a_guest_can_have_no_arguments_at_all(backend: BackendKind) {
    Guest::new("guest-arguments", backend).with(|config| config.arguments.clear()).run().assert_output("");
}

fn arguments_may_take_all_the_room_and_not_a_byte_more(backend: BackendKind) {
    // Name and argument end with a zero byte each.
    let name = "guest-arguments".len() + 1;
    let room = INFO_SIZE_MAX as usize - size_of::<vcpu_abi::info::InfoPage>();
    let argument = |length| vec![b'x'; length];
    let fits = argument(room - name - 1);
    let ended = Guest::new("guest-arguments", backend).arguments([&fits]).run();
    assert_eq!(ended.status(), 0);
    assert!(ended.output.ends_with(&[&fits[..], b"\n"].concat()));

    let guest = Guest::new("guest-arguments", backend).arguments([argument(room - name)]);
    let refused = guest.here(|mut sandbox| sandbox.run()).unwrap_err();
    assert!(
        matches!(refused, Error::ArgumentsTooLong { size, room: most } if size == room + 1 && most == room),
        "{refused}"
    );
    assert_eq!(refused.to_string().lines().count(), 1);
}

fn what_cannot_be_an_argument_is_refused(backend: BackendKind) {
    let guest = Guest::new("guest-arguments", backend).arguments([b"a\0b"]);
    assert!(matches!(guest.here(|mut sandbox| sandbox.run()), Err(Error::BadArgument(_))));
    for name in [&b""[..], b"A=B", b"A\0"] {
        let guest = Guest::new("guest-arguments", backend)
            .with(|config| config.environment = vec![(name.to_vec(), b"value".to_vec())]);
        assert!(matches!(guest.here(|mut sandbox| sandbox.run()), Err(Error::BadArgument(_))));
    }
}

on_every_backend!(
    gunzip_gives_what_gzip_gives_for_real_files,
    files_are_streams_as_pipes_are,
    a_stream_can_be_larger_than_memory,
    input_may_come_byte_by_byte,
    input_may_come_after_a_pause,
    output_may_be_read_slowly,
    a_file_cut_short_anywhere_is_an_error,
    an_empty_input_is_an_error,
    input_that_ends_while_the_guest_waits_ends_the_stream,
    a_guest_whose_reader_is_gone_is_told_so,
    a_guest_whose_reader_goes_while_it_waits_is_told_so,
    a_guest_that_never_had_a_reader_is_told_so,
    printing_without_a_reader_is_a_panic,
    a_guest_without_streams_reads_nothing_and_writes_nowhere,
    arguments_and_environment_arrive_byte_for_byte,
    nothing_of_the_hosts_environment_arrives,
    a_guest_can_have_no_arguments_at_all,
    arguments_may_take_all_the_room_and_not_a_byte_more,
    what_cannot_be_an_argument_is_refused,
);
