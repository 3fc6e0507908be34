//! `vcpu check`: says what a `sandbox.toml` would give, and what is wrong with it, and starts nothing.

use crate::config::Config;
use crate::output::{self, size};
use crate::program::{self, Program};
use crate::status::{Failure, Status};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use vcpu_abi::layout::RAM_SIZE_MAX;
use vcpu_host::{Grant, Image, Missing, Want};

/// Say what a sandbox.toml would give a guest, and what is wrong with it; start nothing
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The file to check
    #[arg(long, value_name = "FILE", default_value = "sandbox.toml")]
    config: PathBuf,

    #[command(flatten)]
    program: Program,
}

const HELP: &str = "\
Examples:
  vcpu check                            ./sandbox.toml, with the program that it names, if it does
  vcpu check --config media.toml hello  whether hello is granted all that it wants

It ends with status 0 if nothing is wrong, and 1 otherwise.";

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let mut findings = Findings::default();
    match Config::read(&arguments.config) {
        Ok(config) => check(&config, arguments, &mut findings)?,
        Err(problem) => findings.error(&problem),
    }
    if findings.errors > 0 {
        return Ok(Status::Wrong);
    }
    output::answer(b"ok\n")?;
    Ok(Status::Guest(0))
}

/// What was found, which is said at once.
#[derive(Default)]
struct Findings {
    errors: usize,
}

impl Findings {
    fn error(&mut self, problem: &dyn Display) {
        output::error(problem);
        self.errors += 1;
    }
}

fn check(config: &Config, mut arguments: Arguments, findings: &mut Findings) -> Result<(), Failure> {
    arguments.program.program = arguments.program.program.or_else(|| config.program.clone());
    output::answer(describe(config, &arguments).as_bytes())?;
    limits(config, findings);
    for granted in &config.granted {
        if let Err(problem) = Grant::probe(&granted.want, &granted.path) {
            findings.error(&problem);
        }
    }
    let names: Vec<_> = config.granted.iter().filter_map(|granted| granted.want.device()).collect();
    if let Err(problem) = Grant::check_names(&names) {
        findings.error(&problem);
    }
    if arguments.program.program.is_some() {
        match program::find(&arguments.program, false) {
            Ok(found) => image(&found.path, config, findings),
            Err(failure) => findings.error(&failure.message),
        }
    }
    Ok(())
}

/// What would be given, a line each.
fn describe(config: &Config, arguments: &Arguments) -> String {
    use humantime::format_duration;
    let mut text = format!("{}\n", arguments.config.display());
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text += format!("  {name:<24} {value}").trim_end();
            text.push('\n');
        }
    };
    line(
        "program",
        arguments.program.program.as_ref().map(|program| Path::new(program).display().to_string()),
    );
    line("memory", config.memory.map(size));
    line("time limit", config.time_limit.map(|time| format_duration(time).to_string()));
    line("cpu time", config.cpu_time.map(|time| format_duration(time).to_string()));
    line("output limit", config.output_limit.map(size));
    line("calls per second", config.calls_per_second.map(|number| number.to_string()));
    for granted in &config.granted {
        let exclusive = if granted.exclusive { " (exclusive)" } else { "" };
        line(&granted.want.to_string(), Some(format!("{}{exclusive}", granted.path.display())));
    }
    text
}

/// Limits that no guest can have, or that limit nothing.
fn limits(config: &Config, findings: &mut Findings) {
    if let Some(memory) = config.memory
        && memory > RAM_SIZE_MAX
    {
        findings.error(&format_args!("a memory size of {memory} bytes is not possible; the most is 64 GiB"));
    }
    if let (Some(time), Some(cpu)) = (config.time_limit, config.cpu_time)
        && cpu >= time
    {
        output::warning(&"cpu-time is not less than time-limit, which is over first; leave one of them out");
    }
}

/// What the image wants, and what it has no use for.
fn image(path: &Path, config: &Config, findings: &mut Findings) {
    let image = match Image::open(path) {
        Ok(image) => image,
        Err(problem) => return findings.error(&problem),
    };
    // The rest was said without the image.
    if config.memory.is_none_or(|memory| memory <= RAM_SIZE_MAX)
        && let Err(problem) = image.memory(config.memory)
    {
        findings.error(&problem);
    }
    let granted: Vec<_> = config.granted.iter().map(|granted| granted.want.clone()).collect();
    for missing in Missing::find(image.wants(), &granted) {
        findings.error(&format_args!(
            "the image wants {missing}, which is not granted; {}",
            Remedy(&missing.wanted)
        ));
    }
    for granted in &granted {
        let wanted = image.wants().iter().filter(|wanted| wanted.is_satisfied_by(granted));
        match wanted.collect::<Vec<_>>()[..] {
            [] => output::warning(&format_args!(
                "{granted} is granted, and the image does not say that it wants it; leave it out if you can"
            )),
            [wanted] if wanted != granted => {
                output::warning(&format_args!("{granted} is granted, and the image wants only {wanted}"));
            }
            _ => {}
        }
    }
}

/// What to write into the file so that this is granted.
struct Remedy<'a>(&'a Want);

impl Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, writable) = match self.0 {
            Want::Directory { name, writable } => ("dir", name, *writable),
            Want::Block { name, writable } => ("block", name, *writable),
            Want::Console { name } => ("console", name, false),
            Want::Entropy => return f.write_str("write entropy = true"),
            Want::Function { .. } => {
                return f.write_str("only a program that embeds the image gives it that");
            }
        };
        let access = if writable { " and access = \"rw\"" } else { "" };
        write!(f, "write [{kind}.{name}] with its path{access}")
    }
}
