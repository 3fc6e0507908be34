//! The C interface: a host program in C is compiled against `vcpu.h` and the library, and run.

use std::path::{Path, PathBuf};
use std::process::Command;
use vcpu_tests::{BackendKind, on_every_backend};

// So that the library is built.
use vcpu_capi as _;

on_every_backend!(a_c_host_calls_a_sandbox);

/// Compiles the host, with the library inside.
fn compile(folder: &Path) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = std::env::current_exe().unwrap().with_file_name("libvcpu_capi.a");
    let host = folder.join("host");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(tests.join("../host-shim/capi/include"))
        .arg(tests.join("c/host.c"))
        .arg(library)
        // What the standard library of Rust wants.
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&host)
        .output()
        .expect("there is a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host
}

fn a_c_host_calls_a_sandbox(backend: BackendKind) {
    let folder = tempfile::tempdir().unwrap();
    let number = match backend {
        BackendKind::Auto => "0",
        BackendKind::Ptrace => "1",
        BackendKind::Seccomp => "2",
    };
    let host = Command::new(compile(folder.path()))
        .arg(vcpu_tests::image("guest-embed"))
        .arg(number)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&host.stderr);
    assert!(host.status.success() && host.stdout == b"all is well\n", "{:?}: {errors}", host.status);
}

#[test]
fn the_header_is_one_for_cpp_as_well() {
    if Command::new("c++").arg("--version").output().is_err() {
        return;
    }
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-shim/capi/include/vcpu.h");
    let output = Command::new("c++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-x", "c++"])
        .arg(header)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
