//! Writing what is decoded: pictures as Y4M and PNG, sound as WAV.

use crate::film::{Encoding, End, Film, Frame, Picture, Problem, Sound};
use hound::{SampleFormat, WavSpec, WavWriter};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where what goes. What has no name is not written.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// All pictures.
    pub y4m: Option<PathBuf>,
    /// A file for each picture; `%d` in the name is its number, from 1 on.
    pub png: Option<String>,
    /// All sound.
    pub wav: Option<PathBuf>,
}

impl Outputs {
    /// Writes a whole film, and tells `progress` the moment of each frame, in microseconds.
    ///
    /// # Errors
    ///
    /// If decoding or writing fails. What was written until then stays.
    pub fn write(&self, film: &mut Film, mut progress: impl FnMut(u64)) -> Result<End, Problem> {
        let rate = film.rate().unwrap_or((25, 1));
        let mut y4m = self.y4m.as_deref().map(|path| Y4m::create(path, rate)).transpose()?;
        let (mut wav, mut number) = (None, 0);
        let end = loop {
            match film.next()? {
                Frame::Picture(moment, picture) => {
                    number += 1;
                    if let Some(y4m) = &mut y4m {
                        y4m.write(film, &picture)?;
                    }
                    if let Some(name) = &self.png {
                        let name = name.replace("%d", &number.to_string());
                        write_png(Path::new(&name), film, &picture)?;
                    }
                    progress(moment);
                }
                Frame::Sound(moment, sound) => {
                    if let Some(path) = &self.wav {
                        let wav = match &mut wav {
                            Some(wav) => wav,
                            none => none.insert(Wav::create(path, &sound)?),
                        };
                        wav.write(film, &sound)?;
                    }
                    progress(moment);
                }
                Frame::End(end) => break end,
            }
        };
        if let Some(mut y4m) = y4m {
            y4m.file.flush().map_err(Problem::file(&y4m.path))?;
        }
        if let Some(Wav { path, writer, .. }) = wav {
            writer.finalize().map_err(failed(&path))?;
        }
        Ok(end)
    }
}

/// Uncompressed pictures, one behind the other.
struct Y4m {
    path: PathBuf,
    file: BufWriter<File>,
    rate: (u32, u32),
    /// The line of the pictures.
    header: Option<String>,
}

impl Y4m {
    fn create(path: &Path, rate: (u32, u32)) -> Result<Y4m, Problem> {
        let file = File::create(path).map_err(Problem::file(path))?;
        Ok(Y4m { path: path.to_owned(), file: BufWriter::new(file), rate, header: None })
    }

    fn write(&mut self, film: &mut Film, picture: &Picture) -> Result<(), Problem> {
        let failed = Problem::file(&self.path);
        let header = header(picture, self.rate)?;
        match &self.header {
            None => {
                writeln!(self.file, "{header}").map_err(&failed)?;
                self.header = Some(header);
            }
            Some(first) if *first != header => {
                return Err(Problem::Format(format!(
                    "a file of Y4M cannot go on with other pictures: first `{first}`, then `{header}`"
                )));
            }
            Some(_) => {}
        }
        self.file.write_all(b"FRAME\n").map_err(&failed)?;
        let file = &mut self.file;
        let path = &self.path;
        (0..picture.planes()).try_for_each(|plane| {
            film.rows(picture, plane, |row| file.write_all(row).map_err(Problem::file(path)))
        })
    }
}

/// The first line of a file of such pictures.
fn header(picture: &Picture, (count, seconds): (u32, u32)) -> Result<String, Problem> {
    let kind = match (picture.planes(), picture.shared()) {
        (1, _) => "mono",
        (_, (1, 1)) => "420jpeg",
        (_, (1, 0)) => "422",
        (_, (2, 0)) => "411",
        (_, (0, 0)) => "444",
        (_, (across, down)) => {
            return Err(Problem::Format(format!(
                "a file of Y4M cannot have a colour for {} x {} pixels",
                1 << across,
                1 << down
            )));
        }
    };
    let range = if picture.is_full_range() { "FULL" } else { "LIMITED" };
    let (width, height) = (picture.width(), picture.height());
    Ok(format!("YUV4MPEG2 W{width} H{height} F{count}:{seconds} Ip A0:0 C{kind} XCOLORRANGE={range}"))
}

/// Writes a picture as PNG.
fn write_png(path: &Path, film: &mut Film, picture: &Picture) -> Result<(), Problem> {
    let mut planes = Vec::new();
    for plane in 0..picture.planes() {
        let mut bytes = Vec::new();
        film.rows(picture, plane, |row| {
            bytes.extend_from_slice(row);
            Ok(())
        })?;
        planes.push(bytes);
    }
    let file = File::create(path).map_err(Problem::file(path))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&colours(picture, &planes))?;
        writer.finish()
    });
    written.map_err(|error| Problem::file(path)(error.into()))
}

/// Red, green and blue of the pixels, as the recommendation BT.601 makes them of brightness and two differences.
fn colours(picture: &Picture, planes: &[Vec<u8>]) -> Vec<u8> {
    let (across, down) = picture.shared();
    let width = picture.width() as usize;
    let of_colour = |plane: usize, x: usize, y: usize| match planes.get(plane) {
        Some(bytes) => i32::from(bytes[(y >> down) * picture.size(plane).0 as usize + (x >> across)]) - 128,
        None => 0,
    };
    // Parts of 2^16: what a step of brightness, and of a difference, is of the whole.
    let (black, bright, factors) = match picture.is_full_range() {
        true => (0, 65536, [91881, 22554, 46802, 116130]),
        false => (16, 76309, [104597, 25675, 53279, 132201]),
    };
    let mut pixels = Vec::with_capacity(3 * planes[0].len());
    for (at, brightness) in planes[0].iter().enumerate() {
        let (x, y) = (at % width, at / width);
        let brightness = (i32::from(*brightness) - black) * bright + 32768;
        let (blue, red) = (of_colour(1, x, y), of_colour(2, x, y));
        let colours = [
            brightness + factors[0] * red,
            brightness - factors[1] * blue - factors[2] * red,
            brightness + factors[3] * blue,
        ];
        pixels.extend(colours.map(|colour| (colour >> 16).clamp(0, 255) as u8));
    }
    pixels
}

/// Uncompressed sound.
struct Wav {
    path: PathBuf,
    writer: WavWriter<BufWriter<File>>,
    encoding: Encoding,
}

impl Wav {
    fn create(path: &Path, sound: &Sound) -> Result<Wav, Problem> {
        let writer = WavWriter::create(path, spec(sound)).map_err(failed(path))?;
        Ok(Wav { path: path.to_owned(), writer, encoding: sound.encoding() })
    }

    fn write(&mut self, film: &mut Film, sound: &Sound) -> Result<(), Problem> {
        if spec(sound) != self.writer.spec() {
            return Err(Problem::Format("a file of WAV cannot go on with sound of another form".to_owned()));
        }
        let planes = (0..sound.planes()).map(|plane| film.samples(sound, plane));
        let planes = planes.collect::<Result<Vec<_>, _>>()?;
        let size = self.encoding.bytes() as usize;
        for at in (0..planes[0].len()).step_by(size) {
            for plane in &planes {
                let sample = &plane[at..at + size];
                let written = match (self.encoding, sample) {
                    (Encoding::S16, &[a, b]) => self.writer.write_sample(i16::from_le_bytes([a, b])),
                    (Encoding::S32, &[a, b, c, d]) => {
                        self.writer.write_sample(i32::from_le_bytes([a, b, c, d]))
                    }
                    (Encoding::Float, &[a, b, c, d]) => {
                        self.writer.write_sample(f32::from_le_bytes([a, b, c, d]))
                    }
                    _ => unreachable!("a sample has as many bytes as its encoding says"),
                };
                written.map_err(failed(&self.path))?;
            }
        }
        Ok(())
    }
}

fn spec(sound: &Sound) -> WavSpec {
    let sample_format = match sound.encoding() {
        Encoding::Float => SampleFormat::Float,
        Encoding::S16 | Encoding::S32 => SampleFormat::Int,
    };
    WavSpec {
        channels: sound.channels() as u16,
        sample_rate: sound.rate(),
        bits_per_sample: 8 * sound.encoding().bytes() as u16,
        sample_format,
    }
}

fn failed(path: &Path) -> impl Fn(hound::Error) -> Problem {
    move |error| {
        Problem::file(path)(match error {
            hound::Error::IoError(error) => error,
            other => std::io::Error::other(other),
        })
    }
}
