//! The C interface: host programs in C are compiled against `vcpu.h` and the library, and run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vcpu_tests::{BackendKind, image, on_every_backend};

// So that the library is built.
use vcpu_capi as _;

on_every_backend!(a_c_host_calls_a_sandbox, a_c_host_says_what_sandboxes_are_given);

/// This package's directory.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a host, with the library inside, and runs it.
fn run(source: &str, arguments: &[OsString]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let library = std::env::current_exe().unwrap().with_file_name("libvcpu_capi.a");
    let host = folder.path().join("host");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(here().join("../host-shim/capi/include"))
        .arg(here().join(source))
        .arg(library)
        // What the standard library of Rust wants.
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&host)
        .output()
        .expect("there is a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Command::new(host).args(arguments).output().unwrap()
}

#[track_caller]
fn assert_is_well(host: &Output) {
    let errors = String::from_utf8_lossy(&host.stderr);
    assert!(host.status.success() && host.stdout == b"all is well\n", "{:?}: {errors}", host.status);
}

/// The backend's number in C.
fn number(backend: BackendKind) -> OsString {
    match backend {
        BackendKind::Auto => "0",
        BackendKind::Ptrace => "1",
        BackendKind::Seccomp => "2",
    }
    .into()
}

fn a_c_host_calls_a_sandbox(backend: BackendKind) {
    assert_is_well(&run("c/host.c", &[image("guest-embed").into(), number(backend)]));
}

fn a_c_host_says_what_sandboxes_are_given(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("text"), name).unwrap();
    }
    std::fs::write(folder.path().join("disk"), [b'd'; 512]).unwrap();
    let images = ["guest-snapshot", "guest-embed", "guest-wants"].map(|name| image(name).into());
    let arguments = [&images[..], &[number(backend), folder.path().into()]].concat();
    assert_is_well(&run("c/given.c", &arguments));
}

#[test]
fn the_example_makes_small_pictures_and_survives_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = here().join("../examples/thumbnails/pictures");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(path("damaged.jpg"), "damaged").unwrap();
    std::fs::copy(pictures.join("hills.jpg"), path("hills.jpg")).unwrap();
    let arguments = [image("thumbnail").into(), path("damaged.jpg").into(), path("hills.jpg").into()];
    let output = run("../host-shim/capi/examples/thumbnails.c", &arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("damaged.jpg: this is no JPEG file"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("hills.jpg: 100 x 66 pixels\n"));
    assert!(std::fs::read(path("hills.jpg.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(!path("damaged.jpg.png").exists());
}

#[test]
fn the_header_is_one_for_cpp_as_well() {
    if Command::new("c++").arg("--version").output().is_err() {
        return;
    }
    let header = here().join("../host-shim/capi/include/vcpu.h");
    let output = Command::new("c++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-x", "c++"])
        .arg(header)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
