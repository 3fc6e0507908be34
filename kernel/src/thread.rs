//! Threads: their life from spawn to join, and what the kernel keeps of each.
//!
//! The policy's record says when a thread runs ([`vcpu_kernel_core::thread`]); the control block here says
//! what it is: its registers while it does not run, its stack, its name, its accounts. Both live until
//! the thread is over and the last [`Handle`] is gone.
//!
//! A thread ends in one of three ways: its function returns, it [exits](exit), or it dies by a panic
//! or a fault. Nothing is unwound when it dies, so no destructor runs: the policy releases the locks it
//! held and poisons them, and what it had on its stack and on the heap stays there
//! ([`Options::reclaim_stack`], [`Statistics::heap`]). The rest of the program goes on. Only the main thread takes
//! the whole guest with it, whichever way it ends.
//!
//! A thread cannot free the stack it stands on. At its end it puts itself on a list and leaves the processor for
//! good; the next thread that spawns, ends or has joined frees what those on the list have left.

use crate::context::{Context, Flow};
use crate::death::Fault;
use crate::scheduler::{self, EventsOff, TimedOut};
use crate::stack::{self, Stack};
use crate::sync::RawMutex;
use crate::tls::Block;
use crate::{clock, event, heap, machine, rooms};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use vcpu_kernel_core::policy::Kind;
use vcpu_kernel_core::thread::ThreadId;

pub use crate::stack::{MINIMUM as MINIMUM_STACK, NORMAL as NORMAL_STACK};
pub use vcpu_kernel_core::priority::Priority;
pub use vcpu_kernel_core::thread::{State, Waiting};
pub use vcpu_kernel_core::time_slice::TimeSlice;

/// The control block of a thread.
///
/// It begins with the flow, by which the entry vector finds it. Cells are touched with events off, or
/// by the thread itself only. What a switch needs lies in the first cache line.
#[repr(C, align(64))]
pub struct Thread {
    flow: Flow,
    /// See [`stack::limit`].
    stack_limit: Cell<u64>,
    cpu_time: Cell<u64>,
    switches: Cell<u64>,
    id: Cell<Option<ThreadId>>,
    /// Whether it is dying: another panic or fault in it ends the guest.
    is_dying: Cell<bool>,
    /// Whether the stack is lost if the thread ends in another way than by returning.
    keeps_stack: Cell<bool>,
    /// Whether its function, and the destructors of its variables, have returned.
    has_returned: Cell<bool>,
    /// Whether somebody waits for its end.
    is_joined: Cell<bool>,
    /// Who knows the thread: its handles, and itself until it is over.
    references: AtomicUsize,
    number: u64,
    name: Option<Box<str>>,
    stack: Cell<Option<Stack>>,
    storage: UnsafeCell<Option<Block>>,
    start: UnsafeCell<Option<Box<dyn FnOnce()>>>,
    /// What the thread died of; set before it exits.
    death: UnsafeCell<Option<String>>,
    /// The fault by which it dies.
    pub(crate) fault: Cell<Option<Fault>>,
    /// Bytes it allocated minus bytes it freed.
    heap: Cell<i64>,
    /// A word of the library above, and what to do with it when the thread ends.
    local: Cell<*mut ()>,
    next_zombie: Cell<Option<&'static Thread>>,
}

// There are many of them.
const _: () = assert!(size_of::<Thread>() <= 256);

// SAFETY: cells are touched with events off or by the thread itself, as the type's documentation says.
unsafe impl Sync for Thread {}

/// The thread that runs the program's main function.
pub(crate) static MAIN: Thread = Thread::new(1);

/// The flow that runs when no thread does; see [`scheduler`]. Not a thread to the policy.
pub(crate) static SERVICE: Thread = Thread::new(0);

/// Areas for the registers of the two when they are interrupted, and the stack of the second.
#[repr(C, align(4096))]
struct Area<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: each area belongs to one flow.
unsafe impl<const SIZE: usize> Sync for Area<SIZE> {}

static MAIN_AREA: Area<{ crate::extended::AREA_SIZE }> = Area(UnsafeCell::new([0; _]));
static SERVICE_AREA: Area<{ crate::extended::AREA_SIZE }> = Area(UnsafeCell::new([0; _]));
static SERVICE_STACK: Area<{ 16 << 10 }> = Area(UnsafeCell::new([0; _]));

/// Control blocks by the number of the policy's record, in pages so that nothing ever moves.
static BLOCKS: [AtomicPtr<BlockPage>; 4096] = [const { AtomicPtr::new(ptr::null_mut()) }; 4096];

type BlockPage = [AtomicPtr<Thread>; 1024];

/// Threads that are over and whose stack is still to be released, the last one first.
static ZOMBIES: EventsOff<Cell<Option<&'static Thread>>> = EventsOff(Cell::new(None));

/// Counts threads, for [`Handle::number`].
static SPAWNED: EventsOff<Cell<u64>> = EventsOff(Cell::new(1));

/// What threads that are over have used, all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// How many they are.
    pub count: u64,
    /// Nanoseconds for which they had the processor.
    pub cpu_time: u64,
    /// How often they got it.
    pub switches: u64,
    /// How many of them died or [exited](exit), so that no destructors ran.
    pub died: u64,
    /// Bytes that these had allocated more than they freed.
    pub left: i64,
}

static ENDED: EventsOff<Cell<Ended>> =
    EventsOff(Cell::new(Ended { count: 0, cpu_time: 0, switches: 0, died: 0, left: 0 }));

/// Counts stacks that are never used again.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// Called by each thread at its end, with its word, if that is not null.
static LOCAL_END: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// What a new thread is to be like.
#[derive(Debug)]
pub struct Options {
    /// Its name, in reports.
    pub name: Option<Box<str>>,
    /// Bytes of its stack; rounded up to whole pages, at least [`MINIMUM_STACK`].
    pub stack_size: usize,
    /// Its base priority.
    pub priority: Priority,
    /// Its own time slice, if not the system's.
    pub slice: Option<TimeSlice>,
    /// Whether it waits to be [resumed](Handle::resume) before it begins.
    pub suspended: bool,
    /// Whether its stack may be used again if it dies or [exits](exit). Destructors do not run then, so
    /// somebody may still refer to what was there: only who knows better sets this.
    pub reclaim_stack: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: None,
            stack_size: NORMAL_STACK,
            priority: Priority::NORMAL,
            slice: None,
            suspended: false,
            reclaim_stack: false,
        }
    }
}

/// There is no memory for another thread: its stack, its control block or its place in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is no memory for another thread")
    }
}

impl core::error::Error for OutOfMemory {}

/// What is known of a thread.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// A number that no other thread of this guest ever has; the main thread's is 1.
    pub number: u64,
    /// Where it stands.
    pub state: State,
    /// What it waits for.
    pub waiting: Waiting,
    /// Its base priority.
    pub priority: Priority,
    /// The priority by which it is scheduled: its own, or one it inherited.
    pub effective_priority: Priority,
    /// Nanoseconds for which it had the processor.
    pub cpu_time: u64,
    /// How often it got the processor.
    pub switches: u64,
    /// Bytes of its stack.
    pub stack_size: usize,
    /// Bytes of its stack that were ever used, as far as memory tells.
    pub stack_used: usize,
    /// Bytes it allocated minus bytes it freed.
    pub heap: i64,
}

/// A thread, as others know it.
pub struct Handle(NonNull<Thread>);

// SAFETY: a handle gives access to the control block, which is `Sync`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Thread {
    const fn new(number: u64) -> Thread {
        Thread {
            flow: Flow::new(),
            stack_limit: Cell::new(0),
            cpu_time: Cell::new(0),
            switches: Cell::new(0),
            id: Cell::new(None),
            references: AtomicUsize::new(1),
            number,
            name: None,
            stack: Cell::new(None),
            storage: UnsafeCell::new(None),
            start: UnsafeCell::new(None),
            death: UnsafeCell::new(None),
            is_dying: Cell::new(false),
            fault: Cell::new(None),
            heap: Cell::new(0),
            local: Cell::new(ptr::null_mut()),
            next_zombie: Cell::new(None),
            keeps_stack: Cell::new(true),
            has_returned: Cell::new(false),
            is_joined: Cell::new(false),
        }
    }

    #[inline(always)]
    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The number of the policy's record.
    #[inline(always)]
    pub(crate) fn id(&self) -> ThreadId {
        self.id.get().expect("the service flow has no record")
    }

    /// Notes that the thread had the processor for so long.
    #[inline(always)]
    pub(crate) fn charge(&self, nanoseconds: u64) {
        self.cpu_time.set(self.cpu_time.get() + nanoseconds);
        let balance = heap::take_balance();
        if balance != 0 {
            self.heap.set(self.heap.get() + balance);
        }
    }

    /// Notes that the thread gets the processor.
    #[inline(always)]
    pub(crate) fn count_switch(&self) {
        self.switches.set(self.switches.get() + 1);
    }

    /// Whether this is the thread whose end is the guest's.
    pub(crate) fn is_main(&self) -> bool {
        ptr::eq(self, &raw const MAIN)
    }

    /// Whether this is the service flow.
    pub(crate) fn is_service(&self) -> bool {
        ptr::eq(self, &raw const SERVICE)
    }

    /// The name, or what stands for it.
    pub(crate) fn label(&self) -> &str {
        if self.is_main() { "main" } else { self.name.as_deref().unwrap_or("<unnamed>") }
    }

    /// Its number in the order of creation.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The lowest stack pointer with which it may begin an operation of the kernel.
    #[inline(always)]
    pub(crate) fn stack_limit(&self) -> u64 {
        self.stack_limit.get()
    }

    /// The addresses of its stack.
    pub(crate) fn stack(&self) -> Range<u64> {
        self.stack.get().map_or_else(machine::main_stack, Stack::range)
    }

    /// The addresses of the guard page below its stack.
    pub(crate) fn guard(&self) -> Range<u64> {
        self.stack.get().map_or_else(machine::main_stack_guard, Stack::guard)
    }

    /// Takes the record, and what leads from it to this control block, away. The thread is over.
    fn unpublish(&self) {
        if let Some(id) = self.id.take() {
            scheduler::quick(|policy| policy.remove_thread(id));
            // SAFETY: a page that was published stays.
            let page = unsafe { BLOCKS[id.index() >> 10].load(Ordering::Relaxed).as_ref() };
            if let Some(page) = page {
                page[id.index() & 1023].store(ptr::null_mut(), Ordering::Relaxed);
            }
        }
    }

    /// Says that the thread is dying. Gives whether it was already.
    pub(crate) fn begin_to_die(&self) -> bool {
        self.is_dying.replace(true)
    }

    /// Lets the thread, which was interrupted by its own fault, go on with its death, on its own stack
    /// from the top.
    pub(crate) fn divert(&self, context: &mut Context, function: extern "C" fn() -> !) {
        context.divert(function, self.stack().end);
    }
}

/// The control block of a thread by the number of its record.
///
/// # Panics
///
/// If there is no such thread.
#[inline(always)]
pub(crate) fn of(thread: ThreadId) -> &'static Thread {
    let index = thread.index();
    // SAFETY: a page that was published stays, and its entry names a control block that lives as long as
    // the record, because the block's end removes the record.
    unsafe { &*(*BLOCKS[index >> 10].load(Ordering::Relaxed))[index & 1023].load(Ordering::Relaxed) }
}

/// Prepares the main thread and the service flow. Called once, at boot, with events off and room in
/// the policy's tables.
pub(crate) fn init() {
    MAIN.flow.set_area(MAIN_AREA.0.get().cast());
    MAIN.stack_limit.set(stack::limit(&machine::main_stack()));
    SERVICE.flow.set_area(SERVICE_AREA.0.get().cast());
    let fs_base = crate::tls::init();
    MAIN.flow.fs_base.set(fs_base);
    SERVICE.flow.fs_base.set(fs_base);
    let top = SERVICE_STACK.0.get() as u64 + size_of_val(&SERVICE_STACK) as u64;
    // SAFETY: the stack belongs to the service flow, which does not run yet.
    unsafe { SERVICE.flow.prepare(scheduler::service, top) };
    let created = scheduler::quick(|policy| policy.create_thread(Priority::NORMAL, None));
    let main = created.expect("boot made room for the first thread");
    MAIN.id.set(Some(main));
    publish(main, &MAIN).expect("RAM is too small for the kernel's tables");
    scheduler::quick(|policy| {
        // The main thread has the processor already, and nobody shares it: there is nothing to do.
        let _ = policy.resume(main, 0);
    });
}

/// Makes a control block known by the number of its record.
fn publish(id: ThreadId, thread: &'static Thread) -> Result<(), OutOfMemory> {
    let page = &BLOCKS[id.index() >> 10];
    if page.load(Ordering::Relaxed).is_null() {
        let layout = core::alloc::Layout::new::<BlockPage>();
        // SAFETY: the layout is not empty, and zero is a valid null pointer.
        let fresh = unsafe { alloc::alloc::alloc_zeroed(layout) }.cast::<BlockPage>();
        if fresh.is_null() {
            return Err(OutOfMemory);
        }
        if page.compare_exchange(ptr::null_mut(), fresh, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // SAFETY: allocated above, and another thread was faster.
            unsafe { alloc::alloc::dealloc(fresh.cast(), layout) };
        }
    }
    // SAFETY: published above, or before; it stays.
    let page = unsafe { &*page.load(Ordering::Relaxed) };
    page[id.index() & 1023].store((&raw const *thread).cast_mut(), Ordering::Relaxed);
    Ok(())
}

/// Creates a thread that runs `start`, and lets it go unless it is to begin suspended. If it is more
/// important than the caller, it runs before this returns.
///
/// # Errors
///
/// [`OutOfMemory`]; nothing is left behind then.
///
/// # Panics
///
/// In a handler function.
///
/// # Safety
///
/// `start` may be sent to another thread, and what it borrows lives until that thread is over. If the stack
/// is to be reclaimed, nobody refers to it once the thread has died or exited.
pub unsafe fn spawn(options: Options, start: Box<dyn FnOnce()>) -> Result<Handle, OutOfMemory> {
    bury();
    let Options { name, stack_size, priority, slice, suspended, reclaim_stack } = options;
    let pages = stack_size.max(MINIMUM_STACK).checked_next_multiple_of(vcpu_abi::layout::PAGE_SIZE as usize);
    let stack = Stack::allocate(pages.ok_or(OutOfMemory)?).ok_or(OutOfMemory)?;
    let thread = match create(name, stack, priority, slice, start) {
        Ok(thread) => thread,
        Err(error) => {
            stack.release();
            return Err(error);
        }
    };
    thread.keeps_stack.set(!reclaim_stack);
    let handle = Handle::new(thread);
    if !suspended {
        handle.resume();
    }
    Ok(handle)
}

/// Makes control block and record of a thread, suspended.
fn create(
    name: Option<Box<str>>,
    stack: Stack,
    priority: Priority,
    slice: Option<TimeSlice>,
    start: Box<dyn FnOnce()>,
) -> Result<&'static Thread, OutOfMemory> {
    let storage = Block::new().map_err(|_| OutOfMemory)?;
    let number = event::without(|| {
        SPAWNED.set(SPAWNED.get() + 1);
        SPAWNED.get()
    });
    let flow = Flow::new();
    flow.set_area(stack.area());
    flow.fs_base.set(storage.base());
    // SAFETY: the stack is the new thread's, which does not run yet.
    unsafe { flow.prepare(begin, stack.range().end) };
    let thread = Thread {
        flow,
        stack_limit: Cell::new(stack::limit(&stack.range())),
        name,
        stack: Cell::new(Some(stack)),
        storage: UnsafeCell::new(Some(storage)),
        start: UnsafeCell::new(Some(start)),
        ..Thread::new(number)
    };
    let thread = try_box(thread).ok_or(OutOfMemory)?;
    let id = loop {
        match scheduler::quick(|policy| policy.create_thread(priority, slice)) {
            Ok(id) => break id,
            Err(_) if rooms::make(Kind::Thread).is_ok() => {}
            Err(_) => {
                // Its one reference goes.
                drop(Handle(NonNull::from(thread)));
                return Err(OutOfMemory);
            }
        }
    };
    thread.id.set(Some(id));
    if publish(id, thread).is_err() {
        drop(Handle(NonNull::from(thread)));
        return Err(OutOfMemory);
    }
    Ok(thread)
}

/// Moves a value to the heap for good, if there is room.
fn try_box<T>(value: T) -> Option<&'static T> {
    let layout = core::alloc::Layout::new::<T>();
    // SAFETY: control blocks are not empty.
    let place = NonNull::new(unsafe { alloc::alloc::alloc(layout) }.cast::<T>())?;
    // SAFETY: allocated with the layout of `T`, and nobody else knows it.
    unsafe {
        place.write(value);
        Some(place.as_ref())
    }
}

/// Where a thread begins, with events off, on its own empty stack.
extern "C" fn begin() -> ! {
    event::enable_in_thread();
    // SAFETY: only the thread itself touches this.
    let start = unsafe { (*scheduler::current().start.get()).take() };
    if let Some(start) = start {
        start();
    }
    let thread = scheduler::current();
    let end = LOCAL_END.load(Ordering::Relaxed);
    let local = thread.local.get();
    if !end.is_null() && !local.is_null() {
        // SAFETY: `set_local_end` stored a function of this type.
        let end = unsafe { core::mem::transmute::<*mut (), fn(*mut ())>(end) };
        end(local);
    }
    // Nothing on its stack is referred to any more.
    thread.has_returned.set(true);
    vanish()
}

/// Ends the calling thread, but runs no destructors: neither of what is on its stack, nor (since that may
/// borrow from it) of what belongs to its [word](local). The main thread ends the guest in this way.
pub fn exit() -> ! {
    if scheduler::current().is_main() {
        crate::boot::finish(0);
    }
    vanish()
}

/// The last step of every thread but the main one: its locks are released, and it never runs again.
pub(crate) fn vanish() -> ! {
    bury();
    let thread = scheduler::current();
    event::disable();
    thread.next_zombie.set(ZOMBIES.replace(Some(thread)));
    scheduler::leave()
}

/// Held while stacks of others are looked at or released.
static GRAVEYARD: RawMutex = RawMutex::new();

/// Releases what threads that are over have left: their stacks, and their control blocks unless there
/// are handles.
fn bury() {
    if event::without(|| ZOMBIES.get().is_none()) {
        return;
    }
    let _ = GRAVEYARD.lock();
    bury_all();
    GRAVEYARD.unlock();
}

fn bury_all() {
    while let Some(thread) = event::without(|| {
        let first = ZOMBIES.get()?;
        ZOMBIES.set(first.next_zombie.take());
        let Ended { count, cpu_time, switches, died, left } = ENDED.get();
        let has_died = !first.has_returned.get();
        ENDED.set(Ended {
            count: count + 1,
            cpu_time: cpu_time + first.cpu_time.get(),
            switches: switches + first.switches.get(),
            died: died + u64::from(has_died),
            left: left + if has_died { first.heap.get() } else { 0 },
        });
        Some(first)
    }) {
        // SAFETY: the thread is over and runs no more; whoever has a handle does not look at these.
        let storage = unsafe { (*thread.storage.get()).take() };
        drop(storage);
        if let Some(stack) = thread.stack.take() {
            if thread.keeps_stack.get() && !thread.has_returned.get() {
                ABANDONED.fetch_add(1, Ordering::Relaxed);
            } else {
                stack.release();
            }
        }
        drop(Handle(NonNull::from(thread)));
    }
}

/// What threads that are over, and were buried since, have used.
#[must_use]
pub fn ended() -> Ended {
    bury();
    event::without(|| ENDED.get())
}

/// Nanoseconds for which no thread had the processor.
pub(crate) fn service_time() -> u64 {
    event::without(|| SERVICE.cpu_time.get())
}

/// How many stacks are lost because their threads died or exited; see [`Options::reclaim_stack`].
#[must_use]
pub fn abandoned_stacks() -> usize {
    ABANDONED.load(Ordering::Relaxed)
}

/// The calling thread.
///
/// # Panics
///
/// Never in a thread. In a handler function it is the interrupted one, or, if none runs, this panics.
#[must_use]
pub fn current() -> Handle {
    let thread = scheduler::current();
    assert!(thread.id.get().is_some(), "no thread runs");
    Handle::new(thread)
}

/// Lets the next thread of the same priority run. If there is none, returns at once.
#[inline]
pub fn yield_now() {
    scheduler::decide(|policy, now| policy.yield_now(now));
}

/// Waits until the clock has reached `deadline` (ns).
///
/// # Panics
///
/// With events off: in a handler function, or in a section without events.
pub fn sleep_until(deadline: u64) {
    // It always ends by its deadline.
    let _ = scheduler::block(|policy, now| policy.sleep(deadline, now));
}

/// Waits until somebody [unparks](Handle::unpark) the calling thread, or has done so since it last parked.
///
/// # Errors
///
/// [`TimedOut`] if the clock reaches `deadline` (ns) first.
///
/// # Panics
///
/// With events off: in a handler function, or in a section without events.
pub fn park(deadline: Option<u64>) -> Result<(), TimedOut> {
    scheduler::block(|policy, now| policy.park(deadline, now)).map(drop)
}

/// Changes the time slice of all threads that have none of their own. It counts from each one's next whole slice.
pub fn set_time_slice(slice: TimeSlice) {
    scheduler::quick(|policy| policy.set_slice(slice));
}

/// Turns priority inheritance off, or on again. It is on; without it, a thread can be kept waiting for a
/// mutex by others less important than itself for any length of time.
pub fn set_inheritance(is_on: bool) {
    scheduler::decide(|policy, now| policy.inheritance(is_on, now));
}

/// The word of the calling thread that belongs to the library above, null at the beginning.
#[must_use]
#[inline]
pub fn local() -> *mut () {
    scheduler::current().local.get()
}

/// Sets the word of the calling thread.
pub fn set_local(word: *mut ()) {
    scheduler::current().local.set(word);
}

/// Sets the function that each thread calls at its end with its word, unless that is null.
pub fn set_local_end(function: fn(*mut ())) {
    LOCAL_END.store(function as *mut (), Ordering::Relaxed);
}

/// Handles of all threads that are not over, in no particular order.
///
/// # Panics
///
/// If there is no memory for the list. In a handler function there may be none at any time.
#[must_use]
pub fn all() -> Vec<Handle> {
    let mut handles = Vec::new();
    for_each(|handle| {
        if !handle.is_finished() {
            handles.push(handle);
        }
    });
    handles
}

/// Calls `action` with each thread that has a record. Threads that come and go meanwhile may be missed.
pub(crate) fn for_each(mut action: impl FnMut(Handle)) {
    for page in &BLOCKS {
        let page = page.load(Ordering::Relaxed);
        if page.is_null() {
            return;
        }
        // SAFETY: a page that was published stays.
        for entry in unsafe { &*page } {
            let handle = event::without(|| {
                // SAFETY: an entry that is not null names a control block that has not ended.
                let thread = unsafe { entry.load(Ordering::Relaxed).as_ref() };
                thread.map(Handle::new)
            });
            if let Some(handle) = handle {
                action(handle);
            }
        }
    }
}

impl Handle {
    pub(crate) fn new(thread: &'static Thread) -> Handle {
        thread.references.fetch_add(1, Ordering::Relaxed);
        Handle(NonNull::from(thread))
    }

    fn thread(&self) -> &'static Thread {
        // SAFETY: the control block lives as long as there is a handle. (The lifetime is that of the
        // handle; callers do not keep it longer.)
        unsafe { self.0.as_ref() }
    }

    /// The name that was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        if self.thread().is_main() { Some("main") } else { self.thread().name.as_deref() }
    }

    /// A number that no other thread of this guest ever has; the main thread's is 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.thread().number
    }

    /// Ends the wait of the parked thread, or lets its next park end at once.
    pub fn unpark(&self) {
        scheduler::decide(|policy, now| policy.unpark(self.thread().id(), now));
    }

    /// Stops the thread until it is resumed, wherever it stands. What it holds it keeps.
    pub fn suspend(&self) {
        scheduler::decide(|policy, now| policy.suspend(self.thread().id(), now));
    }

    /// Lets the thread go on if it was suspended.
    pub fn resume(&self) {
        scheduler::decide(|policy, now| policy.resume(self.thread().id(), now));
    }

    /// The base priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        scheduler::quick(|policy| policy.thread(self.thread().id()).base_priority())
    }

    /// The priority by which the thread is scheduled: its own, or one it inherited.
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        scheduler::quick(|policy| policy.thread(self.thread().id()).effective_priority())
    }

    /// Changes the base priority.
    pub fn set_priority(&self, priority: Priority) {
        scheduler::decide(|policy, now| policy.set_priority(self.thread().id(), priority, now));
    }

    /// Gives the thread a time slice of its own, or takes it away. It counts from its next whole slice.
    pub fn set_time_slice(&self, slice: Option<TimeSlice>) {
        scheduler::quick(|policy| policy.set_thread_slice(self.thread().id(), slice));
    }

    /// Whether the thread is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        scheduler::quick(|policy| policy.thread(self.thread().id()).state() == State::Exited)
    }

    /// Waits until the thread is over.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the clock reaches `deadline` (ns) first.
    ///
    /// # Panics
    ///
    /// With events off; if it is the caller's own.
    pub fn join(&self, deadline: Option<u64>) -> Result<(), TimedOut> {
        /// How often a second one who waits looks, in ns.
        const LOOK: u64 = 1_000_000;
        assert!(!ptr::eq(self.thread(), scheduler::current()), "a thread waits for its own end");
        // The policy knows one thread that waits for an end; others look from time to time.
        while event::without(|| self.thread().is_joined.replace(true)) {
            if self.is_finished() {
                return Ok(());
            }
            let now = clock::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(TimedOut);
            }
            sleep_until(deadline.unwrap_or(u64::MAX).min(now + LOOK));
        }
        let result = scheduler::block(|policy, now| policy.join(self.thread().id(), deadline, now));
        event::without(|| self.thread().is_joined.set(false));
        bury();
        result.map(drop)
    }

    /// What the thread died of, once it is over; `None` if it ended well.
    #[must_use]
    pub fn death(&self) -> Option<String> {
        // SAFETY: it is written before the thread is over, and never after.
        if self.is_finished() { unsafe { (*self.thread().death.get()).clone() } } else { None }
    }

    /// What is known of the thread. Looks at its stack, which takes a while.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let thread = self.thread();
        // A thread may end while we look at its stack, but nobody else gets that stack meanwhile.
        let _ = GRAVEYARD.lock();
        let is_over = self.is_finished();
        let stack = thread.stack();
        let stack_used = if is_over { 0 } else { stack::high_water(&stack) };
        GRAVEYARD.unlock();
        scheduler::quick(|policy| {
            let record = policy.thread(thread.id());
            let is_current = ptr::eq(thread, scheduler::current());
            Statistics {
                number: thread.number,
                state: record.state(),
                waiting: record.waiting(),
                priority: record.base_priority(),
                effective_priority: record.effective_priority(),
                cpu_time: thread.cpu_time.get() + if is_current { scheduler::uncharged() } else { 0 },
                switches: thread.switches.get(),
                stack_size: if is_over { 0 } else { (stack.end - stack.start) as usize },
                stack_used,
                heap: thread.heap.get() + if is_current { heap::balance() } else { 0 },
            }
        })
    }
}

/// Notes what the calling thread dies of.
pub(crate) fn set_death(text: String) {
    // SAFETY: only the thread itself writes it, and nobody reads it before the thread is over.
    unsafe { *scheduler::current().death.get() = Some(text) };
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(self.thread())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let thread = self.thread();
        let is_last = event::without(|| {
            let is_last = thread.references.fetch_sub(1, Ordering::Relaxed) == 1;
            if is_last {
                thread.unpublish();
            }
            is_last
        });
        if is_last {
            // SAFETY: `try_box` made it, nobody knows it any more, and it is over: it held a reference
            // itself until then.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Thread").field("number", &self.number()).field("name", &self.name()).finish()
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Thread").field("number", &self.number).field("name", &self.label()).finish()
    }
}
