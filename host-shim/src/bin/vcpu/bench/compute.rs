//! `compute`: a guest that only computes, over the very same machine code outside.
//!
//! The bytes of the function are taken out of the image and mapped executable here, at the address that
//! they have in the guest or at least at the same place in a page, so that both sides run the same
//! instructions with the same alignment. A repetition is short, so that few are hit by an interrupt.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, cannot};
use crate::status::Failure;
use std::hint::black_box;
use std::io;
use std::time::Instant;
use vcpu_host::Image;

/// Turns of guest and native code.
const ROUNDS: usize = 30;
/// Repetitions of one turn.
const REPETITIONS: usize = 40;
/// Repetitions at a turn's beginning that do not count.
const WARM_UP: usize = 4;
/// The Fibonacci number that one repetition computes: most of a millisecond.
const N: u64 = 27;

const PAGE: usize = 4096;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let image = Image::open(site.image("fib")).map_err(Failure::image)?;
    let (address, code) = image
        .symbol("fib")
        .ok_or_else(|| Failure::runner("the app `fib` has no function `fib`; please report this"))?;
    let native = Function::map(address, &code)?;
    if native.call(20) != 6765 {
        return Err(Failure::runner("the code of `fib` cannot run by itself; please report this"));
    }

    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        site.progress.round("compute", round, ROUNDS);
        inside.extend(guest(site)?.into_iter().skip(WARM_UP));
        outside.extend((0..WARM_UP + REPETITIONS).map(|_| time(&native)).skip(WARM_UP));
    }
    let figure = Figure::new("compute.fib", Unit::Ns, inside).over(&outside);
    Ok(vec![figure.at_most(Target::Ratio(1.005))])
}

/// What repetitions in a guest took, in ns.
fn guest(site: &Site) -> Result<Vec<f64>, Failure> {
    let output = site.guest("fib", &[&N.to_string(), &(WARM_UP + REPETITIONS).to_string()])?;
    let times = output.lines().filter_map(|line| line.strip_prefix("time ")?.parse().ok());
    let times: Vec<f64> = times.collect();
    if times.len() != WARM_UP + REPETITIONS {
        return Err(Failure::runner("the app `fib` did not report every repetition; please report this"));
    }
    Ok(times)
}

/// What one repetition takes here, in ns.
fn time(function: &Function) -> f64 {
    let begin = Instant::now();
    black_box(function.call(black_box(N)));
    begin.elapsed().as_nanos() as f64
}

/// A copy of a guest's function, ready to be called here.
struct Function {
    mapping: *mut libc::c_void,
    entry: extern "C" fn(u64) -> u64,
}

impl Function {
    /// Maps `code`, which takes a number, gives one, and refers to nothing but itself.
    fn map(address: u64, code: &[u8]) -> Result<Function, Failure> {
        let offset = address as usize % PAGE;
        if code.is_empty() || offset + code.len() > PAGE {
            return Err(Failure::runner(format_args!(
                "the function `fib` of {} bytes does not lie in one page; please report this",
                code.len()
            )));
        }
        let hint = (address as usize - offset) as *mut libc::c_void;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that is free disturbs nothing.
        let mapping =
            unsafe { libc::mmap(hint, PAGE, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(cannot("map memory for native code", io::Error::last_os_error()));
        }
        // SAFETY: the code lies inside the new page, as checked above, which is ours alone. It is a
        // function of this type that refers to nothing but itself, says the app `fib`.
        let (entry, result) = unsafe {
            let entry = mapping.cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(code.as_ptr(), entry, code.len());
            let entry = std::mem::transmute::<*mut u8, extern "C" fn(u64) -> u64>(entry);
            (entry, libc::mprotect(mapping, PAGE, libc::PROT_READ | libc::PROT_EXEC))
        };
        let function = Function { mapping, entry };
        match result {
            0 => Ok(function),
            _ => Err(cannot("make memory executable", io::Error::last_os_error())),
        }
    }

    fn call(&self, n: u64) -> u64 {
        (self.entry)(n)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can call into it any more.
        unsafe { libc::munmap(self.mapping, PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `lea rax, [rdi + 1]; ret`
    const SUCCESSOR: [u8; 5] = [0x48, 0x8d, 0x47, 0x01, 0xc3];

    #[test]
    fn a_function_is_called_where_it_lies_in_its_page() {
        let function = Function::map(0x20_0123, &SUCCESSOR).unwrap();
        assert_eq!(function.entry as usize % PAGE, 0x123);
        assert_eq!(function.call(41), 42);
    }

    #[test]
    fn what_is_empty_or_leaves_its_page_is_refused() {
        assert!(Function::map(0x20_0000, &[]).is_err());
        assert!(Function::map(0x20_0ffc, &SUCCESSOR).is_err());
        assert!(Function::map(0x20_0ffb, &SUCCESSOR).is_ok());
    }
}
