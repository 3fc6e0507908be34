//! Replies and requests that are arbitrary bytes.

use crate::embed::bounded::{self, Error};
use crate::embed::message;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A type with everything that can be encoded, and that contains itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Everything {
    Nothing,
    Small(bool, i8, u8, char),
    Numbers((i16, u16, i32, u32, i64, u64)),
    Large(i128, u128),
    Floats(f32, f64),
    Text(String),
    Bytes(Bytes),
    Units(Vec<()>),
    Option(Option<Box<Everything>>),
    Pair(Box<(Everything, Everything)>),
    Struct { inner: Box<Everything>, unit: (), number: u64 },
    List(Vec<Everything>),
    Map(BTreeMap<u16, Everything>),
}

/// Bytes that are encoded as such, not as a list of numbers.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Copied;
        impl Visitor<'_> for Copied {
            type Value = Bytes;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Copied)
    }
}

/// Decodes bytes within the bounds and, unless they are beyond these, without.
///
/// # Panics
///
/// If these are not the same.
pub fn check(bytes: &[u8]) {
    let bounded = match bounded::decode::<Everything>(bytes) {
        Err(Error::TooDeep | Error::TooMany) => return,
        Err(Error::Encoding(error)) => Err(error),
        Ok(decoded) => Ok(decoded),
    };
    // Not a number is not itself, so the values are compared as bytes.
    let encoded = |(value, rest): (Everything, _)| (postcard::to_allocvec(&value).expect("it has one"), rest);
    assert_eq!(bounded.map(encoded), postcard::take_from_bytes(bytes).map(encoded));
}

/// Takes bytes as a value, as a guest's reply, and as a guest's request.
///
/// # Panics
///
/// If a value is not what it is without bounds.
pub fn read(bytes: &[u8]) {
    check(bytes);
    // What they are is a value or an error, and all the same here.
    let _ = message::result_of("f", bytes, Vec::new).and_then(message::decode_result::<Everything>);
    if let Some((_, argument)) = message::split_request(bytes) {
        let _ = message::decode_argument::<Everything>(argument);
    }
}
