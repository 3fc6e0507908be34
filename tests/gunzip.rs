//! What the decompressor of `apps/gunzip` promises, on the developer's machine.

use gunzip::{Error, INPUT_SIZE, OUTPUT_SIZE, gunzip};
use miniz_oxide::deflate::compress_to_vec;

/// An error of reader or writer in these tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

const PLAIN_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Decompresses a file that the reader gives in pieces of at most `piece` bytes.
fn in_pieces(mut file: &[u8], piece: usize) -> (Vec<u8>, Result<(), Error<Broken>>) {
    let mut output = Vec::new();
    let read = |buffer: &mut [u8]| {
        let count = piece.min(file.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&file[..count]);
        file = &file[count..];
        Ok(count)
    };
    let write = |bytes: &[u8]| {
        output.extend_from_slice(bytes);
        Ok(())
    };
    let result = gunzip(read, write);
    (output, result)
}

/// What a file decompresses to.
fn unpack(file: &[u8]) -> Result<Vec<u8>, Error<Broken>> {
    let (output, result) = in_pieces(file, usize::MAX);
    result.map(|()| output)
}

/// A member with this header.
fn with_header(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = header.to_vec();
    file.extend(compress_to_vec(data, 6));
    file.extend(crc32fast::hash(data).to_le_bytes());
    file.extend((data.len() as u32).to_le_bytes());
    file
}

/// A member with a plain header.
fn pack(data: &[u8]) -> Vec<u8> {
    with_header(&PLAIN_HEADER, data)
}

/// A header with every field that there is.
fn full_header() -> Vec<u8> {
    let mut header = vec![0x1f, 0x8b, 8, 0x1f, 1, 2, 3, 4, 2, 3];
    header.extend(5u16.to_le_bytes());
    header.extend(b"extra");
    header.extend(b"name\0");
    header.extend(b"a comment\0");
    let checksum = crc32fast::hash(&header) as u16;
    header.extend(checksum.to_le_bytes());
    header
}

/// Text of this length that compresses neither too well nor not at all, with references far back.
fn text(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut text = Vec::with_capacity(length + 64);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let back = (state >> 8) as usize % 32_768;
        if state >> 30 == 0 || back + 64 > text.len() {
            text.extend(state.to_le_bytes());
        } else {
            let from = text.len() - back - 64;
            text.extend_from_within(from..from + 3 + back % 60);
        }
    }
    text.truncate(length);
    text
}

/// Writes a stream of bits, the lowest first, as deflate packs them.
fn bits(fields: &[(u32, u32)]) -> Vec<u8> {
    let (mut bytes, mut word, mut filled) = (Vec::new(), 0u64, 0);
    for (value, count) in fields {
        word |= u64::from(*value) << filled;
        filled += count;
        while filled >= 8 {
            bytes.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(word as u8);
    }
    bytes
}

/// Deflate data with one block, fixed codes: the letter `a`, then three bytes from `distance` back,
/// which is 1 or 2.
fn backward_reference(distance: u32) -> Vec<u8> {
    // Codes go the highest bit first: `a` is 0x91, length 3 is 1, the distance is 0 or 1, the end is 0.
    let reversed = |code: u32, count: u32| (code.reverse_bits() >> (32 - count), count);
    bits(&[(1, 1), (1, 2), reversed(0x91, 8), reversed(1, 7), reversed(distance - 1, 5), (0, 7)])
}

#[test]
fn data_comes_out_as_it_went_in() {
    for length in [0, 1, 100, 40_000, OUTPUT_SIZE - 1, OUTPUT_SIZE, OUTPUT_SIZE + 1, 3 * OUTPUT_SIZE + 12_345]
    {
        let data = text(length);
        assert!(unpack(&pack(&data)) == Ok(data), "{length} bytes");
    }
}

#[test]
fn incompressible_data_fills_the_input_buffer_many_times() {
    let mut state = 7u64;
    let data: Vec<u8> = (0..5 * INPUT_SIZE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    assert!(unpack(&pack(&data)) == Ok(data));
}

#[test]
fn highly_compressed_data_is_written_in_full_buffers() {
    let data = vec![b'x'; 10 * OUTPUT_SIZE];
    let mut file = &pack(&data)[..];
    let mut sizes = Vec::new();
    let read = |buffer: &mut [u8]| std::io::Read::read(&mut file, buffer).map_err(|_| Broken);
    let write = |bytes: &[u8]| {
        sizes.push(bytes.len());
        Ok(())
    };
    assert_eq!(gunzip(read, write), Ok(()));
    assert_eq!(sizes, [OUTPUT_SIZE; 10]);
}

#[test]
fn members_follow_each_other_and_may_be_empty() {
    let file =
        [pack(b""), pack(b"one, "), pack(b""), with_header(&full_header(), b"two"), pack(b"")].concat();
    assert_eq!(unpack(&file).as_deref(), Ok(&b"one, two"[..]));
}

#[test]
fn many_members_are_written_together() {
    let piece = text(1000);
    let file = pack(&piece).repeat(2000);
    let (output, result) = in_pieces(&file, usize::MAX);
    assert_eq!(result, Ok(()));
    assert!(output == piece.repeat(2000));
}

#[test]
fn how_the_input_is_cut_into_pieces_changes_nothing() {
    let data = text(3000);
    let file = [with_header(&full_header(), &data), pack(b""), pack(&data), vec![0; 5]].concat();
    for piece in 1..file.len() {
        let (output, result) = in_pieces(&file, piece);
        assert_eq!(result, Ok(()), "pieces of {piece}");
        assert!(output == data.repeat(2), "pieces of {piece}");
    }
}

#[test]
fn zeros_may_follow_and_nothing_else() {
    let file = pack(b"data");
    assert_eq!(unpack(&[&file[..], &[0; 1000]].concat()).as_deref(), Ok(&b"data"[..]));
    assert_eq!(unpack(&[&file[..], &[0, 0, 1]].concat()), Err(Error::TrailingData));
    assert_eq!(unpack(&[&file[..], &file[..]].concat()).as_deref(), Ok(&b"datadata"[..]));
    assert_eq!(unpack(&[&file[..], b"more"].concat()), Err(Error::TrailingData));
}

#[test]
fn a_file_that_ends_early_is_reported_wherever_it_ends() {
    let file = with_header(&full_header(), &text(500));
    for length in 0..file.len() {
        assert_eq!(unpack(&file[..length]), Err(Error::Truncated), "{length} bytes of {}", file.len());
    }
    // The same in the second member; before it, the file is whole.
    let two = [&file[..], &file[..]].concat();
    for length in file.len() + 1..two.len() {
        assert_eq!(unpack(&two[..length]), Err(Error::Truncated), "{length} bytes of {}", two.len());
    }
}

#[test]
fn what_came_before_an_error_is_written() {
    let data = text(2 * OUTPUT_SIZE);
    let file = pack(&data);
    let (output, result) = in_pieces(&file[..file.len() - 1], usize::MAX);
    assert_eq!(result, Err(Error::Truncated));
    assert!(output == data);
}

#[test]
fn every_changed_byte_of_a_header_with_checksum_is_an_error() {
    let (header, data) = (full_header(), text(100));
    for index in 0..header.len() {
        for bit in 0..8 {
            let mut file = with_header(&header, &data);
            file[index] ^= 1 << bit;
            assert!(unpack(&file).is_err(), "bit {bit} of byte {index}");
        }
    }
}

#[test]
fn every_changed_byte_anywhere_is_an_error_or_harmless() {
    let data = text(300);
    let file = pack(&data);
    for index in 0..file.len() {
        for value in 0..=255 {
            let mut changed = file.clone();
            changed[index] = value;
            match unpack(&changed) {
                // Time, level and system of the header, its text flag, and what pads the last byte of
                // the compressed data.
                Ok(output) => assert!(output == data, "byte {index} as {value}"),
                Err(error) => assert!(changed != file, "byte {index} as {value}: {error:?}"),
            }
        }
    }
}

#[test]
fn the_first_bytes_say_what_the_file_is() {
    let mut file = pack(b"data");
    assert_eq!(unpack(b"plain text"), Err(Error::NotGzip));
    assert_eq!(unpack(b"\x1fplain text"), Err(Error::NotGzip));
    file[2] = 7;
    assert_eq!(unpack(&file), Err(Error::UnknownMethod(7)));
    file[2] = 8;
    file[3] = 0xa1;
    assert_eq!(unpack(&file), Err(Error::ReservedFlags(0xa0)));
    file[3] = 0x02;
    assert_eq!(unpack(&file), Err(Error::HeaderChecksum));
}

#[test]
fn the_trailer_is_checked() {
    let file = pack(b"data");
    for back in 1..=8 {
        let mut changed = file.clone();
        let index = file.len() - back;
        changed[index] ^= 0x10;
        let expected = if back > 4 { Error::Checksum } else { Error::Length };
        assert_eq!(unpack(&changed), Err(expected), "{back} bytes before the end");
    }
}

#[test]
fn a_reference_to_before_the_member_is_corrupt() {
    let member = |distance| {
        let mut file = PLAIN_HEADER.to_vec();
        file.extend(backward_reference(distance));
        file.extend(crc32fast::hash(b"aaaa").to_le_bytes());
        file.extend(4u32.to_le_bytes());
        file
    };
    assert_eq!(unpack(&member(1)).as_deref(), Ok(&b"aaaa"[..]));
    assert_eq!(unpack(&member(2)), Err(Error::Corrupt));
    // What lies there is of another member, close to it and at the end of a full buffer.
    for length in [10, OUTPUT_SIZE - 1, OUTPUT_SIZE, OUTPUT_SIZE + 1] {
        let before = pack(&vec![b'a'; length]);
        assert!(unpack(&[&before[..], &member(1)].concat()).is_ok());
        assert_eq!(unpack(&[&before[..], &member(2)].concat()), Err(Error::Corrupt), "behind {length}");
    }
}

#[test]
fn errors_of_reader_and_writer_are_passed_on() {
    let read = |_: &mut [u8]| Err(Broken);
    assert_eq!(gunzip(read, |_| Ok(())), Err(Error::Read(Broken)));

    let mut file = &pack(b"data")[..];
    let read = |buffer: &mut [u8]| std::io::Read::read(&mut file, buffer).map_err(|_| Broken);
    assert_eq!(gunzip(read, |_| Err(Broken)), Err(Error::Write(Broken)));
}

#[test]
fn an_error_is_one_sentence() {
    let error: Error<std::io::Error> = Error::UnknownMethod(7);
    assert_eq!(format!("{error}"), "the input is compressed by the unknown method 7");
}
