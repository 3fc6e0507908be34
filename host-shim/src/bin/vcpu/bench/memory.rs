//! `memory`: what a sandbox takes while its guest waits, beside the guest's RAM.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot};
use crate::status::Failure;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Processes that are looked at, one after the other.
const RUNS: usize = 10;
/// The time in which a guest that says that it will wait comes to wait.
const SETTLE: Duration = Duration::from_millis(20);
/// What mappings of the guest's RAM are called.
pub(super) const GUEST_RAM: [&str; 2] = ["/memfd:vcpu-ram", "/memfd:vcpu-text"];

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let mut samples = Vec::new();
    for run in 0..RUNS {
        site.progress.round("memory", run, RUNS);
        samples.push(sample(site)?);
    }
    let host = Figure::new("memory.host", Unit::Bytes, samples).at_most(Target::Median(f64::from(8 << 20)));
    let mut figures = vec![host];
    figures.extend(super::sandboxes::measure(site)?);
    Ok(figures)
}

/// Resident bytes of one process whose guest waits.
fn sample(site: &Site) -> Result<f64, Failure> {
    let mut command = Command::new(&site.program);
    command.arg("run").arg(site.image("measure")).args(["--", "wait"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().map_err(|error| cannot("run vcpu", error))?;
    let mut host = Host(child);
    let mut line = String::new();
    if let Some(output) = host.0.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(|error| cannot("read from a guest", error))?;
    }
    if line != "waiting\n" {
        return Err(Failure::runner("the app `measure` does not wait; please report this"));
    }
    std::thread::sleep(SETTLE);
    let mappings = std::fs::read_to_string(format!("/proc/{}/smaps", host.0.id()))
        .map_err(|error| cannot("read what memory a process has", error))?;
    Ok(resident(&mappings) as f64)
}

/// A process that is ended when nobody looks at it any more; its guest ends with it.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident bytes of all mappings but those of guest RAM, from a process's `smaps`.
fn resident(mappings: &str) -> u64 {
    let mut counts = true;
    let mut total = 0;
    for line in mappings.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            // A field of the mapping whose line came before.
            Some("Rss:") if counts => {
                total += words.next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0) * 1024;
            }
            Some(field) if field.ends_with(':') => {}
            // Addresses, rights, offset, device, inode, and perhaps a name.
            _ => counts = !words.nth(4).is_some_and(|name| GUEST_RAM.contains(&name)),
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_ram_does_not_count_and_everything_else_does() {
        let mappings = "\
55d0c0a00000-55d0c0a10000 r-xp 00000000 fd:00 42 /usr/bin/vcpu
Size:                 64 kB
Rss:                  60 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0004000000 rw-s 00000000 00:01 7 /memfd:vcpu-ram (deleted)
Rss:               65536 kB
7f0004000000-7f0004001000 r--s 00000000 00:01 8 /memfd:vcpu-text (deleted)
Rss:                   4 kB
7f0004001000-7f0004002000 rw-s 00000000 00:01 9 /memfd:vcpu-machine (deleted)
Rss:                   4 kB
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0
Rss:                  16 kB
";
        assert_eq!(resident(mappings), 80 * 1024);
    }
}
