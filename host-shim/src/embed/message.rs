//! Requests and replies as bytes, in both directions. What comes from a guest is a copy here, and may be anything.

use super::CallError;
use crate::image::Image;
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

/// Makes a value of a guest's reply.
pub(crate) fn decode_reply<R: DeserializeOwned>(
    name: &str,
    reply: &[u8],
    image: &Image,
) -> Result<R, CallError> {
    let Some((status, rest)) = reply.split_first() else {
        return Err(CallError::BadReply("it is empty".to_owned()));
    };
    Err(match ReplyStatus::from_number(*status) {
        Some(ReplyStatus::Done) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => return Ok(value),
            Ok((_, more)) => CallError::BadReply(format!(
                "it is longer than the type that was asked for, by {} bytes",
                more.len()
            )),
            Err(error) => CallError::BadReply(format!("it is not of the type that was asked for: {error}")),
        },
        Some(ReplyStatus::NoSuchFunction) => {
            CallError::NoSuchFunction { name: name.to_owned(), exports: image.exports().to_vec() }
        }
        Some(ReplyStatus::BadArgument) => CallError::BadArgument(sentence(rest)),
        Some(ReplyStatus::Failed) => CallError::Failed(sentence(rest)),
        None => CallError::BadReply(format!("its first byte is {status}, which means nothing")),
    })
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
    match postcard::take_from_bytes(bytes) {
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
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
