//! The block device.

use super::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

const HEADER: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = BUFFERS + 0x1000;
const OK: u8 = 0;
const FAILED: u8 = 1;
const UNKNOWN: u8 = 2;

/// A file of eight sectors and a bit, of which each holds its number.
fn image() -> File {
    let mut file = tempfile::tempfile().unwrap();
    for sector in 0..8 {
        file.write_all(&[sector; 512]).unwrap();
    }
    file.write_all(b"rest").unwrap();
    file
}

fn disk(file: &File, writable: bool) -> Machine {
    Machine::started(Resource::Block { file: file.try_clone().unwrap(), writable })
}

fn header(machine: &Machine, kind: u32, sector: u64) {
    machine.fill(HEADER, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
}

/// Carries out a request and gives its status and how much was used.
fn request(machine: &Machine, kind: u32, sector: u64, data: &[(u64, u32, u16)]) -> (u8, u32) {
    header(machine, kind, sector);
    machine.fill(STATUS, &[0xff]);
    machine.put(0, &[&[(HEADER, 16, 0)], data, &[(STATUS, 1, WRITE)]].concat());
    machine.notify(0);
    (machine.bytes(STATUS, 1)[0], machine.used(0).1.unwrap().1)
}

#[test]
fn it_reads_and_writes_what_the_file_holds() {
    let mut file = image();
    let machine = disk(&file, true);
    assert_eq!(machine.read(Register::Kind), 2);
    assert_eq!((machine.config(0), machine.config(4)), (8, 0));
    assert_eq!(machine.read(Register::Features), VERSION_1 | 1 << 9);
    // In parts that are no sectors, one of which goes up to the text.
    let parts = [(DATA, 100, WRITE), (TEXT - 24, 24, WRITE), (DATA + 200, 900, WRITE)];
    assert_eq!(request(&machine, 0, 1, &parts), (OK, 1025));
    assert_eq!(machine.bytes(DATA, 100), [1; 100]);
    assert_eq!(machine.bytes(TEXT - 24, 24), [1; 24]);
    assert_eq!(machine.bytes(DATA + 200, 388), [1; 388]);
    assert_eq!(machine.bytes(DATA + 588, 512), [2; 512]);
    machine.fill(DATA, &[9; 1024]);
    assert_eq!(request(&machine, 1, 6, &[(DATA, 1000, 0), (DATA + 1000, 24, 0)]), (OK, 1));
    assert_eq!(request(&machine, 4, 0, &[]), (OK, 1));
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content.len(), 8 * 512 + 4);
    assert_eq!(content[5 * 512..6 * 512], [5; 512]);
    assert_eq!(content[6 * 512..8 * 512], [9; 1024]);
    assert_eq!(&content[8 * 512..], b"rest");
}

#[test]
fn its_header_and_its_status_may_lie_with_its_data() {
    let machine = disk(&image(), true);
    header(&machine, 0, 3);
    machine.put(0, &[(HEADER, 5, 0), (HEADER + 5, 0, 0), (HEADER + 5, 11, 0), (DATA, 513, WRITE)]);
    machine.notify(0);
    assert_eq!(machine.bytes(DATA, 513), [&[3; 512][..], &[OK]].concat());
}

#[test]
fn what_is_not_there_is_an_error_of_the_request() {
    let file = image();
    let machine = disk(&file, true);
    for (sector, length) in
        [(8, 512), (7, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (0, 511), (1 << 55, 512)]
    {
        for (kind, flags) in [(0, WRITE), (1, 0)] {
            assert_eq!(request(&machine, kind, sector, &[(DATA, length, flags)]), (FAILED, 1), "{sector}");
        }
    }
    assert_eq!(request(&machine, 8, 0, &[(DATA, 19, WRITE)]), (FAILED, 1));
    assert_eq!(request(&machine, 77, 0, &[(DATA, 512, WRITE)]), (UNKNOWN, 1));
    assert_eq!(request(&machine, 0, 0, &[]), (OK, 1));
    file.set_len(512).unwrap();
    assert_eq!(request(&machine, 0, 1, &[(DATA, 512, WRITE)]), (FAILED, 1));
    assert!(!machine.has_stopped());
}

#[test]
fn it_says_its_name() {
    let machine = disk(&image(), false);
    assert_eq!(request(&machine, 8, 0, &[(DATA, 20, WRITE)]), (OK, 21));
    assert_eq!(machine.bytes(DATA, 20), [b"it".as_slice(), &[0; 18]].concat());
}

#[test]
fn read_only_is_read_only() {
    let mut file = image();
    let machine = disk(&file, false);
    assert_eq!(machine.read(Register::Features), VERSION_1 | 1 << 9 | 1 << 5);
    machine.fill(DATA, &[9; 512]);
    assert_eq!(request(&machine, 1, 0, &[(DATA, 512, 0)]), (FAILED, 1));
    let mut first = [9; 512];
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_exact(&mut first).unwrap();
    assert_eq!(first, [0; 512]);
}

#[test]
fn a_full_disk_is_an_error_of_the_request() {
    // A device that says it has no room, whatever is written to it, cannot be an image; a file that may not
    // grow can.
    let file = crate::sys::memfd(c"full", 4096).unwrap();
    let machine = disk(&File::from(file.try_clone().unwrap()), true);
    rustix::fs::ftruncate(&file, 0).unwrap();
    crate::sys::seal_size(&file).unwrap();
    assert_eq!(request(&machine, 1, 0, &[(DATA, 512, 0)]), (FAILED, 1));
}

#[test]
fn what_is_no_disk_is_refused() {
    let pages = Arc::new(MachinePages::new(&[]).unwrap().0);
    let nobody = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let events = Arc::new(Events::new(pages, Arc::new(nobody)));
    let view = View::of(&[(RAM_BASE, 4096)]).unwrap();
    let resource = Resource::Block { file: File::open("/dev/zero").unwrap(), writable: false };
    let grant = Grant { name: "it".to_owned(), resource };
    let error = Devices::with(vec![grant], &view, &events).unwrap_err().to_string();
    assert!(error.contains("\"it\"") && error.contains("regular file"), "{error}");
}

#[test]
fn a_request_that_is_too_short_stops_it() {
    for buffers in [&[(HEADER, 15, 0), (STATUS, 1, WRITE)][..], &[(HEADER, 16, 0)], &[(STATUS, 1, WRITE)]] {
        let machine = disk(&image(), true);
        machine.put(0, buffers);
        machine.notify(0);
        assert!(machine.has_stopped());
        machine.start(0);
        assert_eq!(request(&machine, 0, 2, &[(DATA, 512, WRITE)]), (OK, 513));
    }
}
