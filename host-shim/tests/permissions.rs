//! Who may run a sandbox: an ordinary user may, also where ptrace is forbidden; who asks for it there is told.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use vcpu_host::build::{Options, build};

/// An account that owns nothing; every system has it.
const NOBODY: u32 = 65534;

/// While one test copies `vcpu`, no other may start a process: it would hold the copy open for writing,
/// which could not be executed then.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A directory that everybody can read, with `vcpu` and the images of `hello` and `faults` in it.
fn public_copy() -> tempfile::TempDir {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let options = Options { manifest_dir: Some(repository.into()), quiet: true, ..Options::default() };
    let images = build(&["hello", "faults"], &options).expect("the images are built");
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_vcpu"), directory.path().join("vcpu")).unwrap();
    for image in images {
        fs::copy(image.path, directory.path().join(image.name)).unwrap();
    }
    directory
}

fn run_hello(directory: &Path, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(directory.join("vcpu"));
    command.arg("run").current_dir(directory).stdin(Stdio::null());
    prepare(&mut command);
    command.arg("./hello").output().unwrap()
}

#[test]
fn an_ordinary_user_can_run_an_image() {
    let _alone = ONE_AT_A_TIME.lock();
    let directory = public_copy();
    // SAFETY: asks for a number. Whoever is not root is an ordinary user already.
    let root = unsafe { libc::geteuid() } == 0;
    let output = run_hello(directory.path(), |command| {
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
    });
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"Hello from a virtual CPU!\n");
}

/// A personality that maps page zero is inherited. (Only root gets the page.)
#[test]
fn page_zero_is_not_mapped_whatever_was_inherited() {
    let _alone = ONE_AT_A_TIME.lock();
    let directory = public_copy();
    let mut command = Command::new(directory.path().join("vcpu"));
    command.args(["run", "./faults", "--", "null", "--handled"]).current_dir(directory.path());
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(|| {
            libc::personality(libc::MMAP_PAGE_ZERO as libc::c_ulong);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"handled: page fault at 0x0\n", "{output:?}");
}

/// Signals that come while a guest is started do not spoil that.
#[test]
fn signals_to_the_process_group_do_not_disturb_a_start() {
    let _alone = ONE_AT_A_TIME.lock();
    let directory = public_copy();
    for _ in 0..30 {
        let mut command = Command::new(directory.path().join("vcpu"));
        command
            .args(["run", "./hello"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            // SAFETY: a signal to the group that the child leads, which is not waited for yet.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGWINCH) };
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// Runs `hello` with these options where ptrace is forbidden.
fn run_without_ptrace(options: &[&str]) -> Output {
    let forbid = SeccompAction::Errno(libc::EPERM as u32);
    let _alone = ONE_AT_A_TIME.lock();
    let filter = SeccompFilter::new(
        [(libc::SYS_ptrace, vec![])].into(),
        SeccompAction::Allow,
        forbid,
        TargetArch::x86_64,
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    let directory = public_copy();
    run_hello(directory.path(), |command| {
        command.args(options);
        // SAFETY: between fork and exec only two system calls are made, with a filter made before.
        unsafe {
            command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other));
        }
    })
}

#[test]
fn where_ptrace_is_forbidden_guests_run_all_the_same() {
    for options in [&[][..], &["--backend", "seccomp"]] {
        let output = run_without_ptrace(options);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(output.stdout, b"Hello from a virtual CPU!\n");
    }
}

#[test]
fn where_ptrace_is_forbidden_its_backend_says_what_is_missing_and_runs_nothing() {
    let output = run_without_ptrace(&["--backend", "ptrace"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{errors}");
    assert_eq!(output.stdout, b"");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.contains("ptrace"), "{errors}");
}
