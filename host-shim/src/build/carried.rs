//! What an installed `vcpu` carries with it, and how that gets into the user's cache.
//!
//! cargo and the linker want files, so the two bundles that `build.rs` made are unpacked once for every
//! content they ever had: the directory's name holds a hash of it. Nothing in there is ever changed, so
//! any number of processes can build from it, and versions live side by side.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Files with their names, and a hash of both.
struct Bundle {
    hash: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// The cache has no place, or cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// None of the variables that say where the cache is.
    #[error("there is no place for the cache, since HOME is not set; set VCPU_CACHE to a directory")]
    NoPlace,
    /// A file or directory of the cache cannot be written.
    #[error("cannot write {}: {source}; set VCPU_CACHE to a directory that you can write", .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The user's cache: `$VCPU_CACHE`, else `$XDG_CACHE_HOME/vcpu`, else `~/.cache/vcpu`.
///
/// # Errors
///
/// [`UnpackError::NoPlace`] if none of these can be told.
pub fn cache_directory() -> Result<PathBuf, UnpackError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let place = variable("VCPU_CACHE")
        // A relative path there is invalid, says its specification, and to be ignored.
        .or_else(|| Some(variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("vcpu")))
        .or_else(|| Some(std::env::home_dir().filter(|path| path.is_absolute())?.join(".cache/vcpu")))
        .ok_or(UnpackError::NoPlace)?;
    std::path::absolute(&place).map_err(|source| UnpackError::Write { path: place, source })
}

/// Unpacks the guest crates, the apps and their workspace, unless they are there already, and answers
/// where they are: `libvcpu` is a directory of it.
///
/// # Errors
///
/// The cache has no place or cannot be written.
pub fn unpack_guest() -> Result<PathBuf, UnpackError> {
    unpack(&GUEST, &cache_directory()?.join(format!("{}-{}", env!("CARGO_PKG_VERSION"), GUEST.hash)))
}

/// Unpacks linker script and target description, unless they are there already.
///
/// # Errors
///
/// The cache has no place or cannot be written.
pub(super) fn unpack_link() -> Result<LinkFiles, UnpackError> {
    let root = unpack(&LINK, &cache_directory()?.join(format!("link-{}", LINK.hash)))?;
    Ok(LinkFiles { script: root.join("linker/vcpu.ld"), target: root.join("targets/x86_64-vcpu.json") })
}

/// What every image is built with.
pub(super) struct LinkFiles {
    /// The linker script.
    pub(super) script: PathBuf,
    /// The description of the custom target.
    pub(super) target: PathBuf,
}

/// The lock file of the carried crates: the versions of foreign crates they were tested with.
pub fn lock_file() -> &'static [u8] {
    let found = GUEST.files.iter().find(|(name, _)| *name == "Cargo.lock");
    found.map_or(&[], |(_, content)| content)
}

/// Puts a bundle into a directory. Whoever sees the directory sees all of it: it is filled under another
/// name and then renamed. Of several processes at once the first one's stays.
fn unpack(bundle: &Bundle, destination: &Path) -> Result<PathBuf, UnpackError> {
    if destination.is_dir() {
        return repair(bundle, destination);
    }
    let temporary = sibling(destination);
    let done =
        bundle.files.iter().try_for_each(|(name, content)| write(&temporary.join(name), content)).and_then(
            |()| match fs::rename(&temporary, destination) {
                Ok(()) => Ok(destination.to_owned()),
                Err(_) if destination.is_dir() => repair(bundle, destination),
                Err(source) => Err(UnpackError::Write { path: destination.to_owned(), source }),
            },
        );
    // Left over unless it was renamed; whether it can be removed changes nothing for the caller.
    let _ = fs::remove_dir_all(&temporary);
    done
}

/// Writes what is missing or was lost by a power failure, one file at a time, each as a whole.
fn repair(bundle: &Bundle, destination: &Path) -> Result<PathBuf, UnpackError> {
    for (name, content) in bundle.files {
        let path = destination.join(name);
        if fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 && !content.is_empty() {
            let temporary = sibling(&path);
            write(&temporary, content)?;
            fs::rename(&temporary, &path).map_err(|source| UnpackError::Write { path, source })?;
        }
    }
    Ok(destination.to_owned())
}

fn write(path: &Path, content: &[u8]) -> Result<(), UnpackError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .map_err(|source| UnpackError::Write { path: parent.to_owned(), source })
        .and_then(|()| {
            fs::write(path, content).map_err(|source| UnpackError::Write { path: path.to_owned(), source })
        })
}

/// A name beside `path` that no other process and no other thread uses.
pub(super) fn sibling(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{count}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bundle =
        Bundle { hash: "0", files: &[("a/b.txt", b"one"), ("c.txt", b"two"), ("empty", b"")] };

    fn content(root: &Path) -> Vec<Vec<u8>> {
        SMALL.files.iter().map(|(name, _)| fs::read(root.join(name)).unwrap()).collect()
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_bundle_is_unpacked_once_and_leaves_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        let root = unpack(&SMALL, &cache.path().join("deep/bundle")).unwrap();
        assert_eq!(content(&root), [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
        let before = fs::metadata(root.join("c.txt")).unwrap().modified().unwrap();
        unpack(&SMALL, &root).unwrap();
        assert_eq!(fs::metadata(root.join("c.txt")).unwrap().modified().unwrap(), before);
        assert_eq!(names(&cache.path().join("deep")), ["bundle"]);
    }

    #[test]
    fn what_was_lost_is_written_again() {
        let cache = tempfile::tempdir().unwrap();
        let root = unpack(&SMALL, &cache.path().join("bundle")).unwrap();
        fs::remove_dir_all(root.join("a")).unwrap();
        fs::write(root.join("c.txt"), b"").unwrap();
        unpack(&SMALL, &root).unwrap();
        assert_eq!(content(&root), [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn many_at_once_all_see_the_whole() {
        let cache = tempfile::tempdir().unwrap();
        let destination = cache.path().join("bundle");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let root = unpack(&SMALL, &destination).unwrap();
                    assert_eq!(content(&root), [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
                });
            }
        });
        assert_eq!(names(cache.path()), ["bundle"]);
    }

    #[test]
    fn a_cache_that_is_a_file_is_named() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join("file"), b"").unwrap();
        let error = unpack(&SMALL, &cache.path().join("file/bundle")).unwrap_err().to_string();
        assert!(error.contains("/file") && error.contains("VCPU_CACHE"), "{error}");
    }

    #[test]
    fn the_carried_workspace_has_only_what_is_carried() {
        let text = GUEST.files.iter().find(|(name, _)| *name == "Cargo.toml").unwrap().1;
        let text = std::str::from_utf8(text).unwrap();
        assert!(text.contains("\"libvcpu\"") && text.contains("\"apps/hello\""), "{text}");
        assert!(!text.contains("host-shim") && !text.contains("default-members"), "{text}");
        let names: Vec<_> = GUEST.files.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted() && !names.iter().any(|name| name.contains("target/")), "{names:?}");
    }

    #[test]
    fn the_lock_file_is_carried() {
        assert!(lock_file().starts_with(b"# This file is automatically @generated by Cargo."));
    }
}
