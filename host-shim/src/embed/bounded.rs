//! Decoding what a guest has encoded, with bounds: the caller's types say neither how deep values are nested nor
//! how many there are, so a guest could let the host run out of stack or never end.
//!
//! Only lists and maps have lengths that the encoding says, so their elements are what is counted: all of them may
//! be no more than the message has bytes, and [`MORE`]. Elements that take bytes never are.

use postcard::de_flavors::Slice;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer};
use serde::de::{MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt::Display;

/// Most levels of structures, tuples, enumerations, options, lists, and maps that are in one another.
const LEVELS_MAX: u8 = 128;

/// How many elements there may be that take no bytes, besides as many as the message has bytes.
const MORE: usize = 128;

/// Why bytes are no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Encoding(#[from] postcard::Error),
    #[error("it is nested more than {LEVELS_MAX} levels deep")]
    TooDeep,
    #[error("it has more elements than bytes")]
    TooMany,
}

impl serde::de::Error for Error {
    fn custom<T: Display>(message: T) -> Error {
        Error::Encoding(serde::de::Error::custom(message))
    }
}

/// Makes a value of the bytes' beginning; gives the rest, too.
#[inline]
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8]), Error> {
    let mut source = Source {
        encoded: postcard::Deserializer::from_bytes(bytes),
        elements: bytes.len().saturating_add(MORE),
    };
    let value = T::deserialize(Bounded { source: &mut source, levels: LEVELS_MAX })?;
    Ok((value, source.encoded.finalize()?))
}

/// What is left of the bytes, and how many elements there may still be.
struct Source<'de> {
    encoded: postcard::Deserializer<'de, Slice<'de>>,
    elements: usize,
}

/// Decodes one value, in which this many levels may be.
struct Bounded<'a, 'de> {
    source: &'a mut Source<'de>,
    levels: u8,
}

impl<'a, 'de> Bounded<'a, 'de> {
    /// Decodes what is inside the value.
    #[inline]
    fn inside(self) -> Result<Bounded<'a, 'de>, Error> {
        let levels = self.levels.checked_sub(1).ok_or(Error::TooDeep)?;
        Ok(Bounded { levels, ..self })
    }

    /// So many elements inside the value.
    #[inline]
    fn elements(self, left: usize) -> Result<Elements<'a, 'de>, Error> {
        Ok(Elements { inside: self.inside()?, left })
    }

    /// As many elements inside the value as the bytes say.
    #[inline]
    fn counted(self) -> Result<Elements<'a, 'de>, Error> {
        let count = usize::deserialize(&mut self.source.encoded)?;
        self.source.elements = self.source.elements.checked_sub(count).ok_or(Error::TooMany)?;
        self.elements(count)
    }
}

/// Elements that follow one another.
struct Elements<'a, 'de> {
    inside: Bounded<'a, 'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn element<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Bounded { source: &mut *self.inside.source, levels: self.inside.levels })
    }

    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.element(seed).map(Some)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.element(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// What holds no other value is decoded as it always is.
macro_rules! flat {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                Ok(self.source.encoded.$method(visitor)?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Bounded<'_, 'de> {
    type Error = Error;

    flat! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_any deserialize_identifier deserialize_ignored_any
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match u8::deserialize(&mut self.source.encoded)? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.inside()?),
            _ => Err(postcard::Error::DeserializeBadOption.into()),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self.inside()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.counted()?)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.counted()?)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.elements(count)?)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(count, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }
}

impl<'de> EnumAccess<'de> for Bounded<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let variant = u32::deserialize(&mut self.source.encoded)?;
        let deserializer: serde::de::value::U32Deserializer<Error> = variant.into_deserializer();
        Ok((seed.deserialize(deserializer)?, self))
    }
}

impl<'de> VariantAccess<'de> for Bounded<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.inside()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(count, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::message::{Bytes, Everything, check};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::fmt::{self, Debug};
    use std::marker::PhantomData;

    /// The longest reply that is taken unless another limit is set.
    const LONG: usize = 16 << 20;
    /// A number without end, encoded.
    const ENDLESS: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

    #[derive(Debug, Deserialize)]
    struct Node(#[expect(dead_code, reason = "it is decoded")] Option<Box<Node>>);

    #[derive(Debug, Deserialize)]
    struct Bottomless(#[expect(dead_code, reason = "it is decoded")] Box<Bottomless>);

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is decoded")]
    enum Tree {
        Leaf,
        Newtype(Box<Tree>),
        Tuple(Box<Tree>, u8),
        Struct { tree: Box<Tree> },
        List(Vec<Tree>),
        Map(BTreeMap<u8, Tree>),
        Array(Box<[Tree; 1]>),
    }

    fn refused<T: for<'de> Deserialize<'de> + Debug>(bytes: &[u8]) -> Error {
        decode::<T>(bytes).map(|(value, _)| value).expect_err("it is beyond the bounds")
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        // As much stack as a thread has, of which a debug build takes the most.
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
            assert_eq!(refused::<Node>(&vec![1; LONG]), Error::TooDeep);
            assert_eq!(refused::<Bottomless>(&[]), Error::TooDeep);
            assert_eq!(refused::<Option<Bottomless>>(&[1]), Error::TooDeep);
            for level in [&[1][..], &[2], &[3], &[4, 1], &[5, 1, 0], &[6]] {
                assert_eq!(refused::<Tree>(&level.repeat(LONG / level.len())), Error::TooDeep, "{level:?}");
            }
        });
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn what_is_nested_as_deep_as_may_be_is_decoded() {
        let tree = |levels: u8| {
            let mut bytes = vec![1; levels.into()];
            bytes.push(0);
            decode::<Tree>(&bytes).map(drop)
        };
        assert_eq!(tree(LEVELS_MAX), Ok(()));
        assert_eq!(tree(LEVELS_MAX + 1), Err(Error::TooDeep));
        assert!(decode::<Option<Option<Option<Option<u8>>>>>(&[1, 1, 1, 1, 7]).is_ok());
        // A structure without a name and an option are a level each.
        let half = usize::from(LEVELS_MAX / 2);
        let nodes = |count| [vec![1; count], vec![0]].concat();
        assert!(decode::<Node>(&nodes(half - 1)).is_ok());
        assert_eq!(refused::<Node>(&nodes(half)), Error::TooDeep);
    }

    #[test]
    fn levels_beside_one_another_are_no_depth() {
        let lists = vec![vec![vec![Some(7u8); 3]; 1000]; 3];
        let bytes = postcard::to_allocvec(&lists).unwrap();
        assert_eq!(decode(&bytes), Ok((lists, &[][..])));
    }

    #[test]
    fn elements_without_bytes_and_without_end_are_refused() {
        assert_eq!(refused::<Vec<()>>(&ENDLESS), Error::TooMany);
        assert_eq!(refused::<HashSet<()>>(&ENDLESS), Error::TooMany);
        assert_eq!(refused::<HashMap<(), ()>>(&ENDLESS), Error::TooMany);
        assert_eq!(refused::<Vec<[(); 3]>>(&ENDLESS), Error::TooMany);
        assert_eq!(refused::<Vec<PhantomData<u8>>>(&ENDLESS), Error::TooMany);
        // Ten million lists of 127 elements each, and lists in lists.
        let mut lists = vec![127; 10_000_000];
        lists.splice(..0, postcard::to_allocvec(&10_000_000).unwrap());
        assert_eq!(refused::<Vec<Vec<()>>>(&lists), Error::TooMany);
        assert_eq!(refused::<Vec<Vec<Vec<()>>>>(&[&[2, 2], &ENDLESS[..]].concat()), Error::TooMany);
    }

    #[test]
    fn declared_lengths_reserve_no_more_than_there_can_be() {
        /// What a list says of its length before its first element is decoded.
        struct Reserved(usize);

        impl<'de> Deserialize<'de> for Reserved {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reserved, D::Error> {
                struct Hint;
                impl<'de> Visitor<'de> for Hint {
                    type Value = Reserved;
                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str("a list")
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Reserved, A::Error> {
                        Ok(Reserved(list.size_hint().unwrap_or(0)))
                    }
                }
                deserializer.deserialize_seq(Hint)
            }
        }

        for length in [0, 1, 100, 1000, 1 << 20, u64::MAX / 2, u64::MAX] {
            let bytes = postcard::to_allocvec(&(length, 0u8)).unwrap();
            let end = Error::Encoding(postcard::Error::DeserializeUnexpectedEnd);
            if let Ok((Reserved(count), _)) = decode(&bytes) {
                assert!(count as u64 == length && count <= bytes.len() + MORE);
            }
            if length > 1 {
                assert!([Error::TooMany, end.clone()].contains(&refused::<Vec<[u64; 8]>>(&bytes)));
                assert!([Error::TooMany, end.clone()].contains(&refused::<HashMap<u64, u64>>(&bytes)));
                assert_eq!(refused::<String>(&bytes), end);
                assert_eq!(refused::<Bytes>(&bytes), end);
            }
        }
    }

    #[test]
    fn ordinary_lists_are_not_too_many() {
        type Element = (u8, ((), [(); 4]), PhantomData<u64>, ((), ((),)));
        let list: Vec<Element> = vec![Default::default(); 100_000];
        let bytes = postcard::to_allocvec(&list).unwrap();
        assert_eq!(decode(&bytes), Ok((list, &[][..])));
        assert_eq!(decode(&[100]), Ok((vec![(); 100], &[][..])));
    }

    #[test]
    fn refusals_are_sentences() {
        assert_eq!(Error::TooDeep.to_string(), "it is nested more than 128 levels deep");
        assert_eq!(Error::TooMany.to_string(), "it has more elements than bytes");
    }

    fn everything() -> impl Strategy<Value = Everything> {
        let leaf = prop_oneof![
            Just(Everything::Nothing),
            any::<(bool, i8, u8, char)>().prop_map(|(a, b, c, d)| Everything::Small(a, b, c, d)),
            any::<(i16, u16, i32, u32, i64, u64)>().prop_map(Everything::Numbers),
            any::<(i128, u128)>().prop_map(|(a, b)| Everything::Large(a, b)),
            any::<(f32, f64)>().prop_map(|(a, b)| Everything::Floats(a, b)),
            any::<String>().prop_map(Everything::Text),
            any::<Vec<u8>>().prop_map(|bytes| Everything::Bytes(Bytes(bytes))),
            // So few that they are never more than the bytes that say how many.
            (0..2usize).prop_map(|count| Everything::Units(vec![(); count])),
        ];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                prop::option::of(inner.clone()).prop_map(|value| Everything::Option(value.map(Box::new))),
                (inner.clone(), inner.clone()).prop_map(|pair| Everything::Pair(Box::new(pair))),
                (inner.clone(), any::<u64>()).prop_map(|(inner, number)| Everything::Struct {
                    inner: Box::new(inner),
                    unit: (),
                    number
                }),
                prop::collection::vec(inner.clone(), 0..4).prop_map(Everything::List),
                prop::collection::btree_map(any::<u16>(), inner, 0..4).prop_map(Everything::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_within_the_bounds_is_decoded(value in everything(), more: Vec<u8>) {
            let encoded = postcard::to_allocvec(&value).unwrap();
            let bytes = [&encoded[..], &more].concat();
            let (decoded, rest) = decode::<Everything>(&bytes).unwrap();
            prop_assert_eq!(rest, &more);
            prop_assert_eq!(postcard::to_allocvec(&decoded).unwrap(), encoded);
        }

        #[test]
        fn what_is_changed_is_decoded_as_without_bounds(
            value in everything(),
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = postcard::to_allocvec(&value).unwrap();
            *at.get_mut(&mut bytes) = byte;
            check(&bytes);
        }

        #[test]
        fn any_bytes_are_decoded_as_without_bounds(bytes in prop::collection::vec(0..20u8, 0..300)) {
            check(&bytes);
        }
    }
}
