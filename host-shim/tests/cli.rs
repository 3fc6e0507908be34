//! The command line, used as a user uses it: what is said where, and with which status it ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use vcpu_host::build::{Options, build};

/// What a run of `vcpu` left.
#[derive(Debug)]
struct Run {
    status: i32,
    output: String,
    errors: String,
}

/// Runs a command to its end, with nothing to read.
#[track_caller]
fn run(command: &mut Command) -> Run {
    let result = command.stdin(Stdio::null()).output().expect("vcpu starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what vcpu says is UTF-8");
    Run {
        status: result.status.code().expect("vcpu is not killed"),
        output: text(result.stdout),
        errors: text(result.stderr),
    }
}

/// The command `vcpu` with these arguments, in a directory without a package around it.
fn vcpu<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vcpu"));
    command.current_dir("/").env_remove("NO_COLOR").args(arguments);
    command
}

/// The repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host-shim has a parent").into()
}

/// The image of `apps/hello`.
fn hello() -> &'static Path {
    static HELLO: OnceLock<PathBuf> = OnceLock::new();
    HELLO.get_or_init(|| {
        let options = Options { manifest_dir: Some(repository()), quiet: true, ..Options::default() };
        build(&["hello"], &options).expect("hello is built").remove(0).path
    })
}

/// The image of `tests/data/show.rs`.
fn show() -> &'static Path {
    static SHOW: OnceLock<PathBuf> = OnceLock::new();
    SHOW.get_or_init(|| {
        let package = show_package();
        fs::create_dir_all(package.join("src")).unwrap();
        let libvcpu = repository().join("libvcpu");
        write_if_changed(
            &package.join("Cargo.toml"),
            &format!(
                "[package]\nname = 'show'\nedition = '2024'\n[dependencies]\nlibvcpu.path = '{}'\n[workspace]\n",
                libvcpu.display()
            ),
        );
        write_if_changed(&package.join("src/main.rs"), include_str!("data/show.rs"));
        // The versions that are there already; cargo drops what is not needed.
        if !package.join("Cargo.lock").exists() {
            fs::copy(repository().join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
        }
        let built = run(beside_hello(vcpu(["build"]).arg(&package)));
        assert_eq!(built.status, 0, "{built:?}");
        built.output.trim_end().into()
    })
}

/// Makes a command build where `hello` was built, so that what both need is compiled once.
fn beside_hello(command: &mut Command) -> &mut Command {
    let target = hello().ancestors().find(|directory| directory.ends_with("vcpu")).and_then(Path::parent);
    command.env("CARGO_TARGET_DIR", target.expect("images are built into `vcpu` below the target directory"))
}

/// The package of `tests/data/show.rs`; it is there once [`show`] is built.
fn show_package() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("show")
}

fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).unwrap();
    }
}

/// Runs `show` with these arguments.
fn run_show<A: AsRef<OsStr>>(options: &[&str], arguments: impl IntoIterator<Item = A>) -> Run {
    run(vcpu(["run"]).args(options).arg(show()).arg("--").args(arguments))
}

/// Asserts a failure with this status, one sentence that contains all of these, and nothing else.
#[track_caller]
fn assert_refused(run: &Run, status: i32, parts: &[&str]) {
    assert_eq!(run.status, status, "{run:?}");
    assert_eq!(run.output, "", "{run:?}");
    assert!(run.errors.starts_with("error: ") && run.errors.trim_end().lines().count() == 1, "{run:?}");
    for part in parts {
        assert!(run.errors.contains(part), "no {part:?} in {run:?}");
    }
}

mod running {
    use super::*;

    #[test]
    fn a_file_size_limit_is_an_error_of_the_guest_and_not_the_end_of_the_host() {
        // The file that is appended to is larger than allowed already; the guest's memory is not.
        let output = tempfile::NamedTempFile::new().unwrap();
        output.as_file().set_len(3 << 20).unwrap();
        let mut command = Command::new("sh");
        // In blocks of 512 bytes.
        command.args(["-c", "ulimit -f 4096; exec \"$0\" run --memory 1M \"$1\" >> \"$2\""]);
        command.arg(env!("CARGO_BIN_EXE_vcpu")).arg(hello()).arg(output.path());
        let run = run(&mut command);
        assert_eq!(run.status, 101, "{run:?}");
        assert!(run.errors.contains("failed printing"), "{run:?}");
    }

    #[test]
    fn an_image_is_run_and_only_it_is_heard() {
        let run = run(vcpu(["run"]).arg(hello()));
        assert_eq!(
            (run.status, run.output.as_str(), run.errors.as_str()),
            (0, "Hello from a virtual CPU!\n", "")
        );
    }

    #[test]
    fn what_is_opened_does_not_become_a_stream_that_was_closed() {
        for streams in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let script = format!("exec \"$0\" run \"$1\" {streams}");
            let vcpu = env!("CARGO_BIN_EXE_vcpu");
            let closed = super::run(Command::new("sh").args(["-c", &script, vcpu]).arg(hello()));
            assert_eq!((closed.status, closed.errors.as_str()), (0, ""), "{streams}");
        }
    }

    #[test]
    fn an_app_is_named_by_its_package_from_anywhere_in_the_workspace() {
        for directory in [".", "kernel/src"] {
            let run = run(vcpu(["run", "hello"]).current_dir(repository().join(directory)));
            assert_eq!((run.status, run.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{run:?}");
        }
    }

    #[test]
    fn an_app_is_named_by_its_directory() {
        for (directory, app) in
            [(".", "apps/hello"), ("apps", "hello"), ("apps/hello", "."), ("apps/hello/src", "..")]
        {
            let run = run(vcpu(["run", app]).current_dir(repository().join(directory)));
            assert_eq!((run.status, run.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{run:?}");
        }
    }

    #[test]
    fn no_name_is_the_package_of_the_current_directory() {
        let run = run(vcpu(["run"]).current_dir(repository().join("apps/hello")));
        assert_eq!((run.status, run.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{run:?}");
    }

    #[test]
    fn the_guests_status_is_passed_on() {
        for status in [0, 1, 42, 255] {
            assert_eq!(run_show(&[], ["status", &status.to_string()]).status, status);
        }
    }

    #[test]
    fn a_panic_is_reported_with_its_place() {
        let run = run_show(&[], ["panic"]);
        assert_eq!(run.status, 101, "{run:?}");
        assert!(run.errors.starts_with("error: "), "{run:?}");
        assert!(run.errors.contains("as it was asked to") && run.errors.contains("src/main.rs:"), "{run:?}");
    }

    #[test]
    fn an_unhandled_fault_is_reported() {
        let run = run_show(&[], ["fault"]);
        assert_eq!(run.status, 123, "{run:?}");
        assert!(run.errors.starts_with("error: ") && run.errors.contains("invalid opcode"), "{run:?}");
    }

    #[test]
    fn a_time_limit_ends_the_guest() {
        let run = run_show(&["--time-limit", "100ms"], ["loop"]);
        assert_eq!(run.status, 124, "{run:?}");
        assert!(run.errors.starts_with("error: "), "{run:?}");
    }

    #[test]
    fn arguments_reach_the_guest_whatever_they_hold() {
        let odd = OsString::from_vec(b"not \xff UTF-8".to_vec());
        let arguments = ["--memory", "", "two words", "-x"].map(OsString::from).into_iter().chain([odd]);
        let run = run_show(&[], arguments);
        let name = show().display();
        let expected = format!("[{name}]\n[--memory]\n[]\n[two words]\n[-x]\n[not \u{fffd} UTF-8]\n");
        assert_eq!((run.status, run.output), (0, expected));
    }

    #[test]
    fn an_apps_own_name_is_its_packages() {
        show();
        let run = run(beside_hello(vcpu(["run"]).current_dir(show_package())));
        assert_eq!((run.status, run.output.as_str()), (0, "[show]\n"), "{run:?}");
    }

    #[test]
    fn the_environment_is_what_was_given_and_nothing_else() {
        let run =
            run_show(&["--env", "A=1", "--env=B=x=y z", "--env", "A=2", "--env", "C="], ["environment"]);
        assert_eq!((run.status, run.output.as_str()), (0, "B=x=y z\nA=2\nC=\n"), "{run:?}");
        let run = run_show(&[], ["environment"]);
        assert_eq!((run.status, run.output.as_str()), (0, ""), "{run:?}");
    }

    #[test]
    fn memory_can_be_given_and_too_little_is_refused() {
        assert_eq!(run_show(&["--memory", "2M"], ["status", "7"]).status, 7);
        assert_refused(&run_show(&["--memory", "8K"], ["x"]), 126, &["8192", "bytes"]);
        assert_refused(&run_show(&["--memory", "1000T"], ["x"]), 126, &["64 GiB"]);
    }

    #[test]
    fn the_backend_can_be_chosen_and_the_core_left_free() {
        for backend in ["auto", "seccomp", "ptrace"] {
            for pin in [&["--no-pin"][..], &[]] {
                let options = [&["--backend", backend], pin].concat();
                assert_eq!(run_show(&options, ["status", "7"]).status, 7, "{options:?}");
            }
        }
    }

    #[test]
    fn the_doctor_says_what_works_and_what_is_used() {
        let run = run(&mut vcpu(["doctor"]));
        assert_eq!(run.status, 0, "{run:?}");
        let line = |name: &str| run.output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!((line("seccomp  "), line("ptrace  ")), (Some("works"), Some("works")), "{run:?}");
        for name in ["kernel", "cores", "seccomp filters", "ptrace scope", "memfd_noexec", "open files"] {
            assert!(line(name).is_some_and(|value| !value.is_empty()), "no {name} in {run:?}");
        }
        assert_eq!(line("used by default"), Some("seccomp, because it works and is the fastest"), "{run:?}");
    }

    #[test]
    fn verbose_tells_what_is_done_on_standard_error() {
        let run = run(vcpu(["run", "--verbose", "--memory", "32M", "hello"]).current_dir(repository()));
        assert_eq!((run.status, run.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{run:?}");
        for part in ["building hello", "target", "32.0 MiB", "seccomp", "status 0 after"] {
            assert!(run.errors.contains(part), "no {part:?} in {run:?}");
        }
    }

    #[test]
    fn stats_show_threads_and_lines_at_the_end_on_standard_error() {
        let quiet = run(vcpu(["run", "ticker"]).current_dir(repository()));
        assert_eq!((quiet.status, quiet.errors.contains("priority")), (0, false), "{quiet:?}");
        let run = run(vcpu(["run", "--stats", "ticker"]).current_dir(repository()));
        assert_eq!((run.status, run.output.lines().count()), (0, 1), "{run:?}");
        let lines: Vec<Vec<&str>> =
            run.errors.lines().map(|line| line.split_whitespace().collect()).collect();
        let has = |words: &[&str]| lines.iter().any(|line| line.starts_with(words));
        assert!(has(&["thread", "state", "priority"]), "{run:?}");
        assert!(has(&["1", "main", "running", "31"]), "{run:?}");
        // Twenty ticks of line 5.
        assert!(has(&["event", "line", "count"]) && has(&["5", "20"]), "{run:?}");
    }
}

/// A directory with these files, in which `vcpu` is run.
fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(place.path().join(name), text).unwrap();
    }
    place
}

mod limiting {
    use super::*;

    #[test]
    fn the_processors_time_can_be_limited() {
        let run = run_show(&["--cpu-time", "50ms"], ["loop"]);
        assert_eq!(run.status, 124, "{run:?}");
        assert!(run.errors.starts_with("error: the guest has used all the processor's time"), "{run:?}");
    }

    #[test]
    fn output_beyond_its_limit_is_refused_and_said_with_the_option_that_allows_it() {
        let name = show().to_str().unwrap();
        let limit = (name.len() - 3).to_string();
        let quiet = run_show(&["--output-limit", &limit], ["status"; 0]);
        assert_eq!((quiet.status, quiet.output.as_str()), (101, &format!("[{name}")[..name.len() - 3]));
        assert!(!quiet.errors.contains("--output-limit"), "{quiet:?}");
        let verbose = run_show(&["--verbose", "--output-limit", "0"], ["status"; 0]);
        assert_eq!((verbose.status, verbose.output.as_str()), (101, ""), "{verbose:?}");
        let told = "vcpu: the guest's output is refused from now on: its limit is reached; allow more with --output-limit\n";
        assert_eq!(verbose.errors.matches(told).count(), 1, "{verbose:?}");
    }

    #[test]
    fn limits_that_are_not_reached_change_nothing() {
        let limits = [
            "--cpu-time",
            "1h",
            "--output-limit",
            "1G",
            "--calls-per-second",
            "1000000",
            "--time-limit",
            "1h",
        ];
        let run = run_show(&limits, ["status", "7"]);
        assert_eq!((run.status, run.errors.as_str()), (7, ""));
    }
}

mod granting {
    use super::*;

    #[test]
    fn what_is_granted_is_there_when_the_guest_starts() {
        let place = place(&[]);
        fs::write(place.path().join("disk.img"), [0; 4096]).unwrap();
        for option in ["--block=disk.img", "--block=disk=./disk.img:rw", "--console=log=log", "--entropy"] {
            let run = run(vcpu(["run", option]).arg(hello()).current_dir(place.path()));
            assert_eq!((run.status, run.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{run:?}");
        }
        assert!(place.path().join("log").exists(), "the file of a console is made");
    }

    /// A place with a directory `data` in which there is a file.
    fn place_with_data() -> tempfile::TempDir {
        let place = place(&[]);
        fs::create_dir(place.path().join("data")).unwrap();
        fs::write(place.path().join("data/file"), "content").unwrap();
        place
    }

    #[test]
    fn a_directory_is_read_and_written_as_it_is_granted() {
        let place = place_with_data();
        let guest = |options: &[&str], arguments: &[&str]| {
            run(vcpu(["run"]).args(options).arg(show()).arg("--").args(arguments).current_dir(place.path()))
        };
        let run = guest(&["--dir", "data"], &["read", "/data/file"]);
        assert_eq!((run.status, run.output.as_str()), (0, "content"), "{run:?}");
        let run = guest(&["--dir", "media=data:ro"], &["read", "/media/file"]);
        assert_eq!((run.status, run.output.as_str()), (0, "content"), "{run:?}");
        let run = guest(&["--dir", "data"], &["write", "/data/new"]);
        assert_eq!((run.output.as_str(), run.errors.as_str()), ("ReadOnlyFilesystem\n", ""), "{run:?}");
        assert!(!place.path().join("data/new").exists());
        let run = guest(&["--dir", "data:rw"], &["write", "/data/new"]);
        assert_eq!((run.output.as_str(), run.errors.as_str()), ("done\n", ""), "{run:?}");
        assert_eq!(fs::read_to_string(place.path().join("data/new")).unwrap(), "written");
    }

    #[test]
    fn a_console_goes_where_it_is_granted() {
        use std::io::{Read, Write};
        let place = place(&[]);
        let path = |name: &str| place.path().join(name);
        let guest = |console: &str| {
            let mut command = vcpu(["run", "--time-limit", "60s", "--console"]);
            command.arg(format!("line={console}")).arg(show()).args(["--", "tell", "line"]);
            run(command.current_dir(place.path()))
        };
        for _ in 0..2 {
            let run = guest("log");
            assert_eq!((run.status, run.output.as_str()), (0, "\"\"\n"), "{run:?}");
        }
        assert_eq!(fs::read_to_string(path("log")).unwrap(), "from the guest\n".repeat(2));
        let run = guest("/dev/null");
        assert_eq!((run.status, run.output.as_str()), (0, "\"\"\n"), "{run:?}");

        let listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 15];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(b"to the guest").unwrap();
            heard
        });
        let run = guest("socket");
        assert_eq!((run.status, run.output.as_str()), (0, "\"to the guest\"\n"), "{run:?}");
        assert_eq!(&other.join().unwrap(), b"from the guest\n");
    }

    #[test]
    fn a_pipe_takes_a_consoles_output_before_anybody_reads_it() {
        let place = place(&[]);
        assert!(Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap().success());
        let mut command = vcpu(["run", "--time-limit", "60s", "--console", "line=pipe"]);
        command.arg(show()).args(["--", "tell", "line"]);
        let run = run(command.current_dir(place.path()));
        assert_eq!((run.status, run.output.as_str()), (0, "\"\"\n"), "{run:?}");
    }

    #[test]
    fn what_is_refused_is_told_with_the_grant_that_would_allow_it() {
        let place = place_with_data();
        let arguments = ["run", "--verbose", "--dir", "media=data", show().to_str().unwrap(), "--", "write"];
        let run = run(vcpu(arguments).arg("/media/new").current_dir(place.path()));
        let told = "vcpu: the guest may not write to dir media:ro; --dir media=PATH:rw would grant it\n";
        assert!(run.errors.contains(told), "{run:?}");
    }

    #[test]
    fn a_file_grants_what_options_grant_and_options_replace_it() {
        let place = place_with_data();
        let file = "[dir.media]\npath = 'data'\naccess = 'rw'\n";
        fs::write(place.path().join("some.toml"), file).unwrap();
        let guest = |options: &[&str]| {
            let mut command = vcpu(["run", "--config", "some.toml"]);
            command.args(options).arg(show()).args(["--", "write", "/media/new"]);
            run(command.current_dir(place.path())).output
        };
        assert_eq!(guest(&[]), "done\n");
        assert_eq!(guest(&["--dir", "media=data:ro"]), "ReadOnlyFilesystem\n");
        assert_eq!(guest(&["--dir", "media=."]), "ReadOnlyFilesystem\n");
        assert_eq!(guest(&["--dir", "other=."]), "done\n", "another name replaces nothing");
        assert_eq!(guest(&["--dir", "media=data:rw,exclusive"]), "done\n");
        assert_eq!(guest(&["--dir", "media=data:ro,exclusive"]), "ReadOnlyFilesystem\n");
    }

    #[test]
    fn what_cannot_be_granted_is_said_before_anything_is_started() {
        let place = place(&[("file", "")]);
        for (options, parts) in [
            (&["--dir", "media=absent"][..], &["cannot grant dir media:ro: absent does not exist; "][..]),
            (
                &["--dir", "media=file:rw"],
                &["cannot grant dir media:rw: file is not a directory; ", "--block"],
            ),
            (&["--block", "./absent.img"], &["cannot grant block absent:ro: ./absent.img does not exist"]),
            (&["--block", "disk=."], &["cannot grant block disk:ro: . is a directory; grant it with --dir"]),
            (&["--console", "log=absent/log"], &["cannot grant console log: absent/log ", "make that first"]),
            (&["--dir", "a=.", "--block", "a=file"], &["a is granted twice; "]),
            (&["--entropy", "--dir", "entropy=."], &["entropy is granted twice; "]),
        ] {
            let run = run(vcpu(["run"]).args(options).arg(hello()).current_dir(place.path()));
            assert_refused(&run, 125, parts);
        }
        let many: Vec<_> = (0..17).flat_map(|number| ["--dir".to_owned(), format!("d{number}=.")]).collect();
        let run = run(vcpu(["run"]).args(many).arg(hello()).current_dir(place.path()));
        assert_refused(&run, 125, &["a guest can have 16 grants, and these are 17; leave some out"]);
    }
}

mod configuring {
    use super::*;

    /// Runs `show` as a file says, with these options and arguments besides.
    fn configured(text: &str, options: &[&str], arguments: &[&str]) -> Run {
        let place = place(&[("some.toml", text)]);
        let mut command = vcpu(["run", "--config", "some.toml"]);
        command.args(options).current_dir(place.path());
        if !text.contains("program") {
            command.arg(show());
        }
        if !arguments.is_empty() {
            command.arg("--").args(arguments);
        }
        run(&mut command)
    }

    #[test]
    fn a_file_says_what_options_say() {
        let program = format!("program = {:?}\n", show());
        let run = configured(&format!("{program}args = ['status', '7']"), &[], &[]);
        assert_eq!((run.status, run.errors.as_str()), (7, ""));
        let run = configured("args = ['environment']\n[env]\nA = '1'\nB = 'x=y z'", &[], &[]);
        assert_eq!((run.status, run.output.as_str()), (0, "A=1\nB=x=y z\n"), "{run:?}");
        for limit in ["time-limit = '50ms'", "cpu-time = '50ms'"] {
            assert_eq!(configured(limit, &[], &["loop"]).status, 124, "{limit}");
        }
        assert_eq!(configured("output-limit = 0", &[], &["environment", "x"]).status, 0);
        assert_eq!(configured("output-limit = 0", &[], &["x"]).status, 101);
        assert_eq!(configured("calls-per-second = 100000", &[], &["status", "7"]).status, 7);
        assert_refused(&configured("memory = '8K'", &[], &["x"]), 126, &["8192", "bytes"]);
        let run = configured("memory = 33554432\nbackend = 'ptrace'\npin = false", &["--verbose"], &["x"]);
        assert!(run.errors.contains("with 32.0 MiB of memory by the backend ptrace"), "{run:?}");
    }

    #[test]
    fn options_add_to_a_file_and_replace_what_it_says() {
        let file = "memory = '8K'\nbackend = 'ptrace'\nargs = ['status', '7']";
        let options = ["--memory", "2M", "--backend", "seccomp", "--verbose"];
        let run = configured(file, &options, &["status", "8"]);
        assert_eq!(run.status, 8, "{run:?}");
        assert!(run.errors.contains("with 2.0 MiB of memory by the backend seccomp"), "{run:?}");
        let file = "args = ['environment']\n[env]\nA = '1'\nB = '2'";
        let run = configured(file, &["--env", "A=3"], &[]);
        assert_eq!((run.status, run.output.as_str()), (0, "B=2\nA=3\n"), "{run:?}");
    }

    #[test]
    fn paths_in_a_file_are_relative_to_it() {
        let place = place(&[("some.toml", "program = 'image'\n[dir.media]\npath = 'absent'\n")]);
        fs::copy(hello(), place.path().join("image")).unwrap();
        let name = place.path().file_name().unwrap().to_str().unwrap();
        let file = format!("{name}/some.toml");
        let run = run(vcpu(["run", "--config", &file]).current_dir(place.path().parent().unwrap()));
        assert_refused(&run, 125, &[&format!("cannot grant dir media:ro: {name}/absent does not exist")]);
    }

    #[test]
    fn a_file_that_is_wrong_starts_nothing() {
        let run = configured("memori = '64M'", &[], &["status", "7"]);
        assert_refused(&run, 125, &["some.toml:1:1: unknown field `memori`, expected one of `program`, "]);
        let run = super::run(vcpu(["run", "--config", "/absent.toml"]).arg(hello()));
        assert_refused(&run, 125, &["cannot read /absent.toml: No such file or directory", "name a file"]);
    }
}

mod checking {
    use super::*;

    #[test]
    fn a_good_file_is_listed_as_it_would_be_given() {
        let file = "\
program = 'image'
memory = '64M'
time-limit = '90s'
cpu-time = '1s'
output-limit = '1M'
calls-per-second = 1000
backend = 'auto'
pin = true
args = ['one', 'two']
entropy = true

[env]
LANG = 'C'

[dir.media]
path = 'samples'

[dir.out]
path = '.'
access = 'rw'
exclusive = true

[block.disk]
path = 'disk.img'
access = 'ro'

[console.log]
path = 'log.txt'
";
        let place = place(&[("sandbox.toml", file), ("disk.img", "x")]);
        fs::create_dir(place.path().join("samples")).unwrap();
        fs::copy(hello(), place.path().join("image")).unwrap();
        let run = run(vcpu(["check"]).current_dir(place.path()));
        let expected = "\
sandbox.toml
  program                  ./image
  memory                   64.0 MiB
  time limit               1m 30s
  cpu time                 1s
  output limit             1.0 MiB
  calls per second         1000
  dir media:ro             samples
  dir out:rw               . (exclusive)
  block disk:ro            disk.img
  console log              log.txt
  entropy
ok
";
        assert_eq!((run.status, run.output.as_str()), (0, expected), "{run:?}");
        // Hello does not say that it wants any of it.
        assert!(
            run.errors.lines().count() == 5 && run.errors.starts_with("warning: dir media:ro"),
            "{run:?}"
        );
        assert!(!place.path().join("log.txt").exists(), "nothing is made");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_its_line() {
        for (text, expected) in [
            (
                "memori = '64M'",
                "1:1: unknown field `memori`, expected one of `program`, `memory`, `time-limit`, `cpu-time`, `output-limit`, `calls-per-second`, `backend`, `pin`, `args`, `env`, `entropy`, `dir`, `block`, `console`",
            ),
            ("\nmemory = '64Q'", "2:10: this is no size; give one like 64M or 1G"),
            ("memory = 0", "1:10: a guest needs some memory; give a size like 64M or 1G"),
            ("memory = true", "1:10: invalid type: boolean `true`, expected a size like \"64M\""),
            ("time-limit = 10", "1:14: invalid type: integer `10`, expected a duration like \"10s\""),
            ("cpu-time = '0s'", "1:12: a guest needs some time; leave this out for no limit"),
            ("calls-per-second = 0", "1:20: give a number of calls, at least 1"),
            ("backend = 'kvm'", "1:11: unknown variant `kvm`, expected one of `auto`, `seccomp`, `ptrace`"),
            (
                "# comment\n[dir.'a b']\npath = 'x'",
                "2:6: \"a b\" is not a name of 1 to 36 letters, digits and -_. that does not begin with a dot",
            ),
            (
                "[dir.a]\npfad = 'x'",
                "2:1: unknown field `pfad`, expected one of `path`, `access`, `exclusive`",
            ),
            ("[block.a]\naccess = 'rw'", "1:1: missing field `path`"),
            ("[dir.a]\npath = 'x'\naccess = 'wo'", "3:10: unknown variant `wo`, expected `ro` or `rw`"),
            ("[console.a]\npath = 'x'\naccess = 'rw'", "3:1: unknown field `access`, expected `path`"),
            (
                "[env]\n'A=B' = 'c'",
                "2:1: the name of a variable is not empty and holds neither `=` nor a zero byte",
            ),
            ("memory = '1M'\nmemory = '2M'", "2:1: duplicate key"),
            ("args = ['one'", "1:14: unclosed array, expected `]`"),
        ] {
            let place = place(&[("some.toml", text)]);
            let run = run(vcpu(["check", "--config", "some.toml"]).current_dir(place.path()));
            assert_eq!((run.status, run.output.as_str()), (1, ""), "{run:?}");
            assert_eq!(run.errors, format!("error: some.toml:{expected}\n"));
        }
    }

    #[test]
    fn all_that_cannot_be_given_is_said_at_once() {
        let file = "\
memory = '100G'
time-limit = '1s'
cpu-time = '2s'
entropy = true
dir.a.path = '.'
block.a = { path = 'absent', access = 'rw' }
dir.entropy.path = 'sandbox.toml'
";
        let place = place(&[("sandbox.toml", file)]);
        let run = run(vcpu(["check"]).current_dir(place.path()));
        let expected = "\
error: a memory size of 107374182400 bytes is not possible; the most is 64 GiB
warning: cpu-time is not less than time-limit, which is over first; leave one of them out
error: cannot grant dir entropy:ro: sandbox.toml is not a directory; name the one it lies in, or grant an image of a disk with --block
error: cannot grant block a:rw: absent does not exist; name an image of a disk that does
error: a is granted twice; give each grant a name of its own
";
        assert_eq!((run.status, run.errors.as_str()), (1, expected), "{run:?}");
        assert!(!run.output.contains("ok"), "{run:?}");
    }

    #[test]
    fn the_example_of_the_book_is_right() {
        let page = fs::read_to_string(repository().join("docs/src/guide/granting.md")).unwrap();
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```\n").unwrap();
        let place = place(&[("sandbox.toml", &example.replace("/tmp/out", "out")), ("disk.img", "x")]);
        for directory in ["samples", "out"] {
            fs::create_dir(place.path().join(directory)).unwrap();
        }
        fs::copy(hello(), place.path().join("thumbnails.image")).unwrap();
        let run = run(vcpu(["check"]).current_dir(place.path()));
        assert_eq!(run.status, 0, "{run:?}");
        // Each option of grants and limits has its key, and the example has each key.
        for key in ["memory", "time-limit", "cpu-time", "output-limit", "calls-per-second", "entropy", "dir"]
        {
            assert!(example.contains(key) && page.contains(&format!("`--{key}")), "{key}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong() {
        let place = place(&[]);
        let run = run(vcpu(["check"]).current_dir(place.path()));
        assert_refused(&run, 1, &["cannot read sandbox.toml: No such file or directory", "name a file"]);
    }
}

mod refusing {
    use super::*;

    #[test]
    fn wrong_usage_has_the_status_of_a_failed_runner() {
        for arguments in [
            &[][..],
            &["fly"],
            &["run", "--fly"],
            &["run", "a", "b"],
            &["run", "--memory", "much"],
            &["run", "--memory", "0"],
            &["run", "--time-limit", "0s"],
            &["run", "--time-limit", "soon"],
            &["run", "--cpu-time", "0s"],
            &["run", "--output-limit", "some"],
            &["run", "--calls-per-second", "0"],
            &["run", "--calls-per-second", "many"],
            &["run", "--dir", "."],
            &["run", "--dir", "a b=x"],
            &["run", "--dir", "media="],
            &["run", "--block", "=x"],
            &["run", "--console", "/dev/null"],
            &["run", "--entropy=1"],
            &["run", "--config"],
            &["check", "a", "b"],
            &["run", "--env", "A"],
            &["run", "--env", "=1"],
            &["run", "--backend", "magic"],
            &["run", "--target-spec", "magic"],
            &["info", "a", "b"],
            &["new"],
            &["bench", "speed"],
            &["bench", "--compare", "a.json"],
            &["bench", "size", "--compare", "a.json", "b.json"],
        ] {
            let run = run(&mut vcpu(arguments));
            assert_eq!((run.status, run.output.as_str()), (125, ""), "{arguments:?}: {run:?}");
            assert!(!run.errors.is_empty(), "{arguments:?}");
        }
    }

    #[test]
    fn arguments_without_dashes_before_them_are_explained() {
        let run = run(&mut vcpu(["run", "hello", "world"]));
        assert!(run.errors.contains("after `--`"), "{run:?}");
    }

    #[test]
    fn what_is_no_app_and_no_image_is_named_with_a_remedy() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("empty")).unwrap();
        fs::write(place.path().join("text"), "text").unwrap();
        for (program, parts) in [
            ("./absent", &["./absent", "does not exist"][..]),
            ("absent", &["`absent`", "Cargo.toml", "vcpu new"]),
            ("empty", &["empty is a directory without a Cargo.toml"]),
            ("./empty", &["./empty is a directory without a Cargo.toml"]),
            (".", &["is a directory without a Cargo.toml"]),
            ("", &["\"\" does not exist"]),
            ("/dev/null", &["/dev/null", "not a regular file"]),
            ("text/x", &["text/x"]),
            ("text", &["text", "not an ELF file"]),
        ] {
            for command in ["run", "info"] {
                let run = run(vcpu([command, program]).current_dir(place.path()));
                assert_refused(&run, 126, parts);
            }
        }
    }

    #[test]
    fn a_name_that_the_workspace_lacks_comes_with_those_it_has() {
        let run = run(vcpu(["run", "absent"]).current_dir(repository()));
        assert_refused(&run, 126, &["no package `absent`", "`hello`"]);
    }

    #[test]
    fn a_workspace_is_no_app() {
        let run = run(vcpu(["run"]).current_dir(repository()));
        assert_refused(&run, 126, &["workspace", "`hello`"]);
    }

    #[test]
    fn a_library_is_no_app() {
        let run = run(vcpu(["build", "libvcpu"]).current_dir(repository()));
        assert_refused(&run, 126, &["`libvcpu` has no binary"]);
    }

    #[test]
    fn a_file_cannot_be_built() {
        assert_refused(&run(vcpu(["build"]).arg(hello())), 126, &["is a file"]);
    }

    #[test]
    fn a_missing_cargo_is_a_failed_runner() {
        let run =
            run(vcpu(["build", "apps/hello"]).current_dir(repository()).env_remove("CARGO").env("PATH", ""));
        assert_refused(&run, 125, &["`cargo`", "https://rustup.rs"]);
    }

    #[test]
    fn an_unknown_kind_of_target_in_the_environment_is_a_failed_runner() {
        let mut command = vcpu(["build", "hello"]);
        let run = run(command.current_dir(repository()).env("VCPU_TARGET_SPEC", "magic"));
        assert_refused(&run, 125, &["VCPU_TARGET_SPEC", "magic", "stock"]);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_a_failed_runner() {
        let mut command = vcpu(["build", "hello"]);
        let run = run(command.current_dir(repository()).env("VCPU_CACHE", "/proc/none"));
        assert_refused(&run, 125, &["/proc/none", "VCPU_CACHE"]);
    }
}

mod telling {
    use super::*;

    #[test]
    fn the_help_has_examples_and_the_statuses() {
        for arguments in [&["--help"][..], &["run", "--help"]] {
            let run = run(&mut vcpu(arguments));
            assert_eq!((run.status, run.errors.as_str()), (0, ""));
            for part in ["Examples:", "vcpu run", "Exit status:", "101", "123", "124", "125", "126"] {
                assert!(run.output.contains(part), "no {part:?} in {}", run.output);
            }
        }
        for command in ["check", "build", "info", "new", "bench"] {
            let run = run(&mut vcpu([command, "--help"]));
            assert!(run.status == 0 && run.output.contains("Examples:"), "{run:?}");
        }
    }

    #[test]
    fn the_book_shows_the_help_as_it_is() {
        let page = fs::read_to_string(repository().join("docs/src/guide/command-line.md")).unwrap();
        let commands = ["run", "check", "build", "info", "new", "bench", "doctor", "cc"];
        for command in std::iter::once(&[][..]).chain(commands.iter().map(std::slice::from_ref)) {
            let run = run(vcpu(command.iter().chain([&"--help"])).env("COLUMNS", "100"));
            let lines: Vec<_> = run.output.lines().map(str::trim_end).collect();
            let text = format!("```text\n{}\n```\n", lines.join("\n"));
            assert!(page.contains(&text), "docs/src/guide/command-line.md does not have this:\n{text}");
        }
    }

    #[test]
    fn the_version_is_told() {
        let run = run(&mut vcpu(["--version"]));
        assert_eq!((run.status, run.output), (0, format!("vcpu {}\n", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn nothing_is_coloured_in_a_pipe() {
        for arguments in [&["--help"][..], &["run", "--fly"], &["run", "absent"]] {
            let run = run(&mut vcpu(arguments));
            assert!(!run.output.contains('\u{1b}') && !run.errors.contains('\u{1b}'), "{run:?}");
        }
    }

    #[test]
    fn build_prints_the_path_of_an_image_and_nothing_else() {
        let run = run(vcpu(["build", "hello"]).current_dir(repository()));
        assert_eq!((run.status, run.output), (0, format!("{}\n", hello().display())));
    }

    #[test]
    fn info_tells_what_an_image_is_and_needs() {
        let run = run(vcpu(["info"]).arg(hello()));
        assert_eq!((run.status, run.errors.as_str()), (0, ""), "{run:?}");
        let version = vcpu_abi::INTERFACE_VERSION;
        for part in [
            &format!("interface version  {version}\n"),
            "toolchain          rustc version ",
            "entry              0x200000\n",
            "memory             64.0 MiB",
            "0x0000200000",
            "read, execute\n",
            "read, write\n",
            &format!("needs a machine of interface version {version} with at least "),
        ] {
            assert!(run.output.contains(part), "no {part:?} in {}", run.output);
        }
        let kind = if hello().to_str().unwrap().contains("x86_64-vcpu") { "custom" } else { "stock" };
        assert!(run.output.contains(&format!("target             {kind}\n")), "{}", run.output);
    }

    #[test]
    fn info_builds_an_app_first() {
        let run = run(vcpu(["info", "hello"]).current_dir(repository()));
        assert!(run.status == 0 && run.output.contains(hello().to_str().unwrap()), "{run:?}");
    }

    #[test]
    fn a_reader_that_leaves_early_is_no_failure() {
        let mut child =
            vcpu(["info"]).arg(hello()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let left = child.wait_with_output().unwrap();
        assert_eq!((left.status.code(), left.stderr), (Some(0), Vec::new()));
    }
}

mod measuring {
    use super::*;

    #[test]
    fn figures_are_shown_kept_drawn_and_compared() {
        let place = tempfile::tempdir().unwrap();
        let [json, html] = ["a.json", "a.html"].map(|name| place.path().join(name));
        // What was there before is replaced.
        fs::write(&json, "x".repeat(1 << 20)).unwrap();
        let bench = run(vcpu(["bench", "size", "--json"]).arg(&json).arg("--html").arg(&html));
        assert_eq!((bench.status, bench.errors.as_str()), (0, ""), "{bench:?}");
        for part in ["processor: ", "cycles in a ns", "\nsize.host ", "4,000 lines"] {
            assert!(bench.output.contains(part), "no {part:?} in {bench:?}");
        }
        let page = fs::read_to_string(&html).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("size.host.devices"), "{page}");

        let same = run(vcpu(["bench", "--compare"]).args([&json, &json]));
        assert_eq!((same.status, same.errors.as_str()), (0, ""), "{same:?}");
        assert!(same.output.contains("\n0 of "), "{same:?}");
        assert!(!same.output.contains("differ:") && !same.output.contains("Only"), "{same:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a.json");
        for (text, problem) in [("[]", "no version of its schema"), ("{\"schema\": 99}", "version 99")] {
            fs::write(&file, text).unwrap();
            let run = run(vcpu(["bench", "--compare"]).args([&file, &file]));
            assert_refused(&run, 125, &["a.json", problem, "vcpu bench --json"]);
        }
        let absent = run(&mut vcpu(["bench", "--compare", "absent.json", "absent.json"]));
        assert_refused(&absent, 125, &["absent.json", "No such file"]);
    }
}

mod beginning {
    use super::*;

    /// `vcpu` as installed on a machine where the repository is not: all it has is the cache.
    fn installed(place: &Path, arguments: &[&str]) -> Command {
        let mut command = vcpu(arguments);
        command.current_dir(place).env("VCPU_CACHE", place.join("a cache, with a comma"));
        command.env_remove("CARGO_TARGET_DIR");
        command
    }

    #[test]
    fn a_new_package_runs_at_once_far_from_the_repository() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();

        let made = run(&mut installed(place, &["new", "greeter"]));
        assert_eq!((made.status, made.errors.as_str()), (0, ""));
        assert!(made.output.contains("vcpu run greeter"), "{made:?}");

        for (directory, arguments) in [(".", &["run", "greeter"][..]), ("greeter", &["run"])] {
            let ran = run(installed(place, arguments).current_dir(place.join(directory)));
            assert_eq!((ran.status, ran.output.as_str()), (0, "Hello from a virtual CPU!\n"), "{ran:?}");
        }
        let built = run(&mut installed(place, &["build", "greeter"]));
        let target = place.join("greeter/target/vcpu");
        assert!(built.output.starts_with(target.to_str().unwrap()), "{built:?}");

        // The cache is a cache: what is cleaned away comes back.
        fs::remove_dir_all(place.join("a cache, with a comma")).unwrap();
        assert_eq!(run(&mut installed(place, &["run", "greeter"])).status, 0);

        fs::write(place.join("greeter/src/main.rs"), "fn main( {}").unwrap();
        let broken = run(&mut installed(place, &["run", "greeter"]));
        assert_eq!((broken.status, broken.output.as_str()), (125, ""), "{broken:?}");
        assert!(broken.errors.contains("src/main.rs:1"), "{broken:?}");
        assert!(broken.errors.contains("error: cannot build `greeter`"), "{broken:?}");

        assert_refused(&run(&mut installed(place, &["new", "greeter"])), 125, &["greeter exists already"]);
    }

    #[test]
    fn names_that_no_package_can_have_are_refused_and_nothing_is_made() {
        let place = tempfile::tempdir().unwrap();
        for name in ["1st", "fn", "test", "a b", "deep/na.me", "libvcpu", ".", ".."] {
            assert_refused(
                &run(&mut installed(place.path(), &["new", name])),
                125,
                &["cannot name a package"],
            );
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_custom_target_without_the_source_of_core_has_a_remedy() {
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let answer = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
        let sysroot = String::from_utf8(answer.stdout).unwrap();
        if Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust/library/core/src/lib.rs").exists() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        assert_eq!(run(&mut installed(place.path(), &["new", "greeter"])).status, 0);
        let run = run(&mut installed(place.path(), &["run", "greeter", "--target-spec", "custom"]));
        assert_refused(&run, 125, &["rustup component add rust-src", "--target-spec stock"]);
    }
}
