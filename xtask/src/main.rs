//! Chores of this repository: `cargo xtask --help` lists them.

mod licences;

use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::{Command, ExitCode};

/// The version of mdBook that builds the book.
const MDBOOK: &str = "0.5.4";

/// Chores of this repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the images of all apps and says where they are.
    Images,
    /// Runs the checks that need no test: format, clippy, documentation, licences.
    Check,
    /// Runs the benchmarks (`vcpu bench`) with these arguments.
    Bench {
        /// Groups and options of `vcpu bench`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the book into docs/book; installs mdBook under target/tools if it is not there.
    Book,
    /// Checks that every dependency has a licence that deny.toml allows.
    Licences,
}

type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    match carry_out(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(chore: Chore) -> Result {
    match chore {
        Chore::Images => images(),
        Chore::Check => check(),
        Chore::Bench { arguments } => {
            let arguments = arguments.iter().map(String::as_str);
            cargo(&["vcpu", "bench"].into_iter().chain(arguments).collect::<Vec<_>>())
        }
        Chore::Book => book(),
        Chore::Licences => licences::check(root()),
    }
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// The cargo that runs this.
fn cargo_command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a program in the repository and fails if it does.
fn run(command: &mut Command) -> Result {
    let shown = format!("{command:?}").replace('"', "");
    let status =
        command.current_dir(root()).status().map_err(|error| format!("could not run {shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed: {status}")) }
}

fn cargo(arguments: &[&str]) -> Result {
    run(cargo_command().args(arguments))
}

fn images() -> Result {
    let apps = std::fs::read_dir(root().join("apps")).map_err(|error| format!("apps: {error}"))?;
    let mut names: Vec<_> = apps.filter_map(|app| app.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().try_for_each(|name| cargo(&["vcpu", "build", name]))
}

fn check() -> Result {
    cargo(&["fmt", "--all", "--check"])?;
    // Guest programs have no test harness: their programs are checked, and of the others everything.
    cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    run(cargo_command()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))?;
    licences::check(root())
}

fn book() -> Result {
    let tools = root().join("target/tools");
    let mdbook = tools.join("bin/mdbook");
    let version = Command::new(&mdbook).arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(MDBOOK)) {
        eprintln!("installing mdBook {MDBOOK} under target/tools");
        let root = tools.to_string_lossy().into_owned();
        cargo(&[
            "install",
            "mdbook",
            "--version",
            MDBOOK,
            "--locked",
            "--no-default-features",
            "--root",
            &root,
            "--quiet",
        ])?;
    }
    run(Command::new(mdbook).args(["build", "docs"]))
}
