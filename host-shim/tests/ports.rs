//! The ports in `apps`: each is fetched and built twice, for a virtual CPU and natively, from the same source
//! by the same script, and must do the same in the sandbox as natively.
//!
//! The sources come from registries, so the first run needs them. What takes minutes is ignored here and run
//! by `cargo xtask full`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;
use vcpu_host::build::{self, Options, port};

const VCPU: &str = env!("CARGO_BIN_EXE_vcpu");

/// A guest that has not ended by then has failed.
const PATIENCE: &str = "600s";

fn options() -> Options {
    Options {
        manifest_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        tool: Some(VCPU.into()),
        quiet: true,
        ..Options::default()
    }
}

/// The image of a port.
#[track_caller]
fn image(name: &str) -> PathBuf {
    build::build(&[name], &options()).unwrap_or_else(|error| panic!("{name}: {error}")).remove(0).path
}

/// The same program for the machine.
#[track_caller]
fn native(name: &str) -> PathBuf {
    port::build_native(name, &options()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A port in the sandbox, granted these directories (`NAME=PATH:rw`). It begins in the first.
fn sandboxed(name: &str, granted: &[String], arguments: &[&str]) -> Command {
    sandboxed_by("seccomp", name, granted, arguments)
}

fn sandboxed_by(backend: &str, name: &str, granted: &[String], arguments: &[&str]) -> Command {
    let mut command = Command::new(VCPU);
    command.args(["run", "--backend", backend, "--time-limit", PATIENCE]);
    // Where it begins, and what Lua's tests want to find.
    if let Some((name, _)) = granted.first().and_then(|granted| granted.split_once('=')) {
        command.args(["--env", &format!("PWD=/{name}"), "--env", "PATH=/"]);
    }
    for directory in granted {
        command.args(["--dir", directory]);
    }
    command.arg(image(name)).arg("--").args(arguments);
    command
}

/// The grant of a directory for reading and writing.
fn writable(name: &str, directory: &Path) -> String {
    format!("{name}={}:rw", directory.display())
}

/// The grant of a directory that nobody else changes meanwhile.
fn own(name: &str, directory: &Path) -> String {
    writable(name, directory) + ",exclusive"
}

/// Runs a command with this input, and gives what it wrote if it ended well.
#[track_caller]
fn finish(command: &mut Command, input: &[u8]) -> Output {
    let mut child = start(command);
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        // Whoever does not read its input closes it.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the program ends")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    let end = errors.len().saturating_sub(2000);
    let end = (end..errors.len()).find(|at| errors.is_char_boundary(*at)).unwrap_or(errors.len());
    assert!(output.status.success(), "{command:?} ended with {}: {}", output.status, &errors[end..]);
    output
}

/// Starts a command with pipes for its streams.
fn start(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bytes that can be compressed, but not by much: words out of a linear congruential generator.
struct Words {
    state: u64,
    left: u64,
}

impl Words {
    fn new(length: u64) -> Words {
        Words { state: 1, left: length }
    }
}

impl Read for Words {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.left as usize);
        for byte in &mut buffer[..count] {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = b"etaoin shrdlu\n\xC3\xA4"[(self.state >> 60) as usize];
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Fails if the two give different bytes.
#[track_caller]
fn assert_equal(mut found: impl Read, mut expected: impl Read) {
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0u64;
    loop {
        let count = found.read(&mut left).expect("what was found can be read");
        if count == 0 {
            assert_eq!(expected.read(&mut right).expect("it can be read"), 0, "it ends after {at} bytes");
            return;
        }
        expected.read_exact(&mut right[..count]).unwrap_or_else(|error| panic!("after {at} bytes: {error}"));
        assert!(left[..count] == right[..count], "it differs after {at} bytes");
        at += count as u64;
    }
}

#[test]
fn zlibs_own_tests_say_what_they_say_natively() {
    for name in ["zlib:example", "zlib:infcover"] {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let work = [writable("work", there.path())];
        let found = finish(&mut sandboxed(name, &work, &["foo.gz"]), b"");
        let expected = finish(Command::new(native(name)).arg("foo.gz").current_dir(here.path()), b"");
        assert!(!expected.stdout.is_empty() || !expected.stderr.is_empty());
        assert_eq!(text(&found), text(&expected), "{name}");
        assert_eq!(
            String::from_utf8_lossy(&found.stderr),
            String::from_utf8_lossy(&expected.stderr),
            "{name}"
        );
    }
}

/// Compresses words in the sandbox, and has them expanded by `gzip`, all at once.
fn compress(length: u64) {
    let mut minigzip = start(&mut sandboxed("zlib:minigzip", &[], &[]));
    let compressed = minigzip.stdout.take().expect("a pipe");
    let mut gzip = Command::new("gzip").arg("-dc").stdin(compressed).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = minigzip.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(move || io::copy(&mut Words::new(length), &mut stdin).expect("minigzip reads it all"));
        assert_equal(gzip.stdout.take().expect("a pipe"), Words::new(length));
    });
    assert!(minigzip.wait().unwrap().success() && gzip.wait().unwrap().success());
}

#[test]
fn what_minigzip_compresses_gzip_expands() {
    compress(32 << 20);
}

#[test]
#[ignore = "takes a minute"]
fn a_gigabyte_through_minigzip_is_the_same_gigabyte() {
    compress(1 << 30);
}

#[test]
fn minigzip_gives_the_bytes_it_gives_natively_and_expands_what_gzip_compressed() {
    let mut words = Vec::new();
    Words::new(3_000_001).read_to_end(&mut words).unwrap();
    let found = finish(&mut sandboxed("zlib:minigzip", &[], &[]), &words);
    assert!(found.stdout == finish(&mut Command::new(native("zlib:minigzip")), &words).stdout);
    let compressed = finish(Command::new("gzip").arg("-9c"), &words).stdout;
    assert!(finish(&mut sandboxed("zlib:minigzip", &[], &["-d"]), &compressed).stdout == words);
}

/// Leaves out of Lua's own tests only what starts other programs, by their own switch for it: all of main.lua,
/// and a part of files.lua. Nothing else is switched off.
const LUA_TESTS: &str = "
    local load, starts = loadfile, {['main.lua'] = true, ['gc.lua'] = false, ['files.lua'] = true}
    function loadfile(name, ...)
      if starts[name] ~= nil then _port = starts[name] end
      return load(name, ...)
    end";

#[test]
fn luas_own_tests_end_well() {
    let place = tempfile::tempdir().unwrap();
    let tests = source("lua", "SOURCE_LUPA").join("third-party/lua54/testes");
    let copied = Command::new("cp").arg("-r").arg(tests).arg(place.path()).status().unwrap();
    assert!(copied.success());
    fs::create_dir(place.path().join("tmp")).unwrap();
    let granted =
        [writable("testes", &place.path().join("testes")), writable("tmp", &place.path().join("tmp"))];
    let mut lua = sandboxed("lua", &granted, &["-W", "-e", LUA_TESTS, "all.lua"]);
    let found = finish(&mut lua, b"");
    assert!(text(&found).contains("\nfinal OK !!!\n"), "{}", text(&found));
}

/// The unpacked source of a port, as its build sees it: one that prints it is made of it.
#[track_caller]
fn source(port: &str, variable: &str) -> PathBuf {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join(port);
    fs::create_dir(&folder).unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("apps").join(port);
    let description = fs::read_to_string(original.join("port.toml")).unwrap();
    let (_, sources) = description.split_once("[source").unwrap();
    fs::write(folder.join("port.toml"), format!("images = ['path']\n[source{sources}")).unwrap();
    fs::write(folder.join("build.sh"), format!("printf %s \"${variable}\" > path\n")).unwrap();
    fs::read_to_string(native(folder.to_str().unwrap())).unwrap().into()
}

#[test]
fn lua_says_the_same_by_both_backends() {
    let script = "print(string.format('%a %.17g', 0.1, math.pi), #arg, arg[1], 7 // 2, 2^63, math.type(3))";
    let arguments = ["-e", script, "-", "word"];
    let expected = text(&finish(Command::new(native("lua")).args(arguments), b"print(...)\n"));
    for backend in ["ptrace", "seccomp"] {
        let found = finish(&mut sandboxed_by(backend, "lua", &[], &arguments), b"print(...)\n");
        assert_eq!(text(&found), expected, "{backend}");
    }
}

#[test]
fn minimp3_decodes_to_the_same_samples() {
    let program = native("minimp3");
    let music = fs::read(program.with_file_name("music.mp3")).unwrap();
    let expected = finish(&mut Command::new(program), &music);
    let found = finish(&mut sandboxed("minimp3", &[], &[]), &music);
    assert!(expected.stdout.len() > 100_000 && expected.stdout.iter().any(|byte| *byte != 0));
    assert!(found.stdout == expected.stdout && found.stderr == expected.stderr);
}

/// Runs SQLite's shell natively on a database.
#[track_caller]
fn query(database: &Path, statements: &str) -> String {
    text(&finish(Command::new(native("sqlite:sqlite3")).arg(database).arg(statements), b""))
}

/// Compares SQLite's own speed test of this size: it computes a hash over all results.
fn speed_test(size: &str, more: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let hash = |output: &Output| {
        let text = text(output);
        let line = text.lines().find(|line| line.starts_with("Verification Hash:")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("there is no hash in {text}"))
    };
    let arguments = |database| [&["--size", size, "--verify"], more, &[database]].concat();
    let mut program = Command::new(native("sqlite:speedtest1"));
    let native = finish(program.args(arguments("native.db")).current_dir(place.path()), b"");
    for grant in [writable, own] {
        let data = [grant("data", place.path())];
        let found = finish(&mut sandboxed("sqlite:speedtest1", &data, &arguments("found.db")), b"");
        assert_eq!(hash(&found), hash(&native));
        assert_eq!(query(&place.path().join("found.db"), "PRAGMA integrity_check"), "ok\n");
    }
}

#[test]
#[ignore = "SQLite takes minutes to build"]
fn sqlites_speed_test_gives_the_native_hash() {
    speed_test("5", &[]);
}

#[test]
#[ignore = "SQLite takes minutes to build"]
fn sqlites_speed_test_gives_the_native_hash_with_threads_that_sort() {
    speed_test("5", &["--threads", "2", "--multithread"]);
}

#[test]
#[ignore = "takes a minute"]
fn the_whole_of_sqlites_speed_test_gives_the_native_hash() {
    speed_test("100", &[]);
}

#[test]
#[ignore = "SQLite takes minutes to build"]
fn a_database_of_the_sandbox_opens_natively_and_back() {
    let place = tempfile::tempdir().unwrap();
    let data = [writable("data", place.path())];
    let here = place.path().join("x.db");
    let sandboxed =
        |statements| text(&finish(&mut sandboxed("sqlite:sqlite3", &data, &["x.db", statements]), b""));
    sandboxed("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t(b) VALUES('one'), ('two')");
    assert_eq!(query(&here, "PRAGMA integrity_check; INSERT INTO t(b) VALUES('three')"), "ok\n");
    let statements = "PRAGMA integrity_check; SELECT a, b, typeof(b) FROM t ORDER BY b";
    assert_eq!(sandboxed(statements), "ok\n1|one|text\n3|three|text\n2|two|text\n");
}

#[test]
#[ignore = "SQLite takes minutes to build"]
fn two_guests_and_a_program_share_a_database() {
    const TURNS: usize = 60;
    let place = tempfile::tempdir().unwrap();
    let database = place.path().join("x.db");
    query(
        &database,
        "CREATE TABLE count(rows INTEGER); INSERT INTO count VALUES(0); CREATE TABLE log(text TEXT)",
    );
    let data = [writable("data", place.path())];
    // Who reads and then writes what it read has lost the other's work, if the locks do not keep them apart.
    let turn = "BEGIN IMMEDIATE; INSERT INTO log SELECT rows || hex(randomblob(300)) FROM count;\n\
                UPDATE count SET rows = rows + 1; COMMIT; PRAGMA integrity_check;\n";
    let work = format!(".timeout 100000\n{}", turn.repeat(TURNS));
    let said = thread::scope(|scope| {
        let begin = |mut command: Command| {
            let work = &work;
            scope.spawn(move || text(&finish(&mut command, work.as_bytes())))
        };
        let mut program = Command::new(native("sqlite:sqlite3"));
        program.arg(&database);
        let guest = || sandboxed("sqlite:sqlite3", &data, &["x.db"]);
        [program, guest(), guest()].map(begin).map(|thread| thread.join().unwrap())
    });
    assert_eq!(said, [(); 3].map(|()| "ok\n".repeat(TURNS)));
    let all = (3 * TURNS).to_string() + "\n";
    assert_eq!(query(&database, "SELECT rows FROM count"), all);
    assert_eq!(query(&database, "SELECT count(*) FROM log"), all);
}

/// How often the guest is killed while it writes.
const KILLS: u64 = 12;

#[test]
#[ignore = "SQLite takes minutes to build"]
fn a_database_is_whole_wherever_its_writer_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let database = place.path().join("x.db");
    query(
        &database,
        "CREATE TABLE log(number INTEGER, text TEXT); CREATE TABLE count(rows INTEGER); INSERT INTO count VALUES(0)",
    );
    // A transaction adds ten rows, and ten to the count: any part of it alone would show.
    let mut transaction = "BEGIN;".to_string();
    for number in 0..10 {
        transaction += &format!("INSERT INTO log VALUES({number}, hex(randomblob(400)));");
    }
    transaction += "UPDATE count SET rows = rows + 10; COMMIT; SELECT 'done';\n";
    let rows = || -> u64 { query(&database, "SELECT rows FROM count").trim().parse().unwrap() };
    let mut words = Words::new(u64::MAX);
    let mut said = 0;
    for kill in 0..KILLS {
        let grant = if kill % 2 == 0 { writable } else { own };
        let data = [grant("data", place.path())];
        let mut guest = start(&mut sandboxed("sqlite:sqlite3", &data, &["x.db"]));
        let (mut stdin, mut stdout) = (guest.stdin.take().unwrap(), guest.stdout.take().unwrap());
        let transaction = transaction.as_bytes();
        let done = thread::scope(|scope| {
            // It ends when the guest does.
            scope.spawn(move || while stdin.write_all(transaction).is_ok() {});
            let mut first = [0; 5];
            stdout.read_exact(&mut first).expect("the guest has written something");
            io::copy(&mut (&mut words).take(1), &mut io::sink()).unwrap();
            thread::sleep(Duration::from_micros(words.state >> 48));
            guest.kill().unwrap();
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            1 + rest.matches("done").count() as u64
        });
        guest.wait().unwrap();
        assert_eq!(query(&database, "PRAGMA integrity_check"), "ok\n");
        assert_eq!(query(&database, "SELECT count(*) = rows FROM log, count"), "1\n");
        said += 10 * done;
        // What it said was done is there; one more may be, that it had no time to say.
        assert!(rows() >= said, "{} rows, and {said} were said to be written", rows());
        said = rows();
    }
    assert!(said >= KILLS * 10, "{said}");
}

#[test]
#[ignore = "SQLite takes minutes to build"]
fn a_write_ahead_log_works_for_the_only_user_of_a_database() {
    let place = tempfile::tempdir().unwrap();
    let data = [writable("data", place.path())];
    let statements =
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(7)";
    let found = finish(&mut sandboxed("sqlite:sqlite3", &data, &["x.db", statements]), b"");
    assert_eq!(text(&found), "exclusive\nwal\n");
    assert_eq!(query(&place.path().join("x.db"), "PRAGMA integrity_check; SELECT a FROM t"), "ok\n7\n");
}
