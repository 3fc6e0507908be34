//! `vcpu cc` and its companions: the machine's compiler and binary tools, told to make images.
//!
//! They understand what the programs behind them understand; the arguments are passed on. What is added says
//! where our headers and libraries are, and that what comes out is an image.

use crate::output;
use crate::status::{Failure, Status};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use vcpu_host::build::sysroot::{self, Sysroot};

/// What configure scripts call the machine that programs are built for.
const TRIPLET: &str = "x86_64-vcpu";

/// RAM in bytes that an image wants when it is not told otherwise: 512 MiB. What is not used costs nothing.
const MEMORY: u64 = 512 << 20;

/// Bytes of the main program's stack: 8 MiB, as programs are used to.
const STACK: u64 = 8 << 20;

/// Flags of every compilation. What the user gives comes after them.
const COMPILE: &[&str] = &[
    "-nostdinc",
    "-fno-pie",
    "-fstack-protector-strong",
    "-fasynchronous-unwind-tables",
    "-D__vcpu__=1",
    "-U__linux__",
    "-U__linux",
    "-Ulinux",
    "-U__gnu_linux__",
];

/// Flags of every compilation of C++ besides: the freestanding part of the language.
const CXX: &[&str] = &["-nostdinc++", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"];

/// Flags of every link.
const LINK: &[&str] = &[
    "-static",
    "-nostdlib",
    "-nostartfiles",
    "-Wl,--build-id=none",
    // By which backtraces find their way.
    "-Wl,--eh-frame-hdr",
    "-Wl,-z,noexecstack",
    "-Wl,-z,norelro",
    "-Wl,-z,max-page-size=4096",
    "-Wl,--gc-sections",
    "-Wl,--undefined=vcpu_entry",
];

/// Compile and link C for a virtual CPU, by the machine's own compiler
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = HELP)]
pub(crate) struct Arguments {
    /// Arguments of gcc, and some of our own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

const HELP: &str = "\
Options of our own:
  --strict             what has no meaning here, like fork, fails when it is linked; otherwise it fails
                       with ENOSYS when it is called
  --vcpu-memory=SIZE   RAM that the image wants: 64M, 1G, ... [default: 512M]
  --vcpu-stack=SIZE    the main program's stack [default: 8M]
  --print-flags        prints the flags of compiling and linking, for other build systems

All else is the compiler's: see `gcc --help`.

Examples:
  vcpu cc -O2 hello.c -o hello && vcpu run ./hello
  CC=\"vcpu cc\" AR=\"vcpu ar\" ./configure --host=x86_64-vcpu && make
                                       x86_64-none if it wants a system that it knows
  vcpu cc --strict *.o -o program      which functions are not to be had?

Environment:
  VCPU_CC, VCPU_CXX    the compilers behind it [default: gcc, g++]
  VCPU_AR, VCPU_NM ... the tools behind `vcpu ar`, `vcpu nm`, ...";

/// Which language is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// `vcpu cc`.
    C,
    /// `vcpu c++`.
    Cxx,
}

impl Language {
    fn compiler(self) -> OsString {
        match self {
            Language::C => sysroot::program("VCPU_CC", "gcc"),
            Language::Cxx => sysroot::program("VCPU_CXX", "g++"),
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// The arguments that are the compiler's.
    passed: Vec<OsString>,
    /// Whether it ends with a link.
    links: bool,
    /// Whether the link is of a program: not with `-r`, `-nostdlib` and the like.
    whole: bool,
    strict: bool,
    memory: u64,
    stack: u64,
    print_flags: bool,
    print_machine: bool,
    help: bool,
}

/// Looks through the arguments, those of response files too.
fn understand(arguments: Vec<OsString>) -> Result<Request, String> {
    let mut request = Request {
        passed: Vec::new(),
        links: false,
        whole: true,
        strict: false,
        memory: MEMORY,
        stack: STACK,
        print_flags: false,
        print_machine: false,
        help: false,
    };
    let mut stops = false;
    let mut arguments = expand(arguments, 0)?.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let size = |text: &str| crate::values::memory(text).map_err(|error| error.to_string());
        match &*text {
            "--strict" => request.strict = true,
            "--print-flags" => request.print_flags = true,
            "-dumpmachine" | "--print-multiarch" | "-print-multiarch" => request.print_machine = true,
            "--vcpu-help" | "--help" => request.help = true,
            "-shared" | "--shared" => {
                return Err("-shared: there are no shared libraries on a virtual CPU; \
                            configure with --disable-shared --enable-static"
                    .into());
            }
            // What is linked is neither position independent nor dynamic, whatever is asked for.
            "-pie" | "-static-pie" | "-rdynamic" => {}
            "-c" | "-S" | "-E" | "-M" | "-MM" | "-fsyntax-only" => {
                stops = true;
                request.passed.push(argument);
            }
            "-r" | "-nostdlib" | "-nostartfiles" | "-nodefaultlibs" => {
                request.whole = false;
                request.passed.push(argument);
            }
            // Options whose value is the next argument, which may look like an input.
            "-o" | "-I" | "-L" | "-D" | "-U" | "-include" | "-imacros" | "-isystem" | "-iquote"
            | "-idirafter" | "-MF" | "-MT" | "-MQ" | "-x" | "-Xlinker" | "-Xassembler" | "-Xpreprocessor"
            | "-T" | "-u" | "-z" | "-B" | "--param" | "-aux-info" | "-dumpbase" => {
                request.passed.push(argument);
                request.passed.extend(arguments.next());
            }
            _ => {
                if let Some(value) = text.strip_prefix("--vcpu-memory=") {
                    request.memory =
                        size(value).map_err(|error| format!("--vcpu-memory={value}: {error}"))?;
                } else if let Some(value) = text.strip_prefix("--vcpu-stack=") {
                    request.stack = size(value).map_err(|error| format!("--vcpu-stack={value}: {error}"))?;
                } else {
                    // An input: a file, a library, or standard input.
                    request.links |= !text.starts_with('-') || text == "-" || text.starts_with("-l");
                    request.passed.push(argument);
                }
            }
        }
    }
    request.links &= !stops;
    Ok(request)
}

/// Puts the arguments in response files in their place.
fn expand(arguments: Vec<OsString>, depth: u32) -> Result<Vec<OsString>, String> {
    let mut all = Vec::new();
    for argument in arguments {
        let Some(name) = argument.as_bytes().strip_prefix(b"@") else {
            all.push(argument);
            continue;
        };
        let path = Path::new(OsStr::from_bytes(name));
        match std::fs::read(path) {
            Ok(_) if depth > 100 => {
                return Err(format!("{}: response files name each other; break the circle", path.display()));
            }
            Ok(text) => all.extend(expand(words(&text), depth + 1)?),
            // As the compiler does: then it is a word like any other.
            Err(_) => all.push(argument),
        }
    }
    Ok(all)
}

/// The words of a response file: separated by white space, which quotes and a backslash take in.
fn words(text: &[u8]) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => word.get_or_insert_default().extend(bytes.next()),
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(end)) if byte == end => quote = None,
            (_, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.into_iter().map(OsString::from_vec).collect()
}

/// Where the compiler has its own headers.
fn own_headers(compiler: &OsStr) -> Result<PathBuf, Failure> {
    ask(compiler, "-print-file-name=include")
}

/// What the compiler answers to a question, as a path.
fn ask(compiler: &OsStr, question: &str) -> Result<PathBuf, Failure> {
    let output = Command::new(compiler).arg(question).output();
    let output = output.map_err(|error| not_started(compiler, &error))?;
    let path = output.stdout.trim_ascii_end();
    if !output.status.success() || !path.contains(&b'/') {
        return Err(Failure::runner(format_args!(
            "{} does not answer {question}; set VCPU_CC to gcc or clang",
            compiler.display()
        )));
    }
    Ok(OsStr::from_bytes(path).into())
}

fn not_started(program: &OsStr, error: &std::io::Error) -> Failure {
    let shown = program.display();
    Failure::runner(format_args!("cannot start {shown}: {error}; install gcc and binutils, or set VCPU_CC"))
}

fn compile_flags(language: Language, compiler: &OsStr, sysroot: &Sysroot) -> Result<Vec<OsString>, Failure> {
    let mut flags: Vec<OsString> = COMPILE.iter().map(OsString::from).collect();
    if language == Language::Cxx {
        flags.extend(CXX.iter().map(OsString::from));
    }
    let own = own_headers(compiler)?;
    if own.components().any(|part| part.as_os_str() == "clang") {
        // It would complain where it only links.
        flags.push("-Wno-unused-command-line-argument".into());
    }
    for folder in [sysroot.include(), own] {
        flags.push("-isystem".into());
        flags.push(folder.into());
    }
    Ok(flags)
}

/// The flags of linking before and after what the user gives.
fn link_flags(
    request: &Request,
    compiler: &OsStr,
    sysroot: &Sysroot,
) -> Result<(Vec<OsString>, Vec<OsString>), Failure> {
    let mut before: Vec<OsString> = LINK.iter().map(OsString::from).collect();
    before.extend(sysroot.libraries().iter().map(|folder| joined("-L", folder)));
    before.push("-T".into());
    before.push(sysroot.linker_script().into());
    before.push(format!("-Wl,--defsym=__vcpu_memory={}", request.memory).into());
    before.push(format!("-Wl,--defsym=__vcpu_stack={}", request.stack).into());
    let mut after: Vec<OsString> = vec!["-Wl,--start-group".into(), "-lc".into(), "-lvcpu".into()];
    after.push(joined("-Wl,", &ask(compiler, "-print-libgcc-file-name")?));
    after.push("-Wl,--end-group".into());
    if !request.strict {
        after.push("-labsent".into());
    }
    Ok((before, after))
}

fn joined(flag: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(flag);
    joined.push(path);
    joined
}

pub(crate) fn perform(language: Language, arguments: Arguments) -> Result<Status, Failure> {
    let request = understand(arguments.arguments).map_err(Failure::runner)?;
    let compiler = language.compiler();
    if request.help {
        output::answer(format!("{HELP}\n").as_bytes())?;
        return Ok(Status::Guest(0));
    }
    if request.print_machine {
        output::answer(format!("{TRIPLET}\n").as_bytes())?;
        return Ok(Status::Guest(0));
    }
    let sysroot = sysroot::sysroot()?;
    let mut command = Command::new(&compiler);
    command.args(compile_flags(language, &compiler, &sysroot)?);
    if request.print_flags {
        let (before, after) = link_flags(&request, &compiler, &sysroot)?;
        let line = |flags: &[OsString]| flags.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let compile: Vec<_> = command.get_args().map(OsStr::to_owned).collect();
        let text = format!("CFLAGS={}\nLDFLAGS={}\nLIBS={}\n", line(&compile), line(&before), line(&after));
        output::answer(text.as_bytes())?;
        return Ok(Status::Guest(0));
    }
    if request.links && request.whole {
        let (before, after) = link_flags(&request, &compiler, &sysroot)?;
        command.args(before).args(request.passed).args(["-x", "none"]).args(after);
    } else {
        command.args(request.passed);
    }
    Err(not_started(&compiler, &command.exec()))
}

/// Run the machine's own binary tool of this name
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Tool {
    /// Arguments of the tool
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Runs the tool of this name, or the one that the variable names, in our place.
pub(crate) fn perform_tool(variable: &str, usual: &str, tool: Tool) -> Result<Status, Failure> {
    let program = sysroot::program(variable, usual);
    let error = Command::new(&program).args(tool.arguments).exec();
    Err(not_started(&program, &error))
}

/// Runs `pkg-config` with the packages of our libraries, and none of the machine's.
pub(crate) fn perform_pkg_config(tool: Tool) -> Result<Status, Failure> {
    let program = sysroot::program("VCPU_PKG_CONFIG", "pkg-config");
    let mut command = Command::new(&program);
    // What the user built is found by PKG_CONFIG_PATH.
    command.env("PKG_CONFIG_LIBDIR", "").arg("--static");
    let error = command.args(tool.arguments).exec();
    Err(not_started(&program, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Result<Request, String> {
        understand(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn what_ends_before_the_link_is_not_linked() {
        for arguments in [&["-c", "a.c"][..], &["-E", "-"], &["-MM", "a.c"], &["-S", "-o", "b.s", "a.c"]] {
            assert!(!request(arguments).unwrap().links, "{arguments:?}");
        }
        for arguments in [&["a.c"][..], &["-o", "a", "a.o", "-lm"], &["-x", "c", "-"], &["-MMD", "a.c"]] {
            assert!(request(arguments).unwrap().links, "{arguments:?}");
        }
    }

    #[test]
    fn what_has_no_input_is_the_compilers_own_question() {
        for arguments in [&["--version"][..], &["-v"], &["-print-search-dirs"], &["-o", "name"]] {
            assert!(!request(arguments).unwrap().links, "{arguments:?}");
        }
    }

    #[test]
    fn a_shared_library_is_refused_in_a_sentence() {
        let error = request(&["-shared", "-o", "liba.so", "a.o"]).unwrap_err();
        assert!(error.contains("no shared libraries") && error.contains("--disable-shared"), "{error}");
    }

    #[test]
    fn sizes_are_read_and_wrong_ones_named() {
        assert_eq!(request(&["--vcpu-memory=1G", "a.c"]).unwrap().memory, 1 << 30);
        assert_eq!(request(&["--vcpu-stack=64K", "a.c"]).unwrap().stack, 64 << 10);
        assert!(request(&["--vcpu-memory=much", "a.c"]).unwrap_err().contains("--vcpu-memory=much"));
    }

    #[test]
    fn response_files_are_read_as_the_compiler_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::write(&inner, "-DNAME='a b' \"c d.c\" e\\ f.c\n\t-c ''").unwrap();
        let outer = directory.path().join("outer");
        std::fs::write(&outer, format!("-O2 @{}", inner.display())).unwrap();
        let found = request(&[&format!("@{}", outer.display())]).unwrap();
        let expected = ["-O2", "-DNAME=a b", "c d.c", "e f.c", "-c", ""].map(OsString::from);
        assert_eq!(found.passed, expected);
        assert!(!found.links);
        std::fs::write(&inner, format!("@{}", inner.display())).unwrap();
        assert!(request(&[&format!("@{}", inner.display())]).unwrap_err().contains("circle"));
        assert_eq!(request(&["@nothing"]).unwrap().passed, [OsString::from("@nothing")]);
    }
}
