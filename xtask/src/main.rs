//! Chores of this repository: `cargo xtask --help` lists them.

mod full;
mod licences;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The version of mdBook that builds the book.
const MDBOOK: &str = "0.5.4";

/// The version of cargo-fuzz that builds and runs the fuzz targets.
const CARGO_FUZZ: &str = "0.13.2";

/// Chores of this repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the images of all apps in Rust and says where they are; ports are built by name.
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
    /// Writes the book's page of the C library's functions anew, from its headers, libraries and docs/functions.txt.
    Functions,
    /// Runs every fuzz target for a while; installs cargo-fuzz under target/tools if it is not there.
    Fuzz {
        /// Seconds for each target.
        #[arg(default_value_t = 60)]
        seconds: u32,
    },
    /// Does everything, also what takes long: checks, images, ports, all tests; prints a table.
    Full,
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
        Chore::Functions => run(cargo_command()
            .args(["test", "--package", "vcpu-host", "--test", "functions"])
            .env("VCPU_WRITE_BOOK", "1")),
        Chore::Fuzz { seconds } => fuzz(seconds),
        Chore::Full => full::run(),
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
    let apps = apps.filter_map(|app| app.ok()).filter(|app| app.path().join("Cargo.toml").is_file());
    let mut names: Vec<_> = apps.filter_map(|app| app.file_name().into_string().ok()).collect();
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
    let mdbook = tool("mdbook", MDBOOK, &["--no-default-features"])?;
    run(Command::new(mdbook).args(["build", "docs"]))
}

/// What a run finds is kept under fuzz/artifacts; inputs that show something new, beside the build.
fn fuzz(seconds: u32) -> Result {
    let cargo_fuzz = tool("cargo-fuzz", CARGO_FUZZ, &[])?;
    // A stable compiler may instrument, too.
    let fuzz = |arguments: &[&str]| {
        let mut command = Command::new(&cargo_fuzz);
        command.arg("fuzz").args(arguments).env("RUSTC_BOOTSTRAP", "1");
        command
    };
    let listed = fuzz(&["list"]).current_dir(root()).output();
    let listed = listed.map_err(|error| format!("could not list the fuzz targets: {error}"))?;
    let targets = String::from_utf8_lossy(&listed.stdout).into_owned();
    if !listed.status.success() || targets.trim().is_empty() {
        return Err(format!("there are no fuzz targets: {}", String::from_utf8_lossy(&listed.stderr)));
    }
    run(&mut fuzz(&["build"]))?;
    for target in targets.lines() {
        let found = root().join("target/fuzz").join(target);
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let seeds = root().join("fuzz/corpus").join(target);
        let time = format!("-max_total_time={seconds}");
        let folders = [found.to_string_lossy(), seeds.to_string_lossy()];
        let options = [time.as_str(), "-max_len=4096", "-timeout=10", "-verbosity=0", "-print_final_stats=1"];
        run(fuzz(&["run", target, &folders[0], &folders[1], "--"]).args(options))?;
    }
    Ok(())
}

/// A program of this version, which is installed under target/tools if it is not there.
fn tool(name: &str, version: &str, options: &[&str]) -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let program = tools.join("bin").join(name);
    let said = Command::new(&program).arg("--version").output();
    if !said.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version)) {
        eprintln!("installing {name} {version} under target/tools");
        let root = tools.to_string_lossy();
        let install = ["install", name, "--version", version, "--locked", "--root", &root, "--quiet"];
        cargo(&[&install[..], options].concat())?;
    }
    Ok(program)
}
