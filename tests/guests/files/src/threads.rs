//! Many operations: by several threads at once, and while the host changes what is there.

use crate::Answer;
use alloc::sync::Arc;
use libvcpu::alloc;
use libvcpu::fs;
use libvcpu::io::Result;
use libvcpu::prelude::*;
use libvcpu::thread;

/// Four threads, each with files of its own in one directory.
pub(crate) fn run(directory: &[u8]) -> Answer {
    let directory: Arc<str> = String::from_utf8_lossy(directory).into();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let directory = directory.clone();
            thread::spawn(move || work(&directory, number))
        })
        .collect();
    let mut total = 0;
    for thread in threads {
        total += thread.join().expect("it does not panic")?;
    }
    Ok(total.to_string().into_bytes())
}

/// How often what was written was read again.
fn work(directory: &str, number: usize) -> Result<usize> {
    let mut right = 0;
    for round in 0..50 {
        let (one, two) =
            (format!("{directory}/{number}-{round}"), format!("{directory}/{number}-{round}-new"));
        let content = format!("{number} {round} ").repeat(1 + round * 100);
        fs::write(&one, &content)?;
        fs::rename(&one, &two)?;
        right += usize::from(fs::read_to_string(&two)? == content && !fs::exists(&one)?);
        fs::remove_file(&two)?;
    }
    Ok(right)
}

/// Reads and writes by a path again and again, however that ends, and gives every different content that it saw.
/// What is written is `written by the guest`.
pub(crate) fn walk_often(path: &[u8], to_write: &[u8], times: u64) -> Answer {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for _ in 0..times {
        let content = fs::read(path).unwrap_or_default();
        if !seen.contains(&content) {
            seen.push(content);
        }
        let names = fs::read_dir(path).into_iter().flatten().flatten();
        for name in names.map(|entry| entry.file_name_bytes().to_vec()) {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        if !to_write.is_empty() {
            let _ = fs::write(to_write, b"written by the guest");
        }
    }
    Ok(seen.join(&b'\n'))
}
