//! Compiles the C part for a virtual CPU: freestanding, linked at a fixed address.

fn main() {
    cc::Build::new()
        .file("src/variables.c")
        // The machine's code is plain x86-64, whatever the Rust target is called.
        .target("x86_64-unknown-linux-gnu")
        .pic(false)
        .flag("-fno-pie")
        .flag("-ffreestanding")
        // As distributions have it: the canary lies behind the base of FS.
        .flag("-fno-stack-protector")
        .std("c11")
        .opt_level(2)
        .debug(true)
        .compile("variables");
    println!("cargo::rerun-if-changed=src/variables.c");
}
