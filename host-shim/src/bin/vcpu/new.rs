//! `vcpu new`: makes a package for an app of one's own, which builds and runs at once, anywhere.
//!
//! It depends on `libvcpu` where this `vcpu` has unpacked it, is a workspace of its own so that no
//! manifest above it gets in the way, and begins with the versions of foreign crates that `vcpu` was
//! tested with, so that it can be built without the network once these are downloaded.

use crate::output;
use crate::status::{Failure, Status};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use vcpu_host::build::carried;

/// Make a package for an app of your own
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The package's name, or the path of its directory, whose last part is the name
    #[arg(value_name = "NAME|PATH")]
    path: OsString,
}

const HELP: &str = "\
Examples:
  vcpu new greeter             then: vcpu run greeter
  vcpu new ~/sandbox/greeter   then: cd ~/sandbox/greeter && vcpu run";

/// Words that cannot name a package with a binary: keywords, the standard library's crates, names that
/// cargo or the guest's own crates have taken.
#[rustfmt::skip]
const TAKEN: &[&str] = &[
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "build", "const", "continue",
    "core", "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false", "final", "fn",
    "for", "gen", "if", "impl", "in", "incremental", "let", "libvcpu", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "proc-macro", "proc_macro", "pub", "ref", "return", "self", "Self",
    "static", "std", "struct", "super", "test", "trait", "true", "try", "type", "typeof", "union",
    "unsafe", "unsized", "use", "vcpu-abi", "vcpu-kernel", "vcpu-kernel-core", "vcpu-kernel-strings",
    "virtual", "where", "while", "yield", "_",
];

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let directory = PathBuf::from(&arguments.path);
    let name = directory.file_name().unwrap_or(&arguments.path).to_string_lossy().into_owned();
    check(&name)?;
    if directory.symlink_metadata().is_ok() {
        return Err(Failure::runner(format_args!(
            "{} exists already; choose another name, or remove it first",
            directory.display()
        )));
    }
    let crates = carried::unpack_guest().map_err(Failure::runner)?;
    let libvcpu = crates.join("libvcpu");
    let libvcpu = libvcpu.to_str().ok_or_else(|| {
        Failure::runner(format_args!(
            "the cache directory {} has a name that is not UTF-8, which no manifest can hold; \
             set VCPU_CACHE to another one",
            crates.display()
        ))
    })?;
    write(&directory.join("Cargo.toml"), manifest(&name, libvcpu).as_bytes())?;
    write(&directory.join("Cargo.lock"), carried::lock_file())?;
    write(&directory.join("src/main.rs"), PROGRAM.as_bytes())?;
    write(&directory.join(".gitignore"), b"/target\n")?;
    output::answer(next_steps(&directory, &name).as_bytes())?;
    Ok(Status::Guest(0))
}

/// Refuses what cargo would refuse later with less help.
fn check(name: &str) -> Result<(), Failure> {
    let mut characters = name.chars();
    let problem = if TAKEN.contains(&name) {
        "it is taken by Rust, cargo or vcpu"
    } else if !characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_') {
        "it must begin with a letter"
    } else if !characters.all(|other| other.is_ascii_alphanumeric() || matches!(other, '-' | '_')) {
        "it can only have letters of ASCII, digits, `-` and `_`"
    } else {
        return Ok(());
    };
    Err(Failure::runner(format_args!(
        "`{name}` cannot name a package: {problem}; choose a name like `my-app`"
    )))
}

fn manifest(name: &str, libvcpu: &str) -> String {
    format!(
        "\
[package]
name = \"{name}\"
version = \"0.1.0\"
edition = \"2024\"

[[bin]]
name = \"{name}\"
path = \"src/main.rs\"
# It runs on a virtual CPU, where the test harness does not.
test = false
bench = false

[dependencies]
# Unpacked by vcpu {version}, which puts it there again if it is lost.
libvcpu = {{ path = {libvcpu} }}

# There is nothing to unwind with on a virtual CPU.
[profile.dev]
panic = \"abort\"

[profile.release]
panic = \"abort\"

# A workspace of its own, whatever lies above it.
[workspace]
",
        version = env!("CARGO_PKG_VERSION"),
        // A string of JSON is one of TOML, too.
        libvcpu = serde_json::Value::from(libvcpu),
    )
}

const PROGRAM: &str = "\
//! A program for a virtual CPU. Run it with `vcpu run`.
#![no_std]
#![no_main]

use libvcpu::prelude::*;

entry!(main);

fn main() {
    println!(\"Hello from a virtual CPU!\");
}
";

fn next_steps(directory: &Path, name: &str) -> String {
    let shown = directory.display();
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    let path =
        if shown.to_string().as_bytes().iter().all(safe) { shown.to_string() } else { format!("'{shown}'") };
    format!(
        "\
Made the package `{name}`. Next:

  vcpu run {path}          build it and run it in the sandbox
  vcpu info {path}         what its image is and what it needs
  edit {shown}/src/main.rs

`vcpu run` inside {shown} runs it too; `vcpu run --help` shows how to give it
arguments, memory and a time limit.
"
    )
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = match path.parent() {
        Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(path, content)),
        None => fs::write(path, content),
    };
    written.map_err(|error| {
        Failure::runner(format_args!(
            "cannot write {}: {error}; choose a place that you can write",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_refuses_are_refused() {
        for good in ["greeter", "my-app", "a1_b", "_private"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "1st", "a b", "a/b", "-x", "naïve", "fn", "test", "core", "libvcpu", "a.b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
