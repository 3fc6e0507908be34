//! Small pictures of JPEG files. Nothing here knows where it runs.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod png;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// What is wanted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Request<'a> {
    /// Width of the small picture, in pixels; it is never wider than the large one.
    pub width: u32,
    /// A JPEG file.
    pub jpeg: &'a [u8],
}

/// A small picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Its width, in pixels.
    pub width: u32,
    /// Its height, in pixels.
    pub height: u32,
    /// A PNG file.
    pub png: Vec<u8>,
}

/// Makes a small picture.
///
/// # Errors
///
/// A sentence, if the file is damaged or the width is zero.
pub fn thumbnail(request: Request<'_>) -> Result<Reply, String> {
    if request.width == 0 {
        return Err("a picture without any width is not possible".to_string());
    }
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(request.jpeg), options);
    let pixels = decoder.decode().map_err(|error| format!("this is no JPEG file: {error:?}"))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if width == 0 || height == 0 || pixels.len() != width * height * 3 {
        return Err(format!("a picture of {width} x {height} pixels cannot have {} bytes", pixels.len()));
    }
    let new_width = width.min(request.width as usize);
    let new_height = (height * new_width / width).max(1);
    let small = shrink(&pixels, (width, height), (new_width, new_height));
    let (width, height) = (new_width as u32, new_height as u32);
    Ok(Reply { width, height, png: png::encode(&small, width, height) })
}

/// A picture in which each pixel is the mean of those that it stands for.
fn shrink(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let range = |index: usize, from: usize, to: usize| index * from / to..((index + 1) * from).div_ceil(to);
    let mut small = Vec::with_capacity(to.0 * to.1 * 3);
    for row in 0..to.1 {
        for column in 0..to.0 {
            let mut sums = [0u64; 3];
            let (rows, columns) = (range(row, from.1, to.1), range(column, from.0, to.0));
            let count = (rows.len() * columns.len()) as u64;
            for y in rows {
                let line = &pixels[(y * from.0 + columns.start) * 3..(y * from.0 + columns.end) * 3];
                for (index, byte) in line.iter().enumerate() {
                    sums[index % 3] += u64::from(*byte);
                }
            }
            small.extend(sums.map(|sum| (sum / count) as u8));
        }
    }
    small
}
