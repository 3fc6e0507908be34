//! The examples of the embedding library: that they do what they say, also with damaged files, and that the book
//! shows them as they are.

use std::path::Path;
use thumbnail::{Reply, Request};
use thumbnails::Service;
use vcpu_host::embed::CallError;

/// Pictures of 480 x 320 and 200 x 300 pixels.
const PICTURES: [(&str, u32, u32); 3] =
    [("hills.jpg", 480, 320), ("hills-progressive.jpg", 480, 320), ("grey.jpg", 200, 300)];

/// Damaged files of each picture.
const DAMAGED: u64 = 150;

fn picture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/thumbnails/pictures");
    std::fs::read(folder.join(name)).unwrap()
}

fn service() -> Service {
    Service::start(vcpu_tests::image("thumbnail")).unwrap()
}

/// Width and height that a PNG file says, and its pixels.
fn decode(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!(&png[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let length = number(33) as usize;
    assert_eq!(&png[37..41], b"IDAT");
    let rows = miniz_oxide::inflate::decompress_to_vec_zlib(&png[41..41 + length]).unwrap();
    (number(16), number(20), rows)
}

#[test]
fn small_pictures_are_made() {
    let mut service = service();
    for (name, width, height) in PICTURES {
        for wanted in [1, 32, 100, 5000] {
            let Reply { width: w, height: h, png } = service.thumbnail(&picture(name), wanted).unwrap();
            let expected = width.min(wanted);
            assert_eq!((w, h), (expected, (height * expected / width).max(1)), "{name}, {wanted}");
            let (png_width, png_height, rows) = decode(&png);
            assert_eq!((png_width, png_height), (w, h));
            assert_eq!(rows.len(), (h * (1 + 3 * w)) as usize);
        }
    }
    // The sky is blue, and grey is grey.
    let (_, _, rows) = decode(&service.thumbnail(&picture("hills.jpg"), 8).unwrap().png);
    assert!(rows[3] > rows[1], "{rows:?}");
    let (_, _, rows) = decode(&service.thumbnail(&picture("grey.jpg"), 8).unwrap().png);
    assert!(rows[1] == rows[2] && rows[2] == rows[3], "{rows:?}");
}

#[test]
fn the_sandbox_changes_nothing() {
    let mut service = service();
    for (name, ..) in PICTURES {
        let jpeg = picture(name);
        let native = thumbnail::thumbnail(Request { width: 64, jpeg: &jpeg }).unwrap();
        assert_eq!(service.thumbnail(&jpeg, 64).unwrap(), native, "{name}");
    }
}

#[test]
fn damaged_files_cost_nothing_but_themselves() {
    let mut service = service();
    let (mut refused, mut made) = (0, 0);
    for (name, ..) in PICTURES {
        let whole = picture(name);
        let expected = service.thumbnail(&whole, 16).unwrap();
        for seed in 0..DAMAGED {
            match service.thumbnail(&damage(&whole, seed), 16) {
                Ok(reply) => made += u32::from(reply.width <= 16),
                Err(CallError::Failed(_) | CallError::Ended(_)) => refused += 1,
                Err(error) => panic!("{name}, {seed}: {error}"),
            }
            if seed % 10 == 0 {
                assert_eq!(service.thumbnail(&whole, 16).unwrap(), expected);
            }
        }
    }
    assert!(refused > 30 && made > 30, "{refused} of the files were refused, and {made} were not");
}

#[test]
fn a_file_that_wants_all_memory_ends_its_decoder_alone() {
    let mut service = service();
    let whole = picture("hills.jpg");
    let mut large = whole.clone();
    // Behind the frame's marker and length and a byte come height and width.
    let frame = large.windows(2).position(|bytes| bytes == [0xff, 0xc0]).unwrap();
    for size in large[frame + 5..frame + 9].chunks_mut(2) {
        size.copy_from_slice(&16_000u16.to_be_bytes());
    }
    match service.thumbnail(&large, 16) {
        Err(CallError::Ended(outcome)) => {
            let report = outcome.report().unwrap();
            assert!(report.sentence.contains("memory allocation of"), "{report}");
        }
        other => panic!("{other:?}"),
    }
    service.thumbnail(&whole, 16).unwrap();
}

/// A file that was cut, or of which bytes were changed, left out, doubled or filled.
fn damage(file: &[u8], seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut file = file.to_vec();
    for _ in 0..=next(4) {
        // Most of what can be damaged well is at the beginning.
        let span = if next(2) == 0 { 700.min(file.len()) } else { file.len() };
        let at = next(span.max(1));
        match next(6) {
            0 => file.truncate(at),
            1 if at < file.len() => file[at] ^= 1 << next(8),
            2 if at < file.len() => file[at] = 0xff,
            3 => drop(file.drain(at..(at + next(20)).min(file.len()))),
            4 => {
                let part = file[at..(at + next(50)).min(file.len())].to_vec();
                file.splice(at..at, part);
            }
            _ => {
                let end = (at + next(30)).min(file.len());
                file[at.min(end)..end].fill_with(|| next(256) as u8);
            }
        }
    }
    file
}

#[test]
fn plugins_see_what_they_were_granted() {
    let mut out = Vec::new();
    plugins::run(vcpu_tests::image("notes"), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "log of red: the key lies under the mat
log of blue: milk, bread
red finds the secret in its memory
red asks for the weather: it rains in Dresden
blue does not find the secret in all its memory
blue asks for the weather: the host has granted no function `weather`
blue has ended with status 101
red still has its note: the key lies under the mat
"
    );
}

/// The code blocks of a page that begin with the name of a file, as that name and what follows.
fn excerpts(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```rust,ignore\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    blocks.filter_map(|(block, _)| block.strip_prefix("// ")?.split_once(".rs\n")).collect()
}

#[test]
fn the_book_shows_code_that_is_compiled() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (page, count) in [("embedding", 3), ("files-and-devices", 2)] {
        let text = std::fs::read_to_string(repository.join(format!("docs/src/guide/{page}.md"))).unwrap();
        let excerpts = excerpts(&text);
        assert_eq!(excerpts.len(), count, "{page}");
        for (file, excerpt) in excerpts {
            let source = std::fs::read_to_string(repository.join(format!("{file}.rs"))).unwrap();
            assert!(source.contains(excerpt), "{page}.md does not show {file}.rs as it is:\n{excerpt}");
        }
    }
}
