//! Draws random numbers by `rand`, which asks `getrandom` for a seed, which asks the image.

#![no_std]
#![no_main]

use libvcpu::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

entry!(main);

fn main() {
    match StdRng::try_from_os_rng() {
        Ok(mut generator) => {
            let numbers: Vec<u32> = (0..4).map(|_| generator.random_range(0..1_000_000)).collect();
            println!("{numbers:?}");
        }
        Err(error) => println!("{error}"),
    }
}
