//! The operations.

use crate::{Answer, Held, threads};
use libvcpu::fs::{self, DirEntry, File, Lock, LockKind, LockOwner, Metadata, OpenOptions};
use libvcpu::io::{Read, Result, Seek, SeekFrom, Write};
use libvcpu::prelude::*;
use libvcpu::time::UNIX_EPOCH;

pub(crate) fn run(held: &mut Held, operation: &str, arguments: &[Vec<u8>]) -> Answer {
    let argument = |index: usize| arguments.get(index).map_or(&[][..], Vec::as_slice);
    let number = |index: usize| -> u64 {
        core::str::from_utf8(argument(index)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let (path, other) = (argument(0), argument(1));
    match operation {
        "read" => fs::read(path),
        "read-string" => fs::read_to_string(path).map(String::into_bytes),
        "write" => done(fs::write(path, other)),
        "append" => append(path, other),
        "create-new" => done(File::create_new(path).and_then(|mut file| file.write_all(other))),
        "open" => done(options(other).open(path).map(drop)),
        "copy" => fs::copy(path, other).map(text),
        "list" => list(path),
        "list-types" => list_types(path),
        "count" => fs::read_dir(path)?.try_fold(0, |count, entry| entry.map(|_| count + 1)).map(text),
        "metadata" => fs::metadata(path).map(|metadata| describe(&metadata)),
        "symlink-metadata" => fs::symlink_metadata(path).map(|metadata| describe(&metadata)),
        "modified" => modified(path),
        "created" => done(fs::metadata(path)?.created().map(drop)),
        "exists" => fs::exists(path).map(text),
        "canonicalize" => fs::canonicalize(path).map(String::into_bytes),
        "create-dir" => done(fs::create_dir(path)),
        "create-dir-all" => done(fs::create_dir_all(path)),
        "remove-file" => done(fs::remove_file(path)),
        "remove-dir" => done(fs::remove_dir(path)),
        "remove-dir-all" => done(fs::remove_dir_all(path)),
        "rename" => done(fs::rename(path, other)),
        "hard-link" => done(fs::hard_link(path, other)),
        "symlink" => done(fs::symlink(path, other)),
        "read-link" => fs::read_link(path).map(String::into_bytes),
        "set-len" => done(options(b"w").open(path)?.set_len(number(1))),
        "write-at" => write_at(path, number(1), argument(2)),
        "read-at" => read_at(path, number(1), number(2)),
        "seek" => seek(path),
        "large" => large(path, number(1)),
        "one-read" => one_read(path, number(1)),
        "sync" => sync(path, other),
        "hold" => hold(held, path, other),
        "held-read" => held_read(held),
        "held-write" => done(held_file(held).write_all(path)),
        "held-read-at" => held_read_at(held, number(0), number(1)),
        "held-write-at" => done(held_file(held).write_all_at(other, number(0))),
        "held-set-len" => done(held_file(held).set_len(number(0))),
        "held-lock" => held_lock(held),
        "held-metadata" => held_file(held).metadata().map(|metadata| describe(&metadata)),
        "drop" => {
            held.0.clear();
            Ok(Vec::new())
        }
        "threads" => threads::run(path),
        "walk-often" => threads::walk_often(path, other, number(2)),
        _ => Ok(b"there is no such operation".to_vec()),
    }
}

fn done(result: Result<()>) -> Answer {
    result.map(|()| Vec::new())
}

fn text(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Options by letters.
fn options(letters: &[u8]) -> OpenOptions {
    let has = |letter| letters.contains(&letter);
    let mut options = OpenOptions::new();
    options.read(has(b'r')).write(has(b'w')).append(has(b'a'));
    options.truncate(has(b't')).create(has(b'c')).create_new(has(b'n'));
    options
}

fn append(path: &[u8], bytes: &[u8]) -> Answer {
    let mut file = options(b"ac").open(path)?;
    let middle = bytes.len() / 2;
    file.write_all(&bytes[..middle])?;
    done(file.write_all(&bytes[middle..]))
}

/// Names, sorted, a line each.
fn list(path: &[u8]) -> Answer {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name_bytes().into());
    }
    names.sort();
    Ok(names.join(&b'\n'))
}

/// Paths with what they are, sorted, a line each.
fn list_types(path: &[u8]) -> Answer {
    let describe = |entry: DirEntry| -> Result<String> {
        let (file_type, metadata) = (entry.file_type()?, entry.metadata()?);
        assert_eq!(file_type, metadata.file_type());
        let what = match (file_type.is_dir(), file_type.is_file(), file_type.is_symlink()) {
            (true, false, false) => "directory",
            (false, true, false) => "file",
            (false, false, true) => "link",
            _ => "other",
        };
        Ok(format!("{} {what} {}", entry.path(), entry.file_name()))
    };
    let mut lines = Vec::new();
    for entry in fs::read_dir(path)? {
        lines.push(describe(entry?)?);
    }
    lines.sort();
    Ok(lines.join("\n").into_bytes())
}

fn describe(metadata: &Metadata) -> Vec<u8> {
    let what = match (metadata.is_dir(), metadata.is_file(), metadata.is_symlink()) {
        (true, ..) => "directory",
        (_, true, _) => "file",
        (.., true) => "link",
        _ => "other",
    };
    // What a directory's size is depends on the host.
    let size = if metadata.is_dir() { 0 } else { metadata.len() };
    format!("{what} {size} {:o}", metadata.permissions().mode()).into_bytes()
}

/// Seconds since 1970.
fn modified(path: &[u8]) -> Answer {
    let metadata = fs::metadata(path)?;
    metadata.accessed()?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).expect("it is after 1970");
    Ok(text(modified.as_secs()))
}

fn write_at(path: &[u8], offset: u64, bytes: &[u8]) -> Answer {
    let file = options(b"wc").open(path)?;
    file.write_all_at(bytes, offset)?;
    file.metadata().map(|metadata| text(metadata.len()))
}

fn read_at(path: &[u8], offset: u64, count: u64) -> Answer {
    let mut bytes = vec![0; count as usize];
    File::open(path)?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// All ways to go somewhere, in a file that holds `0123456789`.
fn seek(path: &[u8]) -> Answer {
    let mut file = options(b"rw").open(path)?;
    let mut letters = Vec::new();
    let mut read = |file: &mut File| -> Result<()> {
        let mut letter = [b'.'];
        file.read(&mut letter)?;
        letters.push(letter[0]);
        Ok(())
    };
    for place in [SeekFrom::Start(3), SeekFrom::Current(2), SeekFrom::End(-1), SeekFrom::End(5)] {
        file.seek(place)?;
        read(&mut file)?;
    }
    let mut clone = file.try_clone()?;
    clone.rewind()?;
    read(&mut file)?;
    read(&mut clone)?;
    assert_eq!(file.stream_position()?, 2);
    let error = file.seek(SeekFrom::Current(-3)).expect_err("that is before the beginning");
    assert_eq!(file.stream_position()?, 2);
    file.write_all(b"xy")?;
    letters.extend(format!(" {:?}", error.kind()).into_bytes());
    Ok(letters)
}

/// Writes and reads a file of so many bytes by pieces of 1 MiB and a bit, and compares.
fn large(path: &[u8], size: u64) -> Answer {
    let bytes: Vec<u8> = (0..size).map(|number| (number * 31 / 8) as u8).collect();
    let mut file = options(b"rwct").open(path)?;
    for piece in bytes.chunks((1 << 20) + 13) {
        file.write_all(piece)?;
    }
    file.rewind()?;
    let mut again = vec![0; bytes.len()];
    for piece in again.chunks_mut((1 << 20) + 17) {
        file.read_exact(piece)?;
    }
    let whole = fs::read(path)?;
    Ok(text(again == bytes && whole == bytes))
}

/// How many bytes one call of `read` gives of so many.
fn one_read(path: &[u8], size: u64) -> Answer {
    let mut buffer = vec![0; size as usize];
    File::open(path)?.read(&mut buffer).map(text)
}

fn sync(path: &[u8], bytes: &[u8]) -> Answer {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.flush()?;
    file.sync_data()?;
    done(file.sync_all())
}

fn hold(held: &mut Held, path: &[u8], letters: &[u8]) -> Answer {
    held.0.push(options(letters).open(path)?);
    Ok(Vec::new())
}

fn held_file(held: &Held) -> &File {
    held.0.last().expect("a file is held")
}

/// What one call of `read_at` gives of so many bytes.
fn held_read_at(held: &Held, offset: u64, count: u64) -> Answer {
    let mut bytes = vec![0; count as usize];
    let count = held_file(held).read_at(&mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Takes a lock of some bytes, and says what is in the way of that.
fn held_lock(held: &Held) -> Answer {
    let file = held_file(held);
    let lock = Lock { kind: LockKind::Exclusive, start: 5, end: 9 };
    file.set_lock(LockOwner::Guest, &lock)?;
    assert!(file.set_lock(LockOwner::Guest, &Lock { start: 10, ..lock }).is_err());
    Ok(format!("{:?}", file.lock_in_the_way(&lock)?).into_bytes())
}

fn held_read(held: &Held) -> Answer {
    let mut all = Vec::new();
    held_file(held).read_to_end(&mut all)?;
    Ok(all)
}
