//! The switch among ten thousand ready threads over that among ten.
//!
//! A switch does the same work whatever the number of threads. But the memory of ten thousand is in no cache
//! when its turn comes. What that alone costs is measured with ten threads, each of which touches in each of
//! its turns the memory of another one of ten thousand *models*: as much of a record, a control block and a
//! stack as a switch touches, at the same places in their pages, found by the one before.

use crate::samples::{repeat, sample, tell};
use core::alloc::Layout;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use libvcpu::alloc::alloc::{alloc, dealloc};
use libvcpu::prelude::*;
use libvcpu::sync::Arc;
use libvcpu::thread;

/// Few threads.
const FEW: usize = 10;
/// Many threads, or models.
const MANY: usize = 10_000;
/// Samples of each.
const COUNT: usize = 50;
/// Switches of a sample.
const SWITCHES: usize = 10_000;

/// Turns of all kinds.
const TURNS: usize = 3;

pub(crate) fn measure() {
    for _ in 0..TURNS {
        tell("few", &switches(FEW, || {}));
        for (name, number) in [("few.touching.few", FEW), ("few.touching.many", MANY)] {
            let models = Arc::new(Models::new(number));
            tell(name, &switches(FEW, move || models.visit()));
        }
        tell("many", &switches(MANY, || {}));
    }
}

/// What a switch among so many threads takes. All of them only yield, and do `work` in between.
fn switches(number: usize, work: impl Fn() + Clone + Send + 'static) -> Vec<f64> {
    static STOP: AtomicBool = AtomicBool::new(false);
    STOP.store(false, Relaxed);
    let threads: Vec<_> = (1..number)
        .map(|_| {
            let builder = thread::Builder::new().stack_size(thread::MINIMUM_STACK);
            let work = work.clone();
            let turns = move || {
                while !STOP.load(Relaxed) {
                    thread::yield_now();
                    work();
                }
            };
            builder.spawn(turns).expect("there is memory for all threads")
        })
        .collect();
    let rounds = (SWITCHES / number) as u64;
    let turn = || {
        thread::yield_now();
        work();
    };
    let samples = sample(COUNT, SWITCHES as u64, SWITCHES as u64, || repeat(rounds, turn));
    STOP.store(true, Relaxed);
    for thread in threads {
        thread.join().expect("it only yields");
    }
    samples
}

/// Memory as threads have it.
struct Models {
    records: Vec<Record>,
    #[expect(clippy::vec_box, reason = "each is a block of its own, as those of threads are")]
    blocks: Vec<Box<ControlBlock>>,
    current: AtomicU32,
}

/// A record of the policy, a cache line.
#[repr(align(64))]
struct Record {
    next: u32,
    rest: AtomicU32,
}

/// A control block: what a switch touches lies in its first line.
#[repr(C, align(64))]
struct ControlBlock {
    stack: Stack,
    switches: AtomicU64,
    cpu_time: AtomicU64,
    _cold: [u64; 24],
}

/// A mapping like that of a stack: guard page, stack, and a page for the extended state.
struct Stack(*mut u8);

impl Stack {
    const PAGE: usize = 4096;
    const LAYOUT: Layout = match Layout::from_size_align(thread::MINIMUM_STACK + 2 * Stack::PAGE, Stack::PAGE)
    {
        Ok(layout) => layout,
        Err(_) => panic!("a page's size is a power of two"),
    };
    /// Bytes that a thread which yields has on its stack.
    const DEPTH: usize = 448;
    /// Cache lines of these that a switch touches.
    const LINES: usize = 2;

    fn new() -> Stack {
        // SAFETY: the layout is not empty.
        let mapping = unsafe { alloc(Stack::LAYOUT) };
        assert!(!mapping.is_null(), "there is memory for the model");
        Stack(mapping)
    }

    /// Touches what a switch from this stack and later back to it touches.
    #[inline(always)]
    fn touch(&self) {
        let top = Stack::PAGE + thread::MINIMUM_STACK;
        // SAFETY: all of these lie in the mapping.
        unsafe {
            let pointer = self.0.add(top - Stack::DEPTH);
            for line in 0..Stack::LINES {
                let word = pointer.add(line * 64).cast::<u64>();
                word.write_volatile(word.read_volatile().wrapping_add(1));
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody else knows it.
        unsafe { dealloc(self.0, Stack::LAYOUT) };
    }
}

// SAFETY: the memory belongs to whoever has the value, and sharing it shares no more than atomic numbers and
// words whose value nobody looks at.
unsafe impl Send for Stack {}
// SAFETY: as above. There is one vCPU.
unsafe impl Sync for Stack {}

impl Models {
    fn new(number: usize) -> Models {
        let record = |index| Record { next: ((index + 1) % number) as u32, rest: AtomicU32::new(0) };
        let block = |_| {
            let (switches, cpu_time) = (AtomicU64::new(0), AtomicU64::new(0));
            Box::new(ControlBlock { stack: Stack::new(), switches, cpu_time, _cold: [0; 24] })
        };
        Models {
            records: (0..number).map(record).collect(),
            blocks: (0..number).map(block).collect(),
            current: AtomicU32::new(0),
        }
    }

    /// Touches the memory of the next one.
    #[inline(always)]
    fn visit(&self) {
        let record = &self.records[self.current.load(Relaxed) as usize];
        bump(&record.rest);
        self.current.store(record.next, Relaxed);
        let block = &self.blocks[record.next as usize];
        block.switches.store(block.switches.load(Relaxed) + 1, Relaxed);
        block.cpu_time.store(block.cpu_time.load(Relaxed) + 1, Relaxed);
        block.stack.touch();
    }
}

/// Adds one, as the only one who does.
fn bump(number: &AtomicU32) {
    number.store(number.load(Relaxed).wrapping_add(1), Relaxed);
}
