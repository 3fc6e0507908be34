//! `vcpu info`: what an image is, and what it needs of a machine.

use crate::output::{self, size};
use crate::program::{self, Program};
use crate::status::{Failure, Status};
use std::fmt::Write;
use vcpu_abi::call::Access;
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE};
use vcpu_abi::note::BuildFlags;
use vcpu_host::{Image, Want};

/// Say what an image is and what it needs
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: Program,
}

const HELP: &str = "\
Examples:
  vcpu info                 the package in the current directory, which is built first
  vcpu info hello           a package of the workspace around it
  vcpu info ./image         a file";

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    let found = program::find(&arguments.program, false)?;
    let image = Image::open(&found.path).map_err(Failure::image)?;
    output::answer(describe(&image).as_bytes())?;
    Ok(Status::Guest(0))
}

/// All lines of the answer.
fn describe(image: &Image) -> String {
    let mut text = String::new();
    write(image, &mut text).expect("a string takes all");
    text
}

fn write(image: &Image, text: &mut String) -> std::fmt::Result {
    let requirements = image.requirements();
    let flags = BuildFlags::from_bits_retain(requirements.flags);
    let kind = if flags.contains(BuildFlags::CUSTOM_TARGET) { "custom" } else { "stock" };
    writeln!(text, "image              {}", image.path().display())?;
    writeln!(text, "interface version  {}", requirements.version)?;
    writeln!(text, "target             {kind}")?;
    for (index, line) in image.toolchain().iter().enumerate() {
        writeln!(text, "{:<18} {line}", if index == 0 { "toolchain" } else { "" })?;
    }
    writeln!(text, "entry              {:#x}", image.entry())?;
    writeln!(text, "memory             {}, unless `--memory` says otherwise", size(requirements.memory))?;
    for (index, want) in image.wants().iter().enumerate() {
        writeln!(text, "{:<18} {want}", if index == 0 { "wants" } else { "" })?;
    }
    for (index, name) in image.exports().iter().enumerate() {
        writeln!(text, "{:<18} {name}", if index == 0 { "exports" } else { "" })?;
    }
    writeln!(text, "\n{:<12}  {:>12}  {:>12}  access", "segment", "in memory", "in the file")?;
    for segment in image.segments() {
        writeln!(
            text,
            "{:#012x}  {:>12}  {:>12}  {}",
            segment.address,
            size(segment.memory_size),
            size(segment.file_size),
            access(segment.access)
        )?;
    }
    write!(
        text,
        "\nneeds a machine of interface version {} with at least {} of memory",
        requirements.version,
        size(image.end() - RAM_BASE + PAGE_SIZE)
    )?;
    let options: Vec<_> = image.wants().iter().filter_map(Want::option).collect();
    if options.is_empty() { writeln!(text) } else { writeln!(text, ", and {}", options.join(" ")) }
}

/// Access rights as people read them.
fn access(access: Access) -> &'static str {
    if access.contains(Access::EXECUTE) {
        "read, execute"
    } else if access.contains(Access::WRITE) {
        "read, write"
    } else if access.contains(Access::READ) {
        "read"
    } else {
        "none"
    }
}
