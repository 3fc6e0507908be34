//! Control blocks: what the kernel keeps of each thread, and where it finds them.

use super::{Handle, OutOfMemory, Priority};
use crate::context::{Context, Flow};
use crate::death::Fault;
use crate::scheduler;
use crate::stack::{self, Stack};
use crate::tls::Block;
use crate::{event, heap, machine};
use alloc::boxed::Box;
use alloc::string::String;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use vcpu_kernel_core::policy::Policy;
use vcpu_kernel_core::thread::{State, ThreadId};

/// The control block of a thread.
///
/// It begins with the flow, by which the entry vector finds it. Cells are touched with events off, or
/// by the thread itself only. What a switch needs lies in the first cache line.
#[repr(C, align(64))]
pub struct Thread {
    pub(super) flow: Flow,
    /// See [`stack::limit`].
    pub(super) stack_limit: Cell<u64>,
    pub(super) cpu_time: Cell<u64>,
    pub(super) switches: Cell<u64>,
    pub(super) id: Cell<Option<ThreadId>>,
    /// Whether it is dying: another panic or fault in it ends the guest.
    pub(super) is_dying: Cell<bool>,
    /// Whether the stack is lost if the thread ends in another way than by returning.
    pub(super) keeps_stack: Cell<bool>,
    /// Whether its function, and the destructors of its variables, have returned.
    pub(super) has_returned: Cell<bool>,
    /// Whether somebody waits for its end.
    pub(super) is_joined: Cell<bool>,
    /// Who knows the thread: its handles, and itself until it is over.
    pub(super) references: AtomicUsize,
    pub(super) number: u64,
    pub(super) token: Cell<u64>,
    pub(super) name: Option<Box<str>>,
    pub(super) stack: Cell<Option<Stack>>,
    pub(super) storage: UnsafeCell<Option<Block>>,
    pub(super) start: UnsafeCell<Option<Box<dyn FnOnce()>>>,
    /// What the thread died of; set before it exits.
    pub(super) death: UnsafeCell<Option<String>>,
    /// The fault by which it dies.
    pub(crate) fault: Cell<Option<Fault>>,
    /// Bytes it allocated minus bytes it freed.
    pub(super) heap: Cell<i64>,
    /// A word of the library above, and what to do with it when the thread ends.
    pub(super) local: Cell<*mut ()>,
    pub(super) next_zombie: Cell<Option<&'static Thread>>,
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

const PAGE_ENTRIES: usize = 1024;

/// The [token](Thread::token) of the service flow, which is no thread. All others are greater.
pub(crate) const NO_TOKEN: u64 = 3;

/// How many of a token's bits say where the record is.
const TOKEN_INDEX: u32 = (BLOCKS.len() * PAGE_ENTRIES).ilog2();

type BlockPage = [AtomicPtr<Thread>; PAGE_ENTRIES];

impl Thread {
    pub(super) const fn new(number: u64) -> Thread {
        Thread {
            flow: Flow::new(),
            stack_limit: Cell::new(0),
            cpu_time: Cell::new(0),
            switches: Cell::new(0),
            id: Cell::new(None),
            references: AtomicUsize::new(1),
            number,
            token: Cell::new(NO_TOKEN),
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

    /// A number of which it is quick to find out whether its thread is over, by [`with_token`]. No other thread of
    /// the guest ever has it.
    #[inline(always)]
    pub(crate) fn token(&self) -> u64 {
        self.token.get()
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
    pub(super) fn unpublish(&self) {
        if let Some(id) = self.id.take() {
            scheduler::quick(|policy| policy.remove_thread(id));
            let (page, index) = place(id);
            // SAFETY: a page that was published stays.
            if let Some(page) = unsafe { page.load(Ordering::Relaxed).as_ref() } {
                page[index].store(ptr::null_mut(), Ordering::Relaxed);
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

/// The page that leads to a thread's control block, and the index in it.
#[inline(always)]
fn place(id: ThreadId) -> (&'static AtomicPtr<BlockPage>, usize) {
    (&BLOCKS[id.index() / PAGE_ENTRIES], id.index() % PAGE_ENTRIES)
}

/// The control block of a thread by the number of its record.
///
/// # Panics
///
/// If there is no such thread.
#[inline(always)]
pub(crate) fn of(thread: ThreadId) -> &'static Thread {
    let (page, index) = place(thread);
    // SAFETY: a page that was published stays, and its entry names a control block that lives as long as
    // the record, because the block's end removes the record.
    unsafe { &*(*page.load(Ordering::Relaxed))[index].load(Ordering::Relaxed) }
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
pub(super) fn publish(id: ThreadId, thread: &'static Thread) -> Result<(), OutOfMemory> {
    let (page, index) = place(id);
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
    page[index].store((&raw const *thread).cast_mut(), Ordering::Relaxed);
    thread.token.set(thread.number << TOKEN_INDEX | id.index() as u64);
    Ok(())
}

/// The number of the record of the thread that has a token, or none if that thread is over.
pub(crate) fn with_token(policy: &Policy, token: u64) -> Option<ThreadId> {
    let index = token as usize % (BLOCKS.len() * PAGE_ENTRIES);
    let page = BLOCKS[index / PAGE_ENTRIES].load(Ordering::Relaxed);
    // SAFETY: a page that was published stays, and its entry is null or names a control block that has not ended:
    // who has the policy is alone.
    let thread = unsafe { page.as_ref()?[index % PAGE_ENTRIES].load(Ordering::Relaxed).as_ref()? };
    let id = thread.id.get()?;
    (thread.token() == token && policy.thread(id).state() != State::Exited).then_some(id)
}

/// Moves a value to the heap for good, if there is room.
pub(super) fn try_box<T>(value: T) -> Option<&'static T> {
    let layout = core::alloc::Layout::new::<T>();
    // SAFETY: control blocks are not empty.
    let place = NonNull::new(unsafe { alloc::alloc::alloc(layout) }.cast::<T>())?;
    // SAFETY: allocated with the layout of `T`, and nobody else knows it.
    unsafe {
        place.write(value);
        Some(place.as_ref())
    }
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

/// Nanoseconds for which no thread had the processor.
pub fn service_time() -> u64 {
    event::without(|| SERVICE.cpu_time.get())
}

impl fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Thread").field("number", &self.number).field("name", &self.label()).finish()
    }
}
