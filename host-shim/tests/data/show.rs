//! The guest of the command line's tests: does what its first argument says.
#![no_std]
#![no_main]

use libvcpu::prelude::*;
use libvcpu::io::{self, Read, Write};
use libvcpu::{env, fs, process};

entry!(main);

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("status") => process::exit(arguments[2].parse().expect("a status")),
        Some("panic") => panic!("as it was asked to"),
        // SAFETY: the instruction has no effect but the exception that is asked for.
        Some("fault") => unsafe { core::arch::asm!("ud2") },
        Some("loop") => loop {
            core::hint::spin_loop();
        },
        Some("read") => print!("{}", fs::read_to_string(&arguments[2]).expect("a file")),
        Some("write") => match fs::write(&arguments[2], "written") {
            Ok(()) => println!("done"),
            Err(error) => println!("{:?}", error.kind()),
        },
        Some("tell") => {
            let mut console = io::console(&arguments[2]).expect("a console");
            console.write_all(b"from the guest\n").expect("it is written");
            let mut heard = String::new();
            console.read_to_string(&mut heard).expect("it is read");
            println!("{heard:?}");
        }
        Some("environment") => {
            for (name, value) in env::vars() {
                println!("{name}={value}");
            }
        }
        _ => {
            for argument in &arguments {
                println!("[{argument}]");
            }
        }
    }
}
