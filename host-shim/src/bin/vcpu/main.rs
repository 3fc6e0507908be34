//! The command line `vcpu`: makes, builds, inspects and runs programs for a virtual CPU.
//!
//! | module | its subject |
//! |---|---|
//! | [`status`] | the exit statuses, and the failure that carries one |
//! | [`output`] | what is said to the user, and how |
//! | [`program`] | which image or app is meant, and how it becomes an image |
//! | [`values`], [`grants`] | sizes, durations and the like, and grants, as people write them |
//! | [`config`] | `sandbox.toml`, the same in a file |
//! | [`log`] | what the machine tells of itself |
//! | [`run`], [`check`], [`build`], [`info`], [`new`], [`mod@bench`], [`doctor`], [`cc`] | one command each, with its arguments and help |

#![cfg_attr(not(test), no_main)]

mod bench;
mod build;
mod cc;
mod check;
mod config;
mod doctor;
mod grants;
mod info;
mod log;
mod new;
mod output;
mod program;
mod run;
mod status;
mod values;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use status::{Failure, Status};

/// Runs native programs on virtual CPUs, in a sandbox that an ordinary process supplies
#[derive(Debug, Parser)]
#[command(name = "vcpu", version, max_term_width = 100, after_help = status::HELP, after_long_help = MAIN_HELP)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// One variant a command; each has its arguments in a module of its own.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Build(build::Arguments),
    Info(info::Arguments),
    New(new::Arguments),
    Bench(bench::Arguments),
    Doctor(doctor::Arguments),
    Cc(cc::Arguments),
    /// Compile and link C++ for a virtual CPU, its freestanding part, by the machine's own compiler
    #[command(name = "c++")]
    Cxx(cc::Arguments),
    /// Keep objects in archives, by the machine's own ar
    Ar(cc::Tool),
    /// Make the index of an archive, by the machine's own ranlib
    Ranlib(cc::Tool),
    /// List symbols, by the machine's own nm
    Nm(cc::Tool),
    /// Remove symbols, by the machine's own strip
    Strip(cc::Tool),
    /// Say where libraries for a virtual CPU are, by the machine's own pkg-config
    PkgConfig(cc::Tool),
}

impl Command {
    fn perform(self) -> Result<Status, Failure> {
        match self {
            Command::Run(arguments) => run::perform(arguments),
            Command::Check(arguments) => check::perform(arguments),
            Command::Build(arguments) => build::perform(arguments),
            Command::Info(arguments) => info::perform(arguments),
            Command::New(arguments) => new::perform(arguments),
            Command::Bench(arguments) => bench::perform(arguments),
            Command::Doctor(arguments) => doctor::perform(arguments),
            Command::Cc(arguments) => cc::perform(cc::Language::C, arguments),
            Command::Cxx(arguments) => cc::perform(cc::Language::Cxx, arguments),
            Command::Ar(tool) => cc::perform_tool("VCPU_AR", "ar", tool),
            Command::Ranlib(tool) => cc::perform_tool("VCPU_RANLIB", "ranlib", tool),
            Command::Nm(tool) => cc::perform_tool("VCPU_NM", "nm", tool),
            Command::Strip(tool) => cc::perform_tool("VCPU_STRIP", "strip", tool),
            Command::PkgConfig(tool) => cc::perform_pkg_config(tool),
        }
    }
}

const MAIN_HELP: &str = concat!(
    "\
Examples:
  vcpu new greeter                     make a package for an app of your own
  vcpu run greeter                     build it and run it in the sandbox
  vcpu run gunzip < file.gz > file     an app is a filter like any other program
  vcpu run --dir media=./samples app   a program has of the world what it is granted
  vcpu info greeter                    what the image is and what it needs

",
    status::help!(),
    "

Environment:
  VCPU_TARGET_SPEC   auto, stock or custom, for a command without --target-spec
  VCPU_CACHE         where linker script and guest crates are unpacked
                     (else $XDG_CACHE_HOME/vcpu, else ~/.cache/vcpu)
  NO_COLOR           if set, nothing is coloured"
);

/// Where the C library begins. The standard library's own beginning would read the list of this process's
/// mappings, to tell an overflow of the stack in words, and that takes as long as all else it does.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> std::ffi::c_int {
    // What else that beginning does: whoever writes to a closed pipe is told so and not killed, and a file
    // that is opened does not become a standard stream because that was closed.
    // SAFETY: no handler is set, and no other thread exists; the path is a C string.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        for stream in 0..3 {
            if libc::fcntl(stream, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
    perform().number().into()
}

#[cfg_attr(test, expect(dead_code, reason = "the tests begin elsewhere"))]
fn perform() -> Status {
    status::turn_panics_into_failures();
    // A guest's output may not be able to end us: beyond a file size limit, writing fails instead.
    // SAFETY: no handler is set, and no other thread exists.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        // Help and version come this way too, and are no failure.
        Err(mut message) => {
            give_tip(&mut message);
            let failed = message.use_stderr();
            // Nobody is left to hear that this could not be printed.
            let _ = message.print();
            return if failed { Status::Runner } else { Status::Guest(0) };
        }
    };
    match command_line.command.perform() {
        Ok(status) => status,
        Err(failure) => {
            output::error(&failure.message);
            failure.status
        }
    }
}

/// Tells who forgot it how arguments reach the guest.
fn give_tip(message: &mut clap::Error) {
    let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
    if is_run && message.kind() == ErrorKind::UnknownArgument && message.get(ContextKind::Suggested).is_none()
    {
        let tip = "arguments of the guest come after `--`";
        message.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

#[cfg(test)]
mod tests {
    use super::CommandLine;

    #[test]
    fn every_command_and_option_is_well_formed() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
    }
}
