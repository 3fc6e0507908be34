//! Everything that can be checked, with what takes too long for every day: all images, all ports, all tests.

use crate::{Result, cargo_command, check, root};
use cargo_metadata::MetadataCommand;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One line of the table.
struct Row {
    name: String,
    result: std::result::Result<String, String>,
    time: Duration,
}

/// Does it all, goes on after a failure, and prints a table at the end.
pub(crate) fn run() -> Result {
    let mut rows = Vec::new();
    let mut step = |name: &str, action: &dyn Fn() -> std::result::Result<String, String>| {
        eprintln!("\n== {name}");
        let begin = Instant::now();
        let result = action();
        rows.push(Row { name: name.to_owned(), result, time: begin.elapsed() });
    };
    step("check", &|| check().map(|()| "good".into()));
    step("images", &|| crate::images().map(|()| "built".into()));
    for port in ports()? {
        step(&format!("port {port}"), &|| crate::cargo(&["vcpu", "build", &port]).map(|()| "built".into()));
    }
    // Test programs one by one: those that run guests want the machine to themselves.
    for arguments in test_programs()? {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        step(&format!("test {}", arguments.join(" ")), &|| tests(&arguments));
    }
    print(&rows);
    let failed = rows.iter().filter(|row| row.result.is_err()).count();
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", rows.len())) }
}

/// Names of the ports, sorted.
fn ports() -> std::result::Result<Vec<String>, String> {
    let apps = std::fs::read_dir(root().join("apps")).map_err(|error| format!("apps: {error}"))?;
    let apps = apps.filter_map(|app| app.ok()).filter(|app| app.path().join("port.toml").is_file());
    let mut names: Vec<_> = apps.filter_map(|app| app.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The arguments of `cargo test` for everything with tests in it that is built for the host.
fn test_programs() -> std::result::Result<Vec<Vec<String>>, String> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec();
    let metadata = metadata.map_err(|error| format!("cargo metadata: {error}"))?;
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut found: Vec<Vec<String>> = vec![list(&["--lib", "--bins", "--examples"]), list(&["--doc"])];
    for package in metadata.workspace_default_packages() {
        for target in package.targets.iter().filter(|target| target.is_test()) {
            found.push(list(&["--package", &package.name, "--test", &target.name]));
        }
    }
    Ok(found)
}

/// Runs tests, the ignored ones too, and tells how many passed.
fn tests(arguments: &[&str]) -> std::result::Result<String, String> {
    let mut command: Command = cargo_command();
    command.current_dir(root()).args(["test", "--no-fail-fast"]).args(arguments);
    // An ignored example in the documentation is no test.
    if arguments != ["--doc"] {
        command.args(["--", "--include-ignored"]);
    }
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cargo: {error}"))?;
    let mut counts = [0; 2];
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let line = line.map_err(|error| format!("cargo: {error}"))?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            for (count, word) in counts.iter_mut().zip([" passed", " failed"]) {
                *count += number_before(result, word);
            }
        }
    }
    let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
    let [passed, failed] = counts;
    if status.success() {
        Ok(format!("{passed} passed"))
    } else {
        Err(format!("{passed} passed, {failed} failed"))
    }
}

/// The number that stands before a word.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn print(rows: &[Row]) {
    println!("\n| step | result | seconds |\n|---|---|---|");
    for row in rows {
        let result = match &row.result {
            Ok(result) => result.clone(),
            Err(problem) => format!("FAILED: {problem}"),
        };
        println!("| {} | {result} | {:.1} |", row.name, row.time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn numbers_are_read_from_what_a_test_program_says() {
        let line = "FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out";
        assert_eq!((number_before(line, " passed"), number_before(line, " failed")), (12, 3));
        assert_eq!(number_before("nothing", " passed"), 0);
    }
}
