//! The guest's process: nothing of the host's is left in it, nobody from outside disturbs it unnoticed,
//! and it never outlives its sandbox.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;
use vcpu_abi::layout::{GATE, INFO_PAGE, INFO_SIZE_MAX, PAGE_SIZE, RAM_BASE, VCPU_PAGE};
use vcpu_host::backend::Pace;
use vcpu_host::{Config, Image, Machine, Outcome};
use vcpu_tests::{BackendKind, Guest, Live, again, image, on_every_backend, proc};

/// The line at which the guests of these tests stop.
const STOP: u32 = 1;

/// Starts a scenario of `guest-events`, and waits until it has begun.
fn started(scenario: &str, backend: BackendKind) -> Live {
    let mut live = Guest::new("guest-events", backend).arguments([scenario]).start();
    let mut ready = [0; 6];
    live.output.read_exact(&mut ready).expect("the guest says that it is ready");
    assert_eq!(&ready, b"ready\n");
    live
}

/// A line of `/proc/PID/maps`.
struct Mapping {
    begin: u64,
    end: u64,
    rights: String,
    name: String,
}

fn mappings(pid: i32) -> Vec<Mapping> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (begin, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let rights = words.next()?.to_owned();
        let name = words.nth(3).unwrap_or_default().to_owned();
        Some(Mapping { begin: number(begin)?, end: number(end)?, rights, name })
    };
    proc::read(pid, "maps").lines().map(|line| parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn it_has_no_file_open(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    let open = fs::read_dir(format!("/proc/{}/fd", live.pid)).unwrap().count();
    assert_eq!(open, 0);
    live.lines.raise(STOP);
    live.end(b"");
}

fn it_has_the_memory_of_the_interface_and_no_other(backend: BackendKind) {
    const RAM_SIZE: u64 = 32 << 20;
    let live = Guest::new("guest-events", backend)
        .arguments(["wait-until-raised"])
        .with(|config| config.memory = Some(RAM_SIZE))
        .start();
    let mappings = mappings(live.pid);
    // The backend's own: the host's page, and a stack for the handlers of signals.
    let area = if backend == BackendKind::Ptrace { 0..0 } else { 0x18_0000..0x18_9000 };
    let allowed = [
        (VCPU_PAGE..VCPU_PAGE + PAGE_SIZE, "/memfd:vcpu-machine", &["rw-s"][..]),
        (GATE..GATE + PAGE_SIZE, "/memfd:vcpu-stub", &["r-xp"]),
        (INFO_PAGE..INFO_PAGE + INFO_SIZE_MAX, "/memfd:vcpu-machine", &["r--s"]),
        (area.start..area.start + PAGE_SIZE, "/memfd:vcpu-machine", &["r--s"]),
        (area.start + PAGE_SIZE..area.end, "/memfd:vcpu-machine", &["rw-s"]),
        (RAM_BASE..RAM_BASE + RAM_SIZE, "/memfd:vcpu-ram", &["rw-s", "r--s", "---s"]),
        (RAM_BASE..RAM_BASE + RAM_SIZE, "/memfd:vcpu-text", &["r-xs"]),
    ];
    for Mapping { begin, end, rights, name } in &mappings {
        // Linux shows it for every process; it is no memory of the process.
        if name == "[vsyscall]" {
            continue;
        }
        let fits = allowed.iter().any(|(range, file, possible)| {
            range.start <= *begin && *end <= range.end && name == file && possible.contains(&rights.as_str())
        });
        assert!(fits, "{begin:#x}..{end:#x} {rights} {name}");
    }
    let pages = |begin: u64, name: &str| {
        let fits = |mapping: &&Mapping| mapping.name == name && mapping.begin >= begin;
        mappings.iter().filter(fits).map(|mapping| mapping.end - mapping.begin).sum::<u64>()
    };
    let ram = pages(RAM_BASE, "/memfd:vcpu-ram") + pages(RAM_BASE, "/memfd:vcpu-text");
    assert_eq!(ram, RAM_SIZE, "RAM is one range");
    live.lines.raise(STOP);
    live.end(b"");
}

fn it_has_no_environment_no_arguments_and_no_directory(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    assert_eq!(proc::read(live.pid, "environ"), "");
    assert_eq!(proc::read(live.pid, "cmdline"), "");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", live.pid)).unwrap().to_str(), Some("/"));
    live.lines.raise(STOP);
    live.end(b"");
}

fn it_is_filtered_and_cannot_gain_privileges(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    let status = |field| proc::status(live.pid, field).unwrap_or_else(|| panic!("no {field}"));
    assert_eq!(status("NoNewPrivs"), "1");
    const FILTERED: &str = "2";
    assert_eq!(status("Seccomp"), FILTERED);
    assert_eq!(status("Threads"), "1");
    for capabilities in ["CapEff", "CapPrm", "CapInh"] {
        assert_eq!(status(capabilities).trim_matches('0'), "", "{capabilities}");
    }
    let tracer = status("TracerPid");
    match backend {
        BackendKind::Ptrace => {
            let is_ours = fs::exists(format!("/proc/self/task/{tracer}")).unwrap();
            assert!(is_ours, "traced by {tracer}, no thread of ours");
        }
        _ => assert_eq!(tracer, "0"),
    }
    live.lines.raise(STOP);
    live.end(b"");
}

fn its_limits_are_zero(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    let limits = proc::read(live.pid, "limits");
    for name in
        ["Max core file size", "Max file size", "Max locked memory", "Max open files", "Max processes"]
    {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let soft_and_hard: Vec<_> = line.split_ascii_whitespace().take(2).collect();
        assert_eq!(soft_and_hard, ["0", "0"], "{name}");
    }
    live.lines.raise(STOP);
    live.end(b"");
}

fn it_goes_first_when_memory_runs_short(backend: BackendKind) {
    for scenario in ["wait-until-raised", "compute-until-raised"] {
        let live = started(scenario, backend);
        proc::wait_until("it is to go first", || proc::read(live.pid, "oom_score_adj") == "1000\n");
        live.lines.raise(STOP);
        live.end(b"");
    }
}

/// The processors that a thread or process may run on, as Linux writes them.
fn processors(pid: i32) -> String {
    proc::status(pid, "Cpus_allowed_list").expect("the process exists")
}

/// The identifier of this thread.
fn this_thread() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

fn a_pinned_guest_shares_one_processor_with_its_thread(backend: BackendKind) {
    let before = processors(this_thread());
    let pinned = |config: &mut Config| config.pin = true;
    Guest::new("hello", backend)
        .with(pinned)
        .here(|mut sandbox| {
            let one = processors(this_thread());
            assert!(one.parse::<u32>().is_ok(), "more than one: {one}");
            assert_eq!(processors(sandbox.pid()), one);
            sandbox.turn(Pace::Full)?;
            assert_eq!((processors(sandbox.pid()), processors(this_thread())), (one.clone(), one));
            Ok(())
        })
        .unwrap();
    assert_eq!(processors(this_thread()), before);
}

fn a_guest_that_is_not_pinned_may_run_wherever_its_thread_may(backend: BackendKind) {
    let before = processors(this_thread());
    let not_pinned = |config: &mut Config| config.pin = false;
    Guest::new("hello", backend)
        .with(not_pinned)
        .here(|sandbox| {
            assert_eq!(
                (processors(this_thread()), processors(sandbox.pid())),
                (before.clone(), before.clone())
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(processors(this_thread()), before);
}

/// Signals that somebody sends to the guest's process, `SIGKILL` excepted.
const SIGNALS: [i32; 12] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGSTOP,
    libc::SIGCONT,
    libc::SIGSEGV,
    libc::SIGTRAP,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGBUS,
    libc::SIGSYS,
];

/// Sends a signal, as any process of the same user can.
fn send(pid: i32, signal: i32) {
    // SAFETY: no pointers; the process is a guest of this test.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn signals_from_outside_do_not_disturb_a_guest_that_computes(backend: BackendKind) {
    let live = started("compute-until-raised", backend);
    for _ in 0..50 {
        for signal in SIGNALS {
            send(live.pid, signal);
            // Not all at once: a signal that is pending already is not sent twice.
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    live.lines.raise(STOP);
    live.end(b"").assert_output("0 wrong results\n");
}

fn signals_from_outside_do_not_wake_a_guest_that_waits(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    for signal in SIGNALS {
        send(live.pid, signal);
    }
    live.lines.raise(STOP);
    live.end(b"").assert_output("woken\n");
}

/// Checks that a guest was killed by `SIGKILL`, and that the report says so.
#[track_caller]
fn check_killed(outcome: &Outcome) {
    let Outcome::Killed(report) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        report.sentence,
        "the guest's process was killed from outside, or for lack of memory, by signal 9"
    );
}

fn a_guest_that_is_killed_while_it_computes_is_reported(backend: BackendKind) {
    let live = started("compute-until-raised", backend);
    send(live.pid, libc::SIGKILL);
    check_killed(&live.end(b"").outcome);
}

fn a_guest_that_is_killed_while_it_waits_is_reported(backend: BackendKind) {
    let live = started("wait-until-raised", backend);
    // Until it waits, it is the case above.
    let waiting = if backend == BackendKind::Ptrace { "t (tracing stop)" } else { "S (sleeping)" };
    proc::wait_until("the guest waits", || proc::status(live.pid, "State").as_deref() == Some(waiting));
    std::thread::sleep(Duration::from_millis(20));
    send(live.pid, libc::SIGKILL);
    check_killed(&live.end(b"").outcome);
}

/// The processor time of a process and of its threads, in clock ticks.
fn ticks(pid: i32) -> u64 {
    let text = proc::read(pid, "stat");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
    const USER: usize = 11;
    fields[USER..USER + 2].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Pinned, and where both could spin.
fn a_guest_that_waits_uses_no_processor_and_neither_does_its_host(backend: BackendKind) {
    if !again::is_other() {
        let name = "a_guest_that_waits_uses_no_processor_and_neither_does_its_host";
        again::run(&again::test(name, backend));
        return;
    }
    for pin in [true, false] {
        let live = Guest::new("guest-events", backend)
            .arguments(["wait-until-raised"])
            .with(|config| config.pin = pin)
            .start();
        std::thread::sleep(Duration::from_millis(200));
        let both = || ticks(live.pid) + ticks(std::process::id() as i32);
        let before = both();
        std::thread::sleep(Duration::from_secs(2));
        // A tick is 10 ms; one may be counted for what is no more than a moment.
        assert!(both() <= before + 1, "pinned: {pin}, {} ticks", both() - before);
        live.lines.raise(STOP);
        live.end(b"");
    }
}

/// How often threads of this process with this name have gone to sleep.
fn sleeps_of(name: &str) -> u64 {
    let mut sleeps = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let folder = task.unwrap().path();
        // It may have ended meanwhile.
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        if read("comm").trim() == name {
            let status = read("status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += line.map_or(0, |count| count.trim().parse::<u64>().unwrap());
        }
    }
    sleeps
}

/// Only the reference backend's timers are the host's.
#[test]
fn a_timer_of_the_guests_process_does_not_wake_the_host() {
    const NAME: &str = "a_timer_of_the_guests_process_does_not_wake_the_host";
    if !again::is_other() {
        // Alone in a process: other tests have timers too.
        again::run(NAME);
        return;
    }
    let slept = |backend| {
        let mut live = Guest::new("guest-events", backend).arguments(["sleep-often"]).start();
        let mut output = BufReader::new(live.output.try_clone().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // Once it has waited long enough, somebody watches over it.
        std::thread::sleep(Duration::from_millis(50));
        let before = sleeps_of("vcpu-timers");
        live.input.write_all(b"x").unwrap();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "before\nafter\n");
        let sleeps = sleeps_of("vcpu-timers") - before;
        live.input.write_all(b"x").unwrap();
        live.end(b"").assert_output("");
        sleeps
    };
    let (own, host) = (slept(BackendKind::Seccomp), slept(BackendKind::Ptrace));
    // Reading its input wakes it a few times. It has 300 timers; on a busy machine one wake may be for several.
    assert!(own < 20 && host >= 100, "woken {own} times, and {host} times by ptrace");
}

fn a_sandbox_that_is_dropped_leaves_no_process(backend: BackendKind) {
    // Before its first instruction, and in the middle.
    let unstarted = Guest::new("hello", backend).here(|sandbox| Ok(sandbox.pid())).unwrap();
    let stepped = Guest::new("hello", backend)
        .here(|mut sandbox| {
            for _ in 0..100 {
                assert!(sandbox.turn(Pace::Step)?.is_none(), "hello has more instructions");
            }
            assert!(proc::exists(sandbox.pid()));
            Ok(sandbox.pid())
        })
        .unwrap();
    let ended = Guest::new("hello", backend)
        .here(|mut sandbox| {
            sandbox.run()?;
            Ok(sandbox.pid())
        })
        .unwrap();
    for pid in [unstarted, stepped, ended] {
        assert!(!proc::exists(pid), "not even as a zombie");
    }
}

/// Runs a scenario in another process, which says the identifier of its guest's process and never ends by
/// itself. Kills that host, and waits until the guest is gone.
fn kill_host(test: &str, scenario: &str, backend: BackendKind) {
    if again::is_other() {
        let live = started(scenario, backend);
        println!("\nguest {}", live.pid);
        live.end(b"");
        return;
    }
    let mut host = again::start(test);
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let guest = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("guest ")?.parse::<i32>().ok());
    let guest = guest.expect("the other process starts a guest");
    assert!(proc::exists(guest));
    host.kill().unwrap();
    host.wait().unwrap();
    // Whoever inherits it may take time to bury it, or never do; it runs no more.
    proc::wait_until("the guest of a host that was killed is gone", || {
        proc::status(guest, "State").is_none_or(|state| state.starts_with('Z') || state.starts_with('X'))
    });
}

fn a_host_that_is_killed_leaves_no_guest_that_computes(backend: BackendKind) {
    let test = &again::test("a_host_that_is_killed_leaves_no_guest_that_computes", backend);
    kill_host(test, "compute-until-raised", backend);
}

fn a_host_that_is_killed_leaves_no_guest_that_waits(backend: BackendKind) {
    let test = &again::test("a_host_that_is_killed_leaves_no_guest_that_waits", backend);
    kill_host(test, "wait-until-raised", backend);
}

fn many_guests_leave_nothing_in_the_host(backend: BackendKind) {
    if !again::is_other() {
        // Alone in a process: other tests open files too.
        again::run(&again::test("many_guests_leave_nothing_in_the_host", backend));
        return;
    }
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let run = || Guest::new("guest-events", backend).arguments(["one-shot"]).run();
    run();
    let before = (count("fd"), count("task"));
    for _ in 0..20 {
        run();
    }
    // A thread that was joined may be listed for another moment.
    proc::wait_until("descriptors and threads are as before", || (count("fd"), count("task")) == before);
}

fn a_guest_runs_for_a_user_without_privileges(backend: BackendKind) {
    const NOBODY: u32 = 65534;
    if !again::is_other() {
        again::run(&again::test("a_guest_runs_for_a_user_without_privileges", backend));
        return;
    }
    // The image may lie where only its owner gets to.
    let image = Image::open(image("hello")).unwrap();
    // SAFETY: no pointers but a null one for an empty list. The process is this test's alone. Linux takes a
    // process that has changed its user for one that holds secrets, unless it says otherwise.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
            assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
            assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
            assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
        }
        assert_ne!(libc::geteuid(), 0);
    }
    let config = Config { backend, ..Config::default() };
    let mut sandbox = Machine::start(&image, config).unwrap();
    assert_ne!(proc::status(sandbox.pid(), "Uid").unwrap().split_ascii_whitespace().next(), Some("0"));
    assert!(matches!(sandbox.run(), Ok(Outcome::Exited(0))));
}

on_every_backend!(
    it_has_no_file_open,
    it_has_the_memory_of_the_interface_and_no_other,
    it_has_no_environment_no_arguments_and_no_directory,
    it_is_filtered_and_cannot_gain_privileges,
    its_limits_are_zero,
    it_goes_first_when_memory_runs_short,
    a_pinned_guest_shares_one_processor_with_its_thread,
    a_guest_that_is_not_pinned_may_run_wherever_its_thread_may,
    signals_from_outside_do_not_disturb_a_guest_that_computes,
    signals_from_outside_do_not_wake_a_guest_that_waits,
    a_guest_that_is_killed_while_it_computes_is_reported,
    a_guest_that_is_killed_while_it_waits_is_reported,
    a_guest_that_waits_uses_no_processor_and_neither_does_its_host,
    a_sandbox_that_is_dropped_leaves_no_process,
    a_host_that_is_killed_leaves_no_guest_that_computes,
    a_host_that_is_killed_leaves_no_guest_that_waits,
    many_guests_leave_nothing_in_the_host,
    a_guest_runs_for_a_user_without_privileges,
);
