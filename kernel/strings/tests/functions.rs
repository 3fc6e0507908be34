//! Every function and every variant against the obvious definition, in memory with nothing before and behind it.

use proptest::prelude::*;
use std::arch::x86_64::_xgetbv;
use std::cmp::Ordering;
use std::ptr::null_mut;
use std::sync::Mutex;
use vcpu_kernel_strings::{Variant, choose, compare, copy, fill, find, find_in_string, span};

const PAGE: usize = 4096;
const ALIGNMENTS: usize = 64;
const LENGTHS: usize = 300;
/// Sizes around those from which something else is done, and some that are not a multiple of anything.
const LARGE: [usize; 9] = [511, 512, 1023, 2048, 4095, 8191, 8192, 10_007, 70_001];

/// Memory between two pages that cannot be touched.
struct Guarded {
    mapping: *mut u8,
    size: usize,
}

impl Guarded {
    fn new(size: usize) -> Guarded {
        let (none, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let size = size.next_multiple_of(PAGE);
        // SAFETY: a new mapping, whose middle becomes accessible.
        unsafe {
            let mapping = libc::mmap(null_mut(), size + 2 * PAGE, none, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED);
            let middle = mapping.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(middle.cast(), size, libc::PROT_READ | libc::PROT_WRITE), 0);
            Guarded { mapping: middle, size }
        }
    }

    /// All of it.
    #[expect(clippy::mut_from_ref, reason = "each caller is done with one before it asks for the next")]
    fn bytes(&self) -> &mut [u8] {
        // SAFETY: it is mapped, and ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.mapping, self.size) }
    }

    /// So many bytes, so far from the first byte, or from the last.
    fn place(&self, offset: usize, length: usize, at_end: bool) -> &mut [u8] {
        let from = if at_end { self.size - length - offset } else { offset };
        &mut self.bytes()[from..from + length]
    }
}

/// A page, and enough for the largest: what lies around a small block is looked at sooner in a small area.
struct Areas([Guarded; 2]);

impl Areas {
    fn new() -> Areas {
        Areas([PAGE, 40 * PAGE].map(Guarded::new))
    }

    /// The one for blocks of this length.
    fn of(&self, length: usize) -> &Guarded {
        &self.0[usize::from(length >= LENGTHS)]
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody uses it any more.
        unsafe { libc::munmap(self.mapping.sub(PAGE).cast(), self.size + 2 * PAGE) };
    }
}

/// Tries all variants that this processor has, one test at a time: the choice is one for all.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller knows that there is the instruction.
    unsafe { _xgetbv(0) }
}

fn with_every_variant(test: impl Fn(Variant)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: the processor and the operating system are asked.
    unsafe {
        let best = if is_x86_feature_detected!("xsave") { Variant::best(xcr0()) } else { Variant::Sse2 };
        for variant in Variant::ALL.into_iter().filter(|variant| *variant <= best) {
            choose(variant);
            test(variant);
        }
        choose(Variant::Sse2);
    }
}

/// All places and lengths: offsets from either end, `(offset, length, at_end)`.
fn places() -> impl Iterator<Item = (usize, usize, bool)> {
    let lengths = (0..LENGTHS).chain(LARGE);
    lengths.flat_map(|length| {
        let step = if length < LENGTHS { 1 } else { 21 };
        let offsets = (0..ALIGNMENTS).step_by(step);
        offsets.flat_map(move |offset| [(offset, length, false), (offset, length, true)])
    })
}

/// Bytes that look random, none of them zero.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 167 + seed * 59 + at / 251) % 255 + 1) as u8).collect()
}

/// The offset of what was found.
fn offset(of: *const u8, from: &[u8]) -> Option<usize> {
    (!of.is_null()).then(|| of as usize - from.as_ptr() as usize)
}

fn sign(order: i32) -> Ordering {
    order.cmp(&0)
}

#[test]
fn memmove_copies_and_touches_nothing_else() {
    let (source, target) = (Areas::new(), Areas::new());
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            let other = (offset * 7 + length) % ALIGNMENTS;
            let from = source.of(length).place(other, length, at_end);
            from.copy_from_slice(&pattern(length, offset));
            target.of(length).bytes().fill(0);
            let to = target.of(length).place(offset, length, at_end);
            // SAFETY: both have the length, and are two.
            let given = unsafe { copy::memmove(to.as_mut_ptr(), from.as_ptr(), length) };
            assert_eq!(given, to.as_mut_ptr());
            assert_eq!(*to, *from, "{variant:?} {offset} {length}");
            let written = target.of(length).bytes().iter().filter(|byte| **byte != 0).count();
            assert_eq!(written, length, "{variant:?} {offset} {length}");
        }
    });
}

#[test]
fn memmove_copies_blocks_that_overlap() {
    let area = Areas::new();
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            for distance in [1, 15, 16, 31, 33, 64, 127, 200, length / 2, length] {
                let block = area.of(length).place(offset, length + distance, at_end);
                for backward in [false, true] {
                    block.copy_from_slice(&pattern(length + distance, offset));
                    let (from, to) = if backward { (0, distance) } else { (distance, 0) };
                    let mut expected = block.to_vec();
                    expected.copy_within(from..from + length, to);
                    let start = block.as_mut_ptr();
                    // SAFETY: both lie in the block.
                    unsafe { copy::memmove(start.add(to), start.add(from), length) };
                    assert_eq!(*block, expected, "{variant:?} {offset} {length} {distance}");
                }
            }
        }
    });
}

#[test]
fn memset_fills_and_touches_nothing_else() {
    let area = Areas::new();
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            area.of(length).bytes().fill(0);
            let block = area.of(length).place(offset, length, at_end);
            // SAFETY: the block has the length. Only the lowest byte counts.
            let given = unsafe { fill::memset(block.as_mut_ptr(), 0x1_23a5u32 as i32, length) };
            assert_eq!(given, block.as_mut_ptr());
            assert!(block.iter().all(|byte| *byte == 0xa5), "{variant:?} {offset} {length}");
            let written = area.of(length).bytes().iter().filter(|byte| **byte != 0).count();
            assert_eq!(written, length, "{variant:?} {offset} {length}");
        }
    });
}

#[test]
fn memcmp_finds_the_first_difference() {
    let (left, right) = (Areas::new(), Areas::new());
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            // What lies around differs.
            left.of(length).bytes().fill(1);
            right.of(length).bytes().fill(2);
            let a = left.of(length).place(offset, length, at_end);
            let b = right.of(length).place((offset * 5 + 3) % ALIGNMENTS, length, at_end);
            a.copy_from_slice(&pattern(length, offset));
            b.copy_from_slice(a);
            let differences = (0..length).step_by(1 + length / 7).map(Some);
            for at in differences.chain([None, length.checked_sub(1)]) {
                let kept = at.map(|at| std::mem::replace(&mut b[at], a[at].wrapping_add(128)));
                if let Some(second) = at.map(|at| at + 1).filter(|second| *second < length) {
                    // What comes behind decides nothing.
                    b[second] = !b[second];
                }
                // SAFETY: both have the length.
                let order = unsafe { compare::memcmp(a.as_ptr(), b.as_ptr(), length) };
                assert_eq!(sign(order), (*a).cmp(&*b), "{variant:?} {offset} {length} {at:?}");
                if let (Some(at), Some(kept)) = (at, kept) {
                    b[at] = kept;
                    b[at..].copy_from_slice(&a[at..]);
                }
            }
        }
    });
}

#[test]
fn memchr_and_memrchr_find_the_first_and_the_last() {
    let area = Areas::new();
    with_every_variant(|variant| {
        for (place, length, at_end) in places() {
            let block = area.of(length).place(place, length, at_end);
            // The bytes around are what is looked for.
            area.of(length).bytes().fill(0xee);
            block.fill(7);
            for at in (0..length).step_by(1 + length / 9).map(Some).chain([None, length.checked_sub(1)]) {
                if let Some(at) = at {
                    block[at] = 0xee;
                }
                let (first, last) = (
                    block.iter().position(|byte| *byte == 0xee),
                    block.iter().rposition(|byte| *byte == 0xee),
                );
                // SAFETY: the block has the length.
                unsafe {
                    let found = find::memchr(block.as_ptr(), 0x7ee, length);
                    assert_eq!(offset(found, block), first, "{variant:?} {place} {length} {at:?}");
                    let found = find::memrchr(block.as_ptr(), 0x7ee, length);
                    assert_eq!(offset(found, block), last, "{variant:?} {place} {length} {at:?}");
                    if let Some(first) = first {
                        let found = find::memchr(block.as_ptr(), 0xee, usize::MAX);
                        assert_eq!(offset(found, block), Some(first), "{variant:?} {place} {length} {at:?}");
                    }
                }
                if let Some(at) = at.filter(|at| at % 2 == 0) {
                    block[at] = 7;
                }
            }
        }
    });
}

#[test]
fn strings_end_at_their_first_zero() {
    let area = Areas::new();
    with_every_variant(|variant| {
        for (place, length, at_end) in places() {
            area.of(length).bytes().fill(0xee);
            let block = area.of(length).place(place, length + 1, at_end);
            block[..length].fill(7);
            block[length] = 0;
            // SAFETY: the string ends with a zero.
            unsafe {
                let string = block.as_ptr();
                assert_eq!(find_in_string::strlen(string), length, "{variant:?} {place} {length}");
                for most in [0, 1, length / 2, length, length + 1, usize::MAX] {
                    assert_eq!(
                        find_in_string::strnlen(string, most),
                        length.min(most),
                        "{variant:?} {place} {length}"
                    );
                }
                // Behind the end, or nowhere: not in the string.
                assert!(find_in_string::strchr(string, 0xee).is_null(), "{variant:?} {place} {length}");
                assert!(find_in_string::strrchr(string, 0xee).is_null(), "{variant:?} {place} {length}");
                for found in [
                    find_in_string::strchrnul(string, 0xee),
                    find_in_string::strchr(string, 0x100),
                    find_in_string::strrchr(string, 0),
                ] {
                    assert_eq!(offset(found, block), Some(length), "{variant:?} {place} {length}");
                }
            }
            for at in (0..length).step_by(1 + length / 5) {
                block[at] = 0xee;
                let first = block.iter().position(|byte| *byte == 0xee);
                let last = block.iter().rposition(|byte| *byte == 0xee);
                // SAFETY: the string ends with a zero.
                unsafe {
                    let string = block.as_ptr();
                    assert_eq!(offset(find_in_string::strchr(string, 0x1ee), block), first);
                    assert_eq!(offset(find_in_string::strchrnul(string, 0xee), block), first);
                    assert_eq!(offset(find_in_string::strrchr(string, 0xee), block), last);
                }
            }
        }
        // Without an end, as far as it may look.
        for length in (0..LENGTHS).chain(LARGE) {
            let block = area.of(length).place(0, length, true);
            block.fill(7);
            // SAFETY: the block has the length.
            assert_eq!(unsafe { find_in_string::strnlen(block.as_ptr(), length) }, length, "{variant:?}");
        }
    });
}

#[test]
fn spans_end_at_the_first_byte_of_a_set_or_outside_it() {
    // From none to more than blocks are compared with, some of them twice, and the highest bytes.
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != 7).collect();
    let sets = [
        &b""[..],
        b"x",
        b"xx",
        b"%_",
        b"\xff\x80x",
        b"abc\x01",
        b"abcde",
        b"abcdabcdabcd",
        b"0123456789\xff",
        b"0123456789abcdef",
        b"0123456789abcdefg",
        &all,
    ];
    let (area, set_area) = (Areas::new(), Guarded::new(PAGE));
    with_every_variant(|variant| {
        for (place, length, at_end) in places() {
            let number = place + length;
            let members = sets[number % sets.len()];
            let set = set_area.place(0, members.len() + 1, at_end);
            set[..members.len()].copy_from_slice(members);
            set[members.len()] = 0;
            let member = |at: usize| members.get(at % members.len().max(1)).copied().unwrap_or(7);
            // What lies behind the end would be found, or counted.
            area.of(length).bytes().fill(member(0));
            let block = area.of(length).place(place, length + 1, at_end);
            block[length] = 0;
            let check = |block: &[u8]| {
                let string = &block[..length];
                let found = string.iter().position(|byte| members.contains(byte));
                let other = string.iter().position(|byte| !members.contains(byte));
                // SAFETY: both end with a zero.
                unsafe {
                    let (string, set) = (block.as_ptr(), set.as_ptr());
                    let case = (variant, place, length, members);
                    assert_eq!(span::strcspn(string, set), found.unwrap_or(length), "{case:?}");
                    assert_eq!(offset(span::strpbrk(string, set), block), found, "{case:?}");
                    assert_eq!(span::strspn(string, set), other.unwrap_or(length), "{case:?}");
                }
            };
            for at in (0..length).step_by(1 + length / 5).map(Some).chain([None, length.checked_sub(1)]) {
                block[..length].fill(7);
                if let Some(at) = at {
                    block[at..length].fill(member(at));
                }
                check(block);
                for (at, byte) in block[..length].iter_mut().enumerate() {
                    *byte = member(at + number);
                }
                if let Some(at) = at {
                    block[at] = 7;
                }
                check(block);
            }
        }
    });
}

#[test]
fn strings_are_copied_with_their_end_and_nothing_else() {
    let (source, target) = (Areas::new(), Areas::new());
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            let from = source.of(length).place((offset * 3 + 1) % ALIGNMENTS, length + 1, at_end);
            from[..length].copy_from_slice(&pattern(length, offset));
            from[length] = 0;
            let before = offset % 5;
            target.of(length).bytes().fill(0xee);
            let to = target.of(length).place(offset, before + length + 1, at_end);
            to[..before].fill(b'x');
            if before > 0 {
                to[before] = 0;
                // SAFETY: both strings end with a zero, and there is room.
                unsafe { copy::strcat(to.as_mut_ptr(), from.as_ptr()) };
            } else if length % 2 == 0 {
                // SAFETY: the string ends with a zero, and there is room.
                assert_eq!(unsafe { copy::strcpy(to.as_mut_ptr(), from.as_ptr()) }, to.as_mut_ptr());
            } else {
                // SAFETY: the string ends with a zero, and there is room.
                assert_eq!(unsafe { copy::stpcpy(to.as_mut_ptr(), from.as_ptr()) }, &raw mut to[length]);
            }
            assert_eq!(to[..before], b"xxxxx"[..before], "{variant:?} {offset} {length}");
            assert_eq!(to[before..], *from, "{variant:?} {offset} {length}");
            let end = to.as_ptr_range().end as usize - target.of(length).mapping as usize;
            assert!(
                target.of(length).bytes()[end..].iter().all(|byte| *byte == 0xee),
                "{variant:?} {offset} {length}"
            );
        }
    });
}

/// What `strncmp` is.
fn compare_strings(a: &[u8], b: &[u8], most: usize) -> Ordering {
    for at in 0..most {
        if a[at] != b[at] || a[at] == 0 {
            return a[at].cmp(&b[at]);
        }
    }
    Ordering::Equal
}

#[test]
fn strcmp_and_strncmp_compare_up_to_the_first_difference_or_end() {
    let (left, right) = (Areas::new(), Areas::new());
    with_every_variant(|variant| {
        for (offset, length, at_end) in places() {
            let a = left.of(length).place(offset, length + 1, at_end);
            a[..length].copy_from_slice(&pattern(length, offset));
            a[length] = 0;
            for other in [0, 1, (offset * 11 + 5) % ALIGNMENTS] {
                for at in (0..length).step_by(1 + length / 3).map(Some).chain([None, length.checked_sub(1)]) {
                    // The second one may end earlier, and then nothing is there any more.
                    let end = at.filter(|at| at % 3 == 0).unwrap_or(length);
                    let b = right.of(length).place(other, end + 1, at_end);
                    b[..end].copy_from_slice(&a[..end]);
                    b[end] = 0;
                    if let Some(at) = at.filter(|at| at % 3 != 0) {
                        b[at] = b[at].wrapping_add(128).max(1);
                    }
                    let expected = compare_strings(a, b, length + 1);
                    // SAFETY: both end with a zero.
                    unsafe {
                        let order = compare::strcmp(a.as_ptr(), b.as_ptr());
                        assert_eq!(sign(order), expected, "{variant:?} {offset} {other} {length} {at:?}");
                        let order = compare::strcmp(b.as_ptr(), a.as_ptr());
                        assert_eq!(
                            sign(order),
                            expected.reverse(),
                            "{variant:?} {offset} {other} {length} {at:?}"
                        );
                        for most in [0, 1, end / 2, end, end + 1, usize::MAX] {
                            let order = compare::strncmp(a.as_ptr(), b.as_ptr(), most);
                            let expected = compare_strings(a, b, most.min(end + 1));
                            assert_eq!(
                                sign(order),
                                expected,
                                "{variant:?} {offset} {other} {length} {at:?} {most}"
                            );
                        }
                    }
                }
            }
            // Equal as far as there is something.
            let a = left.of(length).place(0, length, true);
            let b = right.of(length).place(0, length, true);
            b.copy_from_slice(a);
            if !a.contains(&0) {
                // SAFETY: both have the length.
                assert_eq!(unsafe { compare::strncmp(a.as_ptr(), b.as_ptr(), length) }, 0);
            }
        }
    });
}

/// A string of few letters, so that there is something to find, and where it lies.
fn string() -> impl Strategy<Value = (Vec<u8>, usize)> {
    (prop::collection::vec(0u8..4, 0..600), 0..5000usize)
}

proptest! {
    #[test]
    fn any_bytes_anywhere_agree_with_the_definitions((a, at_a) in string(), (b, at_b) in string(), byte in 0u8..5) {
        let (left, right) = (Guarded::new(8 << 10), Guarded::new(8 << 10));
        with_every_variant(|_| {
            let both = a.len().min(b.len());
            let place_a = left.place(at_a, a.len() + 1, true);
            let place_b = right.place(at_b, b.len() + 1, true);
            place_a[..a.len()].copy_from_slice(&a);
            place_b[..b.len()].copy_from_slice(&b);
            (place_a[a.len()], place_b[b.len()]) = (0, 0);
            let end = place_a.iter().position(|byte| *byte == 0).unwrap();
            let (start_a, start_b, byte) = (place_a.as_ptr(), place_b.as_ptr(), i32::from(byte));
            let is = |here: &u8| i32::from(*here) == byte;
            // SAFETY: each has its length and a zero behind it.
            unsafe {
                assert_eq!(sign(compare::memcmp(start_a, start_b, both)), a[..both].cmp(&b[..both]));
                let most = place_a.len().min(place_b.len());
                assert_eq!(sign(compare::strcmp(start_a, start_b)), compare_strings(place_a, place_b, most));
                assert_eq!(sign(compare::strncmp(start_a, start_b, both)), compare_strings(&a, &b, both));
                assert_eq!(find_in_string::strlen(start_a), end);
                assert_eq!(offset(find::memchr(start_a, byte, a.len()), place_a), a.iter().position(is));
                assert_eq!(offset(find::memrchr(start_a, byte, a.len()), place_a), a.iter().rposition(is));
                let string = &place_a[..=end];
                assert_eq!(offset(find_in_string::strchr(start_a, byte), string), string.iter().position(is));
                assert_eq!(offset(find_in_string::strrchr(start_a, byte), string), string.iter().rposition(is));
                let set: Vec<u8> = place_b.iter().copied().take_while(|byte| *byte != 0).collect();
                let found = place_a[..end].iter().position(|byte| set.contains(byte));
                assert_eq!(span::strcspn(start_a, start_b), found.unwrap_or(end));
                assert_eq!(offset(span::strpbrk(start_a, start_b), place_a), found);
                let other = place_a[..end].iter().position(|byte| !set.contains(byte));
                assert_eq!(span::strspn(start_a, start_b), other.unwrap_or(end));
                copy::memmove(place_b.as_mut_ptr(), start_a, both);
                assert_eq!(place_b[..both], a[..both]);
                assert_eq!(place_b[both..b.len()], b[both..]);
            }
        });
    }
}

#[test]
fn the_processor_is_asked_and_what_is_not_saved_is_not_used() {
    assert_eq!(Variant::best(0b011), Variant::Sse2);
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1");
    assert_eq!(Variant::best(0b111), if avx2 { Variant::Avx2 } else { Variant::Sse2 });
    let avx512 = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl");
    assert_eq!(Variant::best(0b1110_0111) >= Variant::Avx512, avx512);
}
