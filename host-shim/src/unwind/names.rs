//! What the image's debug information says of addresses: functions, those inlined into them, and lines.
//!
//! Debug information can describe more than fits any memory: lists that are shared, entries without end
//! inside each other, programs that make a row of every byte. So no tables are made of it (as crate
//! `addr2line` does, which is faster for the second address and on). It is gone through once, entry by
//! entry and row by row, and what belongs to the targets is noted.

use super::sections::Sections;
use super::{Frame, READ_MAX, Set, Slice, TARGETS_MAX, TIME_MAX, Target, Time, members, text};
use gimli::AttributeValue::{DebugInfoRef, DebugLineRef, FileIndex, Udata, UnitRef as InUnit};
use gimli::{
    AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfoOffset, DebugLineOffset,
    DebuggingInformationEntry, DwarfSections, EndianSlice, LineProgramHeader, LittleEndian, Reader, Section,
    SectionId, Unit, UnitHeader, UnitOffset,
};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

/// Most functions inlined into each other, with that into which they are.
const CALLS_MAX: usize = 64;

/// Most bytes of a unit's abbreviations that are looked at, and of the head of its line program. Tables
/// are made of both, which are some ten times as large.
const ABBREVIATIONS_MAX: usize = 64 << 10;
const LINES_HEADER_MAX: usize = 128 << 10;

/// How often a function may refer to another entry for its name.
const REFERENCES_MAX: u32 = 8;

type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;
type Value<'a> = AttributeValue<Slice<'a>>;

/// A function that is active at a target, and the place in it that is called from the outer one.
struct Call {
    entry: UnitOffset,
    file: u64,
    line: u32,
}

/// The frames of each target, innermost first; without names of what nothing is known of.
pub(super) fn find(sections: &Sections<'_>, targets: &[Target]) -> Vec<Vec<Frame>> {
    use SectionId::*;
    let mut left = READ_MAX;
    let sections = DwarfSections::load(|id| {
        let needed = matches!(
            id,
            DebugAbbrev
                | DebugAddr
                | DebugInfo
                | DebugLine
                | DebugLineStr
                | DebugRanges
                | DebugRngLists
                | DebugStr
                | DebugStrOffsets
        );
        Ok::<_, Infallible>(if needed { sections.read(id.name(), &mut left) } else { Vec::new() })
    });
    let Ok(sections) = sections;
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    let information = Information { dwarf, targets, time: Time::new(TIME_MAX) };
    let mut frames = vec![Vec::new(); targets.len()];
    let mut units = information.dwarf.units();
    while let Ok(Some(header)) = units.next() {
        let unknown = (0..targets.len()).filter(|index| frames[*index].is_empty());
        let unknown = unknown.fold(0, |set, index| set | 1 << index);
        if unknown == 0 || information.time.spend(1).is_none() {
            break;
        }
        // One that is damaged is as good as none.
        let _ = information.unit(header, unknown, &mut frames);
    }
    frames
}

struct Information<'a> {
    dwarf: gimli::Dwarf<Slice<'a>>,
    targets: &'a [Target],
    time: Time,
}

impl<'a> Information<'a> {
    /// Notes the frames of those targets that lie in a unit.
    fn unit(&self, header: UnitHeader<Slice<'a>>, unknown: Set, frames: &mut [Vec<Frame>]) -> Option<()> {
        let (mut unit, root) = self.open(header)?;
        let inside = self.inside(&unit, &root, unknown)?;
        if inside == 0 {
            return None;
        }
        let mut rows = unit.line_program.take().map(|program| program.rows());
        let calls = self.calls(&unit, inside)?;
        let mut places = [(0, 0); TARGETS_MAX];
        let mut left = inside;
        let mut last: Option<(u64, u64, u32)> = None;
        while left != 0
            && self.time.spend(1).is_some()
            && let Some(rows) = &mut rows
            && let Ok(Some((_, row))) = rows.next_row()
        {
            if let Some((begin, file, line)) = last {
                let here = self.among(left, begin, row.address());
                members(here).for_each(|index| places[index] = (file, line));
                left &= !here;
            }
            let line = row.line().map_or(0, |line| line.get() as u32);
            last = (!row.end_sequence()).then(|| (row.address(), row.file_index(), line));
        }
        let lines = rows.as_ref().map(|rows| rows.header());
        for index in members(inside) {
            let address = self.targets[index].address;
            let mut place = places[index];
            let located = |(file, line)| Some((self.file(&unit, lines?, file)?, line)).filter(|_| line != 0);
            for call in calls[index].iter().rev() {
                let function = self.name(&unit, call.entry, REFERENCES_MAX);
                frames[index].push(Frame { address, function, location: located(place) });
                place = (call.file, call.line);
            }
            if calls[index].is_empty()
                && let Some(location) = located(place)
            {
                frames[index].push(Frame { address, function: None, location: Some(location) });
            }
        }
        Some(())
    }

    /// Reads what a unit says of itself, if that is of a bearable size.
    fn open(&self, header: UnitHeader<Slice<'a>>) -> Option<(Unit<Slice<'a>>, Entry<'a>)> {
        self.time.spend(Time::LOOK)?;
        let abbreviations = self.dwarf.debug_abbrev.reader().slice();
        let abbreviations = abbreviations.get(header.debug_abbrev_offset().0..)?;
        let abbreviations = &abbreviations[..abbreviations.len().min(ABBREVIATIONS_MAX)];
        let abbreviations = DebugAbbrev::new(abbreviations, LittleEndian).abbreviations(DebugAbbrevOffset(0));
        let abbreviations = Arc::new(abbreviations.ok()?);
        let root = header.entry(&abbreviations, header.root_offset()).ok()?;
        // All of them: the library takes the last.
        for attribute in root.attrs() {
            if let DebugLineRef(program) = attribute.value() {
                self.lines_header(program).filter(|length| *length <= LINES_HEADER_MAX)?;
            }
        }
        Some((Unit::new_with_abbreviations(&self.dwarf, header, abbreviations).ok()?, root))
    }

    /// The length of the head of a line program.
    fn lines_header(&self, offset: DebugLineOffset) -> Option<usize> {
        let mut program = *self.dwarf.debug_line.reader();
        program.skip(offset.0).ok()?;
        let (_, format) = program.read_initial_length().ok()?;
        let version = program.read_u16().ok()?;
        program.skip(if version >= 5 { 2 } else { 0 }).ok()?;
        program.read_length(format).ok()
    }

    /// The targets of a set that lie between two addresses.
    fn among(&self, set: Set, begin: u64, end: u64) -> Set {
        let inside = |index: &usize| (begin..end).contains(&self.targets[*index].lookup);
        members(set).filter(inside).fold(0, |set, index| set | 1 << index)
    }

    /// The targets of a set that lie in the ranges of an entry.
    fn inside(&self, unit: &Unit<Slice<'a>>, entry: &Entry<'a>, set: Set) -> Option<Set> {
        let mut found = 0;
        if let Some(list) = entry.attr_value(gimli::DW_AT_ranges) {
            let mut ranges = self.dwarf.attr_ranges(unit, list).ok()??;
            while let Ok(Some(range)) = ranges.next() {
                self.time.spend(1)?;
                found |= self.among(set, range.begin, range.end);
            }
        } else if let Some(begin) = entry.attr_value(gimli::DW_AT_low_pc) {
            let begin = self.dwarf.attr_address(unit, begin).ok()??;
            let end = match entry.attr_value(gimli::DW_AT_high_pc)? {
                Udata(size) => begin.wrapping_add(size),
                end => self.dwarf.attr_address(unit, end).ok()??,
            };
            found = self.among(set, begin, end);
        }
        Some(found)
    }

    /// The functions that are active at each target of a set, outermost first.
    fn calls(&self, unit: &Unit<Slice<'a>>, set: Set) -> Option<Vec<Vec<Call>>> {
        let mut calls: Vec<Vec<Call>> = self.targets.iter().map(|_| Vec::new()).collect();
        let mut entries = unit.entries_raw(None).ok()?;
        let mut entry = Entry::null();
        // The functions around the entry, with the targets in them.
        let mut around: Vec<(isize, Set)> = Vec::new();
        let mut outside = set;
        while self.time.spend(1 + entry.attrs.len()).is_some()
            && let Ok(present) = entries.read_entry(&mut entry)
        {
            let function = entry.tag == gimli::DW_TAG_subprogram;
            if !present || !function && entry.tag != gimli::DW_TAG_inlined_subroutine {
                continue;
            }
            while around.last().is_some_and(|(depth, _)| *depth >= entry.depth) {
                around.pop();
            }
            let candidates = if function { outside } else { around.last().map_or(0, |(_, set)| *set) };
            let room = members(candidates).filter(|index| calls[*index].len() < CALLS_MAX);
            let candidates = room.fold(0, |set, index| set | 1 << index);
            let here = if candidates == 0 { 0 } else { self.inside(unit, &entry, candidates).unwrap_or(0) };
            if here == 0 {
                continue;
            }
            around.push((entry.depth, here));
            if function {
                outside &= !here;
            }
            let file = match entry.attr_value(gimli::DW_AT_call_file) {
                Some(FileIndex(file)) => file,
                _ => 0,
            };
            let line = entry.attr_value(gimli::DW_AT_call_line).and_then(|line| line.udata_value());
            let line = line.unwrap_or(0) as u32;
            members(here).for_each(|index| calls[index].push(Call { entry: entry.offset, file, line }));
        }
        Some(calls)
    }

    /// The name of the function that an entry describes, maybe by referring to another entry.
    fn name(&self, unit: &Unit<Slice<'a>>, entry: UnitOffset, references: u32) -> Option<String> {
        self.time.spend(Time::LOOK)?;
        let entry = unit.entry(entry).ok()?;
        let any = |names: &[gimli::DwAt]| names.iter().find_map(|name| entry.attr_value(*name));
        if let Some(name) =
            any(&[gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name, gimli::DW_AT_name])
        {
            return Some(super::demangled(self.string(unit, name)?));
        }
        let references = references.checked_sub(1)?;
        match any(&[gimli::DW_AT_abstract_origin, gimli::DW_AT_specification])? {
            InUnit(entry) => self.name(unit, entry, references),
            DebugInfoRef(entry) => {
                let (unit, entry) = self.unit_of(entry)?;
                self.name(&unit, entry, references)
            }
            _ => None,
        }
    }

    /// The unit that an entry of another one is in.
    fn unit_of(&self, entry: DebugInfoOffset) -> Option<(Unit<Slice<'a>>, UnitOffset)> {
        let mut units = self.dwarf.units();
        while let Ok(Some(header)) = units.next() {
            self.time.spend(1)?;
            if let Some(entry) = entry.to_unit_offset(&header) {
                return Some((self.open(header)?.0, entry));
            }
        }
        None
    }

    /// The path of a file of a unit's line program.
    fn file(
        &self,
        unit: &Unit<Slice<'a>>,
        lines: &LineProgramHeader<Slice<'a>>,
        file: u64,
    ) -> Option<String> {
        self.time.spend(Time::LOOK)?;
        let file = lines.file(file)?;
        let mut path = PathBuf::from(text(unit.comp_dir.map_or(&[], |path| path.slice())));
        // Directory 0 is that of the unit.
        if file.directory_index() != 0 {
            path.push(text(self.string(unit, file.directory(lines)?)?));
        }
        path.push(text(self.string(unit, file.path_name())?));
        Some(text(path.as_os_str().as_encoded_bytes()))
    }

    fn string(&self, unit: &Unit<Slice<'a>>, value: Value<'a>) -> Option<&'a [u8]> {
        Some(self.dwarf.attr_string(unit, value).ok()?.slice())
    }
}
