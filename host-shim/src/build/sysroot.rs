//! The C library: headers and libraries for `vcpu cc`, built on first use into the user's cache.
//!
//! | directory | file | what it is |
//! |---|---|---|
//! | `libc-*` | `include/` | musl's headers, and `vcpu/embed.h` |
//! | | `lib/libc.a` | musl's top half, and the C that is ours |
//! | | `lib/libabsent.a` | what Linux has and we do not: answers `ENOSYS` |
//! | | `lib/libm.a`, `lib/libpthread.a` ... | empty: their functions are in `libc.a` |
//! | `libvcpu-*` | `libvcpu.a` | the bottom half in Rust, with libvcpu and the kernel |
//! | | `vcpu.ld` | the linker script of images |
//!
//! The directories' names hold hashes of all that they are built from, so nothing in them ever changes.

use super::carried::{self, C_LIBRARY, C_TOP};
use super::source::{self, Registry, Source};
use super::{BuildError, cargo};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Folders of musl's `src` of which nothing is taken: what is in them is ours, or not to be had.
const FOLDERS_LEFT_OUT: &[&str] = &["aio", "include", "ldso", "malloc", "process", "thread"];

/// Files of the other folders that are ours in `libvcpu/libc`, or in the kernel.
const FILES_LEFT_OUT: &[&str] = &[
    "env/__init_tls",
    "env/__libc_start_main",
    "env/__reset_tls",
    "env/__stack_chk_fail",
    "internal/defsysinfo",
    "internal/vdso",
    "internal/version",
    "linux/clone",
    "linux/membarrier",
    "locale/locale_map",
    "mq/mq_notify",
    "stdio/pclose",
    "stdio/popen",
    "string/bcmp",
    "string/memchr",
    "string/memcmp",
    "string/memcpy",
    "string/memmove",
    "string/memrchr",
    "string/memset",
    "string/stpcpy",
    "string/strcat",
    "string/strchr",
    "string/strchrnul",
    "string/strcmp",
    "string/strcpy",
    "string/strcspn",
    "string/strlen",
    "string/strncmp",
    "string/strnlen",
    "string/strpbrk",
    "string/strrchr",
    "string/strspn",
    "time/timer_create",
    "unistd/faccessat",
];

/// Files of the folders left out that are taken all the same.
const FILES_TAKEN: &[&str] = &[
    "process/execl",
    "process/execle",
    "process/execlp",
    "process/execv",
    "process/execve",
    "process/execvp",
    "process/fexecve",
    "process/wait",
    "process/waitid",
    "process/waitpid",
    "thread/__lock",
    "thread/pthread_sigmask",
    // What only sets fields of attributes.
    "thread/lock_ptc",
    "thread/pthread_atfork",
    "thread/pthread_attr_destroy",
    "thread/pthread_attr_get",
    "thread/pthread_attr_init",
    "thread/pthread_attr_setdetachstate",
    "thread/pthread_attr_setguardsize",
    "thread/pthread_attr_setinheritsched",
    "thread/pthread_attr_setschedparam",
    "thread/pthread_attr_setschedpolicy",
    "thread/pthread_attr_setstacksize",
    "thread/pthread_barrierattr_destroy",
    "thread/pthread_barrierattr_init",
    "thread/pthread_barrierattr_setpshared",
    "thread/pthread_condattr_destroy",
    "thread/pthread_condattr_init",
    "thread/pthread_condattr_setclock",
    "thread/pthread_condattr_setpshared",
    "thread/pthread_mutexattr_destroy",
    "thread/pthread_mutexattr_init",
    "thread/pthread_mutexattr_setpshared",
    "thread/pthread_mutexattr_settype",
    "thread/pthread_rwlockattr_destroy",
    "thread/pthread_rwlockattr_init",
    "thread/pthread_rwlockattr_setpshared",
    "thread/pthread_setattr_default_np",
    // What has its other half in `thread.rs`.
    "thread/pthread_cleanup_push",
    "thread/thrd_sleep",
    "thread/thrd_yield",
];

/// Libraries that programs name and that are all in `libc.a`.
const EMPTY_LIBRARIES: &[&str] = &["crypt", "dl", "m", "pthread", "resolv", "rt", "util", "xnet"];

/// How musl's code is compiled, as its own build does, but for speed.
const FLAGS: &[&str] = &[
    "-std=c99",
    "-nostdinc",
    "-ffreestanding",
    "-fexcess-precision=standard",
    "-frounding-math",
    "-fno-strict-aliasing",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-fomit-frame-pointer",
    "-fasynchronous-unwind-tables",
    "-ffunction-sections",
    "-fdata-sections",
    "-D_XOPEN_SOURCE=700",
    "-U__linux__",
    "-O2",
    "-w",
    "-c",
];

/// The source of the top half.
fn musl() -> Source {
    Source {
        from: Registry::Debian,
        name: "musl".into(),
        version: "1.2.3".into(),
        sha256: "7d5b0b6062521e4627e099e4c9dc8248d32a30285e959b7eecaa780cf8cfd4a4".into(),
    }
}

/// Where headers and libraries are.
#[derive(Clone, Debug)]
pub struct Sysroot {
    top: PathBuf,
    bottom: PathBuf,
}

impl Sysroot {
    /// The headers.
    pub fn include(&self) -> PathBuf {
        self.top.join("include")
    }

    /// The directories of libraries.
    pub fn libraries(&self) -> [PathBuf; 2] {
        [self.top.join("lib"), self.bottom.clone()]
    }

    /// The linker script.
    pub fn linker_script(&self) -> PathBuf {
        self.bottom.join("vcpu.ld")
    }
}

/// The C compiler, or another program beside it: what the environment variable names, else the usual one.
pub fn program(variable: &str, usual: &str) -> OsString {
    std::env::var_os(variable).filter(|value| !value.is_empty()).unwrap_or_else(|| usual.into())
}

/// The C library; builds it, which takes a minute, if nobody has built it before.
///
/// # Errors
///
/// What is missing, or does not compile.
pub fn sysroot() -> Result<Sysroot, BuildError> {
    let cache = carried::cache_directory()?;
    Ok(Sysroot {
        top: once(&cache, &format!("libc-{C_TOP}"), build_top)?,
        bottom: once(&cache, &format!("libvcpu-{C_LIBRARY}"), build_bottom)?,
    })
}

/// The directory of this name in the cache, filled if it is not there.
fn once(
    cache: &Path,
    name: &str,
    build: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let place = cache.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    create(cache)?;
    // Of many at once, one builds and the others wait for it.
    let lock = cache.join(".libc.lock");
    let file = fs::File::create(&lock).map_err(|source| failed(&lock, source))?;
    file.lock().map_err(|source| failed(&lock, source))?;
    if !place.is_dir() {
        eprintln!("vcpu: building the C library ({name}), once");
        let temporary = tempfile::tempdir_in(cache).map_err(|source| failed(cache, source))?;
        build(temporary.path())?;
        fs::rename(temporary.path().join("done"), &place).map_err(|source| failed(&place, source))?;
    }
    Ok(place)
}

fn failed(path: &Path, source: io::Error) -> BuildError {
    BuildError::LibraryFile { path: path.to_owned(), source }
}

/// Builds the part in Rust into `done` below a directory.
fn build_bottom(directory: &Path) -> Result<(), BuildError> {
    let done = directory.join("done");
    create(&done)?;
    // Kept, so that crates of others are compiled once.
    let target = carried::cache_directory()?.join("build");
    let library = cargo::build_library(&carried::unpack_guest()?, &target)?;
    copy_file(&library, &done.join("libvcpu.a"))?;
    copy_file(&carried::unpack_link()?.script, &done.join("vcpu.ld"))
}

/// Builds the part in C into `done` below a directory.
fn build_top(directory: &Path) -> Result<(), BuildError> {
    let ours = carried::unpack_guest()?.join("libvcpu/libc/c");
    let musl = source::fetch(&musl())?;
    let include = directory.join("done/include");
    let lib = directory.join("done/lib");
    for folder in [&include, &lib, &directory.join("internal/bits"), &directory.join("objects")] {
        create(folder)?;
    }

    copy(&musl.join("include"), &include)?;
    copy(&musl.join("arch/generic/bits"), &include.join("bits"))?;
    copy(&musl.join("arch/x86_64/bits"), &include.join("bits"))?;
    copy(&ours.join("include"), &include)?;
    let of_processor = read(&musl.join("arch/x86_64/bits/alltypes.h.in"))?;
    let general = read(&musl.join("include/alltypes.h.in"))?;
    write(&include.join("bits/alltypes.h"), &all_types(&(of_processor + &general)))?;
    let table = read(&musl.join("arch/x86_64/bits/syscall.h.in"))?;
    let names = calls(&table);
    // Programs see no numbers of calls, since there are none.
    write(&include.join("bits/syscall.h"), "")?;
    write(&directory.join("internal/bits/syscall.h"), &call_header(&names))?;
    let absent = directory.join("absent.c");
    write(&absent, &absent_calls(&names))?;

    let unit =
        |(source, name): (PathBuf, String)| Unit { source, object: directory.join("objects").join(name) };
    let units: Vec<_> =
        sources(&musl.join("src"))?.into_iter().chain(own_sources(&ours, "vcpu")?).map(unit).collect();
    let absent: Vec<_> = own_sources(&ours.join("absent"), "absent")?
        .into_iter()
        .chain([(absent, "absent.o".to_owned())])
        .map(unit)
        .collect();
    let mut includes = vec![directory.join("internal"), ours.join("arch")];
    let inside = ["arch/x86_64", "arch/generic", "src/include", "src/internal"];
    includes.extend(inside.map(|folder| musl.join(folder)));
    includes.push(include);
    compile(&units, &includes)?;
    compile(&absent, &includes)?;
    archive(&lib.join("libc.a"), units.iter().map(|unit| unit.object.as_path()))?;
    archive(&lib.join("libabsent.a"), absent.iter().map(|unit| unit.object.as_path()))?;
    EMPTY_LIBRARIES.iter().try_for_each(|name| archive(&lib.join(format!("lib{name}.a")), []))
}

/// One file to compile.
struct Unit {
    source: PathBuf,
    object: PathBuf,
}

/// musl's sources that are taken, each with the name of its object. A file for this processor stands for the
/// general one.
fn sources(root: &Path) -> Result<Vec<(PathBuf, String)>, BuildError> {
    let mut found = Vec::new();
    for folder in list(root)? {
        let name = stem(&folder);
        let is_out = |file: &str| {
            let path = format!("{name}/{file}");
            if FOLDERS_LEFT_OUT.contains(&name.as_str()) {
                !FILES_TAKEN.contains(&path.as_str())
            } else {
                FILES_LEFT_OUT.contains(&path.as_str())
            }
        };
        let of_processor = folder.join("x86_64");
        let special = if of_processor.is_dir() { list(&of_processor)? } else { Vec::new() };
        let special: Vec<_> = special.into_iter().filter(|file| !is_out(&stem(file))).collect();
        let replaced: BTreeSet<_> = special.iter().map(|file| stem(file)).collect();
        let general = list(&folder)?.into_iter();
        let general = general.filter(|file| !is_out(&stem(file)) && !replaced.contains(&stem(file)));
        found.extend(general.chain(special).filter(|file| is_source(file)).map(|file| {
            let object = format!("{name}_{}.o", stem(&file));
            (file, object)
        }));
    }
    Ok(found)
}

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "c" || end == "s")
}

/// Our own sources in a folder, each with the name of its object.
fn own_sources(folder: &Path, prefix: &str) -> Result<Vec<(PathBuf, String)>, BuildError> {
    let found = list(folder)?.into_iter().filter(|file| is_source(file));
    Ok(found.map(|file| (file.clone(), format!("{prefix}_{}.o", stem(&file)))).collect())
}

/// Compiles all, as many at a time as there are processors.
fn compile(units: &[Unit], includes: &[PathBuf]) -> Result<(), BuildError> {
    let compiler = program("VCPU_CC", "gcc");
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut command = Command::new(&compiler);
            command.args(FLAGS).args(includes.iter().map(|folder| format!("-I{}", folder.display())));
            command.arg("-o").arg(&unit.object).arg(&unit.source);
            run(&mut command, "VCPU_CC")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Puts objects into an archive.
fn archive<'a>(path: &Path, objects: impl IntoIterator<Item = &'a Path>) -> Result<(), BuildError> {
    run(Command::new(program("VCPU_AR", "ar")).arg("rcs").arg(path).args(objects), "VCPU_AR")
}

fn run(command: &mut Command, variable: &'static str) -> Result<(), BuildError> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| BuildError::Compiler {
        program: command.get_program().to_string_lossy().into(),
        variable,
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let last = command.get_args().last().unwrap_or_default().to_string_lossy().into_owned();
    let said: Vec<_> = String::from_utf8_lossy(&output.stderr).lines().take(8).map(str::to_owned).collect();
    Err(BuildError::Library(format!("{last}: {}", said.join("\n"))))
}

/// The names of Linux's calls that musl knows, from its table of numbers.
fn calls(table: &str) -> Vec<&str> {
    table.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_whitespace().next()).collect()
}

/// The header by which musl's code calls functions of ours where it would call Linux.
fn call_header(names: &[&str]) -> String {
    names.iter().fold(String::new(), |mut text, name| {
        let result = write!(
            text,
            "extern long __vcpu_sys_{name}(void) __attribute__((visibility(\"hidden\")));\n\
             #define SYS_{name} ((long)__vcpu_sys_{name})\n"
        );
        result.expect("a string takes all");
        text
    })
}

/// Functions for all of them that answer `ENOSYS`; the linker takes those that nobody else defines.
fn absent_calls(names: &[&str]) -> String {
    const ENOSYS: u32 = 38;
    let mut text = String::new();
    for name in names {
        writeln!(text, "__attribute__((__weak__)) long __vcpu_sys_{name}(void) {{ return -{ENOSYS}; }}")
            .expect("a string takes all");
    }
    text
}

/// Makes the header of all types of musl's table: a line `TYPEDEF what name;` becomes a definition that is there
/// if a header has asked for the name, and is there once.
fn all_types(table: &str) -> String {
    table.lines().fold(String::new(), |mut text, line| {
        let words: Vec<_> = line.trim_end_matches(';').split_whitespace().collect();
        let result = match words[..] {
            ["TYPEDEF", .., name] => {
                // A type may be of functions or arrays; musl's are not.
                let definition = line.replacen("TYPEDEF", "typedef", 1);
                writeln!(
                    text,
                    "#if defined(__NEED_{name}) && !defined(__DEFINED_{name})\n{definition}\n\
                     #define __DEFINED_{name}\n#endif"
                )
            }
            ["STRUCT" | "UNION", name, ..] => {
                let definition = line.replacen("STRUCT", "struct", 1).replacen("UNION", "union", 1);
                writeln!(
                    text,
                    "#if defined(__NEED_struct_{name}) && !defined(__DEFINED_struct_{name})\n{definition}\n\
                     #define __DEFINED_struct_{name}\n#endif"
                )
            }
            _ => writeln!(text, "{line}"),
        };
        result.expect("a string takes all");
        text
    })
}

/// The entries of a directory, sorted.
fn list(directory: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut entries = entries.map_err(|source| failed(directory, source))?;
    entries.sort();
    Ok(entries)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_else(|| OsStr::new("")).to_string_lossy().into_owned()
}

fn create(directory: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(directory).map_err(|source| failed(directory, source))
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    create(to)?;
    for entry in list(from)? {
        let Some(name) = entry.file_name() else { continue };
        if entry.is_dir() { copy(&entry, &to.join(name))? } else { copy_file(&entry, &to.join(name))? }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BuildError> {
    fs::copy(from, to).map(drop).map_err(|source| failed(from, source))
}

fn read(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| failed(path, source))
}

fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    fs::write(path, text).map_err(|source| failed(path, source))
}
