//! `data.console` and `data.memory`: 1 GB through a guest, over 1 GB through a pipe.
//!
//! | figure | what happens | its baseline |
//! |---|---|---|
//! | `data.console` | this process writes to a pipe, the guest copies its input to its output by 64 KiB, this process reads from another pipe | the same with `dd bs=64K` |
//! | `data.memory` | the guest fills 1 MiB of its memory and makes a call, this process copies what it finds there | a thread fills 1 MiB and writes it to a pipe, this thread reads it |
//!
//! All are on one core, so each byte's way is walked once, by one after the other.

use super::figure::{Figure, Unit};
use super::site::{Site, cannot, memory_file};
use super::statistics::Summary;
use crate::output;
use crate::status::Failure;
use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use vcpu_host::backend::Pace;
use vcpu_host::{Image, Machine, Outcome};

const APP: &str = "stream";
/// Turns of guest and native counterpart.
const RUNS: usize = 5;
/// Bytes of a turn of `data.console`.
const SIZE: usize = 1_000_000_000;
/// Bytes that the streams move at a time.
const COPIED: usize = 64 << 10;
/// Bytes that the guest shares at a time.
const SHARED: usize = 1 << 20;
/// Times that it does, for 1 GB and a little.
const PIECES: u64 = SIZE.div_ceil(SHARED) as u64;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    Ok(vec![console(site)?, memory(site)?])
}

/// A figure of times that 1 GB took, and a line with what that is in GB/s.
fn figure(name: &'static str, inside: Vec<f64>, outside: &[f64]) -> Figure {
    let rate = |samples: &[f64]| SIZE as f64 / Summary::of(samples.to_vec()).median;
    let (here, there) = (rate(&inside), rate(outside));
    output::note(&format_args!("{name} is {here:.2} GB/s by the guest and {there:.2} GB/s natively"));
    Figure::new(name, Unit::Ns, inside).over(outside)
}

fn console(site: &Site) -> Result<Figure, Failure> {
    let mut guest = Command::new(&site.program);
    guest.arg("run").arg(site.image(APP)).args(["--", "copy"]);
    let mut native = Command::new("dd");
    native.args(["bs=64K", "status=none"]);
    let pattern: Vec<u8> = (0..COPIED).map(|at| ((at / 256) ^ at) as u8).collect();

    // Once to see that what arrives is what was sent; it is a warm-up, too.
    let expected = checksum(&pattern);
    for command in [&mut guest, &mut native] {
        let mut sum = crc32fast::Hasher::new();
        let received = pass(command, &pattern, |bytes| sum.update(bytes))?;
        if (received, sum.finalize()) != (SIZE, expected) {
            let name = command.get_program().display();
            return Err(Failure::runner(format_args!("{name} did not copy what it was given")));
        }
    }
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        site.progress.round("data.console", run, RUNS);
        for (command, samples) in [(&mut guest, &mut inside), (&mut native, &mut outside)] {
            let begin = Instant::now();
            pass(command, &pattern, |_| {})?;
            samples.push(begin.elapsed().as_nanos() as f64);
        }
    }
    Ok(figure("data.console", inside, &outside))
}

/// The checksum of so many bytes of a pattern.
fn checksum(pattern: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    pieces(pattern).for_each(|piece| sum.update(piece));
    sum.finalize()
}

/// A pattern again and again, in all [`SIZE`] bytes.
fn pieces(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..SIZE).step_by(pattern.len()).map(|at| &pattern[..pattern.len().min(SIZE - at)])
}

/// Sends [`SIZE`] bytes of a pattern through a program, and gives how many came back.
fn pass(command: &mut Command, pattern: &[u8], mut seen: impl FnMut(&[u8])) -> Result<usize, Failure> {
    let (input, mut writer) = pipe()?;
    let (mut reader, output) = pipe()?;
    let name = command.get_program().display().to_string();
    let child = command.stdin(input).stdout(output).spawn();
    // Else this process would hold the other ends of its own pipes.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = child.map_err(|error| cannot(&format!("run {name}"), error))?;
    let received = thread::scope(|scope| {
        let feeder = scope.spawn(move || pieces(pattern).try_for_each(|piece| writer.write_all(piece)));
        let mut received = 0;
        let result = drain(&mut reader, |bytes| {
            received += bytes.len();
            seen(bytes);
        });
        // So that whoever still writes learns that nobody reads.
        drop(reader);
        feeder.join().expect("it does not panic").and(result).map(|()| received)
    });
    let status = child.wait().map_err(|error| cannot(&format!("wait for {name}"), error))?;
    match received {
        _ if !status.success() => Err(Failure::runner(format_args!("{name} failed, {status}"))),
        Ok(received) => Ok(received),
        Err(error) => Err(cannot(&format!("send data through {name}"), error)),
    }
}

/// Reads to the end, as the streams move data.
fn drain(reader: &mut PipeReader, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; COPIED];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => seen(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter), Failure> {
    io::pipe().map_err(|error| cannot("make a pipe", error))
}

fn memory(site: &Site) -> Result<Figure, Failure> {
    let image = Image::open(site.image(APP)).map_err(Failure::image)?;
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    // The first turn does not count.
    for run in 0..RUNS + 1 {
        site.progress.round("data.memory", run, RUNS + 1);
        inside.push(shared(site, &image)?);
        outside.push(piped()?);
    }
    Ok(figure("data.memory", inside.split_off(1), &outside[1..]))
}

/// What it took, in ns, to get what a guest has written in its memory.
fn shared(site: &Site, image: &Image) -> Result<f64, Failure> {
    let failed =
        || Failure::runner(format_args!("the app `{APP}` did not share its memory; please report this"));
    let (mut output, errors) = (memory_file()?, memory_file()?);
    let mut sandbox = site.sandbox(image, APP, &["share", &PIECES.to_string()], None, [&output, &errors])?;
    let mut text = String::new();
    while text.is_empty() {
        next(&mut sandbox)?.map_or(Ok(()), |_| Err(failed()))?;
        output
            .rewind()
            .and_then(|()| output.read_to_string(&mut text))
            .map_err(|error| cannot("read what a guest has written", error))?;
    }
    let address = text.trim_end().strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let address = address.ok_or_else(failed)?;

    let begin = Instant::now();
    let mut piece = 0;
    let outcome = loop {
        if let Some(outcome) = next(&mut sandbox)? {
            break outcome;
        }
        let number = sandbox.memory().read(address).map(u64::from_le_bytes).ok_or_else(failed)?;
        if number == piece + 1 {
            piece = number;
            take(&sandbox, address, number).ok_or_else(failed)?;
        }
    };
    let time = begin.elapsed().as_nanos() as f64;
    if !matches!(outcome, Outcome::Exited(0)) || piece != PIECES {
        return Err(failed());
    }
    Ok(time * SIZE as f64 / (PIECES as usize * SHARED) as f64)
}

/// Lets the guest run to its next call.
fn next(sandbox: &mut Machine) -> Result<Option<Outcome>, Failure> {
    Ok(sandbox.turn(Pace::Full)?)
}

/// Copies a piece out of a guest's memory. `None` if it is not all there.
fn take(sandbox: &Machine, address: u64, number: u64) -> Option<()> {
    for at in (0..SHARED).step_by(COPIED) {
        let bytes = black_box(sandbox.memory().read::<COPIED>(address + at as u64)?);
        let last = *bytes.last_chunk()?;
        (u64::from_le_bytes(last) == number).then_some(())?;
    }
    Some(())
}

/// What it took, in ns, to get what a thread has written to a pipe.
fn piped() -> Result<f64, Failure> {
    let (mut reader, mut writer) = pipe()?;
    // SAFETY: no pointers. Refused at worst, which makes the pipe slower.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, SHARED as libc::c_int) };
    let begin = Instant::now();
    let feeder: JoinHandle<io::Result<()>> = thread::spawn(move || {
        let mut bytes = vec![0; SHARED];
        for number in 1..=PIECES {
            bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&number.to_le_bytes()));
            writer.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut received = 0;
    let result = drain(&mut reader, |bytes| received += black_box(bytes).len());
    drop(reader);
    let result = feeder.join().expect("it does not panic").and(result);
    let time = begin.elapsed().as_nanos() as f64;
    result.map_err(|error| cannot("send data through a pipe", error))?;
    Ok(time * SIZE as f64 / received as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_exactly_one_gigabyte() {
        let pattern = vec![7; COPIED];
        assert_eq!(pieces(&pattern).map(<[u8]>::len).sum::<usize>(), SIZE);
        assert_eq!(pieces(&pattern).last().map(<[u8]>::len), Some(SIZE % COPIED));
    }

    #[test]
    fn a_program_that_copies_gives_everything_back_and_one_that_does_not_is_told_from_it() {
        let pattern = vec![7; COPIED];
        let mut counted = 0;
        let received = pass(&mut Command::new("cat"), &pattern, |bytes| counted += bytes.len());
        assert_eq!((received.unwrap(), counted), (SIZE, SIZE));
        let failure = pass(&mut Command::new("false"), &pattern, |_| {}).unwrap_err();
        assert_eq!(failure.message, "false failed, exit status: 1");
    }
}
