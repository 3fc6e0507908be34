//! Starting a guest's process: nothing of the host's is left in it.
//!
//! The child is made by `vfork`'s mechanism (the host's memory is shared until the child executes the
//! stub, never copied), so starting does not depend on the host's size. Nor does it on the number of files
//! that the host has open: what the child needs is put into [slots](Slots) with low numbers, and only these
//! and what lies below are copied. It dies with the thread that made it
//! ([one that outlives sandboxes](Born), if they may change their threads), and has three descriptors until its
//! script closes them: the vCPU page, the text and the RAM.
//!
//! For the `ptrace` backend it is traced from its first instruction. For `seccomp` it is not: its script
//! adds an area for that backend, which holds at first what the script's system calls point to, handlers of
//! signals, and two timers.

use crate::backend::seccomp::code;
use crate::backend::seccomp::slot::{AREA_AT, AREA_SIZE, CallSlot, Reply, SLOT_AT, STACK_AT, STACK_SIZE};
use crate::image::Image;
use crate::information::{self, HEADER};
use crate::memory::{self, GuestMemory};
use crate::registers::Registers;
use crate::stub::{self, Executable, Script};
use crate::sys::{self, Mapping};
use crate::worker::Worker;
use crate::{Error, filter};
use libc::c_int;
use rustix::io::{DupFlags, Errno};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::futex;
use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use vcpu_abi::call::Access;
use vcpu_abi::info::InfoPage;
use vcpu_abi::layout::{INFO_PAGE, INFO_SIZE_MAX, PAGE_SIZE, RAM_BASE, TRAP_PAGE, VCPU_PAGE};
use vcpu_abi::page::VcpuPage;

/// The machine's own memory in a sandbox: the vCPU page, the information area behind it, and the area of
/// the `seccomp` backend.
#[derive(Debug)]
pub(crate) struct MachinePages {
    mapping: Mapping,
    /// Bytes before that area.
    area_at: u64,
}

impl MachinePages {
    /// Makes the pages, with `strings` behind the information page, and gives their file, which the guest's
    /// process gets.
    pub(crate) fn new(strings: &[u8]) -> io::Result<(MachinePages, OwnedFd)> {
        let area_at = PAGE_SIZE + ((HEADER + strings.len()) as u64).next_multiple_of(PAGE_SIZE);
        assert!(area_at <= PAGE_SIZE + INFO_SIZE_MAX);
        let length = area_at + AREA_SIZE;
        let file = sys::memfd(c"vcpu-machine", length)?;
        sys::seal_size(&file)?;
        let mapping = Mapping::new(&file, length as usize)?;
        let pages = MachinePages { mapping, area_at };
        pages.write(PAGE_SIZE as usize + HEADER, strings);
        Ok((pages, file))
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.mapping.length());
        // SAFETY: the range is inside our mapping; the guest does not run yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.mapping.pointer().add(at), bytes.len()) };
    }

    /// Writes the information page; the guest does not run yet.
    pub(crate) fn set_information(&self, page: InfoPage) {
        // SAFETY: the structure consists of integers without padding between them, as its layout
        // assertions say.
        let bytes: [u8; HEADER] = unsafe { std::mem::transmute(page) };
        self.write(PAGE_SIZE as usize, &bytes);
    }

    /// The vCPU page.
    pub(crate) fn vcpu(&self) -> &VcpuPage {
        // SAFETY: the mapping begins with the page and lives as long as `self`; all fields are atomics,
        // which the guest may write at any moment.
        unsafe { &*self.mapping.pointer().cast::<VcpuPage>() }
    }

    /// What the guest's side writes of the call slot.
    pub(crate) fn slot(&self) -> &CallSlot {
        // SAFETY: as for the page, of which it is the end.
        unsafe { &*self.mapping.pointer().add((SLOT_AT - VCPU_PAGE) as usize).cast::<CallSlot>() }
    }

    /// What the host's side writes of the call slot.
    pub(crate) fn reply(&self) -> &Reply {
        // SAFETY: the area begins with it, on a page's boundary; all fields are atomics.
        unsafe { &*self.mapping.pointer().add(self.area_at as usize).cast::<Reply>() }
    }

    /// A piece of the handlers' stack at a guest address, if it lies there and is aligned.
    pub(crate) fn on_stack<T>(&self, address: u64) -> Option<*mut T> {
        let offset = address.checked_sub(STACK_AT)?;
        let fits = offset.checked_add(size_of::<T>() as u64)? <= STACK_SIZE;
        let at = self.area_at + PAGE_SIZE + offset;
        let aligned = address.is_multiple_of(align_of::<T>() as u64);
        (fits && aligned).then(|| self.mapping.pointer().wrapping_add(at as usize).cast())
    }

    /// Bytes of the information area.
    fn information_length(&self) -> u64 {
        self.area_at - PAGE_SIZE
    }
}

/// A guest's process. It is killed and waited for when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: libc::pid_t,
    pidfd: Arc<OwnedFd>,
    /// Whether it has ended and was waited for: its number may be another's by now.
    ended: Cell<bool>,
}

impl Process {
    pub(crate) fn pidfd(&self) -> Arc<OwnedFd> {
        self.pidfd.clone()
    }

    /// Waits for the next stop or the end of the process, and gives its status.
    pub(crate) fn wait(&self) -> io::Result<c_int> {
        self.wait_with(0).map(|status| status.unwrap_or_default())
    }

    /// The status with which the process has ended, if it has.
    pub(crate) fn end(&self) -> io::Result<Option<c_int>> {
        self.wait_with(libc::WNOHANG)
    }

    fn wait_with(&self, options: c_int) -> io::Result<Option<c_int>> {
        let mut status = 0;
        loop {
            // SAFETY: the buffer is valid for the call.
            let result = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL | options) };
            match sys::check(result.into()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Ok(None),
                result => {
                    self.ended.set(libc::WIFEXITED(status) || libc::WIFSIGNALED(status));
                    return result.map(|_| Some(status));
                }
            }
        }
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        // Fails if the process is dead already, which is as good.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        while !self.ended.get() && self.wait().is_ok() {}
    }
}

/// Descriptors by which files are handed to a child: the vCPU page, the text, the RAM and the stub. They are
/// the lowest above the standard streams that were free at the process's first start. Between starts they
/// hold their numbers and nothing else.
#[derive(Debug)]
struct Slots([OwnedFd; SLOTS]);

const SLOTS: usize = 4;

impl Slots {
    /// The slots, with these files in them until `action` has returned. One thread at a time gets them.
    fn with<R>(files: [BorrowedFd<'_>; SLOTS], action: impl FnOnce([RawFd; SLOTS]) -> R) -> io::Result<R> {
        static SLOTS_OF_THIS_PROCESS: Mutex<Option<Slots>> = Mutex::new(None);
        // A panic leaves files in the slots, which the next start replaces.
        let mut slots = SLOTS_OF_THIS_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        // The stub is a file that is never closed anyway.
        let nothing = files[SLOTS - 1];
        let slots = match &mut *slots {
            Some(slots) => slots,
            empty => {
                let slot = || rustix::io::fcntl_dupfd_cloexec(nothing, 3);
                empty.insert(Slots([slot()?, slot()?, slot()?, slot()?]))
            }
        };
        let put = |slots: &mut Slots, files: [BorrowedFd<'_>; SLOTS]| -> rustix::io::Result<()> {
            let mut pairs = slots.0.iter_mut().zip(files);
            pairs.try_for_each(|(slot, file)| rustix::io::dup3(file, slot, DupFlags::CLOEXEC))
        };
        put(slots, files)?;
        let result = action(slots.0.each_ref().map(|slot| slot.as_raw_fd()));
        put(slots, [nothing; SLOTS])?;
        Ok(result)
    }
}

/// What the child needs to know between its birth and the stub. Errors come back in `failure`.
struct Birth {
    slots: [RawFd; SLOTS],
    parent: libc::pid_t,
    traced: bool,
    failure: Option<(&'static str, c_int)>,
}

/// Runs in the child, in the host's memory, while the host's thread sleeps. Returns only on failure.
extern "C" fn child(birth: *mut c_void) -> c_int {
    // SAFETY: the parent passes a `Birth`, and sleeps until we execute or end.
    let birth = unsafe { &mut *birth.cast::<Birth>() };
    // SAFETY: system calls only; nothing here allocates, locks or panics.
    unsafe {
        let mut step = |what, result: libc::c_long| -> bool {
            if result == -1 {
                birth.failure = Some((what, *libc::__errno_location()));
            }
            result != -1
        };
        // From here on the descriptors are its own: so far it shares the host's.
        let above = birth.slots.iter().fold(0, |last, slot| last.max(*slot)) + 1;
        let unshare = libc::syscall(libc::SYS_close_range, above, u32::MAX, libc::CLOSE_RANGE_UNSHARE);
        if !step("take descriptors of its own", unshare) {
            return 1;
        }
        // A slot is above the three, so none is overwritten that is still needed.
        for descriptor in 0..3 {
            let placed = libc::dup2(birth.slots[descriptor], descriptor as c_int);
            if !step("place a descriptor", placed.into()) {
                return 1;
            }
        }
        let close = libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let ready = step("close the host's descriptors", close)
            && step("leave the working directory", libc::chdir(c"/".as_ptr()).into())
            // An inherited personality could map page zero, or make everything readable executable.
            && step("take on the usual personality", libc::personality(0).into())
            && step("die with the host", libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())
            && step("give up new privileges", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())
            && (!birth.traced || step("be traced", libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)));
        // The host may have died before the death signal was set.
        if ready && libc::getppid() == birth.parent {
            let arguments = [c"vcpu-guest".as_ptr(), std::ptr::null()];
            let environment = [std::ptr::null::<libc::c_char>()];
            let result = libc::syscall(
                libc::SYS_execveat,
                birth.slots[3],
                c"".as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            step("execute the stub", result);
        }
    }
    1
}

/// Which thread a guest's process is born by, with which it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Born {
    /// This one.
    Here,
    /// One that lives as long as the host.
    Detached,
}

/// Starts a process to be traced, prepares it as `image` and `memory` say, and leaves it stopped in the
/// stub with its filter set, the vCPU page zero. `file` is that of `pages`.
///
/// # Errors
///
/// If the system refuses a step; the sentence names it.
pub(crate) fn start_traced(
    image: &Image,
    memory: &GuestMemory,
    pages: &MachinePages,
    file: &OwnedFd,
) -> Result<Process, Error> {
    static EXECUTABLE: Executable = Executable::new();
    let mut script = script(image, memory, pages, 0);
    // The filter lies behind the script.
    let at = script.next_step() + FILTER_STEP;
    add_filter(&mut script, at);
    let filter = stub::filter_bytes(&filter::program(ram(memory), &stub::sites()), at);
    let mut page = script.bytes();
    page.extend(filter);
    assert!(page.len() <= PAGE_SIZE as usize, "the script of {} bytes does not fit", page.len());
    pages.write(0, &page);
    let page = stub::page();
    let process = spawn(memory, file, EXECUTABLE.file(&page).map_err(no_stub)?, true, Born::Here)?;

    put_first(process.pid);
    // The stop at the stub's first instruction, then that at its breakpoint.
    run_to(&process, page.start)?;
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESECCOMP;
    request(&process, libc::PTRACE_SETOPTIONS, options as usize)?;
    limit(process.pid)?;
    request(&process, libc::PTRACE_CONT, 0)?;
    let registers = run_to(&process, stub::end())?;
    if registers.rax != stub::DONE {
        return Err(failed(&script, registers.rax, registers.rbx));
    }
    pages.write(0, &[0; PAGE_SIZE as usize]);
    Ok(process)
}

/// Starts a process that nobody traces, as [`start_traced`] does. It is left in its handler of signals,
/// from which it has asked for its first registers.
///
/// # Errors
///
/// If the system refuses a step; the sentence names it.
pub(crate) fn start_alone(
    image: &Image,
    memory: &GuestMemory,
    pages: &MachinePages,
    file: &OwnedFd,
    born: Born,
) -> Result<Process, Error> {
    const SA_RESTORER: u64 = 0x0400_0000;
    // At first the stack holds what the script points to: the stack's own description, the handlers', the
    // filter. A frame comes from the other end.
    const TIMER_AT: u64 = STACK_AT + 24;
    const ACTION_AT: u64 = STACK_AT + 32;
    const EVENT_AT: u64 = STACK_AT + 64;
    const FILTER_AT: u64 = STACK_AT + 192;
    static EXECUTABLE: Executable = Executable::new();
    let ours = |mask: u64, signal: &c_int| mask | 1 << (signal - 1);
    let blocked = !HANDLED.iter().fold(0, ours);
    let mut script = script(image, memory, pages, blocked);
    script.add("take a stack for signals", libc::SYS_sigaltstack, [STACK_AT, 0, 0, 0, 0, 0]);
    for signal in HANDLED {
        let arguments = [signal as u64, ACTION_AT, 0, 8, 0, 0];
        script.add("handle signals", libc::SYS_rt_sigaction, arguments);
    }
    for half in [0, 1] {
        let timer = [libc::CLOCK_MONOTONIC as u64, EVENT_AT + 64 * half, TIMER_AT + 4 * half, 0, 0, 0];
        script.add("make a timer", libc::SYS_timer_create, timer);
    }
    add_filter(&mut script, FILTER_AT);
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER;
    let (handler, restorer) = (code::handler(), code::restorer());
    // The timers' numbers are written over the last of the first four; their events are signals.
    let event = |signal: c_int| [0, signal as u64 | (libc::SIGEV_SIGNAL as u64) << 32, 0, 0, 0, 0, 0, 0];
    let events = code::SIGNALS_OF_TIMERS.map(event);
    let first = [STACK_AT, 0, STACK_SIZE, NO_TIMER, handler, flags, restorer, u64::MAX];
    let words = [first, events[0], events[1]].concat();
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(stub::filter_bytes(&filter::program(ram(memory), &code::sites()), FILTER_AT));
    let stack = (pages.area_at + PAGE_SIZE) as usize;
    pages.write(stack, &bytes);
    pages.write(0, &script.bytes());
    pages.reply().has_bases.store(information::has_fsgsbase().into(), Relaxed);
    let process = spawn(memory, file, EXECUTABLE.file(&code::page()).map_err(no_stub)?, false, born)?;
    limit(process.pid)?;
    let (slot, reply) = (pages.slot(), pages.reply());
    reply.host_waits.0.store(1, SeqCst);
    while slot.request.load(SeqCst) == 0 {
        let patience = sys::timespec(START_LOOK);
        // A host that gets signals all the time looks after each.
        let waited = futex::wait(&slot.request, futex::Flags::empty(), 0, Some(&patience));
        if matches!(waited, Err(Errno::TIMEDOUT | Errno::INTR))
            && let Some(status) =
                process.end().map_err(|error| Error::system("wait for the guest's process", error))?
        {
            let [rax, rbx, ..] = slot.arguments.each_ref().map(|word| word.load(Relaxed));
            if rbx != 0 {
                return Err(failed(&script, rax, rbx));
            }
            return Err(ended(status));
        }
    }
    reply.host_waits.0.store(0, SeqCst);
    let timers = pages.on_stack::<[u32; 2]>(TIMER_AT).expect("they lie there");
    // SAFETY: they lie in our mapping; the guest waits in its handler.
    if unsafe { timers.read_volatile() } != [0, 1] {
        return Err(Error::Start("its timers have other numbers than the filter allows".to_owned()));
    }
    pages.write(0, &[0; stub::SCRIPT_SIZE_MAX]);
    pages.write(stack, &vec![0; bytes.len()]);
    Ok(process)
}

/// Should memory run short, this process goes first.
pub(crate) fn put_first(pid: libc::pid_t) {
    // Refused at worst, which changes only that.
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
}

/// How often, in ns, to look whether a process that starts is dead: it is a rare thing.
const START_LOOK: u64 = 5_000_000;

/// What no timer has as its number.
const NO_TIMER: u64 = u64::MAX;

/// The signals that a process without a tracer handles. All others are blocked.
const HANDLED: [c_int; 9] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGURG,
    code::SIGNALS_OF_TIMERS[0],
    code::SIGNALS_OF_TIMERS[1],
];

/// Bytes from a script's last step but one to what lies behind the script.
const FILTER_STEP: u64 = 64;

fn add_filter(script: &mut Script, at: u64) {
    let arguments = [libc::SECCOMP_SET_MODE_FILTER.into(), 0, at, 0, 0, 0];
    script.add("set the system call filter", libc::SYS_seccomp, arguments);
}

fn ram(memory: &GuestMemory) -> Range<u64> {
    RAM_BASE..RAM_BASE + memory.size()
}

fn no_stub(error: io::Error) -> Error {
    Error::system("make the stub", error)
}

/// A step of the script failed.
fn failed(script: &Script, rax: u64, rbx: u64) -> Error {
    let error = io::Error::from_raw_os_error((rax as i32).wrapping_neg());
    Error::system(script.purpose(rbx), error)
}

/// The process has ended with this status and was not to.
fn ended(status: c_int) -> Error {
    Error::Start(format!("its process ended with status {status:#x} before the guest began"))
}

/// Waits until the process has stopped with `rip` at this address. On the way signals from outside, which
/// were blocked while it was born, are swallowed.
fn run_to(process: &Process, rip: u64) -> Result<libc::user_regs_struct, Error> {
    loop {
        let status = process.wait().map_err(|error| Error::system("wait for the guest's process", error))?;
        if !libc::WIFSTOPPED(status) {
            return Err(ended(status));
        }
        let mut registers = Registers::start(0).raw;
        request(process, libc::PTRACE_GETREGS, (&raw mut registers) as usize)?;
        if registers.rip == rip {
            return Ok(registers);
        }
        request(process, libc::PTRACE_CONT, 0)?;
    }
}

/// Asks something of the stopped process; `data` is a number, or the address of what the request wants.
fn request(process: &Process, request: libc::c_uint, data: usize) -> Result<(), Error> {
    // SAFETY: the callers above pass what each request wants.
    sys::check(unsafe { libc::ptrace(request, process.pid, 0usize, data) })
        .map(drop)
        .map_err(|error| Error::system("trace the guest's process", error))
}

/// Bytes of the stack on which a child prepares itself.
const CHILD_STACK: usize = 32 << 10;

fn spawn(
    memory: &GuestMemory,
    machine: &OwnedFd,
    executable: &OwnedFd,
    traced: bool,
    born: Born,
) -> Result<Process, Error> {
    let (ram, text) = memory.files();
    Slots::with([machine.as_fd(), text, ram, executable.as_fd()], |slots| match born {
        Born::Here => give_birth(slots, traced),
        Born::Detached => Worker::of_births()
            .map_err(|error| Error::system("start a thread", error))?
            .run(|| give_birth(slots, traced)),
    })
    .map_err(|error| Error::system("hand files to the guest's process", error))?
}

fn give_birth(slots: [RawFd; SLOTS], traced: bool) -> Result<Process, Error> {
    // SAFETY: no arguments.
    let parent = unsafe { libc::getpid() };
    let mut birth = Birth { slots, parent, traced, failure: None };
    let mut stack = Box::<[u128]>::new_uninit_slice(CHILD_STACK / size_of::<u128>());
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // A handler of the host's must not run in the child, which still shares the host's memory. The script
    // unblocks signals again.
    let _blocked = sys::BlockedSignals::new();
    // SAFETY: the child runs `child` on a stack of its own while this thread sleeps, so what it borrows
    // lives; it leaves by executing or ending. The fifth argument is where the pidfd goes.
    let pid = unsafe {
        libc::clone(
            child,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            (&raw mut birth).cast(),
            &raw mut pidfd,
        )
    };
    let pid = sys::check(pid.into()).map_err(|error| Error::system("create the guest's process", error))?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else has.
    let pidfd = Arc::new(unsafe { OwnedFd::from_raw_fd(pidfd) });
    let process = Process { pid: pid as libc::pid_t, pidfd, ended: Cell::new(false) };
    match birth.failure {
        None => Ok(process),
        Some(("be traced", errno)) => Err(Error::NoPtrace(io::Error::from_raw_os_error(errno))),
        Some((what, errno)) => Err(Error::system(what, io::Error::from_raw_os_error(errno))),
    }
}

/// What the stub does before the guest begins, but the last steps. Without a tracer signals of the set
/// `blocked` stay blocked, and it gets the area of its backend.
fn script(image: &Image, memory: &GuestMemory, pages: &MachinePages, blocked: u64) -> Script {
    const MACHINE: u64 = 0;
    const TEXT: u64 = 1;
    const RAM: u64 = 2;
    let shared = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE) as u64;
    let mut script = Script::default();
    let unmap = |script: &mut Script, from: u64, to: u64| {
        script.add(
            "remove what the system put into the guest's memory",
            libc::SYS_munmap,
            [from, to - from, 0, 0, 0, 0],
        );
    };
    // Everything but the vCPU page and the stub's own page: stack, vdso and whatever else there is.
    let stub_page = vcpu_abi::layout::GATE;
    unmap(&mut script, VCPU_PAGE + PAGE_SIZE, stub_page);
    unmap(&mut script, stub_page + PAGE_SIZE, USER_END);
    script.add(
        "map the information page",
        libc::SYS_mmap,
        [INFO_PAGE, pages.information_length(), libc::PROT_READ as u64, shared, MACHINE, PAGE_SIZE],
    );
    if blocked != 0 {
        let read = libc::PROT_READ as u64;
        let area = [AREA_AT, PAGE_SIZE, read, shared, MACHINE, pages.area_at];
        script.add("map the host's page", libc::SYS_mmap, area);
        let access = protection(Access::READ | Access::WRITE);
        let stack = [STACK_AT, STACK_SIZE, access, shared, MACHINE, pages.area_at + PAGE_SIZE];
        script.add("map a stack for signals", libc::SYS_mmap, stack);
    }
    // The set is this step's own unused last argument.
    let set = script.next_step() + 6 * 8;
    let set_mask = libc::SIG_SETMASK as u64;
    script.add("unblock signals", libc::SYS_rt_sigprocmask, [set_mask, set, 0, 8, 0, blocked]);
    // Header and sets are this step's own unused arguments: version 3 in the last, three zeros before it.
    const CAPABILITY_VERSION: u64 = 0x2008_0522;
    let (header, sets) = (script.next_step() + 6 * 8, script.next_step() + 3 * 8);
    script.add("drop capabilities", libc::SYS_capset, [header, sets, 0, 0, 0, CAPABILITY_VERSION]);
    // Outside the gate page every system call becomes a signal, even the few that no filter is asked about.
    script.add(
        "confine system calls to the gate",
        libc::SYS_prctl,
        [PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, stub_page, PAGE_SIZE, 0, 0],
    );
    for piece in memory::pieces(image.segments(), memory.size()) {
        let (file, offset) = match piece.text_offset {
            Some(offset) => (TEXT, offset),
            None => (RAM, piece.address - RAM_BASE),
        };
        script.add(
            "map the guest's memory",
            libc::SYS_mmap,
            [piece.address, piece.length, protection(piece.access), shared, file, offset],
        );
    }
    script.add("close all descriptors", libc::SYS_close_range, [0, u32::MAX.into(), 0, 0, 0, 0]);
    script
}

/// From `linux/prctl.h`.
const PR_SET_SYSCALL_USER_DISPATCH: u64 = 59;
const PR_SYS_DISPATCH_ON: u64 = 1;

/// End of the addresses that a process can use, with four levels of page tables.
const USER_END: u64 = 0x7fff_ffff_f000;

const _: () = assert!(TRAP_PAGE < INFO_PAGE);

/// Rights as `mmap` and `mprotect` want them.
pub(crate) fn protection(access: Access) -> u64 {
    let bit = |right, value: c_int| if access.contains(right) { value as u64 } else { 0 };
    bit(Access::READ, libc::PROT_READ)
        | bit(Access::WRITE, libc::PROT_WRITE)
        | bit(Access::EXECUTE, libc::PROT_EXEC)
}

/// Takes from the process what it will not need, should the filter ever fail.
fn limit(pid: libc::pid_t) -> Result<(), Error> {
    use Resource::{Core, Fsize, Memlock, Msgqueue, Nofile, Nproc};
    for resource in [Core, Fsize, Memlock, Msgqueue, Nofile, Nproc] {
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::prlimit(Pid::from_raw(pid), resource, nothing)
            .map_err(|error| Error::system("limit the guest's process", error.into()))?;
    }
    Ok(())
}
