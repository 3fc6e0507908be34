//! A film in its sandbox: what the decoder says of it, checked.

use serde::Deserialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use vcpu_host::embed::{CallError, NotInMemory, SharedMemory, Slice};
use vcpu_host::{Error, Image, Sandbox};

/// Most pixels in a row, and rows.
const SIDE_MAX: u32 = 16384;
/// Most samples of a channel in a frame.
const SAMPLES_MAX: u32 = 1 << 20;
/// Most channels.
const CHANNELS_MAX: u32 = 64;
/// Most samples of a channel in a second.
const RATE_MAX: u32 = 1 << 20;
/// Most bytes that are read of the file at a time.
const READ_MAX: u64 = 1 << 20;

/// What a film may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of the decoder, in bytes.
    pub memory: u64,
    /// Time until the next frame.
    pub frame: Duration,
    /// Time for all.
    pub film: Duration,
    /// Bytes of all frames together.
    pub bytes: u64,
}

impl Default for Limits {
    /// 256 MiB of memory, 10 s a frame, an hour and 64 GiB for all.
    fn default() -> Limits {
        Limits {
            memory: 256 << 20,
            frame: Duration::from_secs(10),
            film: Duration::from_secs(3600),
            bytes: 64 << 30,
        }
    }
}

/// Why a film has no next frame, or cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The decoder refused the film, or has ended.
    #[error("{}", sentence(.0))]
    Call(#[from] CallError),
    /// The decoder's word is wrong.
    #[error("the decoder says what cannot be: {0}")]
    Wrong(String),
    /// A frame is not where the decoder says.
    #[error("the decoder says what cannot be: {0}")]
    NotInMemory(#[from] NotInMemory),
    /// One of the [`Limits`].
    #[error("the film has more than {0}")]
    Limit(String),
    /// The film is not what a file of this format can hold.
    #[error("{0}")]
    Format(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Its name.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// What a call's error says, without the report behind it.
fn sentence(error: &CallError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Problem {
    /// Of a file.
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Problem {
        move |source| Problem::File { path: path.display().to_string(), source }
    }
}

/// What the decoder says of a film.
#[derive(Debug, Deserialize)]
struct Opened {
    rate: Option<(u32, u32)>,
    has_sound: bool,
    length: u64,
}

/// A frame as the decoder describes it.
#[derive(Debug, Deserialize)]
enum Said {
    End { damaged: u64, demuxer: u64, video: u64, audio: u64 },
    Video { moment: u64, picture: Picture },
    Audio { moment: u64, sound: Sound },
}

/// What comes next of a film.
#[derive(Debug)]
#[non_exhaustive]
pub enum Frame {
    /// A picture, and when it is shown, in microseconds.
    Picture(u64, Picture),
    /// A piece of sound, and when it is heard, in microseconds.
    Sound(u64, Sound),
    /// Nothing.
    End(End),
}

/// How it went, as the decoder says.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How many packets were damaged.
    pub damaged: u64,
    /// Processor time of the demuxer's thread.
    pub demuxer: Duration,
    /// Processor time of the video decoder's thread.
    pub video: Duration,
    /// Processor time of the audio decoder's thread.
    pub audio: Duration,
}

/// A picture in the guest's memory: brightness, and mostly two planes of colour, of a byte each.
#[derive(Debug, Deserialize)]
pub struct Picture {
    width: u32,
    height: u32,
    across: u8,
    down: u8,
    is_full_range: bool,
    /// Where each is, and how many bytes behind a row the next one begins.
    planes: Vec<(Slice, u32)>,
}

/// How samples are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Encoding {
    /// Signed numbers of 16 bits.
    S16,
    /// Signed numbers of 32 bits.
    S32,
    /// Floating-point numbers of 32 bits.
    Float,
}

/// A piece of sound in the guest's memory.
#[derive(Debug, Deserialize)]
pub struct Sound {
    rate: u32,
    channels: u32,
    encoding: Encoding,
    samples: u32,
    /// One with the channels in turn, or one of each channel.
    planes: Vec<Slice>,
}

/// A film whose decoder is in a sandbox of its own.
#[derive(Debug)]
pub struct Film {
    sandbox: Sandbox,
    opened: Opened,
    limits: Limits,
    start: Instant,
    /// Bytes of frames until now.
    bytes: u64,
    /// A row, or a piece of one.
    row: Vec<u8>,
}

impl Film {
    /// Opens a film, with a decoder of this image, which is that of the port `decode`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no film, or has nothing that this decoder knows.
    pub fn open(image: &Path, path: &Path, limits: Limits) -> Result<Film, Problem> {
        let failed = Problem::file(path);
        let file = File::open(path).map_err(&failed)?;
        let size = file.metadata().map_err(&failed)?.len();
        let image = Image::open(image).map_err(|error| CallError::from(Error::from(error)))?;
        let mut sandbox = Sandbox::builder(&image)
            .memory(limits.memory)
            .call_deadline(limits.frame)
            .shared_function("read", move |memory, (offset, to)| read(&file, memory, offset, to))
            .build()
            .map_err(CallError::from)?;
        let start = Instant::now();
        let opened: Opened = sandbox.call("open", &size)?;
        if opened.rate.is_some_and(|(count, seconds)| count == 0 || seconds == 0) {
            return Err(Problem::Wrong("a frame rate of zero, or without end".to_owned()));
        }
        Ok(Film { sandbox, opened, limits, start, bytes: 0, row: Vec::new() })
    }

    /// How many pictures there are in how many seconds, if there are any.
    pub fn rate(&self) -> Option<(u32, u32)> {
        self.opened.rate
    }

    /// Whether it has sound.
    pub fn has_sound(&self) -> bool {
        self.opened.has_sound
    }

    /// How long it is, in microseconds, if that is known.
    pub fn length(&self) -> Option<u64> {
        Some(self.opened.length).filter(|length| *length > 0)
    }

    /// The next frame. The one before is gone then.
    ///
    /// # Errors
    ///
    /// If the decoder does not go on, or says what is not so; or at a limit.
    // It is no iterator: a frame lies in memory that the next call uses again.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Frame, Problem> {
        if self.start.elapsed() > self.limits.film {
            return Err(Problem::Limit(format!("can be decoded in {:?}", self.limits.film)));
        }
        let (frame, bytes) = match self.sandbox.call("next", &())? {
            Said::End { damaged, demuxer, video, audio } => {
                let [demuxer, video, audio] = [demuxer, video, audio].map(Duration::from_nanos);
                (Frame::End(End { damaged, demuxer, video, audio }), 0)
            }
            Said::Video { moment, picture } => {
                let bytes = picture.check()?;
                (Frame::Picture(moment, picture), bytes)
            }
            Said::Audio { moment, sound } => {
                let bytes = sound.check()?;
                (Frame::Sound(moment, sound), bytes)
            }
        };
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes {
            return Err(Problem::Limit(format!("{} bytes of frames", self.limits.bytes)));
        }
        Ok(frame)
    }

    /// Ends the decoder's threads and lets it forget the film.
    ///
    /// # Errors
    ///
    /// If the decoder has ended.
    pub fn close(mut self) -> Result<(), Problem> {
        Ok(self.sandbox.call("close", &())?)
    }

    /// Lets `action` have the rows of a plane of the last picture, one by one. The guest may change its memory at any
    /// moment, so each row is copied, into a place that is used again.
    ///
    /// # Errors
    ///
    /// If the plane is not in the guest's memory, or what `action` gives.
    ///
    /// # Panics
    ///
    /// If the picture has no such plane.
    pub fn rows(
        &mut self,
        picture: &Picture,
        plane: usize,
        mut action: impl FnMut(&[u8]) -> Result<(), Problem> + Send,
    ) -> Result<(), Problem> {
        let (width, height) = picture.size(plane);
        let (slice, stride) = picture.planes[plane];
        let row = &mut self.row;
        row.resize(width as usize, 0);
        self.sandbox.view(slice, |bytes| {
            for at in 0..height as usize {
                // A part of the plane, as `Picture::check` has found.
                let part = bytes.subslice(at * stride as usize, row.len());
                part.map_err(|_| NotInMemory { address: slice.address(), length: slice.length() })?
                    .copy_to(&mut row[..]);
                action(row)?;
            }
            Ok(())
        })?
    }

    /// A copy of the samples in one of the planes of the last piece of sound.
    ///
    /// # Errors
    ///
    /// If the plane is not in the guest's memory.
    ///
    /// # Panics
    ///
    /// If the sound has no such plane.
    pub fn samples(&mut self, sound: &Sound, plane: usize) -> Result<Vec<u8>, Problem> {
        Ok(self.sandbox.to_vec(sound.planes[plane])?)
    }
}

/// Reads of the file into the guest's memory, and gives how many bytes.
fn read(file: &File, memory: &SharedMemory<'_>, offset: u64, to: Slice) -> Result<u64, String> {
    let mut bytes = vec![0; to.length().min(READ_MAX) as usize];
    let count = file.read_at(&mut bytes, offset).map_err(|error| error.to_string())?;
    memory.write(to, 0, &bytes[..count]).map_err(|error| error.to_string())?;
    Ok(count as u64)
}

impl Picture {
    /// Gives how many bytes it has, if it is possible.
    fn check(&self) -> Result<u64, Problem> {
        let wrong = |what: String| Err(Problem::Wrong(what));
        let (width, height) = (self.width, self.height);
        if !(1..=SIDE_MAX).contains(&width) || !(1..=SIDE_MAX).contains(&height) {
            return wrong(format!("a picture of {width} x {height} pixels"));
        }
        if ![1, 3].contains(&self.planes.len()) {
            return wrong(format!("a picture of {} planes", self.planes.len()));
        }
        if self.across > 2 || self.down > 2 {
            return wrong(format!("a colour of 2^{} x 2^{} pixels", self.across, self.down));
        }
        for (plane, (slice, stride)) in self.planes.iter().enumerate() {
            let (width, height) = self.size(plane);
            let bytes = u64::from(*stride) * u64::from(height - 1) + u64::from(width);
            if *stride < width || slice.length() != bytes {
                let length = slice.length();
                return wrong(format!("{length} bytes of {height} rows of {width}, {stride} bytes apart"));
            }
        }
        Ok(self.planes.iter().map(|(slice, _)| slice.length()).sum())
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// How many planes there are: brightness, or with it two of colour.
    pub fn planes(&self) -> usize {
        self.planes.len()
    }

    /// How many pixels across and down have one colour, as powers of two: 0 to 2.
    pub fn shared(&self) -> (u8, u8) {
        (self.across, self.down)
    }

    /// Whether bytes go from 0 to 255, and not from 16 to 235.
    pub fn is_full_range(&self) -> bool {
        self.is_full_range
    }

    /// Width and height of a plane.
    pub fn size(&self, plane: usize) -> (u32, u32) {
        let (across, down) = if plane == 0 { (0, 0) } else { self.shared() };
        (self.width.div_ceil(1 << across), self.height.div_ceil(1 << down))
    }
}

impl Sound {
    /// Gives how many bytes it has, if it is possible.
    fn check(&self) -> Result<u64, Problem> {
        let wrong = |what: String| Err(Problem::Wrong(what));
        let Sound { rate, channels, samples, .. } = *self;
        if !(1..=RATE_MAX).contains(&rate) || !(1..=CHANNELS_MAX).contains(&channels) || samples > SAMPLES_MAX
        {
            return wrong(format!("{samples} samples of {channels} channels, {rate} a second"));
        }
        let together = self.encoding.bytes() * u64::from(samples) * u64::from(channels);
        let planes = self.planes.len() as u64;
        if planes != 1 && planes != u64::from(channels) {
            return wrong(format!("{planes} planes of {channels} channels"));
        }
        match self.planes.iter().find(|slice| slice.length() * planes != together) {
            Some(slice) => wrong(format!("{} bytes of {samples} samples", slice.length())),
            None => Ok(together),
        }
    }

    /// Samples of a channel in a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Channels.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// How samples are encoded.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many planes there are: one with all channels in turn, or one of each.
    pub fn planes(&self) -> usize {
        self.planes.len()
    }
}

impl Encoding {
    /// Bytes of a sample.
    pub fn bytes(self) -> u64 {
        if self == Encoding::S16 { 2 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let plane = |width: u64, height: u64| (Slice::new(4096, 64 * (height - 1) + width), 64);
        let planes = vec![plane(64, 48), plane(32, 24), plane(32, 24)];
        Picture { width, height, across: 1, down: 1, is_full_range: false, planes }
    }

    fn sound(samples: u32, channels: u32, planes: Vec<Slice>) -> Sound {
        Sound { rate: 48000, channels, encoding: Encoding::S16, samples, planes }
    }

    fn is_refused(checked: Result<u64, Problem>) -> bool {
        matches!(checked, Err(Problem::Wrong(_)))
    }

    #[test]
    fn what_a_decoder_says_of_pictures_is_checked() {
        assert_eq!(picture(64, 48).check().unwrap(), 64 * 47 + 64 + 2 * (64 * 23 + 32));
        for (width, height) in [(0, 48), (64, 0), (65, 48), (64, 49), (64, 47), (u32::MAX, 1), (1, u32::MAX)]
        {
            assert!(is_refused(picture(width, height).check()), "{width} x {height}");
        }
        type Change = fn(&mut Picture);
        let changes: [Change; 7] = [
            |picture| picture.across = 32,
            |picture| picture.down = 3,
            |picture| picture.planes.truncate(2),
            |picture| picture.planes.clear(),
            |picture| picture.planes[1].0 = Slice::new(0, u64::MAX),
            |picture| picture.planes[2].1 = 0,
            |picture| picture.planes[0].1 = u32::MAX,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut picture = picture(64, 48);
            change(&mut picture);
            assert!(is_refused(picture.check()), "{number}");
        }
    }

    #[test]
    fn what_a_decoder_says_of_sound_is_checked() {
        let plane = |length| Slice::new(4096, length);
        assert_eq!(sound(100, 2, vec![plane(400)]).check().unwrap(), 400);
        assert_eq!(sound(100, 2, vec![plane(200), plane(200)]).check().unwrap(), 400);
        for (samples, channels, planes) in [
            (100, 0, vec![]),
            (100, 2, vec![]),
            (100, 2, vec![plane(399)]),
            (100, 2, vec![plane(200), plane(201)]),
            (100, 3, vec![plane(300); 2]),
            (100, 65, vec![plane(200); 65]),
            (u32::MAX, 2, vec![plane(u64::MAX)]),
        ] {
            assert!(is_refused(sound(samples, channels, planes.clone()).check()), "{channels}: {planes:?}");
        }
    }
}
