//! Sandboxes whose functions a host program calls: what goes back and forth, and what a guest can do about it.

use guest_embed::{End, Everything, Kind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, pipe};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use vcpu_host::embed::{AsyncSandbox, Buffer, CallError, SandboxBuilder, Slice};
use vcpu_host::{Error, Grant, Image, Outcome, Resource as Granted, Sandbox, Streams};
use vcpu_tests::{BackendKind, Guest, again, on_every_backend};

/// More time than any call needs that ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// A deadline that is to come.
const SOON: Duration = Duration::from_millis(100);

const MIB: usize = 1 << 20;

fn builder(package: &str, backend: BackendKind) -> SandboxBuilder {
    let image = Image::open(vcpu_tests::image(package)).expect("the image is one");
    Sandbox::builder(&image).backend(backend).argument(package).call_deadline(PATIENCE)
}

fn sandbox(backend: BackendKind) -> Sandbox {
    builder("guest-embed", backend).build().expect("the sandbox starts")
}

fn hostile(backend: BackendKind, attack: &str, number: u64) -> Sandbox {
    let builder = builder("guest-embed-hostile", backend).argument(attack).argument(number.to_string());
    let builder = builder.function("bytes", |length: u32| vec![7u8; length as usize]);
    builder.build().expect("the sandbox starts")
}

on_every_backend!(
    values_of_every_type_go_back_and_forth,
    arguments_may_borrow_and_be_large,
    state_is_kept_between_calls,
    a_library_has_threads_output_and_an_environment,
    a_function_says_why_it_failed,
    what_the_guest_does_not_have_or_take_is_an_error,
    what_is_not_the_type_that_was_asked_for_is_an_error,
    replies_are_limited,
    values_may_come_encoded,
    host_functions_are_called,
    a_host_function_may_fail_or_panic,
    host_functions_see_slices,
    what_was_not_granted_is_refused,
    every_end_is_an_error_with_its_report,
    every_way_to_take_too_long_ends_at_the_deadline,
    a_deadline_that_was_met_is_none,
    a_start_may_fail,
    a_dead_sandbox_stays_dead,
    a_library_that_is_run_says_that_it_is_one,
    buffers_are_shared,
    slices_are_checked_when_they_are_used,
    the_guest_checks_slices_too,
    a_killed_guest_is_an_error,
    a_sandbox_is_used_by_any_thread,
    many_run_at_once,
    calls_are_futures,
    a_future_that_is_dropped_loses_nothing,
    calls_are_counted,
    ranges_that_are_not_there_are_refused,
    replies_that_cannot_be_taken_are_errors,
    garbage_is_an_error_or_a_value,
    lengths_without_end_cost_nothing,
    host_calls_with_wrong_ranges_are_refused,
    replies_may_change_while_they_are_read,
    a_call_that_is_delayed_ends_at_its_deadline,
    what_an_image_wants_does_not_choose_the_backend,
    output_that_cannot_be_written_does_not_end_the_host,
);

fn an_everything(depth: u32) -> Everything {
    Everything {
        numbers: (1, -1, 300, -300, 70_000, -70_000, u64::MAX, i64::MIN, u128::MAX, i128::MIN),
        floats: (1.5, -0.0),
        flag: true,
        letter: '\u{1f980}',
        text: "Grüße".to_owned(),
        bytes: (0..=255).collect(),
        perhaps: (depth > 0).then(|| Box::new(an_everything(depth - 1))),
        kinds: vec![Kind::Plain, Kind::With(depth), Kind::Point { x: -5, y: 1 << 40 }],
        table: BTreeMap::from([("one".to_owned(), 1), ("two".to_owned(), 2)]),
        fixed: [1, 2, 3, 4, 65535],
        nothing: (),
    }
}

fn values_of_every_type_go_back_and_forth(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    for depth in 0..4 {
        let value = an_everything(depth);
        let back: Everything = sandbox.call("everything", &value).unwrap();
        assert_eq!(back, value);
    }
    let (): () = sandbox.call("null", &()).unwrap();
}

fn arguments_may_borrow_and_be_large(backend: BackendKind) {
    // The guest has argument, result and reply at once, and the reply grows by doubling.
    let mut sandbox = builder("guest-embed", backend).memory(256 << 20).build().unwrap();
    assert_eq!(sandbox.call::<_, u64>("sum", &[1u8, 2, 3][..]).unwrap(), 6);
    assert_eq!(sandbox.call::<_, String>("upper", "straße").unwrap(), "STRASSE");
    assert_eq!(sandbox.call::<_, String>("longest", &("ab", "abc")).unwrap(), "abc");
    // Around the room that there is at first, and far beyond, also in turns.
    for length in [4080, 4088, 4089, 4090, 4096, 100, 8192, MIB, 10, 4 * MIB, 0, 15 * MIB] {
        let bytes = vec![1u8; length];
        assert_eq!(sandbox.call::<_, u64>("sum", &bytes[..]).unwrap(), length as u64);
        let back: Vec<u8> = sandbox.call("bytes", &(length as u32, 5u8)).unwrap();
        assert!(back.len() == length && back.iter().all(|byte| *byte == 5), "{length} bytes");
    }
    let too_long = sandbox.call::<_, u64>("sum", &vec![0u8; 16 * MIB][..]);
    assert!(matches!(too_long, Err(CallError::TooLong(_))), "{too_long:?}");
    assert_eq!(sandbox.call::<_, u64>("sum", &[1u8][..]).unwrap(), 1);
}

fn state_is_kept_between_calls(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    for expected in 100..200 {
        assert_eq!(sandbox.call::<_, u32>("count", &()).unwrap(), expected);
    }
    // Long enough for either side to fall asleep.
    thread::sleep(Duration::from_millis(20));
    assert_eq!(sandbox.call::<_, u32>("count", &()).unwrap(), 200);
}

fn a_library_has_threads_output_and_an_environment(backend: BackendKind) {
    let (mut output, writer) = pipe().unwrap();
    let streams = Streams { output: writer.into(), ..Streams::null().unwrap() };
    let mut sandbox = builder("guest-embed", backend).streams(streams).env("COLOUR", "blue").build().unwrap();
    let (): () = sandbox.call("print", "a line").unwrap();
    assert_eq!(sandbox.call::<_, u32>("in_thread", &21u32).unwrap(), 42);
    let colour: Option<String> = sandbox.call("environment", "COLOUR").unwrap();
    assert_eq!(colour.as_deref(), Some("blue"));
    drop(sandbox);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a line\n");
}

fn a_function_says_why_it_failed(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    assert_eq!(sandbox.call::<_, u32>("divide", &(6, 3)).unwrap(), 2);
    let failed = sandbox.call::<_, u32>("divide", &(6, 0)).unwrap_err();
    assert!(
        matches!(&failed, CallError::Failed(why) if why == "nothing can be divided by zero"),
        "{failed:?}"
    );
    assert_eq!(sandbox.call::<_, u32>("divide", &(9, 3)).unwrap(), 3);
}

fn what_the_guest_does_not_have_or_take_is_an_error(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    match sandbox.call::<_, ()>("nul", &()) {
        Err(CallError::NoSuchFunction { name, exports }) => {
            assert_eq!(name, "nul");
            assert!(
                exports.contains(&"null".to_owned()) && exports.contains(&"end".to_owned()),
                "{exports:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    // Too short, too long, no text.
    for wrong in [&[][..], &[3], &[1, 1, 1], &[2, 0xff, 0xff]] {
        let result = sandbox.call::<_, String>("upper", &Raw(wrong));
        assert!(matches!(result, Err(CallError::BadArgument(_))), "{wrong:?}: {result:?}");
    }
    let longer = sandbox.call::<_, u32>("divide", &(1u32, 2u32, 3u32)).unwrap_err();
    assert!(longer.to_string().contains("by 1 bytes"), "{longer}");
    assert_eq!(sandbox.call::<_, u32>("divide", &(8, 2)).unwrap(), 4);
}

/// Bytes that are their own encoding.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

#[track_caller]
fn assert_bad_reply<R: DeserializeOwned + Debug>(result: Result<R, CallError>) {
    assert!(matches!(result, Err(CallError::BadReply(_))), "{result:?}");
}

fn what_is_not_the_type_that_was_asked_for_is_an_error(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    assert_bad_reply(sandbox.call::<_, Everything>("count", &()));
    assert_bad_reply(sandbox.call::<_, ()>("count", &()));
    assert_bad_reply(sandbox.call::<_, String>("bytes", &(4u32, 0xffu8)));
    assert_bad_reply(sandbox.call::<_, bool>("count", &()));
    assert_eq!(
        sandbox.call::<_, u32>("count", &()).unwrap(),
        103,
        "the calls were made, and the guest goes on"
    );
}

fn replies_are_limited(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend).reply_limit(1000).build().unwrap();
    // A status and a length of two bytes.
    assert_eq!(sandbox.call::<_, Vec<u8>>("bytes", &(997u32, 1u8)).unwrap().len(), 997);
    assert_bad_reply(sandbox.call::<_, Vec<u8>>("bytes", &(998u32, 1u8)));
    assert_eq!(sandbox.call::<_, u32>("count", &()).unwrap(), 100);
}

fn values_may_come_encoded(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend)
        .encoded_function("next", |_, argument, result| match argument {
            [value] => {
                result.push(value + 1);
                Ok(())
            }
            _ => Err("one byte is wanted"),
        })
        .build()
        .unwrap();
    assert_eq!(sandbox.call_encoded("divide", &[12, 3]).unwrap(), [4]);
    assert_eq!(sandbox.call_encoded("upper", b"\x02ab").unwrap(), b"\x02AB");
    assert_eq!(sandbox.call_encoded("null", &[]).unwrap(), [0u8; 0]);
    assert!(matches!(sandbox.call_encoded("divide", &[1]), Err(CallError::BadArgument(_))));
    assert!(matches!(sandbox.call_encoded("divide", &[1, 0]), Err(CallError::Failed(_))));
    assert_eq!(sandbox.call::<_, String>("ask", &("next", 5u32)).unwrap(), "6");
    assert_eq!(sandbox.call::<_, String>("ask", &("next", 500u32)).unwrap(), "one byte is wanted");
    let metrics = sandbox.metrics();
    assert_eq!((metrics.calls, metrics.failed), (7, 2));
}

fn host_functions_are_called(backend: BackendKind) {
    let mut total = 0;
    let mut sandbox = builder("guest-embed", backend)
        .function("double", |value: u32| value * 2)
        .function("add", move |value: u32| {
            total += value;
            total
        })
        .function("bytes", |length: u32| vec![1u8; length as usize])
        .build()
        .unwrap();
    assert_eq!(sandbox.call::<_, String>("ask", &("double", 21u32)).unwrap(), "42");
    assert_eq!(sandbox.call::<_, String>("ask", &("add", 1u32)).unwrap(), "1");
    assert_eq!(sandbox.call::<_, String>("ask", &("add", 2u32)).unwrap(), "3");
    // Replies for which the guest has room, and then not, and then again.
    for length in [10, 100_000, 10, MIB as u32, 0] {
        assert_eq!(sandbox.call::<_, u32>("ask_bytes", &("bytes", length)).unwrap(), length);
    }
}

fn a_host_function_may_fail_or_panic(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend)
        .try_function("fails", |_: u32| Err::<u32, _>("there is no such file"))
        .function("takes_text", |text: String| text)
        .function("too_long", |_: u32| vec![0u8; 17 * MIB])
        .function("panics", |value: u32| -> u32 { panic!("with {value}") })
        .build()
        .unwrap();
    let mut ask = |name: &str| sandbox.call::<_, String>("ask", &(name, 5u32)).unwrap();
    assert_eq!(ask("fails"), "there is no such file");
    assert!(ask("takes_text").contains("is not of the type"), "{}", ask("takes_text"));
    assert!(ask("too_long").contains("more than 16777216"), "{}", ask("too_long"));
    if cfg!(panic = "unwind") {
        assert!(ask("panics").contains("has panicked"), "{}", ask("panics"));
    }
    assert_eq!(ask("fails"), "there is no such file");
}

fn host_functions_see_slices(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend)
        .shared_function("fill", |memory, value: u32| {
            let slice = Slice::new(0x20_0000, u64::from(value));
            memory.write(slice, 0, &vec![1; value as usize]).map(|()| value)
        })
        .build()
        .unwrap();
    // That is the text of the image.
    let text = sandbox.call::<_, String>("ask", &("fill", 16u32)).unwrap();
    assert!(text.contains("0x200000") && text.contains("not in its memory"), "{text}");
}

fn what_was_not_granted_is_refused(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    let refused: String = sandbox.call("ask", &("secret", 1u32)).unwrap();
    assert_eq!(refused, "the host has granted no function `secret`");
    let metrics = sandbox.metrics();
    assert_eq!((metrics.host_calls, metrics.refused), (1, 1));
}

/// The outcome of a call that ended the guest.
#[track_caller]
fn ended<R: Debug>(result: Result<R, CallError>) -> Outcome {
    match result {
        Err(CallError::Ended(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Keeps what is logged in this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("vcpu_host")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = format!("{}:", span.metadata().name());
        span.record(&mut |field: &Field, value: &dyn Debug| text += &format!(" {field}={value:?}"));
        self.0.lock().unwrap().push((*span.metadata().level(), text));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut |_: &Field, value: &dyn Debug| text += &format!("{value:?} "));
        self.0.lock().unwrap().push((*event.metadata().level(), text));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// In a process of its own: who logs for the first time in another thread meanwhile decides what is logged at all.
/// And with one backend: the other calls functions of the host's in a thread that logs elsewhere.
#[test]
fn what_happens_is_logged() {
    if !again::is_other() {
        return again::run("what_happens_is_logged");
    }
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let mut sandbox = sandbox(BackendKind::Seccomp);
        for _ in 0..100 {
            let _: String = sandbox.call("ask", &("secret\x1b[2J", 1u32)).unwrap();
        }
        ended(sandbox.call::<_, ()>("end", &End::Panic));
    });
    let log = log.0.lock().unwrap();
    let of = |wanted: Level, part: &str| {
        log.iter().filter(|(level, text)| *level == wanted && text.contains(part)).count()
    };
    assert_eq!(of(Level::DEBUG, "call: function=\"ask\""), 100, "{log:?}");
    // A guest cannot fill the log by that, nor control a terminal.
    let refusals = of(Level::WARN, "`SandboxBuilder::function` would grant it");
    assert!((1..=16).contains(&refusals), "{log:?}");
    assert!(log.iter().all(|(_, text)| !text.contains('\x1b')), "{log:?}");
    assert_eq!(of(Level::WARN, "the function has panicked"), 1, "{log:?}");
}

fn every_end_is_an_error_with_its_report(backend: BackendKind) {
    for (end, sentence) in [
        (End::Panic, "the function has panicked"),
        (End::Fault, "page fault at address 0x0"),
        (End::StackOverflow, "stack"),
        (End::OutOfMemory, "memory allocation of 1048576 bytes failed"),
        (End::Exit(7), "status 7"),
    ] {
        let mut sandbox = builder("guest-embed", backend).memory(32 << 20).build().unwrap();
        let error = sandbox.call::<_, ()>("end", &end).unwrap_err();
        assert!(error.to_string().contains(sentence), "{end:?}: {error}");
        let CallError::Ended(outcome) = error else { panic!("{end:?}: {error:?}") };
        match (end, &outcome) {
            (End::Exit(7), Outcome::Exited(7)) | (End::Fault | End::StackOverflow, Outcome::Faulted(_)) => {}
            (End::Panic | End::OutOfMemory, Outcome::Panicked(report)) => {
                let has = |frame: &vcpu_host::Frame| {
                    frame.function.as_deref().is_some_and(|name| name.contains("end::end"))
                };
                assert!(report.backtrace.iter().any(has), "{report}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sandbox(backend).call::<_, u32>("count", &()).unwrap(), 100, "the host goes on");
}

fn every_way_to_take_too_long_ends_at_the_deadline(backend: BackendKind) {
    let ways = [
        End::Spin,
        End::Sleep,
        End::Wait,
        End::Flood,
        End::FloodByTrap,
        End::WaitByTrap,
        End::Print,
        End::CallHost,
    ];
    for end in ways {
        let builder = builder("guest-embed", backend).call_deadline(SOON);
        let mut sandbox = builder.function("double", |value: u32| value * 2).build().unwrap();
        // Not only the first call.
        let (): () = sandbox.call("null", &()).unwrap();
        let begin = Instant::now();
        let outcome = ended(sandbox.call::<_, ()>("end", &end));
        assert!(matches!(outcome, Outcome::TimeLimit(_)), "{end:?}: {outcome:?}");
        let time = begin.elapsed();
        assert!(time >= SOON && time < PATIENCE, "{end:?} took {time:?}");
    }
}

fn a_deadline_that_was_met_is_none(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend).call_deadline(SOON).build().unwrap();
    let end = Instant::now() + 3 * SOON;
    while Instant::now() < end {
        let (): () = sandbox.call("null", &()).unwrap();
    }
    // Between two calls no time passes for the guest.
    thread::sleep(2 * SOON);
    let (): () = sandbox.call("null", &()).unwrap();
}

fn a_start_may_fail(backend: BackendKind) {
    let start = |argument: &str| {
        builder("guest-embed", backend).argument(argument).start_deadline(SOON).build().map(drop).unwrap_err()
    };
    let error = start("panic");
    assert!(matches!(&error, Error::EndedEarly(Outcome::Panicked(_))), "{error:?}");
    assert!(error.to_string().contains("no initialisation"), "{error}");
    let error = start("spin");
    assert!(matches!(&error, Error::EndedEarly(Outcome::TimeLimit(_))), "{error:?}");
    let error = start("return");
    assert!(error.to_string().contains("`libvcpu::embed::serve`"), "{error}");
    let small = builder("guest-embed", backend).memory(4096).build().map(drop).unwrap_err();
    assert!(matches!(small, Error::Image(_)), "{small}");
}

fn a_dead_sandbox_stays_dead(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    assert!(sandbox.is_alive());
    ended(sandbox.call::<_, ()>("end", &End::Panic));
    assert!(!sandbox.is_alive());
    for _ in 0..3 {
        let result = sandbox.call::<_, ()>("null", &());
        assert!(matches!(result, Err(CallError::Dead)), "{result:?}");
    }
    assert!(matches!(sandbox.allocate(10), Err(CallError::Dead)));
}

fn a_library_that_is_run_says_that_it_is_one(backend: BackendKind) {
    let ended = Guest::new("guest-embed", backend).run();
    assert_eq!(ended.status(), 1, "{ended}");
    let errors = ended.errors_text();
    assert!(errors.starts_with("this image is a library: ") && errors.contains("`divide`"), "{ended}");
}

fn buffers_are_shared(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    let buffer = sandbox.allocate(MIB).unwrap();
    let slice = buffer.slice();
    assert_eq!((slice.length(), slice.address() % 64), (MIB as u64, 0));
    assert!(sandbox.to_vec(slice).unwrap().iter().all(|byte| *byte == 0));
    sandbox.write(slice, 5, b"host").unwrap();
    let (): () = sandbox.call("invert", &slice).unwrap();
    let mut bytes = [0; 6];
    sandbox.read(slice, 4, &mut bytes).unwrap();
    assert_eq!(bytes, [!0, !b'h', !b'o', !b's', !b't', !0]);
    // The same slice comes back, and what was seen is what is there.
    sandbox.write(slice, 0, b"a").unwrap();
    let back: Slice = sandbox.call("ends", &slice).unwrap();
    assert_eq!(back, slice);
    let last = sandbox.view(slice, |bytes| {
        let mut last = [0];
        bytes.offset(MIB - 1).unwrap().copy_to(&mut last);
        last[0]
    });
    assert_eq!(last, Ok(b'a'));
    // Parts of one buffer, and a buffer that the guest made.
    let (left, right) = (slice.part(0, 100).unwrap(), slice.part(100, 50).unwrap());
    assert_eq!(sandbox.call::<_, u64>("two", &(left, right)).unwrap(), 150);
    let made: Slice = sandbox.call("make", &(1000u32, 9u8)).unwrap();
    assert_eq!(sandbox.to_vec(made).unwrap(), [9; 1000]);
    sandbox.free(Buffer::from(made)).unwrap();
    sandbox.free(buffer).unwrap();
    // Much more than there is, if nothing were freed.
    for _ in 0..50 {
        let buffer = sandbox.allocate(16 * MIB).unwrap();
        sandbox.free(buffer).unwrap();
    }
}

fn slices_are_checked_when_they_are_used(backend: BackendKind) {
    let mut sandbox = builder("guest-embed", backend).memory(32 << 20).build().unwrap();
    let (base, end) = (0x20_0000, 0x20_0000 + (32 << 20));
    let outside = [
        (0, 1),
        (base - 1, 1),
        (base - 1, 2),
        (end, 1),
        (end - 1, 2),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (base, u64::MAX),
        (base, 33 << 20),
        (0x1_0000, 8),
    ];
    for (address, length) in outside {
        let slice = Slice::new(address, length);
        assert!(sandbox.to_vec(slice).is_err(), "{slice:?}");
        assert!(sandbox.read(slice, 0, &mut [0]).is_err() || (base..end).contains(&address), "{slice:?}");
        assert!(sandbox.write(slice, length - 1, &[0]).is_err(), "{slice:?}");
        assert!(sandbox.view(slice, |_| ()).is_err(), "{slice:?}");
    }
    let buffer = sandbox.allocate(100).unwrap();
    let slice = buffer.slice();
    assert!(sandbox.read(slice, 99, &mut [0]).is_ok());
    assert!(sandbox.read(slice, 100, &mut [0]).is_err());
    assert!(sandbox.read(slice, u64::MAX, &mut [0]).is_err());
    assert!(sandbox.write(slice, 98, &[0; 3]).is_err());
    assert!(matches!(sandbox.allocate(0), Err(CallError::Failed(_))));
    assert!(matches!(sandbox.allocate(33 << 20), Err(CallError::Failed(_))));
    assert!(matches!(sandbox.allocate(usize::MAX), Err(CallError::Failed(_))));
    assert!(sandbox.is_alive());
}

fn the_guest_checks_slices_too(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    let buffer = sandbox.allocate(100).unwrap();
    let slice = buffer.slice();
    let refused = |result: Result<u64, CallError>| {
        assert!(matches!(result, Err(CallError::BadArgument(_))), "{result:?}");
    };
    let (left, right) = (slice.part(0, 51).unwrap(), slice.part(50, 50).unwrap());
    refused(sandbox.call("two", &(left, right)));
    refused(sandbox.call("two", &(slice, Slice::new(slice.address() + 100, 1))));
    refused(sandbox.call("two", &(slice, Slice::new(u64::MAX, 2))));
    // Slices are the main thread's, and their bytes are everybody's.
    assert_eq!(sandbox.call::<_, (bool, bool)>("elsewhere", &slice).unwrap(), (false, true));
    assert_eq!(sandbox.to_vec(slice).unwrap(), [3; 100]);
    // Nothing of that is still lent.
    let empty = Slice::new(0, 0);
    assert_eq!(sandbox.call::<_, u64>("two", &(slice, empty)).unwrap(), 100);
    // What the guest uses cannot be freed.
    let (): () = sandbox.call("keep", &left).unwrap();
    let result = sandbox.free(buffer);
    assert!(matches!(&result, Err(CallError::Failed(why)) if why.contains("still uses")), "{result:?}");
    let result = sandbox.free(Buffer::from(Slice::new(0x30_0000, 8)));
    assert!(matches!(&result, Err(CallError::Failed(why)) if why.contains("no such buffer")), "{result:?}");
}

fn a_killed_guest_is_an_error(backend: BackendKind) {
    let mut sandbox = sandbox(backend);
    let (): () = sandbox.call("null", &()).unwrap();
    // SAFETY: a signal for a child of this process, which was not waited for.
    assert_eq!(unsafe { libc::kill(sandbox.pid(), libc::SIGKILL) }, 0);
    let outcome = ended(sandbox.call::<_, ()>("null", &()));
    assert!(matches!(outcome, Outcome::Killed(_)), "{outcome:?}");
}

fn a_sandbox_is_used_by_any_thread(backend: BackendKind) {
    // The thread that has built it has ended when others use it.
    let mut sandbox = thread::spawn(move || sandbox(backend)).join().unwrap();
    for expected in 100..110 {
        sandbox = thread::spawn(move || {
            assert_eq!(sandbox.call::<_, u32>("count", &()).unwrap(), expected);
            sandbox
        })
        .join()
        .unwrap();
    }
    let outcome = thread::spawn(move || ended(sandbox.call::<_, ()>("end", &End::Fault))).join().unwrap();
    assert!(matches!(outcome, Outcome::Faulted(_)), "{outcome:?}");
}

fn many_run_at_once(backend: BackendKind) {
    let image = Image::open(vcpu_tests::image("guest-embed")).unwrap();
    thread::scope(|scope| {
        for index in 0..8u32 {
            let builder = Sandbox::builder(&image).backend(backend).call_deadline(PATIENCE);
            scope.spawn(move || {
                let mut sandbox =
                    builder.function("double", move |value: u32| value * 2 + index).build().unwrap();
                for turn in 0..50u32 {
                    assert_eq!(sandbox.call::<_, u32>("count", &()).unwrap(), 100 + turn);
                    let answer: String = sandbox.call("ask", &("double", turn)).unwrap();
                    assert_eq!(answer, (turn * 2 + index).to_string());
                }
                if index % 2 == 0 {
                    ended(sandbox.call::<_, ()>("end", &End::Panic));
                }
            });
        }
    });
}

/// Carries out a future on two threads.
fn wait_for<R>(future: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.unwrap().block_on(future)
}

fn calls_are_futures(backend: BackendKind) {
    wait_for(async {
        let sandbox = AsyncSandbox::build(builder("guest-embed", backend)).await.unwrap();
        // They come in their order, also if many wait.
        let calls: Vec<_> = (0..20u32)
            .map(|index| {
                let sandbox = sandbox.clone();
                tokio::spawn(async move {
                    let length = sandbox.call::<_, Vec<u8>>("bytes", &(index, 1u8)).await.unwrap().len();
                    assert_eq!(length, index as usize);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let calls = sandbox.with(|sandbox| sandbox.metrics().calls).await.unwrap();
        assert_eq!(calls, 20);
        let failed = sandbox.call::<_, u32>("divide", &(1, 0)).await;
        assert!(matches!(failed, Err(CallError::Failed(_))), "{failed:?}");
        let panicked = sandbox.call::<_, ()>("end", &End::Panic).await;
        assert!(matches!(ended(panicked), Outcome::Panicked(_)));
        assert!(matches!(sandbox.call::<_, u32>("count", &()).await, Err(CallError::Dead)));
    });
}

fn a_future_that_is_dropped_loses_nothing(backend: BackendKind) {
    wait_for(async {
        let sandbox = AsyncSandbox::build(builder("guest-embed", backend)).await.unwrap();
        // One that was not begun does nothing.
        drop(sandbox.call::<_, u32>("count", &()));
        assert_eq!(sandbox.call::<_, u32>("count", &()).await.unwrap(), 100);
        // One that runs comes to its end, and another waits for it.
        let nap = sandbox.call::<_, ()>("nap", &300u32);
        assert!(tokio::time::timeout(Duration::from_millis(50), nap).await.is_err());
        assert_eq!(sandbox.call::<_, u32>("count", &()).await.unwrap(), 102, "the nap was counted");
        // One that waits for its turn is taken back.
        let (first, second) = (sandbox.clone(), sandbox.clone());
        let nap = tokio::spawn(async move { first.call::<_, ()>("nap", &200u32).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = second.call::<_, u32>("count", &());
        assert!(tokio::time::timeout(Duration::from_millis(10), waits).await.is_err());
        nap.await.unwrap().unwrap();
        assert_eq!(sandbox.call::<_, u32>("count", &()).await.unwrap(), 104);
    });
}

fn calls_are_counted(backend: BackendKind) {
    let mut sandbox =
        builder("guest-embed", backend).function("double", |value: u32| value * 2).build().unwrap();
    assert_eq!(sandbox.metrics(), Default::default());
    let _: u64 = sandbox.call("sum", &[0u8; 100][..]).unwrap();
    let _: String = sandbox.call("ask", &("double", 1u32)).unwrap();
    let _ = sandbox.call::<_, u32>("divide", &(1, 0));
    ended(sandbox.call::<_, ()>("end", &End::Panic));
    let metrics = sandbox.metrics();
    assert_eq!((metrics.calls, metrics.failed, metrics.ended), (4, 2, 1));
    assert_eq!((metrics.host_calls, metrics.refused), (1, 0));
    // Names and arguments: "sum" and 100 bytes, each with their lengths, and so on.
    assert_eq!(metrics.bytes_in, (4 + 101) + (4 + 7 + 1) + (7 + 2) + (4 + 1));
    // A status and a small number; a status and a text; a status and a sentence; nothing.
    assert_eq!(metrics.bytes_out, 2 + 3 + 31);
}

fn ranges_that_are_not_there_are_refused(backend: BackendKind) {
    let mut sandbox = hostile(backend, "ranges", 0);
    assert_eq!(sandbox.call::<_, u32>("", &()).unwrap(), 2 * 14 + 1);
    let mut sandbox = hostile(backend, "rights", 0);
    assert_eq!(sandbox.call::<_, u32>("", &()).unwrap(), 3);
}

fn replies_that_cannot_be_taken_are_errors(backend: BackendKind) {
    for attack in ["text", "long", "no-room", "more-room-never", "empty", "same"] {
        let mut sandbox = hostile(backend, attack, 0);
        for _ in 0..5 {
            assert_bad_reply(sandbox.call::<_, u32>("function", &()));
        }
        assert!(sandbox.is_alive(), "{attack}");
    }
}

fn garbage_is_an_error_or_a_value(backend: BackendKind) {
    for seed in 1..20 {
        let mut sandbox = hostile(backend, "garbage", seed);
        for _ in 0..100 {
            let _ = sandbox.call::<_, Everything>("x", &()).map_err(|error| error.to_string());
            let _ = sandbox.call::<_, String>("x", &()).map_err(|error| error.to_string());
            let _ =
                sandbox.call::<_, Vec<(u32, Option<String>)>>("x", &()).map_err(|error| error.to_string());
            let _ = sandbox.call::<_, Slice>("x", &()).map(|slice| sandbox.to_vec(slice));
        }
        assert!(sandbox.is_alive());
    }
}

fn lengths_without_end_cost_nothing(backend: BackendKind) {
    for length in [100, u64::from(u32::MAX), 1 << 40, u64::MAX / 2, u64::MAX] {
        let mut sandbox = hostile(backend, "lengths", length);
        assert_bad_reply(sandbox.call::<_, Vec<u8>>("", &()));
        assert_bad_reply(sandbox.call::<_, String>("", &()));
        assert_bad_reply(sandbox.call::<_, Vec<[u64; 8]>>("", &()));
        assert_bad_reply(sandbox.call::<_, BTreeMap<String, Vec<u8>>>("", &()));
        assert_bad_reply(sandbox.call::<_, Vec<()>>("", &()));
    }
}

fn host_calls_with_wrong_ranges_are_refused(backend: BackendKind) {
    let mut sandbox = hostile(backend, "host-calls", 0);
    assert_eq!(sandbox.call::<_, u32>("", &()).unwrap(), 2 * 14 + 5);
}

fn replies_may_change_while_they_are_read(backend: BackendKind) {
    let mut sandbox = hostile(backend, "race", 0);
    for _ in 0..500 {
        // Whatever it is made of, it is a text.
        if let Ok(text) = sandbox.call::<_, String>("", &()) {
            assert!(text.len() == 62 && text.is_ascii(), "{text:?}");
        }
    }
}

fn a_call_that_is_delayed_ends_at_its_deadline(backend: BackendKind) {
    let builder = builder("guest-embed", backend).calls_per_second(NonZeroU32::MIN);
    let mut sandbox = builder.call_deadline(SOON).build().unwrap();
    let end = (0..3).find_map(|_| sandbox.call::<_, ()>("null", &()).err());
    assert!(matches!(end, Some(CallError::Ended(Outcome::TimeLimit(_)))), "{end:?}");
}

fn what_an_image_wants_does_not_choose_the_backend(backend: BackendKind) {
    if !again::is_other() {
        return again::run(&again::test("what_an_image_wants_does_not_choose_the_backend", backend));
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = tempfile::tempfile().unwrap();
    let resources = [
        ("disk", Granted::Block { file: disk, writable: true }),
        ("media", Granted::Directory { path: folder.path().to_owned(), writable: false, exclusive: false }),
        ("entropy", Granted::Entropy),
    ];
    let wants =
        resources.into_iter().fold(builder("guest-wants", BackendKind::Auto), |builder, (name, resource)| {
            builder.grant(Grant { name: name.to_owned(), resource })
        });
    assert!(matches!(wants.build(), Err(Error::EndedEarly(_))));
    let mut sandbox = sandbox(BackendKind::Auto);
    assert_eq!(sandbox.backend(), BackendKind::Seccomp);
}

/// Not every host ignores the signals by which the system says that something cannot be written.
fn output_that_cannot_be_written_does_not_end_the_host(backend: BackendKind) {
    if !again::is_other() {
        return again::run(&again::test("output_that_cannot_be_written_does_not_end_the_host", backend));
    }
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: what happens then is what happens where nobody has said anything.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let folder = tempfile::tempdir().unwrap();
    let limit = Rlimit { current: Some(1 << 20), ..getrlimit(Resource::Fsize) };
    let file = File::create(folder.path().join("output")).unwrap();
    file.set_len(1 << 20).unwrap();
    let appended = File::options().append(true).open(folder.path().join("output")).unwrap();
    let mut sandboxes = [OwnedFd::from(pipe().unwrap().1), appended.into()].map(|output| {
        let streams = Streams { output, ..Streams::null().unwrap() };
        builder("guest-embed", backend).streams(streams).build().unwrap()
    });
    setrlimit(Resource::Fsize, limit).unwrap();
    for sandbox in &mut sandboxes {
        // Whether it minds is the guest's own affair.
        let _ = sandbox.call::<_, ()>("print", "nobody reads this");
    }
}
