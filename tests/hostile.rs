//! Attacks: a guest that uses everything it can reach against the machine.
//!
//! What a guest does to itself is its own business. Nothing outside may happen, and the host goes on: it
//! says what became of the guest, or the guest ends by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use vcpu_abi::layout::{GATE, INFO_PAGE, PAGE_SIZE, RAM_BASE, TRAP_PAGE, VCPU_PAGE};
use vcpu_host::backend::Pace;
use vcpu_host::{Config, Image, Machine, Outcome, Streams};
use vcpu_tests::{BackendKind, Ended, Guest, again, image, on_every_backend, proc};

fn attack(name: &str, backend: BackendKind) -> Guest {
    Guest::new("guest-hostile", backend).arguments([name])
}

/// A line that no attack knows.
const UNUSED: u32 = 9;

/// Runs an attack that says when it begins and when it is over, and compares what the system knows of its
/// process before and after it. Gives what the guest printed in between.
#[track_caller]
fn nothing_changes_outside(name: &str, backend: BackendKind) -> String {
    let mut live = attack(name, backend).start();
    let mut output = BufReader::new(live.output.try_clone().unwrap());
    let observe = |pid: i32| {
        let mut status = ["Seccomp", "NoNewPrivs", "Threads", "TracerPid", "SigIgn", "SigCgt", "SigBlk"];
        if backend != BackendKind::Ptrace {
            // A guest may return from a signal that never came, and block for itself what it likes.
            status[6] = "Seccomp";
        }
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let status = status.map(|field| proc::status(pid, field));
        (proc::read(pid, "maps"), proc::read(pid, "limits"), open, status)
    };
    let mut text = String::new();
    let mut until = |text: &mut String, end: &str| {
        while !text.ends_with(end) && output.read_line(text).unwrap() > 0 {}
    };
    until(&mut text, "before\n");
    let before = observe(live.pid);
    live.input.write_all(b"x").unwrap();
    text.clear();
    // Who jumps to where the gate sleeps has to be woken.
    let over = &AtomicBool::new(false);
    let lines = live.lines.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !over.load(Relaxed) {
                lines.raise(UNUSED);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        until(&mut text, "after\n");
        over.store(true, Relaxed);
    });
    if !text.ends_with("after\n") {
        panic!("after {text}, {}", live.end(b""));
    }
    text.truncate(text.len() - "after\n".len());
    assert_eq!(before, observe(live.pid), "{text}");
    live.input.write_all(b"x").unwrap();
    live.end(b"").assert_output("");
    text
}

fn no_system_call_is_carried_out(backend: BackendKind) {
    assert_eq!(nothing_changes_outside("own-calls", backend), "0 wrong\n");
}

fn the_gates_system_calls_serve_nobody_else(backend: BackendKind) {
    let text = nothing_changes_outside("gate-calls", backend);
    assert!(text.ends_with("jumps\n0 wrong\n"), "{text}");
}

fn a_jump_to_any_byte_of_the_gate_does_no_harm(backend: BackendKind) {
    if backend == BackendKind::Ptrace {
        nothing_changes_outside("gate-bytes", backend);
        return;
    }
    // There are handlers of signals, too, and a guest that jumps into them need not live on. The host does.
    let code = attack("gate-length", backend).run();
    let code: u64 = code.output_text().trim().parse().expect("it is a number");
    let limit = |config: &mut Config| config.time_limit = Some(Duration::from_millis(50));
    for offset in 0..code {
        let ended = attack("gate-byte", backend).arguments([offset.to_string()]).with(limit).run();
        assert!(!matches!(ended.outcome, Outcome::Killed(_)), "{offset:#x}: {ended}");
    }
    attack("trap-flag", backend).run().assert_output("answer 0, stepped: true\n");
}

/// A guest can take its own handlers their stack and their signals. That ends it when it faults, or else
/// when its time is over.
#[test]
fn a_forged_return_from_a_signal_harms_only_the_guest() {
    let forged = |then: &str| {
        let limit = |config: &mut Config| config.time_limit = Some(Duration::from_millis(100));
        attack("forge", BackendKind::Seccomp).arguments([then]).with(limit).run()
    };
    let ended = forged("0");
    faulted(&ended, "fault");
    assert!(
        ended.report().sentence.ends_with("disabled the handling of its own faults, and ended by signal 4")
    );
    let ended = forged("1");
    assert!(matches!(ended.outcome, Outcome::TimeLimit(_)), "{ended}");
    assert!(ended.report().registers.is_none(), "it does not stop to be looked at: {ended}");
}

/// The guest is let go after its first call, as if `ptrace` were lost: then nobody catches what it does.
#[test]
fn without_its_tracer_a_system_call_ends_the_guest() {
    let backend = BackendKind::Ptrace;
    // By each instruction in the gate page, and by the program's own.
    for site in ["0", "1", "2", "999"] {
        let output = tempfile::tempfile().unwrap();
        let null = || std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
        let streams = Streams { input: null(), output: output.try_clone().unwrap().into(), errors: null() };
        let status = attack("after-call", backend)
            .arguments([site])
            .with(|config| config.streams = Some(streams))
            .here(|mut sandbox| {
                while output.metadata().unwrap().len() == 0 {
                    assert!(sandbox.turn(Pace::Full)?.is_none(), "it makes a call first");
                }
                // SAFETY: all zeros are a valid structure of this type.
                let mut end: libc::siginfo_t = unsafe { std::mem::zeroed() };
                let (id, options) = (sandbox.pid() as libc::id_t, libc::WEXITED | libc::WNOWAIT);
                // SAFETY: the process is stopped and traced by this thread, and the buffer is valid. It is
                // left to the sandbox to bury it.
                unsafe {
                    assert_eq!(libc::ptrace(libc::PTRACE_DETACH, sandbox.pid(), 0, 0), 0);
                    assert_eq!(libc::waitid(libc::P_PID, id, &raw mut end, options), 0);
                    Ok((end.si_code, end.si_status()))
                }
            })
            .unwrap();
        assert_eq!(status, (libc::CLD_KILLED, libc::SIGSYS), "site {site}");
    }
}

/// What an image says of itself is for reports, and it may say anything.
fn damaged_debug_information_does_no_harm(backend: BackendKind) {
    use object::{Object, ObjectSection};
    let intact = std::fs::read(image("guest-reports")).unwrap();
    let elf = object::File::parse(&*intact).unwrap();
    let sections: Vec<_> = elf
        .sections()
        .filter(|section| {
            let name = section.name().unwrap();
            name.starts_with(".debug") || matches!(name, ".eh_frame" | ".symtab" | ".strtab")
        })
        .filter_map(|section| section.file_range())
        .filter(|(_, size)| *size > 0)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for round in 0..100 {
        let mut random = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(round + 1);
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % below
        };
        let mut bytes = intact.clone();
        // All sections at once, from a byte in each to one in a hundred.
        for (offset, size) in &sections {
            for _ in 0..1 + size / (100 << next(10)) {
                bytes[(offset + next(*size)) as usize] = next(256) as u8;
            }
        }
        std::fs::write(&path, bytes).unwrap();
        let damaged = Image::open(&path).expect("nothing that is needed to run it is damaged");
        let arguments = ["guest-reports", "inlined"].map(|argument| argument.as_bytes().to_vec()).to_vec();
        let config = Config { arguments, backend, ..Config::default() };
        let outcome = Machine::start(&damaged, config).unwrap().run().unwrap();
        let Outcome::Faulted(report) = &outcome else { panic!("{round}: {outcome:?}") };
        assert!(
            report.to_string().chars().all(|shown| "\n\t".contains(shown) || !shown.is_control()),
            "{round}"
        );
    }
}

/// The guest must have been ended because of what it did to itself.
#[track_caller]
fn faulted(ended: &Ended, what: &str) {
    assert!(matches!(ended.outcome, Outcome::Faulted(_)), "{what}: {ended}");
    let text = ended.report().to_string();
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{what}: {text:?}");
}

fn garbage_in_the_vcpu_page_ends_the_guest_and_not_the_host(backend: BackendKind) {
    for byte in ["0", "0xff", "0x55", "0xaa", "0x80", "0x7f", "1", "2"] {
        faulted(&attack("page-filled", backend).arguments([byte]).run(), byte);
    }
    for seed in 0..50 {
        let seed = seed.to_string();
        faulted(&attack("page-random", backend).arguments([&seed]).run(), &seed);
    }
}

fn an_entry_vector_that_leads_nowhere_is_a_double_fault(backend: BackendKind) {
    const FAR: u64 = 0xffff_8000_0000_0000;
    let nowhere = [
        0,
        VCPU_PAGE,
        GATE - 1,
        GATE + PAGE_SIZE - 1,
        TRAP_PAGE,
        INFO_PAGE,
        RAM_BASE - 1,
        0x7fff_ffff_f000,
        1 << 63,
        FAR,
        u64::MAX,
    ];
    for address in nowhere {
        let address = format!("{address:#x}");
        let ended = attack("entry", backend).arguments([&address]).run();
        faulted(&ended, &address);
        assert!(ended.report().sentence.starts_with("double fault: "), "{address}: {ended}");
    }
}

fn an_entry_vector_inside_the_gate_does_no_harm(backend: BackendKind) {
    for offset in 0..0x80 {
        let address = format!("{:#x}", GATE + offset);
        let ended = attack("entry", backend).arguments([&address]).run();
        // In its registers there may be the number of any call, that of `exit` too.
        assert!(matches!(ended.outcome, Outcome::Faulted(_) | Outcome::Exited(_)), "{address}: {ended}");
    }
}

fn upcalls_without_end_are_ended_by_the_time_limit(backend: BackendKind) {
    let limit = |config: &mut vcpu_host::Config| config.time_limit = Some(Duration::from_millis(100));
    let ended = attack("endless-upcalls", backend).with(limit).run();
    assert!(matches!(ended.outcome, Outcome::TimeLimit(_)), "{ended}");
}

fn the_trap_flag_is_the_guests_own(backend: BackendKind) {
    attack("trap-flag", backend).run().assert_output("answer 0, stepped: true\n");
}

fn any_selector_can_be_loaded(backend: BackendKind) {
    attack("selectors", backend).run().assert_output("survived, selectors were loaded: true\n");
}

fn any_segment_base_can_be_loaded(backend: BackendKind) {
    let ended = attack("segment-bases", backend).run();
    assert_eq!(ended.status(), 0, "{ended}");
    assert!(matches!(ended.output_text(), "survived\n" | "not possible\n"), "{ended}");
}

fn a_fault_with_any_stack_pointer_is_the_guests_own(backend: BackendKind) {
    let ended = attack("stack-pointers", backend).run();
    assert_eq!(ended.status(), 0, "{ended}");
    let caught = ["PageFault", "StackFault", "GeneralProtection"].map(|cause| format!(": Caught({cause})"));
    let lines: Vec<_> = ended.output_text().lines().collect();
    assert_eq!(lines.len(), 8, "{ended}");
    for line in lines {
        assert!(caught.iter().any(|caught| line.ends_with(caught)), "{line}");
    }
}

fn a_fault_with_any_stack_pointer_can_be_reported(backend: BackendKind) {
    let end = RAM_BASE + (64 << 20);
    for address in [0, 1, GATE, 1 << 63, u64::MAX, u64::MAX - 7, RAM_BASE, RAM_BASE + 8, end, end + 4] {
        let address = format!("{address:#x}");
        let ended = attack("stack-pointer", backend).arguments([&address]).run();
        faulted(&ended, &address);
        let first = ended.report().backtrace[0].function.as_deref();
        assert!(first.is_some_and(|name| name.ends_with("processor::push_at")), "{address}: {ended}");
    }
}

fn changes_of_rights_without_end_harm_nobody(backend: BackendKind) {
    let memory = |config: &mut vcpu_host::Config| config.memory = Some(1 << 30);
    let ended = attack("protect-alternating", backend).with(memory).run();
    ended.assert_output("thousands were changed: true; all can be written again\n");
}

fn output_that_nobody_reads_costs_the_host_nothing(backend: BackendKind) {
    const MEBIBYTES: usize = 256;
    const GROWTH_MAX: u64 = 8 << 20;
    let test = &again::test("output_that_nobody_reads_costs_the_host_nothing", backend);
    if again::is_other() {
        // The guest's own memory does not count, so it is touched before.
        let mut live = attack("flood", backend).arguments([MEBIBYTES.to_string()]).start();
        let mut errors = BufReader::new(live.errors.try_clone().unwrap());
        let mut hear = |expected: &str| {
            let mut line = String::new();
            errors.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        };
        let this = std::process::id() as i32;
        let own = || proc::size(this, "RssAnon") + proc::size(this, "RssFile");
        hear("full\n");
        let before = own();
        hear("still full\n");
        let check =
            || assert!(own() < before + GROWTH_MAX, "{} kB before, {} kB now", before >> 10, own() >> 10);
        check();
        let mut bytes = vec![0; 1 << 20];
        let mut left = MEBIBYTES << 20;
        while left > 0 {
            let count = live.output.read(&mut bytes).unwrap();
            assert!(count > 0 && bytes[..count].iter().all(|byte| *byte == 0x55));
            left -= count;
        }
        check();
        assert_eq!(live.end(b"").status(), 0);
        return;
    }
    again::run(test);
}

/// Between two turns the guest may run, and be about to make a call.
fn to_look_at_the_registers_loses_no_call(backend: BackendKind) {
    for round in 0..60 {
        let change = |config: &mut Config| {
            (config.pin, config.time_limit) = (round % 2 == 0, Some(Duration::from_secs(5)));
        };
        let outcome = attack("clocks", backend)
            .with(change)
            .here(|mut sandbox| {
                let (lines, over) = (sandbox.event_lines(), &AtomicBool::new(false));
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        while !over.load(Relaxed) {
                            lines.raise(UNUSED);
                            std::thread::yield_now();
                        }
                    });
                    let mut go = || loop {
                        if let Some(outcome) = sandbox.turn(Pace::Full)? {
                            return Ok(outcome);
                        }
                        sandbox.registers()?;
                    };
                    let result = go();
                    over.store(true, Relaxed);
                    result
                })
            })
            .unwrap_or_else(|error| panic!("{round}: {error}"));
        assert!(matches!(outcome, Outcome::Exited(0)), "{round}: {outcome:?}");
    }
}

/// The words between guest and host may hold anything at any moment, those of the timers too.
fn garbage_in_the_call_slot_while_it_is_used_does_no_harm(backend: BackendKind) {
    for seed in 0..50u32 {
        let change = |config: &mut Config| {
            config.time_limit = Some(Duration::from_millis(if seed % 25 == 0 { 200 } else { 20 }));
            config.pin = seed % 2 == 0;
        };
        let live = attack("slot-scribble", backend).arguments([(seed + 1).to_string()]).with(change).start();
        // What it publishes may be a wait without end.
        let (lines, over) = (live.lines.clone(), &AtomicBool::new(false));
        let ended = std::thread::scope(|scope| {
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    lines.raise(UNUSED);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let ended = live.end(b"");
            over.store(true, Relaxed);
            ended
        });
        assert!(!matches!(ended.outcome, Outcome::Killed(_)), "{seed}: {ended}");
    }
}

/// Whatever the guest does when its process dies: the host hears of that.
fn the_death_of_the_process_is_noticed_in_every_state(backend: BackendKind) {
    // Some are where they stay after a while; at first nobody looks after the process but its own thread.
    for (state, milliseconds) in
        ["0", "1", "2", "3", "4"].into_iter().flat_map(|state| [(state, 0), (state, 10)])
    {
        let unlimited = |config: &mut Config| (config.time_limit, config.pin) = (None, false);
        let mut live = attack("idle", backend).arguments([state]).with(unlimited).start();
        if state != "4" {
            let mut line = String::new();
            BufReader::new(&mut live.output).read_line(&mut line).unwrap();
            assert_eq!(line, "goes on\n");
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        // SAFETY: sends a signal to a process that the sandbox has not buried: nobody but us ends it.
        assert_eq!(unsafe { libc::kill(live.pid, libc::SIGKILL) }, 0);
        let ended = live.end(b"");
        assert!(matches!(ended.outcome, Outcome::Killed(_)), "{state}: {ended}");
    }
}

/// The handler of signals sets the timer, too, perhaps in the middle of the gate, and keeps its own time.
#[test]
fn the_timer_is_set_to_what_the_host_says_whatever_the_handler_has_done() {
    let change =
        |config: &mut Config| (config.time_limit, config.pin) = (Some(Duration::from_secs(5)), false);
    attack("slot-handler", BackendKind::Seccomp).with(change).run().assert_output("it came\n");
}

#[test]
fn a_timer_that_fired_before_it_was_set_again_does_not_fire_all_the_time() {
    let mut live = attack("slot-stale", BackendKind::Seccomp).with(|config| config.pin = false).start();
    let mut line = String::new();
    BufReader::new(&mut live.output).read_line(&mut line).unwrap();
    assert_eq!(line, "waits\n");
    // Each time it would be woken.
    let switches = || -> u64 {
        let field = proc::status(live.pid, "voluntary_ctxt_switches").expect("Linux counts them");
        field.trim().parse().expect("it is a number")
    };
    std::thread::sleep(Duration::from_millis(20));
    let before = switches();
    std::thread::sleep(Duration::from_millis(200));
    let woken = switches() - before;
    assert!(woken < 100, "{woken} times in 200 ms");
    live.lines.raise(UNUSED);
    assert_eq!(live.end(b"").status(), 0);
}

on_every_backend!(
    to_look_at_the_registers_loses_no_call,
    garbage_in_the_call_slot_while_it_is_used_does_no_harm,
    the_death_of_the_process_is_noticed_in_every_state,
    no_system_call_is_carried_out,
    the_gates_system_calls_serve_nobody_else,
    a_jump_to_any_byte_of_the_gate_does_no_harm,
    garbage_in_the_vcpu_page_ends_the_guest_and_not_the_host,
    damaged_debug_information_does_no_harm,
    an_entry_vector_that_leads_nowhere_is_a_double_fault,
    an_entry_vector_inside_the_gate_does_no_harm,
    upcalls_without_end_are_ended_by_the_time_limit,
    the_trap_flag_is_the_guests_own,
    any_selector_can_be_loaded,
    any_segment_base_can_be_loaded,
    a_fault_with_any_stack_pointer_is_the_guests_own,
    a_fault_with_any_stack_pointer_can_be_reported,
    changes_of_rights_without_end_harm_nobody,
    output_that_nobody_reads_costs_the_host_nothing,
);
