//! The book's page of the C library's functions says what headers and libraries say.
//!
//! Which functions there are, the headers tell: each is preprocessed, and declarations are looked for. Whether a
//! function is there, the libraries' symbols tell: one that nobody defines fails at link time, and one that
//! needs what only `libabsent.a` has fails with `ENOSYS`. What cannot be seen so is in `docs/functions.txt`.
//!
//! `cargo xtask functions` writes the page anew: it runs this test with `VCPU_WRITE_BOOK=1`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGE: &str = "docs/src/porting/functions.md";
const NOTES: &str = "docs/functions.txt";

/// What stands before the tables.
const BEGINNING: &str = "\
# Functions of the C library

All functions that the headers declare, with `_GNU_SOURCE`. This page is written by `cargo xtask functions` from the
headers, the libraries and `docs/functions.txt`; a test compares it with them.

- **There**: as the standards have it, or as musl has it where no standard says anything.
- **Partly**: how it differs.
- **Fails**: is there, but never does anything, and says so as is told here.
- **`ENOSYS`**: fails with this error when it is called, or with `vcpu cc --strict` at link time.
- **At link time**: nobody defines it, so a program that calls it is not linked. A configure script finds out.

";

/// Functions that a compiler makes itself.
const OF_COMPILER: &[&str] = &["alloca"];

/// Symbols that only the linker knows, those of the program itself, and those of the compiler's library.
fn is_linkers(symbol: &str) -> bool {
    let known = ["main", "_GLOBAL_OFFSET_TABLE_", "_init", "_fini", "_DYNAMIC"];
    known.contains(&symbol)
        || symbol.starts_with("__init_array")
        || symbol.starts_with("__fini_array")
        || symbol.starts_with("__mul")
        || symbol.starts_with("__div")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host-shim has a parent")
}

fn vcpu(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vcpu"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("vcpu starts");
    child.stdin.take().expect("it has one").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How much there is of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    There,
    Partly(String),
    Fails(String),
    Absent,
    Nowhere,
}

/// Directories of headers and of libraries.
fn places() -> (PathBuf, Vec<PathBuf>) {
    let (_, flags) = vcpu(&["cc", "--print-flags"], "");
    let words: Vec<_> = flags.split_whitespace().collect();
    let include = words.windows(2).find(|pair| pair[0] == "-isystem").expect("headers")[1];
    (include.into(), words.iter().filter_map(|word| word.strip_prefix("-L")).map(Into::into).collect())
}

/// All headers below a directory, by the names by which they are included, but for those that others include.
fn headers(directory: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory.join(below)).expect("headers").map(|entry| entry.expect("an entry")) {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if name != "bits" {
                headers(directory, &format!("{name}/"), found);
            }
        } else if name.ends_with(".h") {
            found.insert(name);
        }
    }
}

/// The functions that a header itself declares.
fn declared(include: &Path, header: &str) -> BTreeSet<String> {
    let wanted = include.join(header);
    let (_, text) = vcpu(&["cc", "-E", "-D_GNU_SOURCE", "-x", "c", "-"], &format!("#include <{header}>\n"));
    let mut is_own = false;
    let mut own = String::new();
    for line in text.lines() {
        if let Some(marker) = line.strip_prefix("# ") {
            is_own = marker.split('"').nth(1).is_some_and(|file| Path::new(file) == wanted);
        } else if is_own {
            own.push_str(line);
            own.push('\n');
        }
    }
    declarations(&own).iter().filter_map(|words| function(words)).collect()
}

/// The words of every declaration at the top level; a body in braces is left out.
fn declarations(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut depth = 0;
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if is_name(first) => rest.find(|character| !is_name(character)).unwrap_or(rest.len()),
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ => first.len_utf8(),
        };
        let word = &rest[..length];
        match word {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                // The end of a function; that of a structure is followed by its name or a semicolon.
                if depth == 0 && words.last().is_some_and(|word| word == ")") {
                    all.push(std::mem::take(&mut words));
                }
            }
            ";" if depth == 0 => all.push(std::mem::take(&mut words)),
            _ if depth == 0 => words.push(word.to_owned()),
            _ => {}
        }
        rest = rest[length..].trim_start();
    }
    all
}

/// The function that a declaration declares: the name before the first parenthesis, or, if that begins with an
/// asterisk, the name behind it, as in `void (*signal(int, void (*)(int)))(int)`.
fn function(words: &[String]) -> Option<String> {
    if words.first()? == "typedef" {
        return None;
    }
    let mut at = 0;
    while at < words.len() {
        let parenthesis = at + words[at..].iter().position(|word| word == "(")?;
        let before = words.get(parenthesis.checked_sub(1)?)?;
        if before == "__attribute__" {
            let mut depth = 0;
            at = parenthesis;
            loop {
                match words.get(at)?.as_str() {
                    "(" => depth += 1,
                    ")" => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
            continue;
        }
        let name = match words.get(parenthesis + 1)?.as_str() {
            "*" if words.get(parenthesis + 3)? == "(" => &words[parenthesis + 2],
            "*" => return None,
            _ => before,
        };
        return (!name.starts_with("__")).then(|| name.clone());
    }
    None
}

/// What a file in an archive defines and what it needs.
#[derive(Default)]
struct Member {
    defines: Vec<String>,
    needs: Vec<String>,
}

/// The files of an archive.
fn members(archive: &Path) -> Vec<Member> {
    let (_, text) = vcpu(&["nm", "--format=posix", "--print-file-name", &archive.to_string_lossy()], "");
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(file), Some(symbol), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let member = members.entry(file.to_owned()).or_default();
        match kind {
            "U" => member.needs.push(symbol.to_owned()),
            // A weak reference may stay empty.
            "w" | "v" => {}
            _ if kind.chars().all(char::is_uppercase) => member.defines.push(symbol.to_owned()),
            _ => {}
        }
    }
    members.into_values().collect()
}

/// The libraries: of each symbol the file that defines it.
struct Libraries {
    members: Vec<Member>,
    /// Where those of the library in Rust begin.
    rust: usize,
    defined: HashMap<String, usize>,
    absent: HashSet<String>,
}

impl Libraries {
    fn read(directories: &[PathBuf]) -> Libraries {
        let find = |name: &str| {
            let place = directories.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            members(&place.expect("the library is there"))
        };
        let mut members = find("libc.a");
        let rust = members.len();
        members.extend(find("libvcpu.a"));
        let mut defined = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            for symbol in &member.defines {
                defined.entry(symbol.clone()).or_insert(index);
            }
        }
        let absent = find("libabsent.a").into_iter().flat_map(|member| member.defines).collect();
        Libraries { members, rust, defined, absent }
    }

    /// How much there is of a function, as far as symbols tell: what it needs itself, and what that needs, up to
    /// functions of which the notes say how much there is.
    fn state(&self, name: &str, notes: &BTreeMap<String, State>) -> State {
        let Some(first) = self.defined.get(name) else {
            return if self.absent.contains(name) { State::Absent } else { State::Nowhere };
        };
        let mut state = State::There;
        let mut seen = HashSet::from([*first]);
        let mut open = vec![*first];
        while let Some(member) = open.pop() {
            // The library in Rust is one piece: what one of its functions needs, all of them do.
            if member >= self.rust {
                continue;
            }
            for symbol in &self.members[member].needs {
                if notes.contains_key(symbol) || is_linkers(symbol) {
                    continue;
                }
                match self.defined.get(symbol) {
                    Some(next) if self.members[*next].defines.iter().any(|name| notes.contains_key(name)) => {
                    }
                    Some(next) if seen.insert(*next) => open.push(*next),
                    Some(_) => {}
                    None if self.absent.contains(symbol) => state = state.max(State::Absent),
                    None => state = State::Nowhere,
                }
            }
        }
        state
    }
}

/// Reads `docs/functions.txt`: lines `name ...: there`, `name ...: partly: how` and `name ...: absent: how`.
fn notes(text: &str) -> BTreeMap<String, State> {
    let mut notes = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (names, said) = line.split_once(": ").unwrap_or_else(|| panic!("{NOTES}: {line}"));
        let state = match said.split_once(": ") {
            None if said == "there" => State::There,
            Some(("partly", how)) => State::Partly(how.to_owned()),
            Some(("absent", how)) => State::Fails(how.to_owned()),
            _ => panic!("{NOTES}: {line}"),
        };
        for name in names.split_whitespace() {
            let before = notes.insert(name.to_owned(), state.clone());
            assert!(before.is_none(), "{NOTES} says of {name} twice how much there is");
        }
    }
    notes
}

fn page() -> String {
    let (include, directories) = places();
    let libraries = Libraries::read(&directories);
    let notes = notes(&fs::read_to_string(repository().join(NOTES)).expect("the notes can be read"));
    let mut all = BTreeSet::new();
    headers(&include, "", &mut all);
    let mut text = BEGINNING.to_owned();
    let mut tables = String::new();
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for header in &all {
        let functions = declared(&include, header);
        if functions.is_empty() {
            continue;
        }
        let mut rows: BTreeMap<State, Vec<&str>> = BTreeMap::new();
        for name in &functions {
            let state = match (libraries.state(name, &notes), notes.get(name)) {
                (State::Nowhere, Some(said)) => {
                    assert!(
                        OF_COMPILER.contains(&name.as_str()),
                        "{NOTES} says of {name} that it is {said:?}, but it cannot be linked"
                    );
                    said.clone()
                }
                (_, Some(said)) => said.clone(),
                (found, None) => found,
            };
            states.insert(name.clone(), state.clone());
            rows.entry(state).or_default().push(name);
        }
        write!(tables, "## {header}\n\n| | |\n|---|---|\n").expect("a string takes all");
        for (state, names) in rows {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            let row = match state {
                State::There => format!("| there | {names} |"),
                State::Partly(how) => format!("| partly | {names}: {how} |"),
                State::Fails(how) => format!("| fails | {names}: {how} |"),
                State::Absent => format!("| `ENOSYS` | {names} |"),
                State::Nowhere => format!("| at link time | {names} |"),
            };
            writeln!(tables, "{row}").expect("a string takes all");
        }
        tables.push('\n');
    }
    let strange: Vec<_> = notes.keys().filter(|name| !states.contains_key(*name)).collect();
    assert!(strange.is_empty(), "{NOTES} names what no header declares: {strange:?}");
    let count = |is: fn(&State) -> bool| states.values().filter(|state| is(state)).count();
    writeln!(
        text,
        "Of {} functions {} are there, {} partly; {} fail when they are called and {} at link time.\n",
        states.len(),
        count(|state| *state == State::There),
        count(|state| matches!(state, State::Partly(_))),
        count(|state| matches!(state, State::Fails(_) | State::Absent)),
        count(|state| *state == State::Nowhere),
    )
    .expect("a string takes all");
    text + tables.trim_end() + "\n"
}

#[test]
fn the_book_has_every_function_as_it_is() {
    let path = repository().join(PAGE);
    let page = page();
    if std::env::var_os("VCPU_WRITE_BOOK").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs =
        page.lines().zip(found.lines().chain(std::iter::repeat(""))).find(|(now, then)| now != then);
    if let Some((now, then)) = differs {
        panic!("{PAGE} is out of date; run `cargo xtask functions`. It should say\n{now}\nand says\n{then}");
    }
    assert_eq!(page.len(), found.len(), "{PAGE} is out of date; run `cargo xtask functions`");
}

#[test]
fn declarations_of_all_forms_are_found() {
    let text = "typedef int (*compare)(const void *, const void *);
        extern int number; int (*pointer)(void); struct s { int (*member)(int); };
        void (*signal(int, void (*)(int)))(int);
        int printf(const char *restrict, ...) __attribute__((__format__(1, 2)));
        __attribute__((__noreturn__)) void exit(int); _Noreturn void abort(void);
        static __inline int isspace_(int c) { if (c) { return 1; } return 0; }
        double fabs(double); unsigned long long int __hidden(void); long double *f(void), g;";
    let found: Vec<_> = declarations(text).iter().filter_map(|words| function(words)).collect();
    assert_eq!(found, ["signal", "printf", "exit", "abort", "isspace_", "fabs", "f"]);
}
