//! `log`: records of a crate that decodes pictures, and of an event handler function.

use crate::{LINE, spawn};
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant, set_timer, sleep};
use zune_core::bytestream::ZCursor;
use zune_qoi::QoiDecoder;

/// The decoder complains about a picture's header, and tells what it finds.
pub(crate) fn log() {
    libvcpu::log::init().expect("there is no logger before");
    let decoder = spawn("decoder", || {
        let header = b"qoif\0\0\0\x07\0\0\0\x05\x03\x09";
        QoiDecoder::new(ZCursor::new(header)).decode_headers().is_ok()
    });
    println!("decoded: {}", decoder.join().unwrap());
    println!("a second logger: {}", libvcpu::log::init().is_ok());

    log::set_max_level(log::LevelFilter::Info);
    log::info!("from {}", "main");
    log::debug!("not shown");
}

/// A handler cannot wait, nor rely on the heap.
pub(crate) fn handler() {
    fn tick() {
        log::error!("line {LINE} was raised {} time", event::count(LINE));
    }
    libvcpu::log::init().expect("there is no logger before");
    event::set_handler(LINE, Some(tick));
    set_timer(LINE, Some(Instant::now()));
    sleep(Duration::from_millis(1));
}
