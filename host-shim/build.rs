//! Collects what an installed `vcpu` carries, so that it can build images far from this repository.
//!
//! Two bundles go into the binary, each a list of files with a hash of their content:
//!
//! - *link*: linker script and target description. Every image is built with them. They seldom change,
//!   and because their place in the cache holds their hash, a change of them relinks every image and a
//!   change of anything else relinks none.
//! - *guest*: the crates that an app links, the apps themselves, and a workspace around them. What
//!   `vcpu new` makes points there.
//!
//! The result is `$OUT_DIR/carried.rs`; `src/build/carried.rs` includes it and does the unpacking.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of the guest bundle.
const GUEST: &[&str] = &["abi", "apps", "kernel", "libvcpu"];
/// Files of the guest bundle that are carried as they are.
const GUEST_FILES: &[&str] = &["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT"];
/// Folders of it that the C library is built from.
const C_LIBRARY: &[&str] = &["abi/", "kernel/", "libvcpu/", "Cargo.lock"];
/// Folders of the link bundle.
const LINK: &[&str] = &["linker", "targets"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    look_for_static_library();
    if std::env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = manifest_dir.parent().expect("host-shim lies in the repository").to_owned();
    let out = PathBuf::from(variable("OUT_DIR"));

    let link = collect(&root, LINK, &[]);
    let mut guest = collect(&root, GUEST, GUEST_FILES);
    let workspace = out.join("Cargo.toml");
    write(&workspace, &reduced_workspace(&root, &guest));
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    guest.push(File { name: "Cargo.toml".into(), path: workspace });
    guest.sort();

    let mut code = String::new();
    declare(&mut code, "LINK", "Linker script and target description.", &link);
    declare(&mut code, "GUEST", "What an app links, the apps, and a workspace around them.", &guest);
    let is_part = |file: &&File| C_LIBRARY.iter().any(|part| file.name.starts_with(part));
    let bottom = link.iter().chain(guest.iter().filter(is_part));
    hash(&mut code, "C_LIBRARY", "A hash of what the C library's part in Rust is built from.", bottom);
    let ours = guest.iter().filter(|file| file.name.starts_with("libvcpu/libc/c/"));
    let rules = File { name: "rules".into(), path: manifest_dir.join("src/build/sysroot.rs") };
    hash(&mut code, "C_TOP", "A hash of what the C library's part in C is built with.", ours.chain([&rules]));
    write(&out.join("carried.rs"), &code);
}

/// Says it before the linker does, in other words, if the C library cannot be linked statically as
/// `cargo vcpu` wants it.
fn look_for_static_library() {
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        return;
    }
    // It answers the bare name for what it does not have. Without a `cc` the linker will say so.
    let answer = Command::new("cc").arg("-print-file-name=libc.a").output();
    if answer.is_ok_and(|output| output.status.success() && !output.stdout.contains(&b'/')) {
        eprintln!(
            "the static C library libc.a is missing: install it (Fedora: glibc-static, Debian: libc6-dev), or \
             do without by `cargo run --release --package vcpu-host --` in place of `cargo vcpu`"
        );
        std::process::exit(1);
    }
}

/// A file to carry: its name in the bundle, with `/` between folders, and where it is now.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct File {
    name: String,
    path: PathBuf,
}

/// All files of these folders, and these files, sorted by name.
fn collect(root: &Path, folders: &[&str], files: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for folder in folders {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        walk(root, folder, &mut found);
    }
    for name in files {
        let path = root.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        found.push(File { name: (*name).into(), path });
    }
    found.sort();
    found
}

/// Adds the sources below a folder: everything but build results, hidden files and editors' backups.
fn walk(root: &Path, folder: &str, found: &mut Vec<File>) {
    let directory = root.join(folder);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; build vcpu-host inside its repository", directory.display())
    });
    for entry in entries {
        let entry = entry.expect("a readable directory");
        let name = entry.file_name().into_string().expect("file names of the repository are UTF-8");
        if name == "target" || name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let inside = format!("{folder}/{name}");
        if entry.path().is_dir() {
            walk(root, &inside, found);
        } else {
            found.push(File { path: entry.path(), name: inside });
        }
    }
}

/// The repository's root manifest, with no member and no path dependency that is not carried.
fn reduced_workspace(root: &Path, carried: &[File]) -> String {
    let text = fs::read_to_string(root.join("Cargo.toml")).expect("the repository has a root manifest");
    let mut manifest: toml::Table = text.parse().expect("the root manifest is TOML");
    let is_carried = |folder: &str| carried.iter().any(|file| file.name == format!("{folder}/Cargo.toml"));

    let workspace = manifest["workspace"].as_table_mut().expect("[workspace] is a table");
    workspace.remove("default-members");
    let members = carried.iter().filter_map(|file| file.name.strip_suffix("/Cargo.toml"));
    workspace.insert("members".into(), members.collect::<Vec<_>>().into());
    if let Some(dependencies) = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut) {
        dependencies.retain(|_, dependency| match dependency.get("path") {
            Some(path) => path.as_str().is_some_and(is_carried),
            None => true,
        });
    }
    // Settings for single packages are for those of the host.
    let profiles = manifest.get_mut("profile").and_then(toml::Value::as_table_mut);
    for profile in profiles.into_iter().flat_map(|profiles| profiles.iter_mut()) {
        profile.1.as_table_mut().map(|profile| profile.remove("package"));
    }
    manifest.to_string()
}

/// Writes the declaration of a hash of files.
fn hash<'a>(code: &mut String, name: &str, about: &str, files: impl Iterator<Item = &'a File>) {
    let mut hash = Fnv::new();
    for file in files {
        hash.part(file.name.as_bytes());
        hash.part(&read(&file.path));
    }
    writeln!(code, "/// {about}\npub(super) const {name}: &str = \"{:016x}\";", hash.0)
        .expect("a string takes all");
}

/// Writes the declaration of a bundle: its hash and its files with their content.
fn declare(code: &mut String, name: &str, about: &str, files: &[File]) {
    let mut hash = Fnv::new();
    let mut list = String::new();
    for file in files {
        let content = read(&file.path);
        hash.part(file.name.as_bytes());
        hash.part(&content);
        let path = file.path.to_str().expect("the repository's path is UTF-8");
        writeln!(list, "    ({:?}, include_bytes!({path:?})),", file.name).expect("a string takes all");
    }
    writeln!(
        code,
        "/// {about}\nconst {name}: Bundle = Bundle {{ hash: \"{:016x}\", files: &[\n{list}] }};\n",
        hash.0
    )
    .expect("a string takes all");
}

/// The FNV-1a hash of 64 bits: short, and the same with every toolchain. It keeps versions apart; nobody
/// gains anything by a collision in a user's own cache.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// Adds one part, with its length in front, so that parts cannot run into each other.
    fn part(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; build vcpu-host inside its repository", path.display())
    })
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
