//! CMake builds programs for virtual CPUs by `cmake/vcpu.cmake`, and its tests run them in the sandbox.
//!
//! Where CMake is not installed, this says so and tests nothing; `.ci/run` installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const LISTS: &str = "\
cmake_minimum_required(VERSION 3.13)
project(tiny C CXX)
if(NOT UNIX OR NOT CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR \"not the platform that was asked for\")
endif()
include(CheckFunctionExists)
include(CheckSymbolExists)
include(CheckTypeSize)
check_function_exists(readdir HAVE_READDIR)
check_function_exists(no_such_function HAVE_NO_SUCH_FUNCTION)
check_symbol_exists(__linux__ stdio.h HAVE_LINUX)
check_type_size(long LONG)
find_package(Threads REQUIRED)
find_library(MATHEMATICS m REQUIRED)
message(STATUS \"found ${HAVE_READDIR}/${HAVE_NO_SUCH_FUNCTION}/${HAVE_LINUX}/${LONG}/${MATHEMATICS}\")
add_library(part part.c)
add_library(asked_to_be_shared SHARED part.c)
add_executable(tiny main.c other.cpp)
target_link_libraries(tiny part Threads::Threads ${MATHEMATICS})
enable_testing()
add_test(NAME answers COMMAND tiny CMakeCache.txt)
set_tests_properties(answers PROPERTIES PASS_REGULAR_EXPRESSION \"^the answer is 42 with CMakeCache.txt\")
";

const MAIN: &str = r#"
#include <stdio.h>
int part(double of);
int other(void);
int main(int count, char **arguments)
{
    char *file = count > 1 && fopen(arguments[1], "r") ? arguments[1] : "nothing";
    printf("the answer is %d with %s\n", part(1600) + other(), file);
    return 0;
}
"#;

const FILES: &[(&str, &str)] = &[
    ("CMakeLists.txt", LISTS),
    ("part.c", "#include <math.h>\nint part(double of) { return sqrt(of); }\n"),
    (
        "other.cpp",
        "struct Two { virtual int value() { return 2; } };\nextern \"C\" int other() { return Two().value(); }\n",
    ),
    ("main.c", MAIN),
];

fn toolchain() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host-shim has a parent").join("cmake/vcpu.cmake")
}

fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = finish(command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn a_project_is_configured_built_tested_and_run() {
    if Command::new("cmake").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("cmake is not installed: not tested");
        return;
    }
    let vcpu = env!("CARGO_BIN_EXE_vcpu");
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in FILES {
        fs::write(directory.path().join(name), text).expect("the project can be written");
    }
    let cmake = |name: &str| {
        let mut command = Command::new(name);
        command.current_dir(directory.path());
        command
    };
    let configure = |also: &[&str]| {
        let toolchain = format!("-DCMAKE_TOOLCHAIN_FILE={}", toolchain().display());
        let mut command = cmake("cmake");
        command.args(["-B", "build", "-Wno-dev", &toolchain]).args(also);
        command
    };

    let wrong = finish(configure(&[]).env("PATH", "/usr/bin:/bin"));
    let errors = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && errors.contains("there is no vcpu in PATH"), "{errors}");

    let said = done(&mut configure(&[&format!("-DVCPU={vcpu}")]));
    let found = said.lines().find_map(|line| line.strip_prefix("-- found ")).expect("it says what it found");
    assert!(found.starts_with("1///8/") && found.ends_with("/lib/libm.a"), "{found}");
    assert!(!found.ends_with("/usr/lib/libm.a"), "the machine's: {found}");

    done(cmake("cmake").args(["--build", "build"]));
    assert!(directory.path().join("build/libasked_to_be_shared.a").is_file(), "it is static all the same");
    assert_eq!(
        done(Command::new(vcpu).arg("run").arg(directory.path().join("build/tiny"))),
        "the answer is 42 with nothing\n"
    );
    done(cmake("ctest").args(["--test-dir", "build"]));
}
