//! `embedded-io`: a crate that speaks a protocol (MAVLink) over whatever can be read and written.

use embedded_io::Write;
use libvcpu::io::{stdin, stdout};
use libvcpu::prelude::*;
use mavlink_core::error::ParserError;
use mavlink_core::{MavlinkReader, MavlinkVersion, Message, write_v2_msg};

/// The one message of this dialect: bytes.
struct Text(Vec<u8>);

const ID: u32 = 0x01_02_03;
const NAME: &str = "TEXT";

/// What the dialect adds to the checksum of this message.
const EXTRA: u8 = 0x5a;

/// Answers each message with its text backwards, until the input ends.
pub(crate) fn streams() {
    let mut reader = MavlinkReader::new(stdin());
    let mut count = 0;
    while let Ok((header, Text(mut text))) = reader.read_message(MavlinkVersion::V2) {
        text.reverse();
        count += 1;
        write_v2_msg(&mut stdout(), header, &Text(text)).expect("the answer can be written");
    }
    eprintln!("{count} messages");
}

/// An error has a kind that crates understand.
pub(crate) fn closed() {
    match stdout().write_all(b"nobody reads this") {
        Ok(()) => eprintln!("written"),
        Err(error) => eprintln!("{:?}: {error}", error.kind()),
    }
}

impl Message for Text {
    fn message_id(&self) -> u32 {
        ID
    }

    fn message_name(&self) -> &'static str {
        NAME
    }

    fn target_system_id(&self) -> Option<u8> {
        None
    }

    fn target_component_id(&self) -> Option<u8> {
        None
    }

    fn target_system_id_mut(&mut self) -> Option<&mut u8> {
        None
    }

    fn target_component_id_mut(&mut self) -> Option<&mut u8> {
        None
    }

    fn ser(&self, _version: MavlinkVersion, bytes: &mut [u8]) -> usize {
        bytes[..self.0.len()].copy_from_slice(&self.0);
        self.0.len()
    }

    fn parse(_version: MavlinkVersion, id: u32, payload: &[u8]) -> Result<Text, ParserError> {
        if id == ID { Ok(Text(payload.to_vec())) } else { Err(ParserError::UnknownMessage { id }) }
    }

    fn message_id_from_name(name: &str) -> Option<u32> {
        (name == NAME).then_some(ID)
    }

    fn default_message_from_id(id: u32) -> Option<Text> {
        (id == ID).then(|| Text(Vec::new()))
    }

    fn extra_crc(_id: u32) -> u8 {
        EXTRA
    }
}
