//! Snapshots: what a guest is after its start is what every guest is that begins there, and nothing more.

use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;
use vcpu_host::embed::{CallError, Snapshot};
use vcpu_host::{Grant, Image, Resource, Sandbox, Streams};
use vcpu_tests::{BackendKind, again, on_every_backend};

/// More time than any call needs that ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// A deadline that is to come.
const SOON: Duration = Duration::from_millis(100);

/// How the guest has set its processor before the snapshot, and another way.
const MODES: u32 = 0x1fa0;
const OTHER_MODES: u32 = 0x7f80;

fn start(backend: BackendKind) -> (Sandbox, Snapshot) {
    let image = Image::open(vcpu_tests::image("guest-snapshot")).expect("the image is one");
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
    let mut sandbox = builder.build().expect("the sandbox starts");
    let snapshot = sandbox.snapshot().expect("the guest waits");
    (sandbox, snapshot)
}

fn another(snapshot: &Snapshot) -> Sandbox {
    snapshot.builder().call_deadline(PATIENCE).build().expect("a guest goes on from the snapshot")
}

fn call<R: serde::de::DeserializeOwned>(sandbox: &mut Sandbox, name: &str) -> R {
    sandbox.call(name, &()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

on_every_backend!(
    the_guest_goes_on_after_its_snapshot,
    a_reset_sets_back_memory_registers_and_rights,
    fresh_memory_holds_what_it_held,
    a_guest_that_ended_is_reset,
    many_guests_begin_alike_and_share_nothing,
    threads_and_timers_go_on,
    a_deadline_that_comes_meanwhile_is_in_the_snapshot,
    the_clock_goes_on_from_the_snapshot,
    guests_are_kept_ready,
    a_snapshot_outlives_its_sandbox_and_moves_between_threads,
    a_dead_guest_has_no_snapshot,
    the_deadline_of_calls_is_that_of_the_first_sandbox,
    functions_stay_with_the_sandbox,
    resets_leave_nothing_behind,
    limits_begin_anew,
    devices_go_on_and_random_numbers_differ,
    a_guest_with_open_files_has_no_snapshot,
    grants_are_those_of_the_snapshot,
    memory_of_a_guest_that_had_less_is_made_whole,
    a_reset_that_is_refused_changes_nothing,
    guests_that_cannot_be_made_are_an_error_each_time,
    who_waits_for_input_goes_on_waiting,
);

fn the_guest_goes_on_after_its_snapshot(backend: BackendKind) {
    let (mut sandbox, snapshot) = start(backend);
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
    assert_eq!(call::<u32>(&mut sandbox, "modes") & !0x3f, MODES & !0x3f);
    let second = sandbox.snapshot().expect("the guest waits");
    assert_eq!(call::<u32>(&mut sandbox, "count"), 101);
    sandbox.reset(&snapshot).unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
    sandbox.reset(&second).unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 101);
}

fn a_reset_sets_back_memory_registers_and_rights(backend: BackendKind) {
    let (mut sandbox, snapshot) = start(backend);
    snapshot.keep_ready(1).unwrap();
    for _ in 0..3 {
        assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
        assert_eq!(call::<u64>(&mut sandbox, "touch"), 7);
        assert_eq!(call::<u32>(&mut sandbox, "modes") & !0x3f, MODES & !0x3f);
        sandbox.call::<u32, ()>("set_modes", &OTHER_MODES).unwrap();
        assert_eq!(call::<u32>(&mut sandbox, "modes") & !0x3f, OTHER_MODES & !0x3f);
        assert!(call::<bool>(&mut sandbox, "forbid"));
        assert!(matches!(sandbox.call::<(), u64>("touch", &()), Err(CallError::Ended(_))));
        sandbox.reset(&snapshot).unwrap();
    }
    assert_eq!(sandbox.metrics().resets, 3);
}

fn fresh_memory_holds_what_it_held(backend: BackendKind) {
    let (mut sandbox, snapshot) = start(backend);
    snapshot.keep_ready(1).unwrap();
    let mut first = None;
    for round in 0..4 {
        let sum: u64 = sandbox.call("fill", &(2u32 << 20)).unwrap();
        // Hardly anything was there: fresh memory is zero, but for what the heap had used before.
        assert!(sum < 1000, "{sum}");
        assert_eq!(*first.get_or_insert(sum), sum, "round {round}");
        sandbox.reset(&snapshot).unwrap();
        snapshot.wait_until_ready().unwrap();
    }
}

fn a_guest_that_ended_is_reset(backend: BackendKind) {
    let (sandbox, snapshot) = start(backend);
    drop(sandbox);
    let mut sandbox = snapshot.builder().call_deadline(SOON).build().unwrap();
    for end in ["fault", "spin"] {
        assert!(matches!(sandbox.call::<(), ()>(end, &()), Err(CallError::Ended(_))), "{end}");
        assert!(matches!(sandbox.call::<(), u32>("count", &()), Err(CallError::Dead)), "{end}");
        sandbox.reset(&snapshot).unwrap();
        assert_eq!(call::<u32>(&mut sandbox, "count"), 100, "{end}");
    }
}

fn many_guests_begin_alike_and_share_nothing(backend: BackendKind) {
    let (sandbox, snapshot) = start(backend);
    let mut all: Vec<_> = std::iter::once(sandbox).chain((0..9).map(|_| another(&snapshot))).collect();
    let pids: BTreeSet<i32> = all.iter_mut().map(Sandbox::pid).collect();
    assert_eq!(pids.len(), all.len());
    for (number, sandbox) in all.iter_mut().enumerate() {
        for turn in 0..number as u32 {
            assert_eq!(call::<u32>(sandbox, "count"), 100 + turn);
        }
    }
    for (number, sandbox) in all.iter_mut().enumerate() {
        assert_eq!(call::<u32>(sandbox, "count"), 100 + number as u32);
    }
}

fn threads_and_timers_go_on(backend: BackendKind) {
    let (sandbox, snapshot) = start(backend);
    for mut sandbox in [sandbox, another(&snapshot), another(&snapshot)] {
        assert!(call::<u32>(&mut sandbox, "ticks") > 0);
        assert!(call::<bool>(&mut sandbox, "timer"));
    }
}

/// The guest's thread sleeps for 2 ms at a time, so sometimes that ends while a snapshot is taken.
fn a_deadline_that_comes_meanwhile_is_in_the_snapshot(backend: BackendKind) {
    let (mut sandbox, _) = start(backend);
    for round in 0..100 {
        call::<u64>(&mut sandbox, "now");
        std::thread::sleep(Duration::from_micros(round % 50 * 50));
        let snapshot = sandbox.snapshot().unwrap();
        assert!(call::<u32>(&mut another(&snapshot), "ticks") > 0, "round {round}");
    }
}

fn the_clock_goes_on_from_the_snapshot(backend: BackendKind) {
    let (mut sandbox, snapshot) = start(backend);
    let before: u64 = call(&mut sandbox, "now");
    std::thread::sleep(Duration::from_millis(300));
    let mut another = another(&snapshot);
    let first: u64 = call(&mut another, "now");
    let second: u64 = call(&mut another, "now");
    assert!(first < before + 300_000_000, "the time between is not the new guest's: {before} and {first}");
    assert!(second >= first);
}

fn guests_are_kept_ready(backend: BackendKind) {
    let (mut sandbox, snapshot) = start(backend);
    assert_eq!(snapshot.ready(), 0);
    snapshot.keep_ready(3).unwrap();
    snapshot.wait_until_ready().unwrap();
    assert_eq!(snapshot.ready(), 3);
    for _ in 0..20 {
        assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
        sandbox.reset(&snapshot).unwrap();
    }
    snapshot.wait_until_ready().unwrap();
    snapshot.keep_ready(1).unwrap();
    assert!(snapshot.ready() <= 1);
    snapshot.keep_ready(0).unwrap();
    sandbox.reset(&snapshot).unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
}

fn a_snapshot_outlives_its_sandbox_and_moves_between_threads(backend: BackendKind) {
    let (sandbox, snapshot) = start(backend);
    let moved = std::thread::spawn(move || {
        let mut sandbox = sandbox;
        assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
        sandbox
    });
    // The thread that has used it is gone; its guest is not.
    let mut sandbox = moved.join().unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 101);
    drop(sandbox);
    let made = std::thread::scope(|scope| {
        let make = || scope.spawn(|| another(&snapshot));
        let threads: Vec<_> = (0..4).map(|_| make()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for mut sandbox in made {
        assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
        assert!(call::<bool>(&mut sandbox, "is_ready"));
    }
}

fn the_deadline_of_calls_is_that_of_the_first_sandbox(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-snapshot")).expect("the image is one");
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(SOON);
    let snapshot = builder.build().unwrap().snapshot().unwrap();
    let mut another = snapshot.builder().build().unwrap();
    assert!(matches!(another.call::<(), ()>("spin", &()), Err(CallError::Ended(_))));
}

fn a_dead_guest_has_no_snapshot(backend: BackendKind) {
    let (mut sandbox, _) = start(backend);
    assert!(matches!(sandbox.call::<(), ()>("fault", &()), Err(CallError::Ended(_))));
    assert!(matches!(sandbox.snapshot(), Err(CallError::Dead)));
}

fn functions_stay_with_the_sandbox(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-embed")).expect("the image is one");
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
    let mut sandbox = builder.function("double", |value: u32| value * 2).build().unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let ask = |sandbox: &mut Sandbox| sandbox.call::<_, String>("ask", &("double", 21u32)).unwrap();
    assert_eq!(ask(&mut sandbox), "42");
    sandbox.reset(&snapshot).unwrap();
    assert_eq!(ask(&mut sandbox), "42");
    let mut other = snapshot.builder().function("double", |value: u32| value + 1).build().unwrap();
    assert_eq!(ask(&mut other), "22");
    let mut without = snapshot.builder().build().unwrap();
    assert!(ask(&mut without).contains("no function `double`"));
}

/// Neither processes, nor descriptors, nor threads.
fn resets_leave_nothing_behind(backend: BackendKind) {
    // Other tests run beside this one, so it counts what is its own: the children and files of a child.
    let (mut sandbox, snapshot) = start(backend);
    let mut pids = BTreeSet::new();
    for _ in 0..20 {
        pids.insert(sandbox.pid());
        sandbox.reset(&snapshot).unwrap();
    }
    pids.remove(&sandbox.pid());
    for pid in pids {
        // A number may have been given again by now, but hardly to a guest.
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        assert!(!name.starts_with("vcpu-guest"), "guest {pid} is still there");
    }
}

fn limits_begin_anew(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-embed")).expect("the image is one");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut streams = Streams::null().unwrap();
    streams.output = writer.into();
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
    let mut sandbox = builder.streams(streams).output_limit(4).build().unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    for _ in 0..3 {
        sandbox.call::<_, ()>("print", "one").unwrap();
        assert!(matches!(sandbox.call::<_, ()>("print", "two"), Err(CallError::Ended(_))));
        sandbox.reset(&snapshot).unwrap();
    }
    drop(sandbox);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "one\n".repeat(3));
}

/// A directory with a file, the same file as a disk, and entropy; whatever they are called.
fn grants(folder: &tempfile::TempDir, names: [&str; 3]) -> [Grant; 3] {
    let path = folder.path().join("text");
    std::fs::write(&path, [b'x'; 512]).unwrap();
    let disk = std::fs::File::open(path).unwrap();
    let resources = [
        Resource::Directory { path: folder.path().to_owned(), writable: false, exclusive: false },
        Resource::Block { file: disk, writable: false },
        Resource::Entropy,
    ];
    let mut names = names.into_iter();
    resources.map(|resource| Grant { name: names.next().unwrap().to_owned(), resource })
}

fn with_devices(backend: BackendKind, folder: &tempfile::TempDir) -> Sandbox {
    let image = Image::open(vcpu_tests::image("guest-snapshot")).expect("the image is one");
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
    let granted = grants(folder, ["files", "disk", "entropy"]);
    granted.into_iter().fold(builder, vcpu_host::embed::SandboxBuilder::grant).build().unwrap()
}

fn devices_go_on_and_random_numbers_differ(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = BTreeSet::new();
    let mut look = |sandbox: &mut Sandbox| {
        assert!(random.insert(call::<[u8; 16]>(sandbox, "random")), "a random number came twice");
        assert_eq!(call::<String>(sandbox, "read_file"), "x".repeat(512));
        assert_eq!(call::<Vec<u8>>(sandbox, "read_disk"), [b'x'; 512]);
    };
    for drivers_began_before in [false, true] {
        let mut sandbox = with_devices(backend, &folder);
        if drivers_began_before {
            call::<()>(&mut sandbox, "use_devices");
        }
        let snapshot = sandbox.snapshot().unwrap();
        snapshot.keep_ready(2).unwrap();
        look(&mut sandbox);
        for _ in 0..3 {
            // What one guest leaves open is no other's.
            call::<()>(&mut sandbox, "keep_open");
            sandbox.reset(&snapshot).unwrap();
            look(&mut sandbox);
        }
        let granted = grants(&folder, ["files", "disk", "entropy"]).into_iter();
        let builder = snapshot.builder().call_deadline(PATIENCE);
        let mut another = granted.fold(builder, vcpu_host::embed::SandboxBuilder::grant).build().unwrap();
        look(&mut another);
        look(&mut sandbox);
    }
}

fn a_guest_with_open_files_has_no_snapshot(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = with_devices(backend, &folder);
    call::<()>(&mut sandbox, "keep_open");
    let error = sandbox.snapshot().unwrap_err().to_string();
    assert!(error.contains("files open in \"files\""), "{error}");
    assert_eq!(call::<String>(&mut sandbox, "read_file"), "x".repeat(512));
}

fn grants_are_those_of_the_snapshot(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = with_devices(backend, &folder);
    let snapshot = sandbox.snapshot().unwrap();
    for names in [&["files", "disk"][..], &[], &["files", "disc", "entropy"], &["disk", "files", "entropy"]] {
        let mut all = names.to_vec();
        all.resize(3, "unused");
        let granted = grants(&folder, all.try_into().unwrap()).into_iter().take(names.len());
        let builder = granted.fold(snapshot.builder(), vcpu_host::embed::SandboxBuilder::grant);
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains("grants are not those"), "{error}");
    }
}

/// A guest gets the memory of one that never had what the snapshot has.
fn memory_of_a_guest_that_had_less_is_made_whole(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-snapshot")).expect("the image is one");
    let start = || Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE).build().unwrap();
    let mut all: Vec<_> = (0..4).map(|_| start()).collect();
    let mut other = start();
    let buffer = other.allocate(1 << 20).unwrap();
    let bytes = vec![0xaa; 1 << 20];
    other.write(buffer.slice(), 0, &bytes).unwrap();
    let snapshot = other.snapshot().unwrap();
    snapshot.keep_ready(all.len()).unwrap();
    for round in 0..3 {
        snapshot.wait_until_ready().unwrap();
        all.iter_mut().for_each(|sandbox| sandbox.reset(&snapshot).unwrap());
        for sandbox in &mut all {
            assert!(sandbox.to_vec(buffer.slice()).unwrap() == bytes, "round {round}");
        }
    }
}

fn a_reset_that_is_refused_changes_nothing(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = with_devices(backend, &folder);
    let snapshot = sandbox.snapshot().unwrap();
    let (_, without_devices) = start(backend);
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
    let error = sandbox.reset(&without_devices).unwrap_err().to_string();
    assert!(error.contains("grants are not those"), "{error}");
    assert_eq!(call::<u32>(&mut sandbox, "count"), 101);
    assert_eq!(call::<String>(&mut sandbox, "read_file"), "x".repeat(512));
    sandbox.reset(&snapshot).unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
    assert_eq!(call::<String>(&mut sandbox, "read_file"), "x".repeat(512));
}

fn guests_that_cannot_be_made_are_an_error_each_time(backend: BackendKind) {
    if !again::is_other() {
        return again::run(&again::test("guests_that_cannot_be_made_are_an_error_each_time", backend));
    }
    let (mut sandbox, snapshot) = start(backend);
    let before = getrlimit(Limit::Nofile);
    // Nobody gets a descriptor any more.
    setrlimit(Limit::Nofile, Rlimit { current: Some(1), ..before }).unwrap();
    snapshot.keep_ready(1).unwrap();
    for _ in 0..3 {
        assert!(snapshot.wait_until_ready().is_err());
    }
    setrlimit(Limit::Nofile, before).unwrap();
    // What failed before is said once more at most.
    let ready = (0..3).any(|_| snapshot.wait_until_ready().is_ok());
    assert!(ready);
    sandbox.reset(&snapshot).unwrap();
    assert_eq!(call::<u32>(&mut sandbox, "count"), 100);
}

fn who_waits_for_input_goes_on_waiting(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-snapshot")).expect("the image is one");
    let (input, mut feed) = std::io::pipe().unwrap();
    let streams = Streams { input: input.into(), ..Streams::null().unwrap() };
    let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
    let mut sandbox = builder.streams(streams).build().unwrap();
    call::<()>(&mut sandbox, "begin_to_read");
    let snapshot = sandbox.snapshot().unwrap();
    sandbox.reset(&snapshot).unwrap();
    feed.write_all(b"first\n").unwrap();
    assert_eq!(call::<Option<String>>(&mut sandbox, "what_was_read").as_deref(), Some("first\n"));
    let (input, mut feed) = std::io::pipe().unwrap();
    let streams = Streams { input: input.into(), ..Streams::null().unwrap() };
    let mut another = snapshot.builder().call_deadline(PATIENCE).streams(streams).build().unwrap();
    feed.write_all(b"second\n").unwrap();
    assert_eq!(call::<Option<String>>(&mut another, "what_was_read").as_deref(), Some("second\n"));
}
