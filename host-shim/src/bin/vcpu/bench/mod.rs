//! `vcpu bench`: what a virtual CPU costs, measured beside what the same costs without one.
//!
//! | module | its subject |
//! |---|---|
//! | [`figure`] | a measured figure, its counterpart, its target; **how an experiment gives its figures** |
//! | [`statistics`] | minimum, median and percentiles of samples |
//! | [`site`] | where it is measured: images, one core |
//! | [`record`] | what a run leaves: figures, machine, versions; `--json` |
//! | [`table`] | the figures for people |
//! | [`page`], [`plot`] | the same as a page with plots; `--html` |
//! | [`compare`] | what moved between two runs; `--compare` |
//! | [`progress`] | what is being measured, on a terminal |
//! | [`place`] | where a guest runs, and with which backend |
//! | [`native`], [`counter`], [`random`] | native processes that take faults, timers and signals; the time-stamp counter |
//! | `call`, `event`, `compute`, `start`, `memory`, `size`, `data`, `threads`, `embed`, `storage`, `c` | one group of figures each |
//! | `idle` | the figures of `event` that are about nothing happening |
//! | `sandboxes` | the figures of `start` and `memory` that need many sandboxes in one process |
//! | `stream` | the two figures of `data` that a guest does nothing for but move it |
//! | `programs`, `libav` | the figures of `c` that whole programs decide, the second by FFmpeg |
//! | [`machine_code`] | a guest's function as one of this process |
//! | `events_off` | the one figure of `threads` that needs a kernel of its own |
//!
//! A figure and its native counterpart are measured in the same run, on the same core, in turns, so that
//! both see the same disturbances; each turn begins with a warm-up that does not count.

mod c;
mod call;
mod compare;
mod compute;
mod counter;
mod data;
mod embed;
mod event;
mod events_off;
mod figure;
mod idle;
mod libav;
mod machine_code;
mod memory;
mod native;
mod page;
mod place;
mod plot;
mod programs;
mod progress;
mod random;
mod record;
mod sandboxes;
mod site;
mod size;
mod start;
mod statistics;
mod storage;
mod stream;
mod table;
mod threads;

use crate::output;
use crate::status::{Failure, Status};
use figure::Figure;
use record::{Options, Record};
use site::Site;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Measure what a virtual CPU costs
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// What to measure: call, event, compute, start, memory, size, data, threads, embed, storage, c [default: everything]
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,

    /// Also writes the figures, the machine and the versions to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also writes them to this file as a page with plots, which needs no other file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Measures nothing, but says what differs between two files that --json wrote
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    #[arg(conflicts_with_all = ["groups", "json", "html"])]
    compare: Option<Vec<PathBuf>>,
}

const HELP: &str = "\
Examples:
  vcpu bench                                   everything, in some minutes
  vcpu bench call start                        two groups of figures
  vcpu bench --json now.json --html now.html   the figures as a file, and as a page for a browser
  vcpu bench --compare before.json now.json    what moved between two runs

A figure has moved if its median differs by more than the middle half of its samples is wide, in
either run.

The apps that are measured are carried by vcpu and built into its cache. For figures that mean
something, leave the machine alone meanwhile.";

/// Figures that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Call,
    Event,
    Compute,
    Start,
    Memory,
    Size,
    Data,
    Threads,
    Embed,
    Storage,
    C,
}

impl Group {
    const ALL: [Group; 11] = [
        Group::Call,
        Group::Event,
        Group::Compute,
        Group::Start,
        Group::Memory,
        Group::Size,
        Group::Data,
        Group::Threads,
        Group::Embed,
        Group::Storage,
        Group::C,
    ];

    fn name(self) -> &'static str {
        match self {
            Group::Call => "call",
            Group::Event => "event",
            Group::Compute => "compute",
            Group::Start => "start",
            Group::Memory => "memory",
            Group::Size => "size",
            Group::Data => "data",
            Group::Threads => "threads",
            Group::Embed => "embed",
            Group::Storage => "storage",
            Group::C => "c",
        }
    }

    /// The apps whose images are measured.
    fn apps(self) -> &'static [&'static str] {
        match self {
            Group::Call | Group::Event | Group::Memory | Group::C => &["measure"],
            Group::Compute => &["compute"],
            Group::Start => &["hello"],
            Group::Size => &[],
            Group::Data => &["gunzip", "stream"],
            Group::Threads => &["measure", events_off::APP],
            Group::Embed => &[embed::APP],
            Group::Storage => &[storage::APP],
        }
    }

    fn measure(self, site: &Site) -> Result<Vec<Figure>, Failure> {
        match self {
            Group::Call => call::measure(site),
            Group::Event => event::measure(site),
            Group::Compute => compute::measure(site),
            Group::Start => start::measure(site),
            Group::Memory => memory::measure(site),
            Group::Size => Ok(size::measure()),
            Group::Data => data::measure(site),
            Group::Threads => threads::measure(site),
            Group::Embed => embed::measure(site),
            Group::Storage => storage::measure(site),
            Group::C => Ok([c::measure(site)?, programs::measure(site)?, libav::measure(site)?].concat()),
        }
    }
}

pub(crate) fn perform(arguments: Arguments) -> Result<Status, Failure> {
    if let Some([before, after]) = arguments.compare.as_deref() {
        let text = compare::compare(&Record::open(before)?, &Record::open(after)?);
        output::answer(text.as_bytes())?;
        return Ok(Status::Guest(0));
    }
    let groups = groups(&arguments.groups)?;
    let mut json = arguments.json.map(|path| Destination::open(&path)).transpose()?;
    let mut html = arguments.html.map(|path| Destination::open(&path)).transpose()?;
    let apps: Vec<_> = groups.iter().flat_map(|group| group.apps().iter().copied()).collect();
    let start = counter::Start::now();
    let site = Site::prepare(apps)?;
    let options = Options { groups: groups.iter().map(|group| group.name().to_owned()).collect() };
    let record = Record::begin(site.versions.clone(), options);
    let mut figures = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        site.progress.group(group.name(), index, groups.len());
        figures.extend(group.measure(&site)?);
    }
    drop(site.progress);
    let record = record.end(start.ratio().value(), figures);
    output::answer(format!("{}\n{}", record.header(), table::table(&record.figures)).as_bytes())?;
    if let Some(json) = &mut json {
        json.write(record.to_json().as_bytes())?;
    }
    if let Some(html) = &mut html {
        html.write(page::page(&record).as_bytes())?;
    }
    Ok(Status::Guest(0))
}

/// The file that gets the figures. It is opened before anything is measured, so that nobody waits in
/// vain, and loses what was in it only when there is something new.
struct Destination {
    path: PathBuf,
    file: File,
}

impl Destination {
    fn open(path: &Path) -> Result<Destination, Failure> {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| Destination::failure(path, &error))?;
        Ok(Destination { path: path.into(), file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // What cannot be cut short, such as a pipe, holds nothing old either.
        let _ = self.file.set_len(0);
        self.file.write_all(bytes).map_err(|error| Destination::failure(&self.path, &error))
    }

    fn failure(path: &Path, error: &io::Error) -> Failure {
        Failure::runner(format_args!("cannot write {}: {error}; name another file", path.display()))
    }
}

/// The groups of these names, each once and in the usual order; all if there is no name.
fn groups(names: &[String]) -> Result<Vec<Group>, Failure> {
    let is = |group: Group, name: &String| group.name() == name;
    if let Some(name) = names.iter().find(|name| !Group::ALL.iter().any(|group| is(*group, name))) {
        return Err(Failure::runner(format_args!(
            "there is no group `{name}` of figures; there are {}",
            Group::ALL.map(Group::name).join(", ")
        )));
    }
    let asked = |group: &Group| names.is_empty() || names.iter().any(|name| is(*group, name));
    Ok(Group::ALL.into_iter().filter(asked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn without_a_name_every_group_is_measured_and_with_names_each_once() {
        assert_eq!(groups(&[]).unwrap(), Group::ALL);
        let asked = names(&["data", "call", "data"]);
        assert_eq!(groups(&asked).unwrap(), [Group::Call, Group::Data]);
    }

    #[test]
    fn an_unknown_group_is_one_sentence_that_lists_the_groups() {
        let failure = groups(&names(&["call", "speed"])).unwrap_err();
        assert_eq!(failure.status, Status::Runner);
        assert_eq!(
            failure.message,
            "there is no group `speed` of figures; there are call, event, compute, start, memory, size, data, threads, embed, storage, c"
        );
    }
}
