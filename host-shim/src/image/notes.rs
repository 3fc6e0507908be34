//! The notes of an image: what it was built for, what it wants to be granted, and which functions it exports.

use super::{Cache, EXPORTS_MAX, ImageProblem, LITTLE, NOTES_MAX, WANTS_MAX};
use crate::grant::{self, FUNCTION_NAME_MAX, Want};
use object::LittleEndian;
use object::elf::{PT_NOTE, ProgramHeader64};
use object::read::elf::ProgramHeader;
use vcpu_abi::note::{NOTE_EXPORT, NOTE_NAME, NOTE_TYPE, NOTE_WANT, Requirements};

/// The notes of ours: their types, and what they say.
pub(super) type Notes<'a> = Vec<(u32, &'a [u8])>;

pub(super) fn notes<'a>(
    headers: &[ProgramHeader64<LittleEndian>],
    cache: Cache<'a>,
) -> Result<Notes<'a>, ImageProblem> {
    let mut found = Vec::new();
    for header in headers.iter().filter(|header| header.p_type(LITTLE) == PT_NOTE) {
        let damaged = |error: object::read::Error| ImageProblem::Damaged(error.to_string());
        if header.p_filesz(LITTLE) > NOTES_MAX {
            return Err(ImageProblem::Damaged(format!("its notes take more than {NOTES_MAX} bytes")));
        }
        let Some(mut notes) = header.notes(LITTLE, cache).map_err(damaged)? else { continue };
        while let Some(note) = notes.next().map_err(damaged)? {
            if note.name() == &NOTE_NAME[..NOTE_NAME.len() - 1] {
                found.push((note.n_type(LITTLE).0, note.desc()));
            }
        }
    }
    Ok(found)
}

/// What the notes of a type say.
fn of_type<'a>(notes: &Notes<'a>, wanted: u32) -> impl Iterator<Item = &'a [u8]> {
    notes.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, bytes)| *bytes)
}

/// What the image was built for.
pub(super) fn requirements(notes: &Notes<'_>) -> Result<Requirements, ImageProblem> {
    let note = of_type(notes, NOTE_TYPE).next().ok_or(ImageProblem::NoNote)?;
    Requirements::parse(note)
        .ok_or_else(|| ImageProblem::Damaged("its vCPU note has the wrong size".to_owned()))
}

/// What it wants to be granted.
pub(super) fn wants(notes: &Notes<'_>) -> Result<Vec<Want>, ImageProblem> {
    let mut wants: Vec<Want> = Vec::new();
    for note in of_type(notes, NOTE_WANT) {
        let want: Want = String::from_utf8_lossy(note).parse().map_err(ImageProblem::BadWant)?;
        if wants.contains(&want) {
            continue;
        }
        if wants.len() == WANTS_MAX {
            return Err(ImageProblem::WantsMany);
        }
        // To want to read and to write is to want to write; anything else cannot be granted together.
        let other = wants.iter_mut().find(|other| other.collides_with(&want));
        match other {
            None => wants.push(want),
            Some(other) if other.is_satisfied_by(&want) => *other = want,
            Some(other) if want.is_satisfied_by(other) => {}
            Some(other) => return Err(ImageProblem::WantsBoth(other.clone(), want)),
        }
    }
    Ok(wants)
}

/// The functions that it exports.
pub(super) fn exports(notes: &Notes<'_>) -> Result<Vec<String>, ImageProblem> {
    let name = |note: &[u8]| grant::name(&String::from_utf8_lossy(note), FUNCTION_NAME_MAX);
    let mut exports: Vec<String> =
        of_type(notes, NOTE_EXPORT).map(name).collect::<Result<_, _>>().map_err(ImageProblem::BadExport)?;
    exports.sort_unstable();
    exports.dedup();
    if exports.len() > EXPORTS_MAX { Err(ImageProblem::ExportsMany) } else { Ok(exports) }
}
