//! Functions that the host can call.

use super::encode;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};
use serde::{Deserialize, Serialize};

/// Decodes the argument, carries the function out, and encodes the result behind what is in the vector.
type Carrier = fn(&[u8], &mut Vec<u8>) -> Result<(), Refusal>;

/// Decodes its argument itself, and writes its encoded result behind what is in the vector: for [`Export::encoded`].
pub type EncodedFunction = dyn Fn(&[u8], &mut Vec<u8>) -> Result<(), Refusal>;

/// A function that the host can call; [`export!`](crate::export!) makes it.
#[derive(Clone, Copy)]
pub struct Export {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Typed(Carrier),
    Encoded(&'static EncodedFunction),
}

impl fmt::Debug for Export {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Export").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a call has no result, in a sentence for the host.
#[derive(Debug)]
pub enum Refusal {
    /// The argument is not what the function takes.
    BadArgument(String),
    /// The function could not do it.
    Failed(String),
}

impl Export {
    #[doc(hidden)]
    pub const fn new(name: &'static str, carrier: Carrier) -> Export {
        Export { name, kind: Kind::Typed(carrier) }
    }

    /// A function that gets its argument encoded and writes its encoded result behind what is in the vector, both
    /// as `postcard` 1.x encodes them: for other languages, for example. There is no note of it in the image.
    pub const fn encoded(name: &'static str, function: &'static EncodedFunction) -> Export {
        Export { name, kind: Kind::Encoded(function) }
    }

    /// The name by which the host calls it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn carry_out(&self, argument: &[u8], reply: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.kind {
            Kind::Typed(carrier) => carrier(argument, reply),
            Kind::Encoded(function) => function(argument, reply),
        }
    }
}

/// Lets the host call a function, by the function's own name.
///
/// The function takes one value, which may borrow, and gives one. `export!(f)` gives the host whatever `f`
/// returns. `export!(try f)` is for an `f` that returns a `Result`, whose error can be shown: the host gets the value,
/// or an error of the call with that sentence.
///
/// The name also becomes a note of the image, so that a host knows what there is (`vcpu info`).
#[macro_export]
macro_rules! export {
    (try $function:path) => {
        $crate::export!(@ result, $function)
    };
    ($function:path) => {
        $crate::export!(@ value, $function)
    };
    (@ $kind:ident, $function:path) => {{
        const NAME: &str = $crate::embed::__private::last_segment(::core::stringify!($function));

        #[used]
        #[unsafe(link_section = ".note.vcpu")]
        static NOTE: $crate::embed::__private::TextNote<{ NAME.len() }> =
            $crate::embed::__private::TextNote::new($crate::embed::__private::NOTE_EXPORT, NAME);

        $crate::embed::Export::new(NAME, |argument, reply| {
            $crate::embed::__private::$kind($function, argument, reply)
        })
    }};
}

/// What is behind the last `::` of a path.
#[doc(hidden)]
pub const fn last_segment(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut start = bytes.len();
    while start > 0 && bytes[start - 1] != b':' && bytes[start - 1] != b' ' {
        start -= 1;
    }
    path.split_at(start).1
}

/// Carries out a function that gives a value.
#[doc(hidden)]
pub fn value<'a, A: Deserialize<'a>, R: Serialize>(
    function: impl FnOnce(A) -> R,
    argument: &'a [u8],
    reply: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let result = function(decode(argument)?);
    encode(&result, reply).map_err(|error| Refusal::Failed(format!("its result has no encoding: {error}")))
}

/// Carries out a function that gives a value or an error.
#[doc(hidden)]
pub fn result<'a, A: Deserialize<'a>, R: Serialize, E: Display>(
    function: impl FnOnce(A) -> Result<R, E>,
    argument: &'a [u8],
    reply: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let result = function(decode(argument)?).map_err(|error| Refusal::Failed(error.to_string()))?;
    encode(&result, reply).map_err(|error| Refusal::Failed(format!("its result has no encoding: {error}")))
}

fn decode<'a, A: Deserialize<'a>>(argument: &'a [u8]) -> Result<A, Refusal> {
    match postcard::take_from_bytes(argument) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Refusal::BadArgument(format!(
            "the argument is longer than the type that the function takes, by {} bytes",
            rest.len()
        ))),
        Err(error) => Err(Refusal::BadArgument(format!(
            "the argument is not of the type that the function takes: {error}"
        ))),
    }
}
