//! The error of `math.h` is what the book states: the sandbox's functions against the machine's for long double.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The page that has the table.
const PAGE: &str = "docs/src/how-it-works/libc-choice.md";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host-shim has a parent").into()
}

/// The errors that the book states, by the names of the functions.
fn stated() -> BTreeMap<String, f64> {
    let page = fs::read_to_string(repository().join(PAGE)).expect("the page");
    let mut stated = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        for entry in cells.chunks_exact(3) {
            let name = entry[0].trim_matches('`');
            if let (Ok(double), Ok(float)) = (entry[1].parse(), entry[2].parse()) {
                stated.insert(name.to_owned(), double);
                stated.insert(format!("{name}f"), float);
            }
        }
    }
    stated
}

#[test]
fn no_function_of_math_h_is_further_from_the_truth_than_the_book_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (native, image) = (directory.path().join("native"), directory.path().join("image"));
    let vcpu = || Command::new(env!("CARGO_BIN_EXE_vcpu"));
    let mut cc = vcpu();
    cc.arg("cc");
    for (mut compiler, to) in [(Command::new("cc"), &native), (cc, &image)] {
        compiler
            .args(["-O2", "-fno-builtin", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(to);
        let output =
            compiler.arg(repository().join("tests/c/ulp.c")).arg("-lm").output().expect("a compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let results = directory.path().join("results");
    let mut run = vcpu();
    run.args(["run", "--time-limit", "120s"]).arg(&image).arg("--").arg("results");
    run.stdin(Stdio::null()).stdout(fs::File::create(&results).expect("a file"));
    assert!(run.status().expect("vcpu starts").success());
    let mut check = Command::new(&native);
    check.arg("check").stdin(fs::File::open(&results).expect("the results"));
    let output = check.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (stated, text) = (stated(), String::from_utf8_lossy(&output.stdout));
    let mut judged = 0;
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').expect("a name");
        let worst: f64 = rest.split(' ').next().and_then(|worst| worst.parse().ok()).expect("a number");
        // What is not in the table is exact.
        let most = stated.get(name).copied().unwrap_or(0.0);
        assert!(worst <= most, "{PAGE} says {most} for {line}");
        judged += 1;
    }
    assert!(judged > stated.len() && stated.len() > 50, "{judged} functions, {} in the table", stated.len());
}
