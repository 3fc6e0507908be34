//! Compiles the C part for a virtual CPU: freestanding, linked at a fixed address, with unwind tables for
//! the host's backtraces.

use std::env;

fn main() {
    let include = env::var("DEP_VCPU_ABI_INCLUDE").expect("vcpu-abi says where vcpu.h is");
    cc::Build::new()
        .file("src/hello.c")
        .include(include)
        // The machine's code is plain x86-64, whatever the Rust target is called.
        .target("x86_64-unknown-linux-gnu")
        .pic(false)
        .flag("-fno-pie")
        .flag("-ffreestanding")
        .flag("-fno-stack-protector")
        .flag("-fasynchronous-unwind-tables")
        .std("c99")
        .opt_level(2)
        .debug(true)
        .compile("hello");
    println!("cargo::rerun-if-changed=src/hello.c");
}
