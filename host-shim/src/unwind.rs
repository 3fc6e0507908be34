//! Backtraces: from a guest's registers and stack to functions, files and lines.
//!
//! Frames are found by the call frame information in the image's `.eh_frame`, names by its debug
//! information, both read from the file when a report is made. Image and stack are the guest's, so
//! everything here is bounded and every address is checked.

use crate::image::Image;
use crate::memory::GuestMemory;
use crate::registers::Registers;
use addr2line::Context;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, LittleEndian, Register, RegisterRule, UnwindContext,
    UnwindSection, X86_64,
};
use object::{File, Object, ObjectSection};
use std::os::unix::fs::FileExt;
use vcpu_abi::layout::{GATE, IMAGE_END_MAX, PAGE_SIZE};

/// One function of a backtrace; an inlined function is a frame of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address in the guest.
    pub address: u64,
    /// The function's name, if it is known.
    pub function: Option<String>,
    /// The source file and line, if they are known.
    pub location: Option<(String, u32)>,
}

/// Most physical frames of a backtrace.
const FRAMES_MAX: usize = 64;

/// Images with files beyond this size get no backtrace.
const FILE_MAX: u64 = 1 << 30;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Registers by their DWARF numbers: 0 to 15 the general ones, 16 the return address.
type Dwarf = [Option<u64>; 17];

/// The functions that are active where the registers say, innermost first.
pub(crate) fn backtrace(image: &Image, memory: &GuestMemory, registers: &Registers) -> Vec<Frame> {
    let length = image.file().metadata().map_or(0, |metadata| metadata.len());
    if length > FILE_MAX {
        return Vec::new();
    }
    let mut bytes = vec![0; length as usize];
    // Not by the descriptor's position: an image may serve several threads.
    if image.file().read_exact_at(&mut bytes, 0).is_err() {
        return Vec::new();
    }
    let Ok(elf) = File::parse(&*bytes) else { return Vec::new() };
    let names = context(&elf);
    let mut frames = Vec::new();
    for (index, address) in addresses(&elf, memory, registers).into_iter().enumerate() {
        // A return address lies behind the call; the call itself is what is wanted.
        let lookup = if index == 0 { address } else { address.wrapping_sub(1) };
        frames.extend(functions(names.as_ref(), &elf, address, lookup));
    }
    frames
}

/// The instruction of the innermost frame and the return addresses of the others.
fn addresses(elf: &File<'_>, memory: &GuestMemory, registers: &Registers) -> Vec<u64> {
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
    let mut found = Vec::new();
    let section = elf.section_by_name(".eh_frame");
    let data = section.as_ref().and_then(|section| section.data().ok()).unwrap_or_default();
    let frames = EhFrame::new(data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.map_or(0, |section| section.address()));
    let mut scratch = UnwindContext::new();
    while let Some(address) = now[usize::from(X86_64::RA.0)] {
        found.push(address);
        if found.len() == FRAMES_MAX {
            break;
        }
        let lookup = if found.len() == 1 { address } else { address.wrapping_sub(1) };
        let Some(next) = caller(&frames, &bases, &mut scratch, lookup, &now, word) else {
            // Jumped or called to where no code is: the call has left its return address on the stack.
            let top = now[usize::from(X86_64::RSP.0)];
            if found.len() == 1
                && let Some(top) = top
                && let Some(return_address) = word(top)
            {
                now[usize::from(X86_64::RSP.0)] = Some(top.wrapping_add(8));
                now[usize::from(X86_64::RA.0)] = Some(return_address);
                if is_code(elf, return_address) {
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
        if now[usize::from(X86_64::RA.0)].is_some_and(|address| !is_code(elf, address)) {
            break;
        }
    }
    found
}

fn is_code(elf: &File<'_>, address: u64) -> bool {
    let inside = |section: &object::Section<'_, '_>| {
        section.kind() == object::SectionKind::Text
            && (section.address()..section.address().saturating_add(section.size())).contains(&address)
    };
    elf.sections().any(|section| inside(&section))
}

/// The registers of the calling function, as far as the call frame information restores them.
fn caller(
    frames: &EhFrame<Slice<'_>>,
    bases: &BaseAddresses,
    scratch: &mut UnwindContext<usize>,
    lookup: u64,
    now: &Dwarf,
    word: impl Fn(u64) -> Option<u64>,
) -> Option<Dwarf> {
    let row = frames.unwind_info_for_address(bases, scratch, lookup, EhFrame::cie_from_offset).ok()?.clone();
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

/// What translates addresses to functions and lines.
fn context<'a>(elf: &File<'a>) -> Option<Context<Slice<'a>>> {
    let load = |section: gimli::SectionId| -> Result<Slice<'a>, gimli::Error> {
        let data = elf.section_by_name(section.name()).and_then(|section| section.data().ok());
        Ok(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
    };
    Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()
}

/// The functions at an address, innermost first; one without a name if nothing is known.
fn functions(names: Option<&Context<Slice<'_>>>, elf: &File<'_>, address: u64, lookup: u64) -> Vec<Frame> {
    let mut found = Vec::new();
    // An address is the guest's word, and the library adds to it.
    if lookup < IMAGE_END_MAX
        && let Some(names) = names
        && let Ok(mut frames) = names.find_frames(lookup).skip_all_loads()
    {
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.and_then(|name| Some(name.demangle().ok()?.into_owned()));
            let location = frame.location.and_then(|place| Some((place.file?.to_owned(), place.line?)));
            found.push(Frame { address, function, location });
        }
    }
    if found.is_empty() || found.iter().all(|frame| frame.function.is_none()) {
        let function = symbol(elf, lookup);
        let location = found.pop().and_then(|frame| frame.location);
        found = vec![Frame { address, function, location }];
    }
    found
}

/// The symbol that covers an address, for code without debug information.
fn symbol(elf: &File<'_>, address: u64) -> Option<String> {
    let map = elf.symbol_map();
    let symbol = map.containing(address)?;
    Some(addr2line::demangle_auto(symbol.name().into(), None).into_owned())
}
