//! Which of the two kinds of target the toolchain at hand can build.
//!
//! *Stock* images use the `core` and `alloc` that every stable toolchain brings for Linux; nothing has
//! to be installed. *Custom* images are built for the target that is really meant, `x86_64-vcpu`, with
//! `core` compiled from source, which a toolchain must have. Both give the same layout and run alike.

use super::BuildError;
use super::cargo::tool;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which kind of target is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetSpec {
    /// Custom if the toolchain can build `core` from source, else stock
    #[default]
    Auto,
    /// A stable toolchain's own precompiled `core`
    Stock,
    /// The target x86_64-vcpu, with `core` built from source
    Custom,
}

/// The kind of target that an image is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// `x86_64-unknown-linux-gnu`, of which only `core` and `alloc` are used.
    Stock,
    /// `x86_64-vcpu`.
    Custom,
}

impl fmt::Display for TargetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            TargetKind::Stock => "stock",
            TargetKind::Custom => "custom",
        })
    }
}

/// First version of Rust, major and minor, that reads the description of the custom target: its format
/// is not stable, and cargo takes it only with an option of that version.
pub(super) const CUSTOM_SINCE: (u32, u32) = (1, 95);

/// Decides the kind of target for packages in `directory`, where rustup may choose a toolchain.
///
/// # Errors
///
/// The toolchain cannot build what was asked for, or there is none.
pub fn choose(spec: Option<TargetSpec>, directory: &Path) -> Result<TargetKind, BuildError> {
    let spec = match spec {
        Some(spec) => spec,
        None => from_environment()?,
    };
    if spec == TargetSpec::Stock {
        return Ok(TargetKind::Stock);
    }
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"], directory)?.trim_end());
    let problem = if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() {
        BuildError::NoCoreSource(sysroot)
    } else {
        let version = rustc(&["--version"], directory)?;
        if reads_custom_target(&version) {
            return Ok(TargetKind::Custom);
        }
        BuildError::ToolchainTooOld { found: version.trim_end().into() }
    };
    match spec {
        TargetSpec::Custom => Err(problem),
        TargetSpec::Auto | TargetSpec::Stock => Ok(TargetKind::Stock),
    }
}

fn from_environment() -> Result<TargetSpec, BuildError> {
    match std::env::var_os("VCPU_TARGET_SPEC").filter(|value| !value.is_empty()) {
        None => Ok(TargetSpec::Auto),
        Some(value) => {
            let value = value.to_string_lossy();
            clap::ValueEnum::from_str(&value, false).map_err(|_| BuildError::UnknownTargetSpec(value.into()))
        }
    }
}

fn rustc(arguments: &[&str], directory: &Path) -> Result<String, BuildError> {
    tool("RUSTC", "rustc").arguments(arguments).directory(directory).output()
}

/// Whether a compiler with this answer to `--version` reads the custom target; if the answer has another
/// form than all of them until now, assume so.
fn reads_custom_target(version: &str) -> bool {
    let mut numbers = version.split_whitespace().nth(1).unwrap_or_default().split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= CUSTOM_SINCE,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::reads_custom_target;

    #[test]
    fn a_toolchain_is_new_enough_by_its_version() {
        assert!(reads_custom_target("rustc 1.95.0 (59807616e 2026-04-14)"));
        assert!(reads_custom_target("rustc 1.97.0-nightly (4d1f98451 2026-05-15)"));
        assert!(reads_custom_target("rustc 2.0.0"));
        assert!(!reads_custom_target("rustc 1.94.1 (e408947bf 2026-03-25)"));
        assert!(!reads_custom_target("rustc 1.90.0"));
        assert!(reads_custom_target("something new"));
    }
}
