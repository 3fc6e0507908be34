//! Functions that guest and host call of each other.
//!
//! A guest that is a library says [`Serve`](crate::call::Call::Serve): it is stopped until the host wants
//! something of it, finds the request in its mailbox, does what it says and gives the reply with its next
//! `Serve`. In the other direction a guest calls what the host has registered, by
//! [`HostCall`](crate::call::Call::HostCall).
//!
//! In both directions a request is the function's name and its argument, as postcard 1.x encodes a string and
//! then a value. A reply is one byte, a [`ReplyStatus`], and behind it the result as postcard encodes it, or in
//! all other cases a sentence in UTF-8. A range of RAM in such a value, of bytes that are not to be copied, is its
//! address and its length, two unsigned numbers.
//!
//! Every guest that serves has two functions more than it names: `vcpu.allocate` takes a length and gives the
//! address of so many bytes of its heap, all zero, at a multiple of 64, which are the host's until `vcpu.free` gets
//! that address.

/// Most bytes of a request or a reply.
pub const MESSAGE_MAX: u64 = 16 << 20;

/// How a call of a function ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplyStatus {
    /// With a result.
    Done = 0,
    /// There is no function of this name.
    NoSuchFunction = 1,
    /// The argument is not what the function takes.
    BadArgument = 2,
    /// The function could not do it.
    Failed = 3,
}

impl ReplyStatus {
    /// All of them.
    pub const ALL: [ReplyStatus; 4] =
        [ReplyStatus::Done, ReplyStatus::NoSuchFunction, ReplyStatus::BadArgument, ReplyStatus::Failed];

    /// The status with this number, or `None` if there is none.
    ///
    /// ```
    /// use vcpu_abi::exchange::ReplyStatus;
    /// assert_eq!(ReplyStatus::from_number(1), Some(ReplyStatus::NoSuchFunction));
    /// assert_eq!(ReplyStatus::from_number(4), None);
    /// ```
    pub fn from_number(number: u8) -> Option<ReplyStatus> {
        Self::ALL.into_iter().find(|status| *status as u8 == number)
    }
}
