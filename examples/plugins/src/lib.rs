//! A host with two plugins that cannot see each other.
//!
//! Both are the same image here, and could as well be two. Each has memory of its own, and those functions of
//! the host's that it was granted: both may write to the log, under the name that the host has given them, and one may
//! ask for the weather.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use vcpu_host::embed::CallError;
use vcpu_host::{Error, Image, Sandbox};

/// Time for a call of a plugin.
const DEADLINE: Duration = Duration::from_secs(10);

/// What nobody else is to know.
const SECRET: &str = "the key lies under the mat";

/// Lets two plugins, of the image of the package `notes`, do what they can, and says what came of it.
///
/// # Errors
///
/// If the image cannot be run, or nothing can be said.
pub fn run(image: &Path, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let image = Image::open(image).map_err(Error::from)?;
    let (log, lines) = mpsc::channel();
    let plugin = |name: &'static str| {
        let log = log.clone();
        let write = move |line: String| log.send(format!("{name}: {line}")).is_ok();
        Sandbox::builder(&image).call_deadline(DEADLINE).function("log", move |line: String| {
            // Who listens to the log outlives the plugins.
            let _ = write(line);
        })
    };
    let weather = |place: String| format!("it rains in {place}");
    let mut red = plugin("red").function("weather", weather).build()?;
    let mut blue = plugin("blue").build()?;

    let (): () = red.call("note", SECRET)?;
    let (): () = blue.call("note", "milk, bread")?;
    for line in lines.try_iter() {
        writeln!(out, "log of {line}")?;
    }
    told(out, "red", &mut red)?;
    told(out, "blue", &mut blue)?;

    // One that ends takes nobody with it.
    let end = blue.call::<_, ()>("end", &());
    if let Err(CallError::Ended(outcome)) = end {
        writeln!(out, "blue has ended with status {}", outcome.status())?;
    }
    let notes: Vec<String> = red.call("notes", &())?;
    writeln!(out, "red still has its note: {}", notes.join(", "))?;
    Ok(())
}

/// What a plugin knows, and what it gets.
fn told(out: &mut impl Write, name: &str, plugin: &mut Sandbox) -> io::Result<()> {
    let inverted: Vec<u8> = SECRET.bytes().map(|byte| !byte).collect();
    match plugin.call::<_, u32>("seen", &inverted) {
        Ok(0) => writeln!(out, "{name} does not find the secret in all its memory")?,
        Ok(_) => writeln!(out, "{name} finds the secret in its memory")?,
        Err(error) => writeln!(out, "{name} cannot look: {error}")?,
    }
    match plugin.call::<_, String>("ask", &("weather", "Dresden")) {
        Ok(weather) => writeln!(out, "{name} asks for the weather: {weather}"),
        Err(CallError::Failed(why)) => writeln!(out, "{name} asks for the weather: {why}"),
        Err(error) => writeln!(out, "{name} is gone: {error}"),
    }
}
