//! Requests and replies as bytes, in both directions. What comes from a guest is a copy here, and may be anything.

use super::{CallError, bounded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vcpu_abi::exchange::ReplyStatus;

/// Most bytes of a guest's sentence that are kept.
const SENTENCE_MAX: usize = 4096;

/// What is refused of a guest's request.
#[derive(Debug)]
pub(crate) enum Refusal {
    NoSuchFunction(String),
    BadArgument(String),
    Failed(String),
}

/// Makes a request, in a buffer that holds anything.
pub(crate) fn encode_request<A: Serialize + ?Sized>(
    name: &str,
    argument: &A,
    bytes: &mut Vec<u8>,
) -> Result<(), CallError> {
    bytes.clear();
    encode(name, bytes)
        .and_then(|()| encode(argument, bytes))
        .map_err(|error| CallError::BadArgument(format!("the argument has no encoding: {error}")))
}

/// The encoded result in a guest's reply. `exports` says what the image names.
pub(crate) fn result_of<'a>(
    name: &str,
    reply: &'a [u8],
    exports: impl FnOnce() -> Vec<String>,
) -> Result<&'a [u8], CallError> {
    let Some((status, rest)) = reply.split_first() else {
        return Err(CallError::BadReply("it is empty".to_owned()));
    };
    Err(match ReplyStatus::from_number(*status) {
        Some(ReplyStatus::Done) => return Ok(rest),
        Some(ReplyStatus::NoSuchFunction) => {
            CallError::NoSuchFunction { name: name.to_owned(), exports: exports() }
        }
        Some(ReplyStatus::BadArgument) => CallError::BadArgument(sentence(rest)),
        Some(ReplyStatus::Failed) => CallError::Failed(sentence(rest)),
        None => CallError::BadReply(format!("its first byte is {status}, which means nothing")),
    })
}

/// Makes a value of an encoded result.
pub(crate) fn decode_result<R: DeserializeOwned>(result: &[u8]) -> Result<R, CallError> {
    match bounded::decode(result) {
        Ok((value, [])) => Ok(value),
        Ok((_, more)) => Err(CallError::BadReply(format!(
            "it is longer than the type that was asked for, by {} bytes",
            more.len()
        ))),
        Err(error) => Err(CallError::BadReply(format!("it is not of the type that was asked for: {error}"))),
    }
}

/// A guest's sentence.
fn sentence(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SENTENCE_MAX)]).into_owned()
}

/// Splits a guest's request into the function's name and the rest.
pub(crate) fn split_request(request: &[u8]) -> Option<(&str, &[u8])> {
    postcard::take_from_bytes(request).ok()
}

/// Makes a value of the argument of a guest's request.
pub(crate) fn decode_argument<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, Refusal> {
    match bounded::decode(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, more)) => Err(Refusal::BadArgument(format!(
            "the argument is longer than the type that the function takes, by {} bytes",
            more.len()
        ))),
        Err(error) => Err(Refusal::BadArgument(format!(
            "the argument is not of the type that the function takes: {error}"
        ))),
    }
}

/// Makes the reply to a guest's request, in a buffer that holds anything; `carry_out` writes the result behind
/// what is there.
pub(crate) fn make_reply(reply: &mut Vec<u8>, carry_out: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>) {
    reply.clear();
    reply.push(ReplyStatus::Done as u8);
    let Err(refusal) = carry_out(reply) else { return };
    let (status, sentence) = match refusal {
        Refusal::NoSuchFunction(sentence) => (ReplyStatus::NoSuchFunction, sentence),
        Refusal::BadArgument(sentence) => (ReplyStatus::BadArgument, sentence),
        Refusal::Failed(sentence) => (ReplyStatus::Failed, sentence),
    };
    reply.clear();
    reply.push(status as u8);
    reply.extend_from_slice(sentence.as_bytes());
}

/// Encodes a value behind what is there.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), postcard::Error> {
    postcard::serialize_with_flavor(value, Behind(bytes))
}

/// Most bytes of an encoded number of 64 bits.
const NUMBER_MAX: usize = 10;

/// Where a value is encoded to.
struct Behind<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // A number is a few bytes, for which calling a copy costs more than the copy.
        if bytes.len() <= NUMBER_MAX {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Value {
        Number(u64),
        Text(String),
        Many(Vec<(i32, Option<Vec<u8>>)>),
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(Value::Number),
            any::<String>().prop_map(Value::Text),
            any::<Vec<(i32, Option<Vec<u8>>)>>().prop_map(Value::Many),
        ]
    }

    fn decode(reply: &[u8]) -> Result<Value, CallError> {
        result_of("f", reply, || vec!["g".to_owned()]).and_then(decode_result)
    }

    fn reply(value: &Value) -> Vec<u8> {
        let mut bytes = vec![9; 3];
        make_reply(&mut bytes, |bytes| encode(value, bytes).map_err(|_| unreachable!()));
        bytes
    }

    proptest! {
        #[test]
        fn a_reply_is_the_value_that_was_made_of(value in value()) {
            prop_assert_eq!(decode(&reply(&value)).unwrap(), value);
        }

        #[test]
        fn a_reply_that_is_cut_or_longer_is_refused(value in value(), cut: prop::sample::Index, more: u8) {
            let mut bytes = reply(&value);
            let is_bad = |result: Result<Value, _>| matches!(result, Err(CallError::BadReply(_)));
            prop_assert!(is_bad(decode(&bytes[..cut.index(bytes.len())])));
            bytes.push(more);
            prop_assert!(is_bad(decode(&bytes)));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
            if let Err(error) = decode(&bytes) {
                let shown = error.to_string();
                let controls = |shown: char| shown.is_control() && shown != '\t';
                prop_assert!(!shown.chars().any(controls), "{:?}", shown);
            }
        }

        #[test]
        fn any_bytes_are_a_request_or_refused(bytes: Vec<u8>) {
            if let Some((name, argument)) = split_request(&bytes) {
                prop_assert!(name.len() + argument.len() < bytes.len());
                let _ = decode_argument::<Value>(argument);
            }
        }

        #[test]
        fn a_request_is_its_name_and_its_argument(name: String, value in value()) {
            let mut bytes = vec![1, 2, 3];
            encode_request(&name, &value, &mut bytes).unwrap();
            let (found, argument) = split_request(&bytes).unwrap();
            prop_assert_eq!(found, &name);
            prop_assert_eq!(decode_argument::<Value>(argument).unwrap(), value);
        }
    }

    #[test]
    fn every_status_is_its_error() {
        let decoded = |status: ReplyStatus| decode(&[&[status as u8], &b"why"[..]].concat()).unwrap_err();
        assert!(matches!(decoded(ReplyStatus::Done), CallError::BadReply(_)));
        assert!(matches!(
            decoded(ReplyStatus::NoSuchFunction),
            CallError::NoSuchFunction { name, exports } if name == "f" && exports == ["g"]
        ));
        assert!(matches!(decoded(ReplyStatus::BadArgument), CallError::BadArgument(why) if why == "why"));
        assert!(matches!(decoded(ReplyStatus::Failed), CallError::Failed(why) if why == "why"));
        assert!(decode(&[4]).unwrap_err().to_string().contains("its first byte is 4"));
    }
}
