//! What the fuzz targets drive: a device whose driver, with its rings and requests, is arbitrary bytes. Also
//! [messages](message) and [images](image) that are.
//!
//! The bytes of a driver are a program: steps of one byte each, and what each needs behind it. They write registers and
//! memory, put chains of buffers into queues, and ring doorbells. After the last, the device is reset and must
//! serve an orderly driver.

pub mod image;
pub mod message;

use crate::device::Devices;
use crate::events::Events;
use crate::grant::{Grant, Resource};
use crate::memory::View;
use crate::process::MachinePages;
use rustix::event::EventfdFlags;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use vcpu_abi::device::{CONFIG, Kind, Register};
use vcpu_abi::layout::RAM_BASE;
use vm_memory::{Bytes, GuestAddress};

/// Bytes of each of two pieces of RAM, between which there is text.
const PIECE: u64 = 0x8000;
/// Where the text begins, and its size.
const TEXT: u64 = RAM_BASE + PIECE;
const TEXT_SIZE: u64 = 0x1000;
/// Where the rings of the first queue are, and how far from them those of the second.
const RINGS: u64 = RAM_BASE;
const QUEUE: u64 = 0x1000;
/// Entries of each queue.
const ENTRIES: u64 = 8;
/// Where requests are.
const BUFFERS: u64 = RAM_BASE + 2 * QUEUE;

/// A device with memory, and its driver.
#[derive(Debug)]
pub struct Driver {
    devices: Devices,
    view: View,
    queues: u64,
    /// What a file system said last: an inode, and a handle.
    told: (u64, u64),
}

/// Bytes that are taken from the front; none is zero.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = N.min(self.0.len());
        bytes[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn short(&mut self) -> u64 {
        u16::from_le_bytes(self.take()).into()
    }

    /// An address, mostly in or near RAM.
    fn address(&mut self) -> u64 {
        match self.byte() {
            0 => self.long(),
            1 => TEXT.wrapping_add(self.short()).wrapping_sub(0x100),
            _ => RAM_BASE + self.short(),
        }
    }
}

impl Driver {
    /// The driver of a device.
    ///
    /// # Panics
    ///
    /// If the system refuses memory or what is granted.
    pub fn new(resource: Resource) -> Driver {
        let pages = Arc::new(MachinePages::new(&[]).expect("pages").0);
        let nobody = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
        let events = Arc::new(Events::new(pages, Arc::new(nobody)));
        let view = View::of(&[(RAM_BASE, PIECE as usize), (TEXT + TEXT_SIZE, PIECE as usize)]);
        let view = view.expect("memory");
        let grant = Grant { name: "it".to_owned(), resource };
        let devices = Devices::with(vec![grant], &view, &events).expect("a device");
        let mut driver = Driver { devices, view, queues: 0, told: (1, 0) };
        driver.queues = driver.count_queues();
        driver
    }

    fn write(&self, register: Register, value: u64) {
        let _ = self.devices.write(0, register as u64, value);
    }

    fn count_queues(&self) -> u64 {
        let exists = |queue: &u64| {
            self.write(Register::QueueSelect, *queue);
            self.devices.read(0, Register::QueueSizeMax as u64) != Ok(0)
        };
        (0..).take_while(exists).count() as u64
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        // What has no place there is not written.
        let _ = self.view.regions().write_slice(bytes, GuestAddress(address));
    }

    /// Resets the device and gets it ready.
    fn start(&self) {
        self.write(Register::Status, 0);
        self.write(Register::DriverFeatures, 1 << 32);
        self.write(Register::Status, 1 | 2 | 8);
        for queue in 0..self.queues {
            let rings = RINGS + queue * QUEUE;
            self.put(rings, &[0; QUEUE as usize]);
            self.write(Register::QueueSelect, queue);
            self.write(Register::QueueSize, ENTRIES);
            self.write(Register::QueueDescriptors, rings);
            self.write(Register::QueueDriver, rings + 0x400);
            self.write(Register::QueueDevice, rings + 0x800);
            self.write(Register::QueueReady, 1);
        }
        self.write(Register::Status, 1 | 2 | 8 | 4);
    }

    fn put_entry(&self, queue: u64, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let entry =
            [&address.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
        self.put(RINGS + queue * QUEUE + index % ENTRIES * 16, &entry.concat());
    }

    /// Makes a chain available and rings.
    fn offer(&self, queue: u64, head: u16) {
        let available = RINGS + queue * QUEUE + 0x400;
        let index: u16 = self.view.regions().read_obj(GuestAddress(available + 2)).unwrap_or(0);
        self.put(available + 4 + u64::from(index) % ENTRIES * 2, &head.to_le_bytes());
        self.put(available + 2, &index.wrapping_add(1).to_le_bytes());
        let _ = self.devices.notify(0, queue);
    }

    /// Puts a request of a readable and a writable buffer.
    fn request(&self, queue: u64, content: &[u8], room: u32) {
        self.put(BUFFERS, content);
        self.put_entry(queue, 0, BUFFERS, content.len() as u32, 1, 1);
        self.put_entry(queue, 1, BUFFERS + 0x1000, room, 2, 0);
        self.offer(queue, 0);
    }

    /// Does what the bytes say.
    ///
    /// # Panics
    ///
    /// If the device does not serve an orderly driver afterwards.
    pub fn drive(&mut self, bytes: &[u8]) {
        let mut input = Input(bytes);
        self.told = (1, 0);
        self.start();
        // Time is no subject here.
        for _ in 0..64 {
            if input.is_empty() {
                break;
            }
            self.step(&mut input);
        }
        self.check();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let queue = u64::from(input.byte()) % self.queues.max(1);
        match input.byte() % 8 {
            0 => self.start(),
            1 => {
                let (register, value) = (u64::from(input.byte()) % 16, input.address());
                let _ = self.devices.write(0, register, value);
            }
            2 => {
                let _ = self.devices.read(0, input.short() % (CONFIG * 2 + 16));
            }
            3 => {
                let (index, address) = (input.byte().into(), input.address());
                let (length, flags, next) = (input.short() as u32, input.byte(), input.byte());
                let length = if flags & 0x80 == 0 { length } else { length << 16 };
                self.put_entry(queue, index, address, length, u16::from(flags & 7), next.into());
            }
            4 => self.offer(queue, u16::from(input.byte()) % (ENTRIES as u16 + 2)),
            5 => {
                let address = input.address();
                let bytes: [u8; 16] = input.take();
                self.put(address, &bytes);
            }
            // A request that is in order but for its content.
            6 => {
                let length = usize::from(input.byte());
                let content: [u8; 256] = input.take();
                self.request(queue, &content[..length], input.short() as u32);
            }
            // A message to a file system, about what it said before.
            7 => {
                let (kind, length, about) =
                    (input.byte(), 40 + usize::from(input.byte()) % 128, input.byte());
                let mut message = [0; 168];
                message[40..].copy_from_slice(&input.take::<128>());
                message[0] = length as u8;
                message[4] = kind;
                let (inode, handle) = self.told;
                let inode = if about & 1 == 0 { inode } else { 1 };
                message[16..24].copy_from_slice(&inode.to_le_bytes());
                if about & 2 == 0 {
                    message[40..48].copy_from_slice(&handle.to_le_bytes());
                }
                self.request(queue, &message[..length], 4096);
                let word = |at| {
                    self.view.regions().read_obj::<u64>(GuestAddress(BUFFERS + 0x1010 + at)).unwrap_or(0)
                };
                self.told = match kind {
                    1 | 8 | 9 => (word(0), handle),
                    14 | 27 => (inode, word(0)),
                    35 => (word(0), word(128)),
                    _ => self.told,
                };
            }
            _ => unreachable!("a remainder of eight"),
        }
    }

    /// Has a request served as an orderly driver does.
    fn check(&self) {
        self.start();
        let kind = self.devices.read(0, Register::Kind as u64).ok();
        let used = |queue: u64| -> u16 {
            let used = GuestAddress(RINGS + queue * QUEUE + 0x802);
            self.view.regions().read_obj(used).expect("it is RAM")
        };
        let is = |other: Kind| kind == Some(other as u64);
        if is(Kind::FileSystem) {
            // GETATTR of the directory itself.
            let mut message = [0; 56];
            message[0] = 56;
            message[4] = 3;
            message[16] = 1;
            self.put(BUFFERS, &message);
            self.put_entry(1, 0, BUFFERS, 56, 1, 1);
            self.put_entry(1, 1, BUFFERS + 0x1000, 256, 2, 0);
            self.offer(1, 0);
            assert_eq!(used(1), 1);
        } else {
            self.put(BUFFERS, &[0; 16]);
            let readable = is(Kind::Block);
            self.put_entry(0, 0, BUFFERS, 16, if readable { 1 } else { 2 }, 1);
            self.put_entry(0, 1, BUFFERS + 0x1000, 513, 2, 0);
            self.offer(0, 0);
            assert_eq!(used(0), 1);
        }
        assert!(self.devices.read(0, Register::Status as u64).is_ok_and(|status| status & 0x40 == 0));
    }
}

/// A disk of 64 sectors in memory.
///
/// # Panics
///
/// If the system refuses it.
pub fn scratch_disk() -> Resource {
    let file = crate::sys::memfd(c"disk", 64 * 512).expect("a file in memory");
    crate::sys::seal_size(&file).expect("a seal");
    Resource::Block { file: File::from(file), writable: true }
}

/// A console without an end of its input, and whose output is never read.
///
/// # Panics
///
/// If the system refuses a descriptor.
pub fn scratch_console() -> Resource {
    let input = File::open("/dev/zero").expect("the device of zeros").into();
    let (read, write) = std::io::pipe().expect("a pipe");
    std::mem::forget(read);
    Resource::Console { input, output: write.into() }
}

/// A directory with a few files, and a secret beside it.
#[derive(Debug)]
pub struct ScratchDirectory(PathBuf);

const SECRET: &[u8] = b"the secret";

impl ScratchDirectory {
    /// Makes it.
    ///
    /// # Panics
    ///
    /// If the system refuses it.
    #[expect(clippy::new_without_default, reason = "it is made in the world, not of nothing")]
    pub fn new() -> ScratchDirectory {
        let path = std::env::temp_dir().join(format!("vcpu-fuzz-{}", std::process::id()));
        let directory = ScratchDirectory(path);
        std::fs::create_dir_all(&directory.0).expect("a directory");
        std::fs::write(directory.0.join("secret"), SECRET).expect("a file");
        directory.make();
        directory
    }

    fn make(&self) {
        let granted = self.0.join("granted");
        std::fs::create_dir_all(granted.join("a")).expect("a directory");
        std::fs::write(granted.join("b"), "content").expect("a file");
        symlink("../secret", granted.join("c")).expect("a link");
    }

    /// Grants it, to be changed.
    pub fn resource(&self) -> Resource {
        Resource::Directory { path: self.0.join("granted"), writable: true, exclusive: false }
    }

    /// Puts in order what a guest has done there.
    ///
    /// # Panics
    ///
    /// If something beside it has changed.
    pub fn check(&self) {
        assert_eq!(std::fs::read(self.0.join("secret")).expect("the secret"), SECRET);
        assert_eq!(std::fs::read_dir(&self.0).expect("the directory").count(), 2);
        let granted = self.0.join("granted");
        let entries = std::fs::read_dir(&granted).expect("the directory");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let kind = path.symlink_metadata().expect("its kind");
            let removed =
                if kind.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("it can be removed");
        }
        self.make();
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // It is in the system's directory for such.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
