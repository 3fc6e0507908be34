//! The file cache: what is kept of a file system that nobody else changes.
//!
//! Whole pages of open files, what is known of those files, and names that are not there. All of it is only kept
//! as long as a file is open: then nothing can be forgotten and become something else behind its back.
//!
//! Whoever asks the file system takes the [`Moment`] before, and hands the answer in with it. If anything was
//! changed in between, the answer may be older than the change, and is not kept.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Most names that are kept.
const NAMES_MAX: usize = 64;

/// How much had been changed when something was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

/// What is kept of a file system. Files are told apart by numbers; `A` is what is known of a file.
#[derive(Debug)]
pub struct FileCache<A> {
    /// Counts changes.
    changes: u64,
    files: BTreeMap<u64, File<A>>,
    /// Directories, each with a name that is not in it.
    absent: Vec<(u64, Box<[u8]>)>,
    pages: BTreeMap<(u64, u64), Page>,
    pages_max: usize,
    /// Pages in the order in which they are to go, each that is kept and some that are not any more.
    order: VecDeque<(u64, u64)>,
}

#[derive(Debug)]
struct File<A> {
    /// How often it is open.
    opened: usize,
    attributes: Option<A>,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    /// Whether it was read since it was last its turn to go.
    is_used: bool,
}

/// The pages that have a byte of this range.
fn pages(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / PAGE..range.end.div_ceil(PAGE) }
}

impl<A> FileCache<A> {
    /// Nothing, of at most so many pages.
    #[must_use]
    pub const fn new(pages_max: usize) -> FileCache<A> {
        FileCache {
            changes: 0,
            files: BTreeMap::new(),
            absent: Vec::new(),
            pages: BTreeMap::new(),
            pages_max,
            order: VecDeque::new(),
        }
    }

    /// A file was opened of which something may be kept.
    pub fn opened(&mut self, file: u64) {
        self.files.entry(file).or_insert(File { opened: 0, attributes: None }).opened += 1;
    }

    /// It was closed. The last time, everything of it is forgotten, and with the last file everything.
    pub fn closed(&mut self, file: u64) {
        let Some(found) = self.files.get_mut(&file) else { return };
        found.opened -= 1;
        if found.opened > 0 {
            return;
        }
        self.files.remove(&file);
        self.drop_pages(file, 0..u64::MAX);
        if self.files.is_empty() {
            self.absent.clear();
            self.order.clear();
        }
    }

    /// To be taken before something is asked for or changed.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.changes)
    }

    /// What is known of a file.
    #[must_use]
    pub fn attributes(&self, file: u64) -> Option<&A> {
        self.files.get(&file)?.attributes.as_ref()
    }

    /// Keeps what was answered about a file.
    pub fn keep_attributes(&mut self, asked: Moment, file: u64, attributes: A) {
        if asked == self.moment()
            && let Some(file) = self.files.get_mut(&file)
        {
            file.attributes = Some(attributes);
        }
    }

    /// Whether it is known that a directory has no such entry.
    #[must_use]
    pub fn is_absent(&self, directory: u64, name: &[u8]) -> bool {
        self.absent.iter().any(|(within, absent)| *within == directory && **absent == *name)
    }

    /// Keeps that a directory was said to have no such entry.
    pub fn keep_absent(&mut self, asked: Moment, directory: u64, name: &[u8]) {
        if asked == self.moment() && !self.files.is_empty() {
            if self.absent.len() == NAMES_MAX {
                self.absent.clear();
            }
            self.absent.push((directory, name.into()));
        }
    }

    /// Reads what is kept of a file to buffers, one after the other. Gives whether all of it was; if not, anything
    /// may be in the buffers.
    pub fn read(&mut self, file: u64, mut offset: u64, buffers: &mut [&mut [u8]]) -> bool {
        for buffer in buffers {
            let mut rest = &mut **buffer;
            while !rest.is_empty() {
                let Some(page) = self.pages.get_mut(&(file, offset / PAGE)) else { return false };
                page.is_used = true;
                let bytes = &page.bytes[(offset % PAGE) as usize..];
                let count = bytes.len().min(rest.len());
                rest[..count].copy_from_slice(&bytes[..count]);
                rest = &mut rest[count..];
                offset += count as u64;
            }
        }
        true
    }

    /// Keeps the whole pages of what was read at a place.
    pub fn keep(&mut self, asked: Moment, file: u64, offset: u64, bytes: &[u8]) {
        if asked != self.moment() || !self.files.contains_key(&file) {
            return;
        }
        let Some(first) = offset.checked_next_multiple_of(PAGE) else { return };
        let Some(bytes) = bytes.get((first - offset) as usize..) else { return };
        for (number, bytes) in (first / PAGE..).zip(bytes.chunks_exact(PAGE as usize)) {
            self.keep_page((file, number), bytes);
        }
    }

    fn keep_page(&mut self, key: (u64, u64), bytes: &[u8]) {
        if let Some(page) = self.pages.get_mut(&key) {
            page.bytes.copy_from_slice(bytes);
            return;
        }
        while self.order.len() >= self.pages_max {
            let Some(next) = self.order.pop_front() else { return };
            match self.pages.get_mut(&next) {
                Some(page) if page.is_used => {
                    page.is_used = false;
                    self.order.push_back(next);
                }
                _ => drop(self.pages.remove(&next)),
            }
        }
        let mut copy = Vec::new();
        if copy.try_reserve_exact(bytes.len()).is_ok() && self.order.try_reserve(1).is_ok() {
            copy.extend_from_slice(bytes);
            self.pages.insert(key, Page { bytes: copy, is_used: false });
            self.order.push_back(key);
        }
    }

    fn drop_pages(&mut self, file: u64, numbers: Range<u64>) {
        let found: Vec<_> =
            self.pages.range((file, numbers.start)..(file, numbers.end)).map(|(key, _)| *key).collect();
        for key in found {
            self.pages.remove(&key);
        }
    }

    /// Bytes were written at a place, in a request that began at a moment. If nothing else was changed since, they
    /// are kept.
    pub fn written(&mut self, began: Moment, file: u64, offset: u64, bytes: &[u8]) {
        let range = offset..offset.saturating_add(bytes.len() as u64);
        if began != self.moment() || !self.files.contains_key(&file) {
            return self.changed(file, range);
        }
        self.changed(file, 0..0);
        for number in pages(&range) {
            let start = number * PAGE;
            let part = range.start.max(start)..range.end.min(start.saturating_add(PAGE));
            let bytes = &bytes[(part.start - offset) as usize..(part.end - offset) as usize];
            if bytes.len() as u64 == PAGE {
                self.keep_page((file, number), bytes);
            } else if let Some(page) = self.pages.get_mut(&(file, number)) {
                page.bytes[(part.start - start) as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// Something about a file was changed, perhaps, and its content in a range.
    pub fn changed(&mut self, file: u64, range: Range<u64>) {
        self.changes += 1;
        if let Some(file) = self.files.get_mut(&file) {
            file.attributes = None;
        }
        self.drop_pages(file, pages(&range));
    }

    /// Names were changed, perhaps, and with them what is known of files.
    pub fn names_changed(&mut self) {
        self.changes += 1;
        self.absent.clear();
        for file in self.files.values_mut() {
            file.attributes = None;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    const FILE: u64 = 7;

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; PAGE as usize]
    }

    /// A cache with an open file, of which these pages are kept.
    fn cache(pages_max: usize, bytes: &[u8]) -> FileCache<u8> {
        let mut cache = FileCache::new(pages_max);
        cache.opened(FILE);
        for (number, byte) in bytes.iter().enumerate() {
            cache.keep(cache.moment(), FILE, number as u64 * PAGE, &page(*byte));
        }
        cache
    }

    fn read<A>(cache: &mut FileCache<A>, offset: u64, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0xee; count];
        let (first, second) = bytes.split_at_mut(count / 3);
        cache.read(FILE, offset, &mut [first, second]).then_some(bytes)
    }

    #[test]
    fn what_was_read_is_kept_in_whole_pages() {
        let mut cache = cache(8, &[]);
        let bytes: Vec<u8> = (0..3 * PAGE).map(|at| (at / 100) as u8).collect();
        cache.keep(cache.moment(), FILE, 100, &bytes[100..]);
        assert_eq!(read(&mut cache, 0, 200), None);
        assert_eq!(read(&mut cache, PAGE + 1, 5000).as_deref(), Some(&bytes[PAGE as usize + 1..][..5000]));
        assert_eq!(read(&mut cache, 3 * PAGE - 1, 2), None);
        cache.keep(cache.moment(), FILE, 3 * PAGE, &bytes[..PAGE as usize - 1]);
        assert_eq!(read(&mut cache, 3 * PAGE, 1), None);
    }

    #[test]
    fn nothing_is_kept_of_what_is_not_open() {
        let mut cache = FileCache::<u8>::new(8);
        cache.keep(cache.moment(), FILE, 0, &page(1));
        cache.keep_attributes(cache.moment(), FILE, 1);
        cache.keep_absent(cache.moment(), 1, b"name");
        cache.written(cache.moment(), FILE, 0, &page(1));
        cache.opened(FILE);
        assert_eq!((read(&mut cache, 0, 1), cache.attributes(FILE)), (None, None));
        assert!(!cache.is_absent(1, b"name"));
    }

    #[test]
    fn the_last_time_that_a_file_is_closed_it_is_forgotten() {
        let mut cache = cache(8, &[1]);
        cache.keep_attributes(cache.moment(), FILE, 5);
        cache.keep_absent(cache.moment(), 1, b"name");
        cache.opened(FILE);
        cache.closed(FILE);
        assert_eq!((read(&mut cache, 0, 1), cache.attributes(FILE)), (Some(vec![1]), Some(&5)));
        cache.closed(FILE);
        cache.opened(FILE);
        assert_eq!((read(&mut cache, 0, 1), cache.attributes(FILE)), (None, None));
        assert!(!cache.is_absent(1, b"name"));
    }

    #[test]
    fn an_answer_that_may_be_older_than_a_change_is_not_kept() {
        let mut cache = cache(8, &[]);
        let asked = cache.moment();
        cache.changed(99, 0..1);
        cache.keep(asked, FILE, 0, &page(1));
        cache.keep_attributes(asked, FILE, 1);
        cache.keep_absent(asked, 1, b"name");
        assert_eq!((read(&mut cache, 0, 1), cache.attributes(FILE)), (None, None));
        assert!(!cache.is_absent(1, b"name"));
    }

    #[test]
    fn a_change_of_names_ends_what_is_known_of_names_and_files_but_not_their_content() {
        let mut cache = cache(8, &[1]);
        cache.keep_attributes(cache.moment(), FILE, 5);
        cache.keep_absent(cache.moment(), 1, b"name");
        assert!(cache.is_absent(1, b"name") && !cache.is_absent(2, b"name") && !cache.is_absent(1, b"nam"));
        cache.names_changed();
        assert_eq!((read(&mut cache, 0, 1), cache.attributes(FILE)), (Some(vec![1]), None));
        assert!(!cache.is_absent(1, b"name"));
    }

    #[test]
    fn pages_that_were_read_stay_longer_and_there_are_never_too_many() {
        let mut cache = cache(2, &[0, 1]);
        read(&mut cache, 0, 1);
        cache.keep(cache.moment(), FILE, 2 * PAGE, &page(2));
        let kept = [0, 1, 2].map(|number| read(&mut cache, number * PAGE, 1).is_some());
        assert_eq!(kept, [true, false, true]);
        for number in 0..100 {
            cache.keep(cache.moment(), FILE, number * PAGE, &page(1));
            cache.changed(FILE, 0..PAGE);
            assert!(cache.pages.len() <= 2 && cache.order.len() <= 2);
        }
        let mut none = self::cache(0, &[1]);
        assert_eq!(read(&mut none, 0, 1), None);
    }

    #[test]
    fn many_names_do_not_pile_up() {
        let mut cache = cache(0, &[]);
        for number in 0..1000_u32 {
            cache.keep_absent(cache.moment(), 1, &number.to_le_bytes());
            assert!(cache.is_absent(1, &number.to_le_bytes()) && cache.absent.len() <= NAMES_MAX);
        }
    }

    /// Something that one of several threads does.
    #[derive(Clone, Debug)]
    enum Step {
        /// Asks for pages, or for the attributes.
        Read {
            page: u64,
            count: u64,
        },
        Attributes,
        Write {
            offset: u64,
            bytes: Vec<u8>,
        },
        Truncate {
            size: u64,
        },
        /// The file system does the request of this number, of those that are under way.
        Serve(prop::sample::Index),
        /// The thread with this one goes on with the answer.
        Return(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop::collection::vec(any::<u8>(), 1..9000);
        prop_oneof![
            2 => (0..2_u64, 1..3_u64).prop_map(|(page, count)| Step::Read { page, count }),
            1 => Just(Step::Attributes),
            2 => (0..2 * PAGE, bytes).prop_map(|(offset, bytes)| Step::Write { offset, bytes }),
            1 => (PAGE..3 * PAGE).prop_map(|size| Step::Truncate { size }),
            6 => any::<prop::sample::Index>().prop_map(Step::Serve),
            6 => any::<prop::sample::Index>().prop_map(Step::Return),
        ]
    }

    proptest! {
        /// Whatever requests overlap: as soon as no change is under way, what is kept is what the disk has.
        #[test]
        fn nothing_that_is_kept_is_older_than_a_change(steps in prop::collection::vec(step(), 1..200)) {
            let mut disk: Vec<u8> = vec![9; 2 * PAGE as usize];
            let mut cache = FileCache::<usize>::new(3);
            cache.opened(FILE);
            // Requests, when each began, and the answer if it was served.
            let mut under_way: Vec<(Step, Moment, Option<Vec<u8>>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Serve(index) if !under_way.is_empty() => {
                        let (request, _, answer) = index.get(&under_way).clone();
                        if answer.is_some() {
                            continue;
                        }
                        let answer = match request {
                            Step::Read { page, count } => {
                                let start = ((page * PAGE) as usize).min(disk.len());
                                let end = (((page + count) * PAGE) as usize).min(disk.len());
                                disk[start..end].to_vec()
                            }
                            Step::Attributes => disk.len().to_le_bytes().to_vec(),
                            Step::Write { offset, bytes } => {
                                let end = offset as usize + bytes.len();
                                disk.resize(disk.len().max(end), 0);
                                disk[offset as usize..end].copy_from_slice(&bytes);
                                vec![]
                            }
                            Step::Truncate { size } => {
                                disk.resize(size as usize, 0);
                                vec![]
                            }
                            Step::Serve(_) | Step::Return(_) => unreachable!(),
                        };
                        let at = index.index(under_way.len());
                        under_way[at].2 = Some(answer);
                    }
                    Step::Return(index) if !under_way.is_empty() => {
                        let at = index.index(under_way.len());
                        if under_way[at].2.is_none() {
                            continue;
                        }
                        let (request, began, answer) = under_way.swap_remove(at);
                        let answer = answer.unwrap_or_default();
                        match request {
                            Step::Read { page, .. } => cache.keep(began, FILE, page * PAGE, &answer),
                            Step::Attributes => {
                                let size = usize::from_le_bytes(answer.try_into().unwrap());
                                cache.keep_attributes(began, FILE, size);
                            }
                            Step::Write { offset, bytes } => cache.written(began, FILE, offset, &bytes),
                            Step::Truncate { .. } => cache.changed(FILE, 0..u64::MAX),
                            Step::Serve(_) | Step::Return(_) => unreachable!(),
                        }
                    }
                    Step::Serve(_) | Step::Return(_) => {}
                    // More threads than that would hide behind each other.
                    _ if under_way.len() == 3 => {}
                    request => under_way.push((request, cache.moment(), None)),
                }
                let is_change = |(step, ..): &(Step, _, _)| matches!(step, Step::Write { .. } | Step::Truncate { .. });
                if under_way.iter().any(is_change) {
                    continue;
                }
                for number in 0..8 {
                    if let Some(kept) = read(&mut cache, number * PAGE, PAGE as usize) {
                        prop_assert_eq!(Some(&kept[..]), disk.get((number * PAGE) as usize..((number + 1) * PAGE) as usize));
                    }
                }
                if let Some(size) = cache.attributes(FILE) {
                    prop_assert_eq!(*size, disk.len());
                }
            }
        }
    }
}
