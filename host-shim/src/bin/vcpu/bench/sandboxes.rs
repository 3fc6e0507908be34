//! Many sandboxes in one process: what each takes, how long one more takes to start, and whether all
//! answer.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot, memory_file};
use crate::run::raise_limit_of_files;
use crate::status::Failure;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use vcpu_abi::layout::PAGE_SIZE;
use vcpu_host::backend::Pace;
use vcpu_host::{Config, Error, EventLines, Image, Machine, Outcome, Streams};

/// Most sandboxes at a time.
const MANY: usize = 1000;
/// Starts that are measured while so many sandboxes are alive, and those before that do not count.
const STARTS: usize = 100;
const WARM_UP: usize = 10;
/// Sandboxes that are alive at the end of a start, and the figure of that.
const CROWDS: [(usize, &str); 4] = [
    (1, "start.library.1"),
    (10, "start.library.10"),
    (100, "start.library.100"),
    (MANY, "start.library.1000"),
];
/// How often many are run.
const ROUNDS: usize = 3;
/// What a large host has touched, in bytes.
const LARGE: usize = 1 << 30;
/// The line that is raised for an answer, as the app `measure` has it.
const LINE: u32 = 1;
/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which a guest that says that it will wait comes to wait.
const SETTLE: Duration = Duration::from_millis(500);

/// From the library call to a guest's first instruction.
pub(super) fn start(site: &Site) -> Result<Vec<Figure>, Failure> {
    raise_limit_of_files().map_err(|error| cannot("raise the number of files that may be open", error))?;
    let image = Image::open(site.image("hello")).map_err(Failure::image)?;
    let most = Target::Median(400e3);
    let mut figures = Vec::new();
    let mut alive = Vec::new();
    let mut alone = Vec::new();
    for (count, name) in CROWDS {
        while alive.len() < count - 1 {
            site.progress.round(name, alive.len(), count);
            alive.push(first_instruction(&image)?);
        }
        let samples = starts(site, &image, name)?;
        if alone.is_empty() {
            alone = samples.clone();
        }
        figures.push(Figure::new(name, Unit::Ns, samples).at_most(most));
    }
    drop(alive);
    // Where that is not to be had, the figure is not.
    let mut large = Vec::<u8>::new();
    if available()? > 2 * LARGE as u64 && large.try_reserve_exact(LARGE).is_ok() {
        const NAME: &str = "start.library.large";
        site.progress.show("touching memory");
        large.resize(LARGE, 1);
        let samples = starts(site, &image, NAME)?;
        black_box(&large);
        figures.push(Figure::new(NAME, Unit::Ns, samples).over(&alone).at_most(Target::Ratio(1.1)));
    }
    Ok(figures)
}

/// What starts take, in ns. Each sandbox ends before the next begins.
fn starts(site: &Site, image: &Image, name: &str) -> Result<Vec<f64>, Failure> {
    let mut samples = Vec::new();
    for round in 0..WARM_UP + STARTS {
        site.progress.round(name, round, WARM_UP + STARTS);
        let begin = Instant::now();
        let sandbox = first_instruction(image)?;
        samples.push(begin.elapsed().as_nanos() as f64);
        drop(sandbox);
    }
    Ok(samples.split_off(WARM_UP))
}

/// Starts a guest and lets it carry out its first instruction.
fn first_instruction(image: &Image) -> Result<Machine, Error> {
    let mut sandbox = Machine::start(image, Config::default())?;
    loop {
        sandbox.turn(Pace::Step)?;
        if sandbox.registers()?.raw.rip != image.entry() {
            return Ok(sandbox);
        }
    }
}

/// What a sandbox takes beside its RAM, and how many of many answer.
pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    raise_limit_of_files().map_err(|error| cannot("raise the number of files that may be open", error))?;
    let image = Image::open(site.image("measure")).map_err(Failure::image)?;
    let output = memory_file()?;
    // The first time takes what is taken once only.
    crowd(site, &image, &output, 10)?;
    let crowds = (0..ROUNDS).map(|_| crowd(site, &image, &output, MANY)).collect::<Result<Vec<_>, _>>()?;
    let (taken, answers) = crowds.into_iter().unzip();
    Ok(vec![
        Figure::new("memory.sandbox", Unit::Bytes, taken).at_most(Target::Median(f64::from(256 << 10))),
        Figure::new("scale.sandboxes", Unit::Count, answers).reaching(Target::AtLeast(MANY as f64)),
    ])
}

/// Runs so many sandboxes at the same time, each in a thread. Gives what one takes, in bytes, while all
/// guests wait, and how many then answer as they should.
fn crowd(site: &Site, image: &Image, output: &File, count: usize) -> Result<(f64, f64), Failure> {
    output.set_len(0).map_err(|error| cannot("empty a file in memory", error))?;
    site.progress.show(&format!("running {count} sandboxes"));
    // What ended before is gone by then.
    thread::sleep(SETTLE);
    let before = used()?;
    let run = |number, tell: mpsc::Sender<EventLines>| -> Result<Outcome, Failure> {
        let mut sandbox = guest(image, output, number)?;
        // Who listens does so until all have spoken.
        let _ = tell.send(sandbox.event_lines());
        drop(tell);
        Ok(sandbox.run()?)
    };
    let run = &run;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel::<EventLines>();
        let thread = |number| {
            let tell = tell.clone();
            thread::Builder::new().spawn_scoped(scope, move || run(number, tell))
        };
        let threads: Vec<_> = (0..count).map(thread).collect();
        drop(tell);
        let lines: Vec<_> = told.iter().collect();
        let begin = Instant::now();
        const READY: &str = "waiting\n";
        let ready = || output.metadata().is_ok_and(|file| file.len() >= (READY.len() * lines.len()) as u64);
        while !ready() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(SETTLE);
        let after = used();
        let ram = guest_ram();
        lines.iter().for_each(|lines| lines.raise(LINE));
        let mut answers = 0;
        for (number, thread) in threads.into_iter().enumerate() {
            let thread = thread.map_err(|error| cannot("start a thread", error))?;
            // What panicked has said so, and ends this program.
            let Ok(outcome) = thread.join() else { continue };
            answers += usize::from(matches!(outcome?, Outcome::Exited(status) if status == answer(number)));
        }
        // Others use memory meanwhile, so this may come out below zero.
        let taken = after? as f64 - before as f64 - ram? as f64;
        Ok((taken / count as f64, answers as f64))
    })
}

/// Starts a guest that waits and then answers with a number that is its own.
fn guest(image: &Image, output: &File, number: usize) -> Result<Machine, Failure> {
    let mut streams = Streams::null().map_err(|error| cannot("open the null device", error))?;
    streams.output = output.try_clone().map_err(|error| cannot("copy a descriptor", error))?.into();
    let arguments = ["measure", "answer", &number.to_string()].map(|argument| argument.as_bytes().to_vec());
    Ok(Machine::start(
        image,
        Config { arguments: arguments.into(), streams: Some(streams), ..Config::default() },
    )?)
}

/// What the guest of this number answers.
fn answer(number: usize) -> u8 {
    (number * 7 + 3) as u8
}

/// Bytes of guest RAM that were touched, of all sandboxes of this process.
fn guest_ram() -> Result<u64, Failure> {
    let failed = |error| cannot("look at the files of this process", error);
    let mut files = HashMap::new();
    for entry in fs::read_dir("/proc/self/fd").map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A file that was closed meanwhile is none of ours.
        let Ok(name) = fs::read_link(&path) else { continue };
        let name = name.to_string_lossy();
        if super::memory::GUEST_RAM.iter().any(|ram| name.starts_with(ram)) {
            let file = fs::metadata(&path).map_err(failed)?;
            files.insert(file.ino(), file.blocks() * 512);
        }
    }
    Ok(files.values().sum())
}

/// Bytes of the system's memory that are in use, but for what it keeps of files on disks.
fn used() -> Result<u64, Failure> {
    let memory = memory()?;
    let field = |name: &str| memory.get(name).copied().unwrap_or(0);
    let free = field("MemFree") + field("Buffers") + field("Cached") - field("Shmem") + kept()?;
    Ok(field("MemTotal").saturating_sub(free))
}

/// Bytes of free pages that each processor keeps for itself, which the system does not call free.
fn kept() -> Result<u64, Failure> {
    let zones = fs::read_to_string("/proc/zoneinfo")
        .map_err(|error| cannot("read what memory the system's zones have", error))?;
    let count = |line: &str| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok();
    Ok(zones.lines().filter_map(count).sum::<u64>() * PAGE_SIZE)
}

/// Bytes that could be had.
fn available() -> Result<u64, Failure> {
    Ok(memory()?.get("MemAvailable").copied().unwrap_or(0))
}

/// What the system says of its memory, in bytes.
fn memory() -> Result<HashMap<String, u64>, Failure> {
    let text = fs::read_to_string("/proc/meminfo")
        .map_err(|error| cannot("read what memory the system has", error))?;
    let parse = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let kilobytes: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
        Some((name.to_owned(), kilobytes << 10))
    };
    Ok(text.lines().filter_map(parse).collect())
}
