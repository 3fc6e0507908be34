//! A guest's function as one of this process: the same bytes at the same place in their pages.

use super::site::cannot;
use crate::status::Failure;
use std::io;
use vcpu_host::{GuestMemory, Image};

const PAGE: usize = 4096;

/// How a guest's function is called: with a number, and the data that it works on.
type Entry = unsafe extern "C" fn(u64, *mut u64) -> u64;

/// A copy of a guest's function, ready to be called here.
pub(super) struct MachineCode {
    name: String,
    /// Where it lies in the guest.
    address: u64,
    length: usize,
    mapping: *mut libc::c_void,
    size: usize,
    entry: Entry,
}

impl MachineCode {
    /// Maps the function of this name. It takes a number and an address, or less, gives a number, and refers
    /// to nothing but itself and what lies at the address.
    pub(super) fn of(image: &Image, name: &str) -> Result<MachineCode, Failure> {
        let (address, code) = image.symbol(name).ok_or_else(|| {
            let path = image.path().display();
            Failure::runner(format_args!("the image {path} has no function `{name}`; please report this"))
        })?;
        MachineCode::map(name, address, &code)
    }

    fn map(name: &str, address: u64, code: &[u8]) -> Result<MachineCode, Failure> {
        if code.is_empty() {
            return Err(Failure::runner(format_args!("the function `{name}` is empty; please report this")));
        }
        let offset = address as usize % PAGE;
        let size = (offset + code.len()).next_multiple_of(PAGE);
        let hint = (address as usize - offset) as *mut libc::c_void;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that is free disturbs nothing.
        let mapping =
            unsafe { libc::mmap(hint, size, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(cannot("map memory for native code", io::Error::last_os_error()));
        }
        // SAFETY: the code fits into the new pages behind the offset, and they are ours alone. It is a
        // function of this type, says the app that has it; one that takes less does not look at the rest.
        let (entry, result) = unsafe {
            let entry = mapping.cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(code.as_ptr(), entry, code.len());
            let entry = std::mem::transmute::<*mut u8, Entry>(entry);
            (entry, libc::mprotect(mapping, size, libc::PROT_READ | libc::PROT_EXEC))
        };
        let code = MachineCode { name: name.into(), address, length: code.len(), mapping, size, entry };
        match result {
            0 => Ok(code),
            _ => Err(cannot("make memory executable", io::Error::last_os_error())),
        }
    }

    /// Calls it.
    ///
    /// # Safety
    ///
    /// At `data` lies what the function works on, and it is the caller's alone.
    pub(super) unsafe fn call(&self, number: u64, data: *mut u64) -> u64 {
        // SAFETY: what is mapped is such a function, and the caller cares for the data.
        unsafe { (self.entry)(number, data) }
    }

    /// Whether the copy lies in its pages as the original does in a guest's, and has the bytes that this
    /// guest's memory has.
    pub(super) fn check(&self, guest: &GuestMemory) -> Result<(), Failure> {
        // SAFETY: the function lies there, and nobody writes it.
        let here = unsafe { std::slice::from_raw_parts(self.entry as *const u8, self.length) };
        let there = (self.address..).take(self.length).map(|address| guest.read::<1>(address));
        self.compare(self.entry as usize, here.iter().map(|byte| Some([*byte])).eq(there))
    }

    fn compare(&self, here: usize, same_bytes: bool) -> Result<(), Failure> {
        let (here, there) = (here % PAGE, self.address as usize % PAGE);
        let problem = match () {
            () if here != there => {
                format!("lies at {here:#x} of its page natively and at {there:#x} in the guest")
            }
            () if !same_bytes => "has other bytes natively than in the guest".to_owned(),
            () => return Ok(()),
        };
        let name = &self.name;
        Err(Failure::runner(format_args!(
            "the function `{name}` {problem}, so nothing can be compared; please report this"
        )))
    }
}

impl Drop for MachineCode {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can call into it any more.
        unsafe { libc::munmap(self.mapping, self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `lea rax, [rdi + 1]; ret`
    const SUCCESSOR: [u8; 5] = [0x48, 0x8d, 0x47, 0x01, 0xc3];

    fn successor(address: u64) -> MachineCode {
        MachineCode::map("successor", address, &SUCCESSOR).unwrap()
    }

    #[test]
    fn a_function_is_called_where_it_lies_in_its_page() {
        // The second lies in two pages.
        for address in [0x20_0123, 0x20_0ffd] {
            let code = successor(address);
            assert_eq!(code.entry as usize % PAGE, address as usize % PAGE);
            // SAFETY: it does not look at the data.
            assert_eq!(unsafe { code.call(41, std::ptr::null_mut()) }, 42);
        }
    }

    #[test]
    fn what_is_empty_is_refused() {
        assert!(MachineCode::map("nothing", 0x20_0000, &[]).is_err());
    }

    #[test]
    fn another_place_in_the_page_and_other_bytes_are_one_sentence_each() {
        let code = successor(0x20_0123);
        assert!(code.compare(0x7f00_0000_0123, true).is_ok());
        assert_eq!(
            code.compare(0x7f00_0000_0124, true).unwrap_err().message,
            "the function `successor` lies at 0x124 of its page natively and at 0x123 in the guest, \
             so nothing can be compared; please report this"
        );
        assert_eq!(
            code.compare(0x123, false).unwrap_err().message,
            "the function `successor` has other bytes natively than in the guest, \
             so nothing can be compared; please report this"
        );
    }
}
