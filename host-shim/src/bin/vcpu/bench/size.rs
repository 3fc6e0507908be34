//! `size`: lines of loader, run loop, backend and stub: what one has to read to know how a guest is kept.
//!
//! The sources are those of which this program was made. Comments, blank lines and tests do not count,
//! and neither do the command line and the building of images.

use super::figure::{Figure, Target, Unit};

macro_rules! sources {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../../", $name)))),*] };
}

/// Names, from `host-shim/src` on, and text of the sources that keep a guest: loader, run loop, backends
/// and stub, with the system calls they use.
const HOST: &[(&str, &str)] = &sources![
    "backend.rs",
    "backend/ptrace.rs",
    "backend/seccomp.rs",
    "backend/seccomp/code.rs",
    "backend/seccomp/slot.rs",
    "backend/seccomp/timer.rs",
    "events.rs",
    "filter.rs",
    "image.rs",
    "information.rs",
    "lib.rs",
    "machine.rs",
    "memory.rs",
    "process.rs",
    "registers.rs",
    "stub.rs",
    "sys.rs",
    "upcall.rs",
];

/// The sources of what a guest uses: clock, timers, streams, and the limits on it.
const DEVICES: &[(&str, &str)] = &sources!["clock.rs", "console.rs", "machine/limits.rs", "timers.rs"];

/// The sources of what a guest is granted: grants, virtio devices, and RAM as they see it.
const GRANTS: &[(&str, &str)] = &sources![
    "device.rs",
    "device/block.rs",
    "device/console.rs",
    "device/entropy.rs",
    "device/filesystem.rs",
    "device/filesystem/kernel.rs",
    "device/filesystem/locks.rs",
    "device/filesystem/permitted.rs",
    "device/request.rs",
    "device/transport.rs",
    "grant.rs",
    "grant/open.rs",
    "grant/refusals.rs",
    "grant/want.rs",
    "image/notes.rs",
    "memory/view.rs",
];

/// The sources of what is said about a guest.
const REPORTS: &[(&str, &str)] = &sources![
    "error.rs",
    "image/contents.rs",
    "machine/last_words.rs",
    "report.rs",
    "unwind.rs",
    "unwind/names.rs",
    "unwind/sections.rs",
    "unwind/symbols.rs",
];

/// The sources of what a host program embeds: calls in both directions, snapshots, threads.
const EMBEDDING: &[(&str, &str)] = &sources![
    "embed.rs",
    "embed/asynchronous.rs",
    "embed/bounded.rs",
    "embed/builder.rs",
    "embed/error.rs",
    "embed/functions.rs",
    "embed/memory.rs",
    "embed/message.rs",
    "embed/metrics.rs",
    "embed/place.rs",
    "embed/pool.rs",
    "embed/snapshot.rs",
    "machine/exchange.rs",
    "machine/given.rs",
    "machine/moment.rs",
    "machine/snapshot.rs",
    "worker.rs",
];

/// The sources that only tests of guests and fuzz targets use.
const TESTING: &[(&str, &str)] =
    &sources!["fuzzing.rs", "fuzzing/image.rs", "fuzzing/message.rs", "machine/checkpoint.rs"];

pub(super) fn measure() -> Vec<Figure> {
    let figure = |name, sources: &[(&str, &str)]| {
        let lines: usize = sources.iter().map(|(_, text)| lines(text)).sum();
        Figure::new(name, Unit::Lines, vec![lines as f64])
    };
    vec![
        figure("size.host", HOST).at_most(Target::Median(4000.0)),
        figure("size.host.devices", DEVICES),
        figure("size.host.grants", GRANTS),
        figure("size.host.embedding", EMBEDDING),
        figure("size.host.reports", REPORTS),
        figure("size.host.testing", TESTING),
    ]
}

/// Lines of a source, formatted as rustfmt does, that are neither blank nor comment nor test.
fn lines(source: &str) -> usize {
    let mut lines = source.lines();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let code = line.trim();
        if code == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else if !code.is_empty() && !code.starts_with("//") {
            count += 1;
        }
    }
    count
}

/// Skips an item with its attributes: up to a semicolon, or to the brace that is indented as it is.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    for line in lines.by_ref() {
        if line.trim_start().starts_with("#[") {
            continue;
        }
        if line.ends_with(';') || line.ends_with('}') {
            return;
        }
        if line.ends_with('{') {
            let indentation = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indentation}}}");
            lines.take_while(|line| *line != end).for_each(drop);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn comments_blank_lines_and_tests_do_not_count() {
        let source = "\
//! A module.

#[cfg(test)]
use std::fs;

/// A function.
#[inline]
fn f() {
    // It does nothing.

    let path = \"http://\"; // counts
    #[cfg(test)]
    if true {
        g();
    }
}

#[cfg(test)]
#[expect(unused)]
mod tests {
    #[test]
    fn f_does_nothing() {
        super::f();
    }
}

const LAST: u8 = 0;
";
        assert_eq!(lines(source), 5);
    }

    #[test]
    fn every_source_of_the_machine_is_counted() {
        let counted: Vec<_> = [HOST, DEVICES, GRANTS, EMBEDDING, REPORTS, TESTING]
            .concat()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let mut missing = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                let is_test = name.ends_with("tests") || name.ends_with("tests.rs");
                if path.is_dir() && !["bin", "build"].contains(&name) && !is_test {
                    folders.push(path);
                } else if name.ends_with(".rs") && !is_test && !counted.contains(&name) {
                    missing.push(name.to_owned());
                }
            }
        }
        assert!(missing.is_empty(), "add these to the lists above: {missing:?}");
    }
}
