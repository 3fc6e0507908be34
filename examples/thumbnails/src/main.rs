//! Makes small pictures of JPEG files:
//!
//! ```text
//! cargo vcpu build thumbnail
//! cargo run -p thumbnails -- target/vcpu/.../thumbnail 320 picture.jpg ...
//! ```
//!
//! `vcpu build` says where the image is. Each small picture is written beside its file, as `picture.png`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use thumbnails::Service;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(image), Some(width)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: thumbnails IMAGE WIDTH FILE...");
        return ExitCode::FAILURE;
    };
    let Some(width) = width.to_str().and_then(|width| width.parse().ok()) else {
        eprintln!("error: {} is no width in pixels", width.display());
        return ExitCode::FAILURE;
    };
    let mut service = match Service::start(&image) {
        Ok(service) => service,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut all_done = true;
    for file in arguments {
        if let Err(problem) = thumbnail(&mut service, &file, width) {
            eprintln!("{}: {problem}", file.display());
            all_done = false;
        }
    }
    if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn thumbnail(service: &mut Service, file: &Path, width: u32) -> Result<(), Box<dyn std::error::Error>> {
    let reply = service.thumbnail(&std::fs::read(file)?, width)?;
    let small = file.with_extension("png");
    std::fs::write(&small, reply.png)?;
    println!("{}: {} x {}", small.display(), reply.width, reply.height);
    Ok(())
}
