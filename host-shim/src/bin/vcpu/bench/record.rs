//! A run's record: the figures, and on what machine and with which versions they were measured. It is what
//! `--json` writes, `--html` shows, and `--compare` reads.

use super::figure::Figure;
use crate::status::Failure;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The version of the record's form. A change that this program could misread takes the next number.
const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// When the run began, in UTC (RFC 3339).
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) versions: Versions,
    pub(super) options: Options,
    /// The rate of the time-stamp counter, as measured in the run.
    pub(super) cycles_per_ns: f64,
    /// The system's load of the minute before the run.
    pub(super) load: Option<f64>,
    pub(super) figures: Vec<Figure>,
}

/// What figures depend on and nobody changes by accident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// The model's name.
    pub(super) processor: String,
    pub(super) cores: usize,
    /// The release of Linux.
    pub(super) kernel: String,
    /// Whether the processor says that there is a hypervisor below the system.
    pub(super) hypervisor: bool,
    /// RAM in bytes.
    pub(super) memory: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Versions {
    pub(super) vcpu: String,
    /// Of the interface between guest and host.
    pub(super) interface: u32,
    /// The compiler of the images.
    pub(super) rustc: Option<String>,
    /// The kind of target of the images.
    pub(super) images: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Options {
    /// What was measured.
    pub(super) groups: Vec<String>,
}

impl Record {
    /// The record of a run that begins now, without figures.
    pub(super) fn begin(versions: Versions, options: Options) -> Record {
        Record {
            schema: SCHEMA,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: Machine::here(),
            versions,
            options,
            cycles_per_ns: 0.0,
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
            figures: Vec::new(),
        }
    }

    /// Completes it.
    pub(super) fn end(self, cycles_per_ns: f64, figures: Vec<Figure>) -> Record {
        let figures = figures.into_iter().map(|figure| figure.converted(cycles_per_ns)).collect();
        Record { cycles_per_ns, figures, ..self }
    }

    pub(super) fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a record is names and finite numbers");
        text.push('\n');
        text
    }

    /// The record in a file that `--json` wrote.
    pub(super) fn open(path: &Path) -> Result<Record, Failure> {
        let failure = |problem: String| {
            let path = path.display();
            Failure::runner(format_args!(
                "cannot compare {path}: {problem}; name a file that `vcpu bench --json` wrote"
            ))
        };
        let text = fs::read_to_string(path).map_err(|error| failure(error.to_string()))?;
        Record::parse(&text).map_err(failure)
    }

    /// Says what is wrong with the text, if something is.
    fn parse(text: &str) -> Result<Record, String> {
        let wrong = |error: serde_json::Error| format!("it is no record of figures ({error})");
        let value: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
        match value.get("schema") {
            None => return Err("it says no version of its schema".into()),
            Some(schema) if *schema != SCHEMA => {
                return Err(format!("its schema is version {schema}, and this vcpu reads version {SCHEMA}"));
            }
            Some(_) => {}
        }
        let record: Record = serde_json::from_value(value).map_err(wrong)?;
        let summaries = |figure: &Figure| [Some(figure.measured.clone()), figure.native.clone()];
        match record.figures.iter().find(|f| !summaries(f).iter().flatten().all(|s| s.is_complete())) {
            Some(figure) => Err(format!("the figure {:?} lacks percentiles", figure.name)),
            None => Ok(record),
        }
    }

    /// What there is to say beside the figures: pairs of a word and a text.
    pub(super) fn circumstances(&self) -> Vec<(&'static str, String)> {
        let Machine { processor, cores, kernel, hypervisor, memory } = &self.machine;
        let below = if *hypervisor { "below a hypervisor" } else { "no hypervisor" };
        let memory = crate::output::size(*memory);
        let Versions { vcpu, interface, rustc, images } = &self.versions;
        let mut pairs = vec![
            ("date", self.date.clone()),
            ("processor", format!("{processor}, {cores} cores, {memory} of memory, {below}")),
            ("kernel", format!("Linux {kernel}")),
            ("vcpu", format!("{vcpu}, interface {interface}")),
        ];
        if let (Some(rustc), Some(images)) = (rustc, images) {
            pairs.push(("images", format!("{images} target, {rustc}")));
        }
        pairs.push(("counter", format!("{:.4} cycles in a ns", self.cycles_per_ns)));
        pairs.extend(self.load.map(|load| ("load", format!("{load} before the run"))));
        pairs.push(("groups", self.options.groups.join(", ")));
        pairs
    }

    /// The same as lines.
    pub(super) fn header(&self) -> String {
        self.circumstances().iter().fold(String::new(), |mut text, (word, value)| {
            writeln!(text, "{word}: {value}").expect("a string takes all");
            text
        })
    }
}

impl Machine {
    /// This machine.
    fn here() -> Machine {
        let processors = read("/proc/cpuinfo");
        let value = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kib: Option<u64> = memory.and_then(|memory| memory.strip_suffix(" kB")?.parse().ok());
        let flags = value(&processors, "flags").unwrap_or_default();
        Machine {
            processor: value(&processors, "model name").unwrap_or_else(|| "unknown".into()),
            // This thread may be kept on one, so what it may use says nothing.
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            hypervisor: flags.split(' ').any(|flag| flag == "hypervisor"),
            memory: kib.unwrap_or(0) * 1024,
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A record for tests, of these figures.
#[cfg(test)]
pub(super) fn example(figures: Vec<Figure>) -> Record {
    let versions = Versions {
        vcpu: "0.1.0".into(),
        interface: 1,
        rustc: Some("rustc 1.95.0".into()),
        images: Some("stock".into()),
    };
    Record::begin(versions, Options { groups: vec!["call".into()] }).end(2.5, figures)
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Target, Unit};
    use super::*;

    fn record() -> Record {
        let samples = (1..=200).map(f64::from).collect();
        example(vec![
            Figure::new("event.10", Unit::Ns, samples)
                .over(&[2.0, 4.0])
                .at_most(Target::MedianAndTail(1.25))
                .in_series("event", "threads", 10.0),
            Figure::new("size.host", Unit::Lines, vec![1500.0]).at_most(Target::Median(2000.0)),
        ])
    }

    #[test]
    fn what_was_written_is_read_again() {
        let record = record();
        assert_eq!(Record::parse(&record.to_json()).unwrap(), record);
    }

    #[test]
    fn a_record_says_all_that_a_reader_needs() {
        let value: serde_json::Value = serde_json::from_str(&record().to_json()).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        assert!(value["date"].as_str().unwrap().ends_with('Z'));
        for key in ["processor", "cores", "kernel", "hypervisor", "memory"] {
            assert!(!value["machine"][key].is_null(), "{key}");
        }
        let figure = &value["figures"][0];
        assert_eq!((&figure["unit"], &figure["measured"]["median"]), (&"ns".into(), &100.5.into()));
        assert_eq!(figure["also"]["measured"]["median"], 251.25);
        assert_eq!((&figure["native"]["samples"], &figure["ratio"]), (&2.into(), &33.5.into()));
        assert_eq!(figure["target"]["median-and-tail"], 1.25);
        assert_eq!((&figure["reached"], &figure["series"]["x"]), (&false.into(), &10.0.into()));
    }

    #[test]
    fn another_schema_or_a_broken_file_is_refused_in_a_sentence() {
        let text = record().to_json();
        let problem = |text: &str| Record::parse(text).unwrap_err();
        assert!(problem("[").contains("no record of figures"));
        assert!(problem("[]").contains("no version of its schema"));
        let next = text.replace("\"schema\":1", "\"schema\":2");
        assert_eq!(problem(&next), "its schema is version 2, and this vcpu reads version 1");
        assert!(problem(&text.replace("\"median\"", "\"mean\"")).contains("missing field `median`"));
        let bare = text.replace("\"percentiles\":[1500.0,", "\"percentiles\":[");
        assert_eq!(problem(&bare), "the figure \"size.host\" lacks percentiles");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = Record::open(Path::new("/nowhere/a.json")).unwrap_err();
        assert!(failure.message.starts_with("cannot compare /nowhere/a.json: No such file"), "{failure:?}");
    }
}
