//! Devices: what a guest that was granted a disk, entropy or a console sees of it, and what one sees that was
//! not.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::FileExt;
use std::thread;
use vcpu_host::{Config, Grant, Image, Machine, Outcome, Resource, Streams};
use vcpu_tests::{BackendKind, Guest, on_every_backend};

const BLOCK: usize = 512;

fn scenario(name: &str, backend: BackendKind, grants: Vec<Grant>) -> Guest {
    Guest::new("guest-devices", backend).arguments([name]).with(|config| config.grants = grants)
}

fn grant(name: &str, resource: Resource) -> Grant {
    Grant { name: name.into(), resource }
}

/// A file in memory, in which block N is full of the byte N.
fn numbered(blocks: usize) -> File {
    let file = File::from(memfd_create("disk", MemfdFlags::ALLOW_SEALING).unwrap());
    let bytes: Vec<u8> = (0..blocks).flat_map(|block| [block as u8; BLOCK]).collect();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

fn disk(file: &File, writable: bool) -> Grant {
    grant("disk", Resource::Block { file: file.try_clone().unwrap(), writable })
}

fn block(file: &File, number: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    file.read_exact_at(&mut block, (number * BLOCK) as u64).unwrap();
    block
}

/// A console, and the test's ends of it: what the guest reads, and what it writes.
fn port() -> (Grant, PipeWriter, PipeReader) {
    let ((input, test_input), (test_output, output)) = (pipe().unwrap(), pipe().unwrap());
    let console = Resource::Console { input: input.into(), output: output.into() };
    (grant("port", console), test_input, test_output)
}

fn devices_have_the_names_under_which_they_were_granted(backend: BackendKind) {
    let file = numbered(1);
    let (port, ..) = port();
    let grants = vec![disk(&file, true), grant("dice", Resource::Entropy), port];
    let expected = "0: Some(Block) disk\n1: Some(Entropy) dice\n2: Some(Console) port\n";
    scenario("list", backend, grants).run().assert_output(expected);
}

fn without_a_grant_there_is_no_device(backend: BackendKind) {
    let expected = "block: Err(NotFound)\nconsole: Err(NotFound)\nfile: Err(NotFound)\nfiles: Ok(0)\n\
        entropy: no entropy was granted: random bytes need that grant\nregister: Err(BadArgument)\n";
    scenario("nothing", backend, Vec::new()).run().assert_output(expected);
}

fn a_disk_is_read_and_written_and_has_an_end(backend: BackendKind) {
    let file = numbered(64);
    scenario("block", backend, vec![disk(&file, true)]).run().assert_output(
        "32768 bytes, blocks of 512, read only: false\n1 2 3\n7 true 24\nlast: None\n\
        beyond: Some(InvalidInput)\nhalf beyond: Some(InvalidInput)\nfar beyond: Some(InvalidInput)\n\
        write beyond: Some(InvalidInput)\nodd offset: Some(InvalidInput)\nodd length: Some(InvalidInput)\n\
        nothing: None\n",
    );
    let mut written = vec![0; 8192];
    file.read_exact_at(&mut written, 4096).unwrap();
    assert!(written.iter().enumerate().all(|(index, byte)| *byte == (index * 7) as u8));
    assert_eq!((block(&file, 7), block(&file, 24)), ([7; BLOCK], [24; BLOCK]));
    assert_eq!(file.metadata().unwrap().len(), 32768);
}

fn a_disk_that_was_granted_to_be_read_is_not_written(backend: BackendKind) {
    let file = numbered(4);
    let ended = scenario("block-read-only", backend, vec![disk(&file, false)]).run();
    ended.assert_output("read only: true\nwrite: Some(ReadOnlyFilesystem)\n1\n");
    assert_eq!(block(&file, 0), [0; BLOCK]);
}

fn a_disk_that_fails_is_an_ordinary_error(backend: BackendKind) {
    let file = numbered(4);
    fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    let ended = scenario("block-fails", backend, vec![disk(&file, true)]).run();
    ended.assert_output("write: Some(Other)\n1\n");
}

fn threads_share_a_disk(backend: BackendKind) {
    let file = numbered(200);
    scenario("block-threads", backend, vec![disk(&file, false)]).run().assert_output("0 wrong\n");
}

fn one_read_may_be_larger_than_a_request(backend: BackendKind) {
    let file = numbered(12000);
    let expected: u64 = (0..12000).map(|number: usize| u64::from(number as u8) * 512).sum();
    let ended = scenario("block-sum", backend, vec![disk(&file, false)]).run();
    ended.assert_output(&format!("{expected}\n"));
}

fn several_disks_do_not_disturb_each_other(backend: BackendKind) {
    let (one, two) = (numbered(1), numbered(2));
    two.write_all_at(&[77; BLOCK], 0).unwrap();
    let as_block = |name, file: File| grant(name, Resource::Block { file, writable: false });
    let grants = vec![as_block("one", one), as_block("two", two)];
    scenario("block-two", backend, grants).run().assert_output("0 77\nErr(NotFound) Err(NotFound)\n");
}

fn two_guests_with_the_same_disk_see_what_each_other_writes(backend: BackendKind) {
    let file = numbered(8);
    thread::scope(|scope| {
        for number in ["2", "5"] {
            let grants = vec![disk(&file, true)];
            scope.spawn(move || {
                let guest = scenario("block-mark", backend, grants).arguments([number]);
                guest.run().assert_output("marked\n");
            });
        }
    });
    assert_eq!((block(&file, 2), block(&file, 5)), ([2 ^ 0xff; BLOCK], [5 ^ 0xff; BLOCK]));
    assert_eq!((block(&file, 1), block(&file, 3)), ([1; BLOCK], [3; BLOCK]));
}

fn random_bytes_differ_each_time_and_in_each_guest(backend: BackendKind) {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..2 {
        let ended = scenario("entropy", backend, vec![grant("dice", Resource::Entropy)]).run();
        assert_eq!(ended.status(), 0, "{ended}");
        let lines: Vec<&str> = ended.output_text().lines().collect();
        let [one, two, "true"] = lines[..] else { panic!("{ended}") };
        seen.extend([one.into(), two.into()]);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:#?}");
}

fn an_image_that_wants_something_is_started_only_with_it(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-wants")).unwrap();
    let mut wants: Vec<_> = image.wants().iter().map(ToString::to_string).collect();
    // Who links the image orders its notes.
    wants.sort();
    assert_eq!(wants, ["block disk:ro", "dir media:ro", "entropy"]);
    let start = |grants| Machine::start(&image, Config { backend, grants, ..Config::default() });
    let error = start(Vec::new()).unwrap_err().to_string();
    assert!(
        error.contains("which were not granted") && wants.iter().all(|want| error.contains(want)),
        "{error}"
    );
}

fn crates_draw_random_numbers_without_knowing_where(backend: BackendKind) {
    let run = |grants| Guest::new("guest-random", backend).with(|config| config.grants = grants).run();
    let draw = || run(vec![grant("dice", Resource::Entropy)]);
    let (one, two) = (draw(), draw());
    assert!(one.status() == 0 && one.output_text().starts_with('['), "{one}");
    assert_ne!(one.output, two.output);
    run(Vec::new()).assert_output("getrandom: this target is not supported\n");
}

fn a_console_goes_both_ways_and_its_end_stays_the_end(backend: BackendKind) {
    let (console, mut input, mut output) = port();
    let live = scenario("console", backend, vec![console]).start();
    let mut lines = BufReader::new(&mut output).lines();
    for (line, expected) in [("one", "ONE"), ("two and three", "TWO AND THREE"), ("", "")] {
        writeln!(input, "{line}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), expected);
    }
    drop(input);
    live.end(b"").assert_output("after the end: Ok(0)\nno room: Ok(0)\n");
}

fn while_one_thread_waits_for_a_console_another_runs(backend: BackendKind) {
    let (console, mut input, _output) = port();
    let mut live = scenario("console-waits", backend, vec![console]).start();
    let mut line = [0; 20];
    live.output.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"another thread runs\n");
    // Only now is there anything to be read.
    input.write_all(b"late, ").unwrap();
    input.write_all(b"in two pieces").unwrap();
    drop(input);
    live.end(b"").assert_output("read: late, in two pieces\n");
}

fn a_thread_reads_a_console_while_another_fills_it(backend: BackendKind) {
    let (console, mut input, mut output) = port();
    let live = scenario("console-both", backend, vec![console]).start();
    thread::scope(|scope| {
        scope.spawn(move || input.write_all(&vec![b'x'; 300_000]).unwrap());
        let mut all = vec![0; 1 << 20];
        output.read_exact(&mut all).unwrap();
        assert!(all.iter().enumerate().all(|(index, byte)| *byte == index as u8));
    });
    live.end(b"").assert_output("300000 bytes\n");
}

fn a_console_that_nobody_reads_is_an_ordinary_error(backend: BackendKind) {
    let (console, _input, output) = port();
    drop(output);
    let ended = scenario("console-closed", backend, vec![console]).run();
    ended.assert_output("Err(BrokenPipe)\nErr(BrokenPipe)\n");
}

/// Runs the driver that does everything wrong, and gives what it printed and what the devices reported.
fn hostile(scenario: &str, grants: Vec<Grant>, backend: BackendKind) -> (String, Vec<String>) {
    let (mut output, stdout) = pipe().unwrap();
    let guest = Guest::new("guest-hostile-devices", backend).arguments([scenario]).with(|config| {
        let errors = stdout.try_clone().unwrap();
        let input = File::open("/dev/null").unwrap();
        config.streams = Some(Streams { input: input.into(), output: stdout.into(), errors: errors.into() });
        config.grants = grants;
    });
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    let run = |mut machine: Machine| Ok((machine.run()?, machine.device_reports()));
    let (outcome, reports) = guest.here(run).unwrap();
    let text = reader.join().unwrap();
    assert!(matches!(outcome, Outcome::Exited(0)), "{outcome:?}\n{text}");
    (text, reports)
}

fn wrong_rings_stop_their_device_and_nothing_else(backend: BackendKind) {
    let file = numbered(8);
    let (port, _input, output) = port();
    let drain = thread::spawn(move || BufReader::new(output).lines().count());
    let grants = vec![disk(&file, true), grant("dice", Resource::Entropy), port];
    let (text, reports) = hostile("rings", grants, backend);
    drain.join().unwrap();
    for line in text.lines() {
        assert!(line.ends_with(", works"), "{line}");
    }
    // Nothing of that may be done.
    let forbidden = [
        "loop",
        "leaves the table",
        "outside of the table",
        "more requests",
        "goes back",
        "overflows",
        "largest",
        "null",
        "vCPU page",
        "gate",
        "trap page",
        "information page",
        "area",
        "text",
        "image",
        "below RAM",
        "beyond RAM",
        "canonical",
        "indirect",
        "too large",
        "no power of two",
        "size of",
    ];
    for line in text.lines().filter(|line| forbidden.iter().any(|words| line.contains(words))) {
        assert!(line.contains(": stopped,") || line.contains(": refused,"), "{line}");
    }
    // The same request to a right place is carried out.
    assert!(text.contains("disk nothing wrong, for a disk: used, works\n"), "{text}");
    assert_eq!(text.lines().count(), 3 * 45, "{text}");
    for name in ["disk", "dice", "port"] {
        assert!(reports.iter().any(|report| report.contains(name)), "{name}: {reports:#?}");
    }
}

fn numbers_that_no_device_has_are_refused(backend: BackendKind) {
    let file = numbered(8);
    let (port, _input, output) = port();
    let drain = thread::spawn(move || BufReader::new(output).lines().count());
    let grants = vec![disk(&file, true), grant("dice", Resource::Entropy), port];
    let (text, _) = hostile("registers", grants, backend);
    drain.join().unwrap();
    assert_eq!(text, "0: works\n1: works\n2: works\n");
}

fn rings_that_change_while_the_host_reads_harm_nobody(backend: BackendKind) {
    let (port, mut input, output) = port();
    let drain = thread::spawn(move || BufReader::new(output).lines().count());
    let writer = thread::spawn(move || while input.write_all(&[b'x'; 777]).is_ok() {});
    let (text, _) = hostile("scribble", vec![port], backend);
    assert_eq!(text, "works\n");
    writer.join().unwrap();
    drain.join().unwrap();
}

on_every_backend!(
    wrong_rings_stop_their_device_and_nothing_else,
    numbers_that_no_device_has_are_refused,
    rings_that_change_while_the_host_reads_harm_nobody,
    devices_have_the_names_under_which_they_were_granted,
    without_a_grant_there_is_no_device,
    a_disk_is_read_and_written_and_has_an_end,
    a_disk_that_was_granted_to_be_read_is_not_written,
    a_disk_that_fails_is_an_ordinary_error,
    threads_share_a_disk,
    one_read_may_be_larger_than_a_request,
    several_disks_do_not_disturb_each_other,
    two_guests_with_the_same_disk_see_what_each_other_writes,
    random_bytes_differ_each_time_and_in_each_guest,
    crates_draw_random_numbers_without_knowing_where,
    an_image_that_wants_something_is_started_only_with_it,
    a_console_goes_both_ways_and_its_end_stays_the_end,
    while_one_thread_waits_for_a_console_another_runs,
    a_thread_reads_a_console_while_another_fills_it,
    a_console_that_nobody_reads_is_an_ordinary_error,
);
