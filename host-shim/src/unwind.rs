//! Backtraces: from a guest's registers and stack to functions, files and lines.
//!
//! Frames are found by the call frame information in the image's `.eh_frame`, names by its debug
//! information and its symbols, all read from the file when a report is made. Image and stack are the
//! guest's, and lies in them must cost the host little: of the file at most [`READ_MAX`] bytes are in memory
//! at a time, little is kept of them but what belongs to the frames, nothing recurses as deep as they say,
//! and the search ends when its time is over. What was not found by then is missing in the backtrace.

mod names;
mod sections;
mod symbols;

use crate::image::Image;
use crate::memory::GuestMemory;
use crate::registers::Registers;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, EndianSlice, LittleEndian, Register, RegisterRule,
    UnwindContext, UnwindSection, X86_64,
};
use rustix::time::{ClockId, clock_gettime};
use sections::Sections;
use std::cell::Cell;
use std::time::Duration;
use vcpu_abi::call::Access;
use vcpu_abi::layout::{GATE, PAGE_SIZE};

/// One function of a backtrace; an inlined function is a frame of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address in the guest.
    pub address: u64,
    /// The function's name, if it is known, cut at 512 bytes.
    pub function: Option<String>,
    /// The source file, cut at 512 bytes, and the line, if they are known.
    pub location: Option<(String, u32)>,
}

/// Most physical frames of a backtrace; they fit the bits of a [`Set`].
const TARGETS_MAX: usize = 64;

/// Most frames of a backtrace, inlined functions included.
const FRAMES_MAX: usize = 256;

/// Most bytes of a name or a path.
const TEXT_MAX: usize = 512;

/// Most bytes of the file that are in memory at a time.
const READ_MAX: u64 = 96 << 20;

/// Most processor time for names, about. Frames and symbols get a quarter of it each, once more.
const TIME_MAX: Duration = Duration::from_millis(1000);

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Registers by their DWARF numbers: 0 to 15 the general ones, 16 the return address.
type Dwarf = [Option<u64>; 17];

/// An instruction that is to be named.
#[derive(Clone, Copy)]
struct Target {
    /// What the frame shows.
    address: u64,
    /// What is looked up: a return address lies behind the call, and the call itself is what is wanted.
    lookup: u64,
}

/// A set of targets, by their indices.
type Set = u64;

fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..TARGETS_MAX).filter(move |index| set >> index & 1 != 0)
}

/// The functions that are active where the registers say, innermost first.
pub(crate) fn backtrace(image: &Image, memory: &GuestMemory, registers: &Registers) -> Vec<Frame> {
    let sections = Sections::of(image.file());
    let targets = targets(image, &sections, memory, registers);
    let mut frames = names::find(&sections, &targets);
    symbols::complete(&sections, &targets, &mut frames);
    frames.into_iter().flatten().take(FRAMES_MAX).collect()
}

/// The instruction of the innermost frame and the return addresses of the others.
fn targets(
    image: &Image,
    sections: &Sections<'_>,
    memory: &GuestMemory,
    registers: &Registers,
) -> Vec<Target> {
    let raw = &registers.raw;
    let mut now: Dwarf = [
        raw.rax, raw.rdx, raw.rcx, raw.rbx, raw.rsi, raw.rdi, raw.rbp, raw.rsp, raw.r8, raw.r9, raw.r10,
        raw.r11, raw.r12, raw.r13, raw.r14, raw.r15, raw.rip,
    ]
    .map(Some);
    let word = |address: u64| memory.read(address).map(u64::from_le_bytes);
    // The gate has no call frame information and no frame: its caller's address is on the stack.
    if (GATE..GATE + PAGE_SIZE).contains(&raw.rip) {
        let caller = word(raw.rsp);
        (now[usize::from(X86_64::RSP.0)], now[usize::from(X86_64::RA.0)]) =
            (Some(raw.rsp.wrapping_add(8)), caller);
    }
    let is_code = |address: u64| {
        image.segments().iter().any(|segment| {
            let code = segment.address..segment.address + segment.memory_size;
            segment.access.contains(Access::EXECUTE) && code.contains(&address)
        })
    };
    let mut found: Vec<Target> = Vec::new();
    let information = CallFrameInformation::read(sections);
    let time = Time::new(TIME_MAX / 4);
    while let Some(address) = now[usize::from(X86_64::RA.0)] {
        let lookup = if found.is_empty() { address } else { address.wrapping_sub(1) };
        found.push(Target { address, lookup });
        if found.len() == TARGETS_MAX || time.spend(Time::LOOK).is_none() {
            break;
        }
        let Some(next) = information.caller(lookup, &now, word) else {
            // Jumped or called to where no code is: the call has left its return address on the stack.
            let top = now[usize::from(X86_64::RSP.0)];
            if found.len() == 1
                && let Some(top) = top
                && let Some(return_address) = word(top)
            {
                now[usize::from(X86_64::RSP.0)] = Some(top.wrapping_add(8));
                now[usize::from(X86_64::RA.0)] = Some(return_address);
                if is_code(return_address) {
                    continue;
                }
            }
            break;
        };
        // A stack that does not get shorter leads nowhere.
        if next[usize::from(X86_64::RSP.0)] <= now[usize::from(X86_64::RSP.0)] {
            break;
        }
        now = next;
        if now[usize::from(X86_64::RA.0)].is_some_and(|address| !is_code(address)) {
            break;
        }
    }
    found
}

/// The image's call frame information.
struct CallFrameInformation {
    /// The section `.eh_frame`, and its address.
    entries: (Vec<u8>, u64),
    /// The section `.eh_frame_hdr`, a table by which the entry for an address is found, and its address.
    table: (Vec<u8>, u64),
}

impl CallFrameInformation {
    fn read(sections: &Sections<'_>) -> CallFrameInformation {
        let mut left = READ_MAX / 4;
        let mut read = |name| (sections.read(name, &mut left), sections.address(name));
        CallFrameInformation { table: read(".eh_frame_hdr"), entries: read(".eh_frame") }
    }

    /// Offset of the entry that covers an address, if any does. Linkers write the table in one form only:
    /// a header of twelve bytes with the number of rows, then rows of a function's and its entry's address,
    /// relative to the table's own and sorted.
    fn entry(&self, lookup: u64) -> Option<usize> {
        const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
        let (table, base) = &self.table;
        let (count, rows) = table.strip_prefix(&HEADER)?.get(4..)?.split_first_chunk()?;
        let rows = rows.as_chunks::<8>().0;
        let rows = &rows[..rows.len().min(u32::from_le_bytes(*count) as usize)];
        let address = |row: &[u8; 8], at: usize| {
            let relative = i32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
            base.wrapping_add_signed(relative.into())
        };
        let behind = rows.partition_point(|row| address(row, 0) <= lookup);
        let entry = address(&rows[behind.checked_sub(1)?], 4);
        entry.checked_sub(self.entries.1).map(|offset| offset as usize)
    }

    /// The registers of the calling function, as far as the entry for an address restores them.
    fn caller(&self, lookup: u64, now: &Dwarf, word: impl Fn(u64) -> Option<u64>) -> Option<Dwarf> {
        let frames = EhFrame::new(&self.entries.0, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(self.entries.1);
        let offset = EhFrameOffset(self.entry(lookup)?);
        let entry = frames.fde_from_offset(&bases, offset, EhFrame::cie_from_offset).ok()?;
        let mut scratch = UnwindContext::new();
        let row = entry.unwind_info_for_address(&frames, &bases, &mut scratch, lookup).ok()?;
        let register = |register: Register| now.get(usize::from(register.0)).copied().flatten();
        let CfaRule::RegisterAndOffset { register: base, offset } = *row.cfa() else { return None };
        let frame_address = register(base)?.wrapping_add_signed(offset);
        let mut next: Dwarf = [None; 17];
        for (number, slot) in next.iter_mut().enumerate() {
            *slot = match row.register(Register(number as u16)) {
                // Callee-saved registers that are not mentioned keep their values; the return address has none.
                None | Some(RegisterRule::Undefined) if number == usize::from(X86_64::RA.0) => None,
                None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => now[number],
                Some(RegisterRule::Offset(offset)) => word(frame_address.wrapping_add_signed(offset)),
                Some(RegisterRule::ValOffset(offset)) => Some(frame_address.wrapping_add_signed(offset)),
                Some(RegisterRule::Register(other)) => register(other),
                _ => None,
            };
        }
        next[usize::from(X86_64::RSP.0)] = Some(frame_address);
        Some(next)
    }
}

/// Processor time of this thread that may be spent.
struct Time {
    end: Duration,
    /// Steps until the clock is looked at again.
    steps: Cell<usize>,
}

impl Time {
    /// Steps between two looks at the clock: each takes less than a microsecond. What may take much longer
    /// spends so many.
    const LOOK: usize = 1000;

    fn new(most: Duration) -> Time {
        Time { end: Self::now() + most, steps: Cell::new(Self::LOOK) }
    }

    fn now() -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    /// Allows so many more steps, or `None` if the time is over.
    fn spend(&self, steps: usize) -> Option<()> {
        let left = self.steps.get().checked_sub(steps).filter(|left| *left > 0);
        if left.is_none() && Self::now() >= self.end {
            return None;
        }
        self.steps.set(left.unwrap_or(Self::LOOK));
        Some(())
    }
}

/// Text of the image, cut at the most that a report shows.
fn text(bytes: &[u8]) -> String {
    cut(String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_MAX)]).into_owned())
}

/// The name of a function or object as the source has it.
fn demangled(bytes: &[u8]) -> String {
    /// Mangled names are longer than what they become. (What they become is limited by the library.)
    const MANGLED_MAX: usize = 16 << 10;
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(MANGLED_MAX)]);
    cut(format!("{:#}", rustc_demangle::demangle(&name)))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text.shrink_to_fit();
    text
}
