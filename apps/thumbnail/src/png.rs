//! Writing PNG files.

use alloc::vec::Vec;

/// How hard to compress, of 10.
const LEVEL: u8 = 6;

/// A file of these pixels, which have three bytes each: red, green and blue.
pub(crate) fn encode(pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    // Eight bits a colour, which is red, green and blue; the usual methods, not interlaced.
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    chunk(&mut file, b"IHDR", &header);
    // Each row begins with the number of its filter: none.
    let rows: Vec<u8> = pixels
        .chunks(3 * width as usize)
        .flat_map(|row| core::iter::once(0).chain(row.iter().copied()))
        .collect();
    chunk(&mut file, b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(&rows, LEVEL));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc32fast::hash(&file[start..]);
    file.extend(sum.to_be_bytes());
}
