//! The image's symbols, for code without debug information.

use super::sections::Sections;
use super::{Frame, READ_MAX, TIME_MAX, Target, Time};
use object::LittleEndian as Little;
use object::elf::{SHN_LORESERVE, SHN_UNDEF, STT_FUNC, STT_NOTYPE, STT_OBJECT, Sym64};
use object::pod::slice_from_bytes;
use object::read::elf::Sym;

/// Gives targets that have no function yet the symbol that covers them, and each at least one frame.
pub(super) fn complete(sections: &Sections<'_>, targets: &[Target], frames: &mut [Vec<Frame>]) {
    let unnamed: Vec<usize> = (0..targets.len())
        .filter(|index| frames[*index].iter().all(|frame| frame.function.is_none()))
        .collect();
    if unnamed.is_empty() {
        return;
    }
    let mut left = READ_MAX / 4;
    let (table, names) = (sections.read(".symtab", &mut left), sections.read(".strtab", &mut left));
    let (symbols, _) = slice_from_bytes::<Sym64<Little>>(&table, table.len() / size_of::<Sym64<Little>>())
        .unwrap_or_default();
    let time = Time::new(TIME_MAX / 4);
    // The last one at or before each target; of several at one address, the largest.
    let mut nearest: Vec<Option<&Sym64<Little>>> = vec![None; unnamed.len()];
    let order = |symbol: &Sym64<Little>| (symbol.st_value(Little), symbol.st_size(Little));
    for symbol in symbols.iter().filter(|symbol| is_definition(symbol)) {
        if time.spend(1 + unnamed.len()).is_none() {
            break;
        }
        for (nearest, index) in nearest.iter_mut().zip(&unnamed) {
            if symbol.st_value(Little) <= targets[*index].lookup
                && nearest.is_none_or(|nearest| order(nearest) < order(symbol))
            {
                *nearest = Some(symbol);
            }
        }
    }
    for (symbol, index) in nearest.into_iter().zip(unnamed) {
        let Target { address, lookup } = targets[index];
        // A symbol without a size reaches to the next one.
        let covers = |symbol: &&Sym64<Little>| {
            let (begin, size) = order(symbol);
            size == 0 || lookup - begin < size
        };
        let function = symbol.filter(covers).and_then(|symbol| {
            let name = names.get(symbol.st_name(Little) as usize..)?;
            Some(super::demangled(name.split(|byte| *byte == 0).next()?))
        });
        let location = frames[index].pop().and_then(|frame| frame.location);
        frames[index] = vec![Frame { address, function, location }];
    }
}

fn is_definition(symbol: &Sym64<Little>) -> bool {
    let section = symbol.st_shndx(Little);
    section != SHN_UNDEF
        && section.0 < SHN_LORESERVE
        && matches!(symbol.st_type(), STT_FUNC | STT_OBJECT | STT_NOTYPE)
}
