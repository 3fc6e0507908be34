//! Who may run a sandbox: an ordinary user may, and whoever may not trace a child is told so.

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

/// A directory that everybody can read, with `vcpu` and the image of `hello` in it.
fn public_copy() -> tempfile::TempDir {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let options = Options { manifest_dir: Some(repository.into()), quiet: true, ..Options::default() };
    let hello = build(&["hello"], &options).expect("hello is built").remove(0).path;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_vcpu"), directory.path().join("vcpu")).unwrap();
    fs::copy(hello, directory.path().join("hello")).unwrap();
    directory
}

fn run_hello(directory: &Path, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(directory.join("vcpu"));
    command.args(["run", "./hello"]).current_dir(directory).stdin(Stdio::null());
    prepare(&mut command);
    command.output().unwrap()
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

#[test]
fn where_ptrace_is_forbidden_it_says_what_is_missing_and_runs_nothing() {
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
    let output = run_hello(directory.path(), |command| {
        // SAFETY: between fork and exec only two system calls are made, with a filter made before.
        unsafe {
            command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other));
        }
    });
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{errors}");
    assert_eq!(output.stdout, b"");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.contains("ptrace"), "{errors}");
}
