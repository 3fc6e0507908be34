//! Figures of `c` that whole programs decide: a port, or a program in C, over the same with the machine's C library.
//!
//! | figure | the program |
//! |---|---|
//! | `c.malloc` | a step of `malloc.c`, beside this file |
//! | `c.lua` | Lua runs `program.lua`, beside this file |
//! | `c.sqlite` | SQLite's speed test with its database in memory, in the size that it has by itself, 100 |
//! | `c.sqlite.file` | a fifth of it on a directory that is granted exclusively |
//! | `c.sqlite.file.large` | all of it |
//! | `c.sqlite.shared` | a fifth of it on a directory that others may change, where each operation is a request |
//!
//! Ports are built for both by the same script. Both sides must print the same.
//!
//! Ports are built in a checkout. Where there is none around the current directory, it is said what to do.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot};
use crate::output;
use crate::status::Failure;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use vcpu_host::build::{self, BuildError, Options, port};

/// Turns of guest and native program.
const ROUNDS: usize = 7;

/// A program that was built for both sides.
pub(super) struct Both {
    pub(super) image: PathBuf,
    pub(super) native: PathBuf,
}

/// Builds a port for both sides; `None` outside of a checkout.
pub(super) fn build_port(site: &Site, name: &str) -> Result<Option<Both>, Failure> {
    let options = Options { tool: Some(site.program.clone()), ..Options::default() };
    let native = match port::build_native(name, &options) {
        Err(BuildError::NoPort(_)) => {
            output::note(&format_args!(
                "{name} is measured in a checkout, where it can be built: cargo vcpu bench c"
            ));
            return Ok(None);
        }
        built => built?,
    };
    let image = build::build(&[name], &options)?.remove(0).path;
    Ok(Some(Both { image, native }))
}

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let place = tempfile::tempdir().map_err(|error| cannot("create a directory for programs", error))?;
    let mut figures = vec![malloc(site, place.path())?];
    if let Some(lua) = build_port(site, "lua")? {
        let script = place.path().join("program.lua");
        write(&script, include_bytes!("program.lua"))?;
        let mut inside = run(site, place.path(), &lua.image);
        inside.arg("program.lua");
        let mut outside = Command::new(&lua.native);
        outside.arg(&script);
        figures.push(compare(site, "c.lua", [&mut inside, &mut outside])?.at_most(Target::Ratio(1.05)));
    }
    if let Some(sqlite) = build_port(site, "sqlite:speedtest1")? {
        let figure = |name, size, access, database: [&str; 2], rounds| {
            let arguments = ["--size", size, "--testset", "main"];
            let mut inside = run_with(site, place.path(), access, &sqlite.image);
            inside.args(arguments).arg(database[0]);
            let mut outside = Command::new(&sqlite.native);
            outside.args(arguments).arg(database[1]);
            turns(site, name, [&mut inside, &mut outside], false, rounds)
        };
        let file = place.path().join("speed.db").display().to_string();
        let (memory, file, own) = ([":memory:"; 2], ["speed.db", &file], "rw,exclusive");
        figures.push(figure("c.sqlite", "100", own, memory, ROUNDS)?.at_most(Target::Ratio(1.05)));
        figures.push(figure("c.sqlite.file", "20", own, file, ROUNDS)?.at_most(Target::Ratio(1.15)));
        // Half a minute each.
        figures.push(figure("c.sqlite.file.large", "100", own, file, 3)?.at_most(Target::Ratio(1.15)));
        figures.push(figure("c.sqlite.shared", "20", "rw", file, 3)?);
    }
    Ok(figures)
}

/// An image that is granted the directory, as `work`, and begins there.
pub(super) fn run(site: &Site, place: &Path, image: &Path) -> Command {
    run_with(site, place, "rw", image)
}

/// As [`run`], with this right to the directory.
fn run_with(site: &Site, place: &Path, access: &str, image: &Path) -> Command {
    let mut command = Command::new(&site.program);
    command.args(["run", "--env", "PWD=/work", "--dir", &format!("work={}:{access}", place.display())]);
    command.arg(image).arg("--");
    command
}

/// `malloc.c` on both sides: it measures itself.
fn malloc(site: &Site, place: &Path) -> Result<Figure, Failure> {
    let source = place.join("malloc.c");
    write(&source, include_bytes!("malloc.c"))?;
    let (image, native) = (place.join("malloc.image"), place.join("malloc"));
    let compile = |command: &mut Command, to: &Path| {
        let status = command.args(["-O2", "-o"]).arg(to).arg(&source).status();
        match status.map_err(|error| cannot("run the C compiler", error))? {
            status if status.success() => Ok(()),
            _ => Err(Failure::runner("malloc.c was not compiled; the compiler's reason is above")),
        }
    };
    compile(Command::new(&site.program).arg("cc"), &image)?;
    compile(&mut Command::new("cc"), &native)?;
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        site.progress.round("c.malloc", round, ROUNDS);
        let sides = [&mut run(site, place, &image), &mut Command::new(&native)];
        for (samples, command) in samples.iter_mut().zip(sides) {
            let (_, said) = timed(command)?;
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let time = said.parse::<f64>();
            samples.push(time.map_err(|_| Failure::runner(format_args!("malloc.c says `{said}`")))?);
        }
    }
    let [inside, outside] = samples;
    Ok(Figure::new("c.malloc", Unit::Ns, inside).over(&outside).at_most(Target::Ratio(1.3)))
}

/// The time of a whole program in the sandbox over that of the native one, in turns; both must print the same.
pub(super) fn compare(site: &Site, name: &str, sides: [&mut Command; 2]) -> Result<Figure, Failure> {
    turns(site, name, sides, true, ROUNDS)
}

/// As [`compare`], in so many rounds; what they print need not be the same if it has times in it.
fn turns(
    site: &Site,
    name: &str,
    sides: [&mut Command; 2],
    prints_alike: bool,
    rounds: usize,
) -> Result<Figure, Failure> {
    let [inside, outside] = sides;
    let mut samples = [Vec::new(), Vec::new()];
    // The first round does not count.
    for round in 0..=rounds {
        site.progress.round(name, round, rounds + 1);
        let (inside, outside) = (timed(inside)?, timed(outside)?);
        if prints_alike && inside.1 != outside.1 {
            return Err(Failure::runner(format_args!(
                "{name}: it printed something else than natively; please report this"
            )));
        }
        samples[0].push(inside.0);
        samples[1].push(outside.0);
    }
    let [inside, outside] = samples.map(|mut samples| samples.split_off(1));
    Ok(Figure::new(name, Unit::Ns, inside).over(&outside))
}

/// Runs a program, and gives the time in ns and what it printed.
fn timed(command: &mut Command) -> Result<(f64, Vec<u8>), Failure> {
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot("run a program", error))?;
    let time = begin.elapsed().as_nanos() as f64;
    if output.status.success() {
        return Ok((time, output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::runner(format_args!("{command:?} failed: {}", said.trim_end())))
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, content).map_err(|error| cannot("write a program", error))
}
