//! The C library against the machine's own: every program of `tests/c/libc` is built twice, by `vcpu cc` and by
//! the machine's compiler, runs in the sandbox and natively, and must print the same and end with the same
//! status.
//!
//! A program finds an empty directory `work` where it begins. What it prints must not depend on the moment or the
//! machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The directory of the programs.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host-shim has a parent").join("tests/c/libc")
}

fn vcpu() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vcpu"))
}

/// Runs a command, and gives its whole output.
fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// Builds a program by this compiler.
#[track_caller]
fn build(compiler: &mut Command, name: &str, to: &Path) {
    compiler.args(["-std=gnu11", "-O1", "-Wall", "-Werror", "-D_GNU_SOURCE", "-pthread"]);
    // Absurd sizes are meant.
    compiler.args(["-Wno-stringop-overflow", "-Wno-stringop-overread", "-o"]).arg(to);
    let output = finish(compiler.arg(programs().join(format!("{name}.c"))).arg("-lm"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Builds and runs a program both ways, in the sandbox by both backends, and compares.
#[track_caller]
fn same(name: &str, options: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (native, image) = (directory.path().join("native"), directory.path().join("image"));
    build(&mut Command::new("cc"), name, &native);
    build(vcpu().arg("cc"), name, &image);
    let fresh = || {
        let work = directory.path().join("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir(&work).expect("a directory for the program");
        work
    };
    fresh();
    let expected = finish(Command::new(&native).current_dir(directory.path()));
    // What a guest does in a directory looks the same whether it is its own or not.
    for (backend, right) in [("seccomp", "rw"), ("seccomp", "rw,exclusive"), ("ptrace", "rw")] {
        if right != "rw" && !name.starts_with("files_") {
            continue;
        }
        let work = format!("work={}:{right}", fresh().display());
        // Few files, as an ordinary user begins with.
        let mut run = Command::new("sh");
        run.args(["-c", "ulimit -Sn 1024 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_vcpu")]);
        run.args(["run", "--backend", backend, "--time-limit", "120s", "--dir", &work]).args(options);
        let found = finish(run.arg(&image));
        let text = |output: &Output| {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            format!("{said}\nstatus {:?}", output.status.code())
        };
        let errors = String::from_utf8_lossy(&found.stderr);
        pretty(name, &format!("{backend}, {right}"), &text(&expected), &text(&found), &errors);
    }
}

/// Fails with the first lines that differ.
#[track_caller]
fn pretty(name: &str, backend: &str, expected: &str, found: &str, errors: &str) {
    if expected == found {
        return;
    }
    let pairs = expected.lines().chain(std::iter::repeat("")).zip(found.lines().chain([""; 3]));
    let different: Vec<_> = pairs
        .enumerate()
        .filter(|(_, (expected, found))| expected != found)
        .take(12)
        .map(|(line, (expected, found))| format!("{}: native {expected:?}\n    sandbox {found:?}", line + 1))
        .collect();
    panic!("{name} by {backend} differs:\n{}\nerrors: {errors}", different.join("\n"));
}

/// One test for each program; what is in brackets are options of `vcpu run`.
macro_rules! programs {
    ($($name:ident $([$($option:literal),*])?),* $(,)?) => {
        $(#[test]
        fn $name() {
            same(stringify!($name), &[$($($option),*)?]);
        })*

        #[test]
        fn every_program_is_run() {
            let mut found: Vec<_> = fs::read_dir(programs())
                .expect("the programs")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
                .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            found.sort();
            let mut listed = vec![$(stringify!($name)),*];
            listed.sort_unstable();
            assert_eq!(found, listed);
        }
    };
}

programs! {
    files_content,
    files_locks,
    files_map,
    files_names,
    files_pipes,
    locales,
    numbers_print,
    signals,
    threads_c11,
    threads_create,
    threads_end,
    threads_memory,
    threads_mutex,
    threads_wait,
}
