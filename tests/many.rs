//! Many sandboxes in one process: all answer, and when there is no room for one more the host is told so
//! and loses nothing.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use vcpu_host::{Config, Image, Machine, Outcome};
use vcpu_tests::{BackendKind, again, image, on_every_backend, proc};

/// Sandboxes that are alive at the same time. `vcpu bench memory` does it with a thousand.
const MANY: usize = 100;
/// The line at which the app `measure` answers.
const LINE: u32 = 1;

/// A guest that waits for its line and then ends with a status of its own.
fn config(number: usize, backend: BackendKind) -> Config {
    let arguments = ["measure", "answer", &number.to_string()].map(|argument| argument.as_bytes().to_vec());
    let time_limit = Some(Duration::from_secs(120));
    Config { arguments: arguments.into(), backend, time_limit, ..Config::default() }
}

fn a_hundred_sandboxes_are_alive_at_once_and_all_answer(backend: BackendKind) {
    let image = &Image::open(image("measure")).unwrap();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let run = |number| {
            let tell = tell.clone();
            scope.spawn(move || {
                let mut sandbox = Machine::start(image, config(number, backend)).unwrap();
                tell.send((sandbox.pid(), sandbox.event_lines())).unwrap();
                drop(tell);
                sandbox.run().unwrap()
            })
        };
        let guests: Vec<_> = (0..MANY).map(run).collect();
        drop(tell);
        let started: Vec<_> = told.iter().collect();
        assert_eq!(started.len(), MANY);
        assert!(started.iter().all(|(pid, _)| proc::exists(*pid)));
        for (_, lines) in &started {
            lines.raise(LINE);
        }
        for (number, guest) in guests.into_iter().enumerate() {
            let outcome = guest.join().unwrap();
            let expected = (number * 7 + 3) as u8;
            assert!(
                matches!(outcome, Outcome::Exited(status) if status == expected),
                "{number}: {outcome:?}"
            );
        }
    });
}

fn too_few_files_are_one_sentence_and_cost_nothing(backend: BackendKind) {
    const LIMIT: u64 = 64;
    if !again::is_other() {
        // Alone in a process: the limit is its own.
        again::run(&again::test("too_few_files_are_one_sentence_and_cost_nothing", backend));
        return;
    }
    let image = Image::open(image("measure")).unwrap();
    let start = |number| Machine::start(&image, config(number, backend));
    drop(start(0).unwrap());
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = LIMIT;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let state = || {
        // SAFETY: the status may be left out.
        let children = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
        (count("fd"), count("task"), children)
    };
    const NO_CHILDREN: i32 = -1;
    let before = state();
    assert_eq!(before.2, NO_CHILDREN);
    // Each time there is one descriptor less than the time before, so that every step of a start fails once.
    for room in 0..16 {
        let taken: Vec<_> = (0..room).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let mut alive = Vec::new();
        let error = loop {
            match start(alive.len()) {
                Ok(sandbox) => alive.push(sandbox),
                Err(error) => break error.to_string(),
            }
        };
        assert!(alive.len() > 5, "only {} sandboxes have room: {error}", alive.len());
        let says =
            "a sandbox takes 4 files and those of its streams: raise the limit, which is 64 (`ulimit -n`)";
        assert!(error.starts_with("could not ") && error.ends_with(says), "{error}");
        drop((taken, alive));
        proc::wait_until("everything is as before", || state() == before);
    }
    let mut sandbox = start(1).unwrap();
    sandbox.event_lines().raise(LINE);
    assert!(matches!(sandbox.run(), Ok(Outcome::Exited(10))));
}

on_every_backend!(
    a_hundred_sandboxes_are_alive_at_once_and_all_answer,
    too_few_files_are_one_sentence_and_cost_nothing,
);
