//! A host with two plugins that cannot see each other:
//!
//! ```text
//! cargo vcpu build notes
//! cargo run -p plugins -- target/vcpu/.../notes
//! ```
//!
//! `vcpu build` says where the image is.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(image) = std::env::args_os().nth(1) else {
        eprintln!("usage: plugins IMAGE");
        return ExitCode::FAILURE;
    };
    match plugins::run(Path::new(&image), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
