//! What guest and tests both know: the types that they exchange.

#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One of everything that can be exchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Everything {
    /// Numbers.
    pub numbers: (u8, i8, u16, i16, u32, i32, u64, i64, u128, i128),
    /// Numbers with a point.
    pub floats: (f32, f64),
    /// Yes or no.
    pub flag: bool,
    /// A character.
    pub letter: char,
    /// Text.
    pub text: String,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Something that need not be there.
    pub perhaps: Option<Box<Everything>>,
    /// One of several.
    pub kinds: Vec<Kind>,
    /// A table.
    pub table: BTreeMap<String, u32>,
    /// A number of things that is fixed.
    pub fixed: [u16; 5],
    /// Nothing.
    pub nothing: (),
}

/// One of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Without anything.
    Plain,
    /// With one value.
    With(u32),
    /// With several.
    Point {
        /// To the right.
        x: i64,
        /// Down.
        y: i64,
    },
}

/// How a function ends, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By a panic.
    Panic,
    /// By a store to page zero.
    Fault,
    /// By recursion without end.
    StackOverflow,
    /// By allocating without end.
    OutOfMemory,
    /// Itself, with this status.
    Exit(u8),
    /// Never: it computes.
    Spin,
    /// Never: it sleeps.
    Sleep,
    /// Never: it waits for an event.
    Wait,
    /// Never: it makes calls that do nothing.
    Flood,
    /// Never: it makes such calls by the trap page.
    FloodByTrap,
    /// Never: it waits for an event by the trap page.
    WaitByTrap,
    /// Never: it writes to its standard output.
    Print,
    /// Never: it calls a function of the host's.
    CallHost,
}
