//! Films that anybody may have sent, decoded in a sandbox.
//!
//! Demuxers and decoders of films are hundreds of thousands of lines of C that read what strangers have made. Here
//! they are in a sandbox (`apps/decode`): all they get is one file, by a function that reads of it, and all they give
//! is pictures and sound. The host sees these where the decoders have put them, in the guest's memory; nothing is
//! copied that is not written somewhere at once.
//!
//! Whatever the decoder says is the word of a stranger: it is checked before it is used ([`film`]).
//!
//! | module | its subject |
//! |---|---|
//! | [`film`] | the sandbox, and its frames |
//! | [`output`] | writing Y4M, PNG and WAV |

pub mod film;
pub mod output;

pub use film::{End, Film, Frame, Limits, Picture, Problem, Sound};
pub use output::Outputs;
