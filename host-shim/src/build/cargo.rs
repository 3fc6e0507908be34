//! The call of cargo itself: its environment, its flags, its messages.
//!
//! `vcpu` is often started by another cargo (`cargo run`, `cargo test`), which leaves traces in the
//! environment, and which holds the lock of its own target directory. So the call begins with a clean
//! environment and builds into a directory of its own, `vcpu` below the workspace's.

use super::carried::{self, LinkFiles};
use super::toolchain::{self, TargetKind};
use super::workspace::App;
use super::{BuildError, Built, Options};
use cargo_metadata::Message;
use std::ffi::{OsStr, OsString};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target triple of stock images.
const STOCK_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Variables that an outer cargo sets for what it runs, or that would change what an image is: removed.
/// `CARGO_TARGET_DIR` is among them because `cargo metadata` has taken it into account already.
const REMOVED: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_RUSTC_CURRENT_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_TMPDIR",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC_BOOTSTRAP",
    "RUSTFLAGS",
    "TARGET",
];

/// Beginnings of the names of more such variables.
const REMOVED_PREFIXES: &[&str] =
    &["CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "CARGO_UNSTABLE_", "DEP_"];

/// Builds apps of one workspace, and answers their images in the same order.
pub(super) fn build(apps: &[&App], options: &Options) -> Result<Vec<Built>, BuildError> {
    let Some(first) = apps.first() else { return Ok(Vec::new()) };
    let kind = toolchain::choose(options.target_spec, &first.workspace_root)?;
    let link = carried::unpack_link()?;

    let mut cargo = call(&first.workspace_root, &first.target_directory.join("vcpu"), kind, &link)?;
    let command = &mut cargo.command;
    command.args(["--message-format", "json-render-diagnostics"]);
    if options.quiet {
        command.arg("--quiet");
    }
    for app in apps {
        command.args(["--package", &app.package.repr, "--bin", &app.binary]);
    }

    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|source| not_started(&cargo.name, source))?;
    let images = match child.stdout.take() {
        Some(messages) => executables(BufReader::new(messages), apps),
        None => Ok(vec![None; apps.len()]),
    };
    let status = child.wait();
    let names = || apps.iter().map(|app| app.name.clone()).collect();
    if !status.is_ok_and(|status| status.success()) {
        return Err(BuildError::Failed { apps: names(), kind });
    }
    let built = images?.into_iter().zip(apps).map(|(path, app)| match path {
        Some(path) => Ok(Built { name: app.name.clone(), path, kind }),
        None => Err(BuildError::Answer {
            program: "cargo build".into(),
            problem: format!("it names no executable for `{}`", app.name),
        }),
    });
    built.collect()
}

/// Builds the static library of the package `vcpu-libc` in the carried workspace, and answers where it is.
pub(super) fn build_library(workspace: &Path, target_directory: &Path) -> Result<PathBuf, BuildError> {
    let kind = toolchain::choose(None, workspace)?;
    let link = carried::unpack_link()?;
    let mut cargo = call(workspace, target_directory, kind, &link)?;
    cargo.command.args(["--quiet", "--package", "vcpu-libc", "--lib"]).stdout(Stdio::null());
    let status = cargo.command.status().map_err(|source| not_started(&cargo.name, source))?;
    if !status.success() {
        return Err(BuildError::Failed { apps: vec!["vcpu-libc".into()], kind });
    }
    let target = match kind {
        TargetKind::Stock => STOCK_TARGET,
        TargetKind::Custom => "x86_64-vcpu",
    };
    Ok(target_directory.join(target).join("release/libvcpu_libc.a"))
}

/// A call of `cargo build` for guests, without what is to be built.
fn call(
    workspace: &Path,
    target_directory: &Path,
    kind: TargetKind,
    link: &LinkFiles,
) -> Result<Tool, BuildError> {
    let mut cargo = tool("CARGO", "cargo");
    let command = &mut cargo.command;
    remove_traces(command);
    command.current_dir(workspace).args(["build", "--release"]).arg("--target-dir").arg(target_directory);
    // Profiles by the environment, so that a foreign package needs none of its own.
    command.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "limited");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(link)?);
    match kind {
        TargetKind::Stock => {
            command.args(["--target", STOCK_TARGET]);
        }
        TargetKind::Custom => {
            command.env("RUSTC_BOOTSTRAP", "1").arg("--target").arg(&link.target).args([
                "-Zbuild-std=core,alloc,compiler_builtins",
                "-Zbuild-std-features=compiler-builtins-mem",
                "-Zjson-target-spec",
            ]);
        }
    }
    command.stdin(Stdio::null());
    Ok(cargo)
}

fn not_started(program: &OsStr, source: std::io::Error) -> BuildError {
    BuildError::Start { program: program.to_string_lossy().into(), variable: "CARGO", source }
}

/// What makes a program an image, as `CARGO_ENCODED_RUSTFLAGS` wants it.
fn flags(link: &LinkFiles) -> Result<String, BuildError> {
    let script = link.script.to_str().ok_or_else(|| BuildError::CachePath(link.script.clone()))?;
    let script = format!("-Clink-arg=-T{script}");
    let flags = [
        // Says that this is an image, and not a check of the same source for the host.
        "--cfg=vcpu_image",
        // The crate `getrandom` asks the image for random bytes, and not Linux; libvcpu answers.
        "--cfg=getrandom_backend=\"custom\"",
        // Linked to a fixed address; no relocation is left for a loader to do.
        "-Crelocation-model=static",
        // The host prints backtraces by them.
        "-Cforce-unwind-tables=yes",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-static",
        "-Clink-arg=-no-pie",
        &script,
        "-Clink-arg=-Wl,--build-id=none",
        "-Clink-arg=-Wl,-z,norelro",
        "-Clink-arg=-Wl,-z,max-page-size=4096",
    ];
    Ok(flags.join("\u{1f}"))
}

/// Reads cargo's messages to their end, and answers where it put each app's executable.
fn executables(messages: impl std::io::BufRead, apps: &[&App]) -> Result<Vec<Option<PathBuf>>, BuildError> {
    let mut found = vec![None; apps.len()];
    for message in Message::parse_stream(messages) {
        let message = message.map_err(|error| BuildError::Answer {
            program: "cargo build".into(),
            problem: error.to_string(),
        })?;
        let Message::CompilerArtifact(artifact) = message else { continue };
        for (app, path) in apps.iter().zip(&mut found) {
            if artifact.package_id == app.package
                && artifact.target.name == app.binary
                && artifact.target.is_bin()
            {
                *path = artifact.executable.clone().map(PathBuf::from);
            }
        }
    }
    Ok(found)
}

/// A program of the toolchain, to be run for its answer.
pub(super) struct Tool {
    name: OsString,
    variable: &'static str,
    command: Command,
}

/// The program that the environment variable names, else the one of this name in the path.
pub(super) fn tool(variable: &'static str, name: &str) -> Tool {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty());
    let name = named.unwrap_or_else(|| name.into());
    Tool { command: Command::new(&name), name, variable }
}

impl Tool {
    pub(super) fn arguments(mut self, arguments: &[impl AsRef<OsStr>]) -> Tool {
        self.command.args(arguments);
        self
    }

    pub(super) fn directory(mut self, directory: &Path) -> Tool {
        self.command.current_dir(directory);
        self
    }

    pub(super) fn variable(mut self, name: &str, value: Option<&Path>) -> Tool {
        if let Some(value) = value {
            self.command.env(name, value);
        }
        self
    }

    /// What the program writes to standard output; its errors go where ours go.
    pub(super) fn output(mut self) -> Result<String, BuildError> {
        let output = self.command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|source| BuildError::Start {
            program: self.name.to_string_lossy().into(),
            variable: self.variable,
            source,
        })?;
        if !output.status.success() {
            let arguments = self.command.get_args().map(|argument| argument.to_string_lossy());
            let words: Vec<_> = std::iter::once(self.name.to_string_lossy()).chain(arguments).collect();
            return Err(BuildError::Tool(words.join(" ")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Removes what an outer cargo left in the environment.
pub(super) fn remove_traces(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if is_trace(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
}

fn is_trace(name: &str) -> bool {
    REMOVED.contains(&name) || REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_cargo_leaves_no_trace_and_the_users_settings_stay() {
        for trace in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "CARGO_TARGET_DIR", "OUT_DIR"] {
            assert!(is_trace(trace), "{trace}");
        }
        for setting in ["RUSTUP_TOOLCHAIN", "CARGO_HOME", "CARGO_NET_OFFLINE", "PATH", "RUSTC", "CC"] {
            assert!(!is_trace(setting), "{setting}");
        }
    }

    #[test]
    fn a_cache_with_spaces_and_commas_reaches_the_linker_whole() {
        let script = PathBuf::from("/my cache, mine/vcpu.ld");
        let flags = flags(&LinkFiles { script, target: PathBuf::new() }).unwrap();
        assert!(flags.split('\u{1f}').any(|flag| flag == "-Clink-arg=-T/my cache, mine/vcpu.ld"));
    }
}
