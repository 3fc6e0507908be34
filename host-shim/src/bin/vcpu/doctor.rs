//! `vcpu doctor`: what this machine permits, which backend is used, and why.
//!
//! A backend works if a guest runs on it; so one is run, the smallest there is.

use crate::output;
use crate::status::{Failure, Status};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use vcpu_abi::INTERFACE_VERSION;
use vcpu_abi::call::Call;
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE, TRAP_INSTRUCTION};
use vcpu_abi::note::{NOTE_NAME, NOTE_TYPE};
use vcpu_host::backend::BackendKind;
use vcpu_host::{Config, Image, Machine, Outcome};

/// Say what this machine permits, which backend is used, and why
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

const HELP: &str = "\
Examples:
  vcpu doctor               ends with status 0 if guests can be run here, and 125 if not";

/// The status with which the smallest guest ends.
const STATUS: u8 = 42;

pub(crate) fn perform(_: Arguments) -> Result<Status, Failure> {
    let file = smallest().map_err(|error| Failure::runner(format_args!("cannot make a guest: {error}")))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let image = Image::open(path).map_err(Failure::image)?;
    let tried = [BackendKind::Seccomp, BackendKind::Ptrace].map(|kind| (kind, attempt(&image, kind)));
    let chosen = tried.iter().find(|(_, problem)| problem.is_none()).map(|(kind, _)| *kind);
    output::answer(describe(&tried, chosen).as_bytes())?;
    Ok(if chosen.is_some() { Status::Guest(0) } else { Status::Runner })
}

/// Runs the smallest guest; says what was wrong.
fn attempt(image: &Image, backend: BackendKind) -> Option<String> {
    let config = Config { backend, ..Config::default() };
    match Machine::start(image, config).and_then(|mut sandbox| sandbox.run()) {
        Ok(Outcome::Exited(STATUS)) => None,
        Ok(outcome) => Some(format!("a guest ended with status {}", outcome.status())),
        Err(error) => Some(error.to_string()),
    }
}

fn describe(tried: &[(BackendKind, Option<String>)], chosen: Option<BackendKind>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:<18} {}", value.trim()).expect("a string takes all");
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|_| "not there".to_owned());
    line("kernel", &read("/proc/sys/kernel/osrelease"));
    line("cores", &std::thread::available_parallelism().map_or(1, usize::from).to_string());
    line("seccomp filters", &read("/proc/sys/kernel/seccomp/actions_avail"));
    line("ptrace scope", &read("/proc/sys/kernel/yama/ptrace_scope"));
    // With 2 nothing that lies in memory only may be executed, and so no stub.
    line("memfd_noexec", &read("/proc/sys/vm/memfd_noexec"));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    line("open files", &files.current.map_or("no limit".to_owned(), |most| format!("at most {most}")));
    for (kind, problem) in tried {
        line(kind.name(), problem.as_deref().unwrap_or("works"));
    }
    let why = match chosen {
        Some(kind @ BackendKind::Seccomp) => format!("{}, because it works and is the fastest", kind.name()),
        Some(kind) => format!("{}, because no faster one works", kind.name()),
        None => "nothing: no guest can be run here".to_owned(),
    };
    line("used by default", &why);
    text
}

/// An image that does nothing but end with [`STATUS`], by a call through the trap page: it has no stack.
fn smallest() -> io::Result<File> {
    const HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    const LOAD: u32 = 1;
    const NOTE: u32 = 4;
    const READ_EXECUTE: u32 = 5;
    let mut code = vec![0xbf];
    code.extend((Call::Exit as u32).to_le_bytes());
    code.push(0xbe);
    code.extend(u32::from(STATUS).to_le_bytes());
    code.extend(TRAP_INSTRUCTION);
    let mut note = Vec::new();
    let words = |file: &mut Vec<u8>, words: &[u32]| file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    let longs = |file: &mut Vec<u8>, longs: &[u64]| file.extend(longs.iter().flat_map(|l| l.to_le_bytes()));
    words(&mut note, &[NOTE_NAME.len() as u32, 16, NOTE_TYPE]);
    note.extend(NOTE_NAME);
    words(&mut note, &[INTERFACE_VERSION, 0]);
    longs(&mut note, &[2 * PAGE_SIZE]);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    longs(&mut file, &[RAM_BASE, HEADER, 0]);
    // No flags; sizes of the two kinds of header, two of the second.
    words(&mut file, &[0, (HEADER | PROGRAM_HEADER << 16) as u32, 2, 0]);
    let (note_at, code_at) = (HEADER + 2 * PROGRAM_HEADER, HEADER + 2 * PROGRAM_HEADER + note.len() as u64);
    let pieces = [(NOTE, note_at, 0, &note, note.len() as u64), (LOAD, code_at, RAM_BASE, &code, PAGE_SIZE)];
    for (kind, at, address, content, size) in pieces {
        words(&mut file, &[kind, READ_EXECUTE]);
        longs(&mut file, &[at, address, address, content.len() as u64, size, 4]);
    }
    file.extend(note.iter().chain(&code));
    let mut image = File::from(rustix::fs::memfd_create("smallest", rustix::fs::MemfdFlags::CLOEXEC)?);
    image.write_all(&file)?;
    Ok(image)
}
