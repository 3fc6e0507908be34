//! vCPU calls: what a guest can ask of its machine.
//!
//! A call is made through the gate, as a C function of the type
//! `int64_t (uint32_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)`, or by the trap
//! instruction with the same registers. A result of zero or more is an answer, a negative one is an
//! [`Error`]. A call that fails has changed nothing.
//!
//! Arguments are checked in this order: numbers, rights and alignment ([`Error::BadArgument`]), then the
//! address range ([`Error::BadAddress`]), then what the machine forbids ([`Error::Denied`]), and only then
//! is anything tried. A range of length 0 is right at any address, and nothing happens.

use bitflags::bitflags;
use core::fmt;

/// Number of a call, with its arguments and its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Call {
    /// No arguments. Does nothing and answers 0.
    Null = 0,
    /// (status). Ends the guest with the low eight bits of `status`; does not return.
    Exit = 1,
    /// (address, length). Ends the guest after a panic, with a report that holds the message; does
    /// not return.
    Panic = 2,
    /// (address, length). Ends the guest because of the exception that is described in the state save
    /// area and that nobody handles; the message may be empty. Does not return.
    Fault = 3,
    /// (stream, address, length). Writes bytes to stream 1 (output) or 2 (errors), and answers how
    /// many were taken. [`Error::Again`] if none can be taken now: [`CONSOLE_LINE`] is raised when it
    /// is worth another try. [`Error::Closed`] if nobody reads the stream any more, [`Error::Denied`] if the
    /// guest has written as much as it may.
    ///
    /// [`CONSOLE_LINE`]: crate::page::CONSOLE_LINE
    ConsoleWrite = 4,
    /// (stream, address, length). Reads bytes of stream 0 (input), and answers how many; 0 is the end
    /// of the stream (or a length of 0). [`Error::Again`] if there is nothing yet, as for writing.
    ConsoleRead = 5,
    /// (deadline). Sets [`State::IRQ`](crate::page::State::IRQ) and sleeps until an event is pending
    /// or the clock has reached the deadline, in ns or [`NEVER`]. Answers 0 after an event, whose
    /// upcall comes first, and [`Error::TimedOut`] otherwise.
    Wait = 6,
    /// (line, deadline). The machine raises `line` once the clock has reached the deadline, in ns;
    /// [`NEVER`] disarms. There is one timer a line; setting it replaces the one before.
    TimerSet = 7,
    /// (address, length, access). Changes the [`Access`] of pages of the guest's own RAM. Address and
    /// length are multiples of the page size. [`Error::Denied`] for the sealed text of the image.
    Protect = 8,
    /// No arguments. Answers the clock in ns; for machines whose information page has no
    /// [`Features::TSC_CLOCK`](crate::info::Features::TSC_CLOCK).
    Clock = 9,
    /// (device, register). Answers what a [register](crate::device::Register) of a device holds.
    /// [`Error::BadArgument`] if there is no such device, or nothing to be read there.
    DeviceRead = 10,
    /// (device, register, value). Writes a register of a device. [`Error::BadArgument`] as for reading.
    DeviceWrite = 11,
    /// (device, queue). Tells a device that there are new buffers in a queue. It may have used them when this
    /// answers 0; if it uses some later, it raises its [line](crate::device::line).
    DeviceNotify = 12,
    /// (reply address, reply length, mailbox address, mailbox length). Gives the reply to the last request of
    /// the host's (none the first time), and waits for the next, which the host writes to the mailbox; no
    /// event comes meanwhile. Answers the request's length; if that is more than the mailbox's, nothing was
    /// written, and the guest calls again with a larger mailbox and without a reply.
    /// [`Error::Denied`] where nobody makes requests. See [`exchange`](crate::exchange).
    Serve = 13,
    /// (request address, request length, reply address, reply room). Calls a function of the host's and
    /// answers the reply's length. If that is more than the room, nothing was written, and
    /// [`Call::HostReply`] fetches it. [`Error::Denied`] where the host has no functions.
    HostCall = 14,
    /// (address, length). Writes the last reply that [`Call::HostCall`] had no room for, and answers its
    /// length. [`Error::BadArgument`] if there is none, or it does not fit.
    HostReply = 15,
}

impl Call {
    /// All calls.
    pub const ALL: [Call; 16] = [
        Call::Null,
        Call::Exit,
        Call::Panic,
        Call::Fault,
        Call::ConsoleWrite,
        Call::ConsoleRead,
        Call::Wait,
        Call::TimerSet,
        Call::Protect,
        Call::Clock,
        Call::DeviceRead,
        Call::DeviceWrite,
        Call::DeviceNotify,
        Call::Serve,
        Call::HostCall,
        Call::HostReply,
    ];

    /// The call with this number, or `None` if there is none.
    ///
    /// ```
    /// use vcpu_abi::call::Call;
    /// assert_eq!(Call::from_number(6), Some(Call::Wait));
    /// assert_eq!(Call::from_number(1000), None);
    /// ```
    pub fn from_number(number: u32) -> Option<Call> {
        Self::ALL.get(number as usize).copied()
    }
}

const _: () = {
    let mut index = 0;
    while index < Call::ALL.len() {
        assert!(Call::ALL[index] as usize == index);
        index += 1;
    }
};

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// Stream number of standard input.
pub const STREAM_INPUT: u64 = 0;
/// Stream number of standard output.
pub const STREAM_OUTPUT: u64 = 1;
/// Stream number of standard errors.
pub const STREAM_ERRORS: u64 = 2;

bitflags! {
    /// Access rights of a page. Pages that are written and executed at the same time do not exist.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u64 {
        /// The page can be read.
        const READ = 1 << 0;
        /// The page can be written; needs `READ`.
        const WRITE = 1 << 1;
        /// The page can be executed; needs `READ`, excludes `WRITE`.
        const EXECUTE = 1 << 2;
    }
}

impl Access {
    /// The rights with this number, if they are one of the four that exist: none, read, read and
    /// write, read and execute.
    ///
    /// ```
    /// use vcpu_abi::call::Access;
    /// assert_eq!(Access::from_number(0), Some(Access::empty()));
    /// assert_eq!(Access::from_number(7), None);
    /// ```
    pub fn from_number(number: u64) -> Option<Access> {
        let access = Access::from_bits(number)?;
        let possible =
            [Access::empty(), Access::READ, Access::READ | Access::WRITE, Access::READ | Access::EXECUTE];
        possible.contains(&access).then_some(access)
    }
}

/// Why a call failed. The numbers are what a call answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Error {
    /// There is no call with this number.
    NoSuchCall = -1,
    /// The address range is not wholly inside the guest's RAM, or its pages lack the needed access.
    BadAddress = -2,
    /// Another argument is out of its range: a line, a stream, an alignment, an access right.
    BadArgument = -3,
    /// Nothing can be transferred now; [`CONSOLE_LINE`](crate::page::CONSOLE_LINE) will be raised.
    Again = -4,
    /// The other end of the stream is gone.
    Closed = -5,
    /// The deadline passed without an event.
    TimedOut = -6,
    /// The machine does not permit it.
    Denied = -7,
    /// The host's own input or output failed.
    Io = -8,
}

impl Error {
    /// All errors.
    pub const ALL: [Error; 8] = [
        Error::NoSuchCall,
        Error::BadAddress,
        Error::BadArgument,
        Error::Again,
        Error::Closed,
        Error::TimedOut,
        Error::Denied,
        Error::Io,
    ];

    /// Splits a call's answer into its value and its error. A negative number without a meaning counts
    /// as [`Error::Io`].
    ///
    /// # Errors
    ///
    /// The error that a negative answer stands for.
    ///
    /// ```
    /// use vcpu_abi::call::Error;
    /// assert_eq!(Error::check(17), Ok(17));
    /// assert_eq!(Error::check(-4), Err(Error::Again));
    /// ```
    pub fn check(answer: i64) -> Result<u64, Error> {
        u64::try_from(answer)
            .map_err(|_| Self::ALL.into_iter().find(|error| *error as i64 == answer).unwrap_or(Error::Io))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Error::NoSuchCall => "there is no call with this number",
            Error::BadAddress => "the address range is not in RAM, or lacks the needed access",
            Error::BadArgument => "an argument is out of its range",
            Error::Again => "nothing can be transferred now",
            Error::Closed => "the other end of the stream is gone",
            Error::TimedOut => "the deadline passed without an event",
            Error::Denied => "the machine does not permit it",
            Error::Io => "the host's input or output failed",
        })
    }
}

impl core::error::Error for Error {}
