//! `compute`: a guest that only computes, over the very same machine code outside.
//!
//! | figure | what is computed |
//! |---|---|
//! | `compute.fib` | a recursive Fibonacci number: calls, returns, additions |
//! | `compute.memory` | a walk along a chain of cache lines through 64 MiB, far more than caches hold |
//! | `compute.vector` | products of small matrices of `f32`, with AVX2 if there is any |
//!
//! The functions' bytes are taken out of the image and mapped executable [here](super::machine_code), and
//! compared with what the guest's memory has. The data lies in the same kind of memory on both sides: an
//! anonymous file, shared, in pages of 4 KiB, all of them touched before anything is timed.
//!
//! What else happens on the machine, to its caches and its memory above all, changes from one tenth of a second to
//! the next. So guest and native side live at the same time and take turns every few ms, in *groups* of
//! repetitions. A repetition is short, so that few are hit by an interrupt; the first of a group pays for the
//! turn and does not count.
//!
//! Some pages of a machine are better than others, by some percent, and who asks first gets them. So with each round
//! all memory is given back and taken anew, by the sides in every order.
//!
//! Each figure has a companion, `.noise`: there are two native sides, and this is one over the other. What a
//! figure differs from one by less than this does means nothing.

use super::figure::{Figure, Target, Unit};
use super::machine_code::MachineCode;
use super::site::{Site, cannot, memory_file};
use crate::status::Failure;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;
use vcpu_host::backend::Pace;
use vcpu_host::{Image, Machine};

/// The app that has the functions.
const APP: &str = "compute";
/// Times that guest and native sides begin anew: twice in each order.
const ROUNDS: usize = 2 * ORDERS.len();
/// Groups of one side in one round, of which the first does not count.
const GROUPS: usize = 31;
/// Repetitions of one group, of which the first does not count.
const REPETITIONS: usize = 5;

/// The orders in which sides begin and take turns; the guest is 0. Who comes behind whom matters to caches as well.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// Something to compute.
struct Work {
    figure: &'static str,
    noise: &'static str,
    /// The app's word for it.
    word: &'static str,
    function: &'static str,
    /// What a repetition is called with: about half a millisecond.
    n: u64,
    /// Bytes of its data.
    size: usize,
    /// The function that makes the data, and its number.
    make: Option<(&'static str, u64)>,
}

fn works() -> [Work; 3] {
    let multiply = if is_x86_feature_detected!("avx2") { "multiply_avx2" } else { "multiply_sse2" };
    [
        Work {
            figure: "compute.fib",
            noise: "compute.fib.noise",
            word: "fib",
            function: "fib",
            n: 27,
            size: 0,
            make: None,
        },
        Work {
            figure: "compute.memory",
            noise: "compute.memory.noise",
            word: "memory",
            function: "walk",
            n: 4096,
            size: 64 << 20,
            make: Some(("chain", 1 << 20)),
        },
        Work {
            figure: "compute.vector",
            noise: "compute.vector.noise",
            word: "vector",
            function: multiply,
            n: 800,
            size: 3 * 4096,
            make: Some(("matrices", 2 * 1024)),
        },
    ]
}

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let image = Image::open(site.image(APP)).map_err(Failure::image)?;
    let mut figures = Vec::new();
    for work in works() {
        figures.extend(compare(site, &image, &work)?);
    }
    Ok(figures)
}

/// Measures one work on both sides, and what the native side differs from itself.
fn compare(site: &Site, image: &Image, work: &Work) -> Result<[Figure; 2], Failure> {
    let function = MachineCode::of(image, work.function)?;
    let make = match work.make {
        Some((name, number)) => Some((MachineCode::of(image, name)?, number)),
        None => None,
    };
    // It is the same every time.
    let address = Guest::start(site, image, work, &function)?.data;
    let mut samples = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        site.progress.round(work.figure, round, ROUNDS);
        let begin = ORDERS[round % ORDERS.len()];
        let mut sides: Vec<Box<dyn Side>> = Vec::new();
        for side in begin {
            sides.push(match side {
                0 => Box::new(Guest::start(site, image, work, &function)?),
                _ => Box::new(Native::start(work, &function, make.as_ref(), address)?),
            });
        }
        for group in 0..GROUPS {
            for turn in ORDERS[group % ORDERS.len()] {
                let times = sides[turn].group()?;
                let first = if group == 0 { REPETITIONS } else { 1 };
                samples[begin[turn]].extend(&times[first..]);
            }
        }
        let results = sides.iter_mut().map(|side| side.result()).collect::<Result<Vec<_>, _>>()?;
        if results.iter().any(|result| *result != results[0]) {
            return Err(Failure::runner(format_args!(
                "`{}` gave different results, {results:?}, for the same work; please report this",
                work.function
            )));
        }
        // The last first: what is given back last is what the next one who asks gets.
        while sides.pop().is_some() {}
    }
    let [inside, first, second] = samples;
    let figure = Figure::new(work.figure, Unit::Ns, inside).over(&[&first[..], &second[..]].concat());
    let noise = Figure::new(work.noise, Unit::Ns, second).over(&first);
    Ok([figure.at_most(Target::Ratio(1.005)), noise])
}

/// Somebody who computes.
trait Side {
    /// What the repetitions of a group take, in ns.
    fn group(&mut self) -> Result<Vec<f64>, Failure>;

    /// What the last repetition gave; there are no more then.
    fn result(&mut self) -> Result<u64, Failure>;
}

/// The side in a sandbox.
struct Guest {
    sandbox: Machine,
    output: File,
    /// Bytes of its output that were read.
    read: u64,
    /// Where its data is.
    data: usize,
}

impl Guest {
    /// Starts it, up to where it has memory for its data.
    fn start(site: &Site, image: &Image, work: &Work, function: &MachineCode) -> Result<Guest, Failure> {
        let (output, errors) = (memory_file()?, memory_file()?);
        let arguments = [work.word, &work.n.to_string(), &GROUPS.to_string(), &REPETITIONS.to_string()];
        let sandbox = site.sandbox(image, APP, &arguments, None, [&output, &errors])?;
        function.check(sandbox.memory())?;
        let mut guest = Guest { sandbox, output, read: 0, data: 0 };
        let line = guest.line()?;
        guest.data = data(&line, work.function).ok_or_else(|| unexpected(&line))?;
        Ok(guest)
    }

    /// Lets it run until it has written one more line, which is one call: there it stops.
    fn line(&mut self) -> Result<String, Failure> {
        let failed = |error| cannot("read what a guest has written", error);
        loop {
            let outcome = self.sandbox.turn(Pace::Full)?;
            let length = self.output.metadata().map_err(failed)?.len();
            if length > self.read {
                let mut line = vec![0; (length - self.read) as usize];
                self.output.read_exact_at(&mut line, self.read).map_err(failed)?;
                self.read = length;
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if let Some(outcome) = outcome {
                return Err(unexpected(&format!("status {}", outcome.status())));
            }
        }
    }
}

impl Side for Guest {
    fn group(&mut self) -> Result<Vec<f64>, Failure> {
        let line = self.line()?;
        times(&line).ok_or_else(|| unexpected(&line))
    }

    fn result(&mut self) -> Result<u64, Failure> {
        let line = self.line()?;
        // Its process is still there: it waits for an answer.
        check_pages(self.sandbox.pid(), "/memfd:vcpu-ram", "the guest's RAM")?;
        line.strip_prefix("result ").and_then(|result| result.parse().ok()).ok_or_else(|| unexpected(&line))
    }
}

/// Where the data of this function is, from the app's first line.
fn data(line: &str, function: &str) -> Option<usize> {
    let address = line.strip_prefix("function ")?.strip_prefix(function)?.strip_prefix(" data 0x")?;
    usize::from_str_radix(address, 16).ok()
}

/// The times of a group, from the app's line.
fn times(line: &str) -> Option<Vec<f64>> {
    let times = line.strip_prefix("times ")?.split(' ').map(|time| time.parse().ok());
    times.collect::<Option<Vec<f64>>>().filter(|times| times.len() == REPETITIONS)
}

fn unexpected(what: &str) -> Failure {
    Failure::runner(format_args!("the app `{APP}` does not measure, but says `{what}`; please report this"))
}

/// The side without a sandbox.
struct Native<'a> {
    work: &'a Work,
    function: &'a MachineCode,
    data: Data,
    /// What the last repetition gave.
    result: u64,
}

impl<'a> Native<'a> {
    /// Makes its data, as the app does: at the same address, if that is free.
    fn start(
        work: &'a Work,
        function: &'a MachineCode,
        make: Option<&(MachineCode, u64)>,
        address: usize,
    ) -> Result<Native<'a>, Failure> {
        let data = Data::new(work.size, address)?;
        if let Some((make, number)) = make {
            // SAFETY: the data has the size that the work needs, and is ours alone.
            unsafe { make.call(*number, data.pointer()) };
        }
        check_pages(std::process::id() as i32, MEMORY, "the native side's memory")?;
        Ok(Native { work, function, data, result: 0 })
    }
}

impl Side for Native<'_> {
    fn group(&mut self) -> Result<Vec<f64>, Failure> {
        let repetition = |_| {
            let begin = Instant::now();
            // SAFETY: the data is what the function works on, and is ours alone.
            self.result =
                black_box(unsafe { self.function.call(black_box(self.work.n), self.data.pointer()) });
            begin.elapsed().as_nanos() as f64
        };
        Ok((0..REPETITIONS).map(repetition).collect())
    }

    fn result(&mut self) -> Result<u64, Failure> {
        Ok(self.result)
    }
}

/// What mappings of a file in this process's memory are called.
const MEMORY: &str = "/memfd:vcpu-bench";

/// Memory for data, of the kind that a guest's RAM is.
struct Data {
    mapping: *mut c_void,
    size: usize,
}

impl Data {
    /// Maps so many bytes, at this address if it is free, and touches them all.
    fn new(size: usize, address: usize) -> Result<Data, Failure> {
        // A mapping has at least a page.
        let size = size.max(4096);
        let file = memory_file()?;
        let failed = |error: rustix::io::Errno| cannot("map memory for data", error.into());
        rustix::fs::ftruncate(&file, size as u64).map_err(failed)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at a place that is free disturbs nothing.
        let mapping = unsafe { rustix::mm::mmap(address as *mut c_void, size, access, flags, &file, 0) };
        let data = Data { mapping: mapping.map_err(failed)?, size };
        // SAFETY: it is our own mapping, and advice changes no content. A kernel without huge pages refuses.
        let _ = unsafe { rustix::mm::madvise(data.mapping, size, Advice::LinuxNoHugepage) };
        // SAFETY: it has so many bytes, and is ours alone.
        unsafe { data.mapping.write_bytes(0, size) };
        Ok(data)
    }

    fn pointer(&self) -> *mut u64 {
        self.mapping.cast()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody uses it any more.
        let _ = unsafe { rustix::mm::munmap(self.mapping, self.size) };
    }
}

/// Whether a process has this file in pages of 4 KiB only.
fn check_pages(pid: i32, file: &str, what: &str) -> Result<(), Failure> {
    let mappings = std::fs::read_to_string(format!("/proc/{pid}/smaps"))
        .map_err(|error| cannot("read what memory a process has", error))?;
    match huge_pages(&mappings, file) {
        0 => Ok(()),
        kilobytes => Err(Failure::runner(format_args!(
            "{what} has {kilobytes} kB in huge pages, so nothing can be compared; write `never` to \
             /sys/kernel/mm/transparent_hugepage/shmem_enabled"
        ))),
    }
}

/// Kilobytes of a file that are mapped as huge pages, from a process's `smaps`.
fn huge_pages(mappings: &str, file: &str) -> u64 {
    let mut counts = false;
    let mut total = 0;
    for line in mappings.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:") if counts => {
                total += words.next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
            }
            Some(field) if field.ends_with(':') => {}
            // Addresses, rights, offset, device, inode, and perhaps a name.
            _ => counts = words.nth(4) == Some(file),
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_app_are_taken_as_they_are_meant_or_not_at_all() {
        assert_eq!(data("function walk data 0x2a0000", "walk"), Some(0x2a_0000));
        assert_eq!(data("function run data 0x2a0000", "walk"), None);
        assert_eq!(times("times 1 2 3 4 5"), Some(vec![1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(times("times 1 2 3 4"), None);
        assert_eq!(times("times 1 2 3 4 x"), None);
    }

    #[test]
    fn sides_begin_and_take_turns_in_every_order() {
        let orders: std::collections::BTreeSet<_> = ORDERS.into_iter().collect();
        assert_eq!(orders.len(), 6);
        for mut order in orders {
            order.sort();
            assert_eq!(order, [0, 1, 2]);
        }
    }

    #[test]
    fn huge_pages_of_the_one_file_count() {
        let mappings = "\
7f0000000000-7f0004000000 rw-s 00000000 00:01 7 /memfd:vcpu-ram (deleted)
Rss:               65536 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
7f0004000000-7f0004200000 rw-p 00000000 00:00 0 [heap]
AnonHugePages:      4096 kB
7f0004200000-7f0004400000 rw-s 00000000 00:01 7 /memfd:vcpu-ram (deleted)
ShmemPmdMapped:     2048 kB
";
        assert_eq!(huge_pages(mappings, "/memfd:vcpu-ram"), 4096);
        assert_eq!(huge_pages(mappings, MEMORY), 0);
    }

    #[test]
    fn the_native_side_has_pages_of_the_smallest_size_and_begins_with_zeros() {
        let data = Data::new(4 << 20, 0x2a_0000).unwrap();
        for word in 0..(4 << 20) / 8 {
            let word = data.pointer().wrapping_add(word);
            // SAFETY: the word lies in the data, which is ours.
            assert_eq!(unsafe { word.replace(1) }, 0);
        }
        assert!(check_pages(std::process::id() as i32, MEMORY, "the memory").is_ok());
    }
}
