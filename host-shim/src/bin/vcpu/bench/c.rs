//! `c`: the C library over the machine's.
//!
//! `c.memory.FUNCTION.SIZE` is what one call of `memcpy`, `memset` or `strlen` takes, with `.odd` behind it where
//! no address is a multiple of anything; `c.memory` is the one that is worst beside its counterpart. A sample is the
//! least of some batches of calls: what else happens on the machine only adds.

use super::counter;
use super::figure::{Figure, Target, Unit};
use super::site::Site;
use crate::status::Failure;
use std::collections::BTreeMap;
use std::hint::black_box;

/// The app that measures inside.
const APP: &str = "measure";
/// Its RAM: two buffers for the largest block, and room.
const MEMORY: u64 = 16 << 20;
/// Turns of guest and native side.
const ROUNDS: usize = 11;
/// The sizes, as the app has them.
const SIZES: [usize; 9] = [16, 32, 64, 100, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];
/// Bytes of one batch, about, as in the app.
const BATCH: usize = 256 << 10;
/// Batches, as in the app: those that warm up, and those of which the least counts.
const BATCHES: usize = 20 + 30;
/// Where the blocks begin in their buffers, and what is added for the end of a name, as in the app.
const PLACES: [(usize, usize, &str); 2] = [(0, 2048, ""), (3, 2048 + 17, ".odd")];

/// What a call takes in cycles of the time-stamp counter, by the name of what is called.
type Times = BTreeMap<String, f64>;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let mut samples: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
    for round in 0..ROUNDS {
        site.progress.round("c", round, ROUNDS);
        let output = site.guest_with(APP, &["functions"], Some(MEMORY))?;
        let sides = [times(&output).ok_or_else(|| unexpected(&output))?, native()];
        for (side, times) in sides.into_iter().enumerate() {
            times.into_iter().for_each(|(name, time)| samples.entry(name).or_default()[side].push(time));
        }
    }
    if samples.values().any(|sides| sides.iter().any(|side| side.len() != ROUNDS)) {
        return Err(unexpected("other names than the native side"));
    }
    let mut figures = Vec::new();
    for function in ["memcpy", "memset", "strlen"] {
        for end in PLACES.map(|place| place.2) {
            for size in SIZES {
                let [inside, native] = &samples[&format!("{function}.{size}{end}")];
                let series = format!("c.memory.{function}{end}");
                let figure =
                    Figure::new(format!("c.memory.{function}.{size}{end}"), Unit::Cycles, inside.clone());
                figures.push(figure.over(native).in_series(&series, "bytes", size as f64));
            }
        }
    }
    let worst = worst(&figures);
    figures.insert(0, worst);
    Ok(figures)
}

/// The figure with the highest ratio, under the name of all.
fn worst(figures: &[Figure]) -> Figure {
    let worst = figures.iter().max_by(|a, b| a.ratio.unwrap_or(0.0).total_cmp(&b.ratio.unwrap_or(0.0)));
    let worst = worst.expect("there are sizes").clone();
    Figure { name: "c.memory".into(), series: None, ..worst }.at_most(Target::Ratio(1.2))
}

/// The app's lines, `NAME TIME` each.
fn times(output: &str) -> Option<Times> {
    let line = |line: &str| {
        let (name, time) = line.split_once(' ')?;
        Some((name.to_owned(), time.parse().ok()?))
    };
    output.lines().map(line).collect()
}

fn unexpected(what: &str) -> Failure {
    Failure::runner(format_args!(
        "the app `{APP}` does not measure functions, but says `{what}`; please report this"
    ))
}

/// The same as in the app, with this process's C library.
fn native() -> Times {
    let buffer = || vec![1u8; SIZES[SIZES.len() - 1] + 8192];
    let (mut first, mut second) = (buffer(), buffer());
    let mut times = Times::new();
    for size in SIZES {
        for (to, from, end) in PLACES {
            let to = first.as_mut_ptr().wrapping_add(first.as_ptr().align_offset(4096) + to);
            let from = second.as_mut_ptr().wrapping_add(second.as_ptr().align_offset(4096) + from);
            let calls = (BATCH / (size + 64)).max(4);
            let mut tell = |name: &str, batch: &mut dyn FnMut()| {
                let time = |_| {
                    let begin = counter::read();
                    batch();
                    (counter::read() - begin) as f64 / calls as f64
                };
                let least = (0..BATCHES).map(time).fold(f64::INFINITY, f64::min);
                times.insert(format!("{name}.{size}{end}"), least);
            };
            let copy = black_box(libc::memcpy as unsafe extern "C" fn(_, _, _) -> _);
            tell("memcpy", &mut || {
                for _ in 0..calls {
                    // SAFETY: both blocks lie in their buffers.
                    black_box(unsafe { copy(to.cast(), from.cast_const().cast(), size) });
                }
            });
            let fill = black_box(libc::memset as unsafe extern "C" fn(_, _, _) -> _);
            tell("memset", &mut || {
                for _ in 0..calls {
                    // SAFETY: the block lies in its buffer.
                    black_box(unsafe { fill(to.cast(), 1, size) });
                }
            });
            let length = black_box(libc::strlen as unsafe extern "C" fn(_) -> _);
            // SAFETY: the byte behind the string lies in the buffer.
            unsafe { to.add(size).write(0) };
            tell("strlen", &mut || {
                for _ in 0..calls {
                    // SAFETY: the string lies in its buffer, and ends.
                    black_box(unsafe { length(to.cast_const().cast()) });
                }
            });
            // SAFETY: as above. The next string is longer.
            unsafe { to.add(size).write(1) };
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_app_are_names_and_times_or_nothing() {
        assert_eq!(times("memcpy.16 5.25\n"), Some(Times::from([("memcpy.16".into(), 5.25)])));
        assert_eq!(times("memcpy.16\n"), None);
        assert_eq!(times("memcpy.16 fast\n"), None);
    }

    #[test]
    fn the_native_side_measures_every_size_and_the_worst_ratio_is_the_figure() {
        let native = native();
        assert_eq!(native.len(), 3 * 2 * SIZES.len());
        assert!(native.values().all(|time| *time > 0.0), "{native:?}");
        let figure = |time| Figure::new("c.memory.memset.16", Unit::Cycles, vec![time]).over(&[10.0]);
        let worst = worst(&[figure(11.0), figure(12.5), figure(12.0)]);
        assert_eq!((worst.name.as_str(), worst.ratio, worst.reached), ("c.memory", Some(1.25), Some(false)));
    }
}
