//! The entropy device: the host's random bytes.

use super::request::{Broken, Request};
use super::{Model, Served};
use crate::sys;
use vcpu_abi::device::Kind;

#[derive(Debug)]
pub(super) struct Entropy;

impl Model for Entropy {
    fn kind(&self) -> Kind {
        Kind::Entropy
    }

    fn serve(&mut self, _queue: usize, request: &Request<'_>) -> Result<Served, Broken> {
        let length = request.writable.length();
        if length == 0 || request.readable.length() > 0 {
            return Err(Broken("a request for random bytes must have writable buffers only".to_owned()));
        }
        let filled = request.writable.transfer(0..length, |pieces, _| {
            // SAFETY: as for all pieces: they lie in RAM that stays mapped, and the kernel writes them.
            let count = unsafe { libc::getrandom(pieces[0].iov_base, pieces[0].iov_len, 0) };
            sys::check(count as libc::c_long).map(|count| count as usize)
        });
        filled.map_err(|error| Broken(format!("the host has no random bytes for it: {error}")))?;
        Ok(Served::Used(length))
    }
}
