//! Switches that no thread wants: what an event costs from the entry vector on.
//!
//! What lies before, the host's part, is not the kernel's. The kernel notes the time-stamp counter at each
//! upcall's first instruction; who gets the processor looks at it.

use crate::samples::tell;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::Mutex;
use libvcpu::thread::{self, Priority, Thread};
use libvcpu::{call, clock, event};

/// Samples of each kind.
const COUNT: usize = 2000;
/// Samples of each kind that do not count.
const WARM_UP: usize = 100;
/// The line whose timer fires.
const LINE: u32 = 3;
/// From a sample to the next event, in ns: caches are as warm as between events of a busy device.
const PERIOD: u64 = 30_000;

/// The thread that the event handler makes more and less important than the other.
static TIPPED: AtomicPtr<Thread> = AtomicPtr::new(core::ptr::null_mut());

/// Two threads that compute with all vector registers, and an event at which the kernel takes the
/// processor from one and gives it to the other: all registers are saved and restored.
pub(crate) fn between_threads() {
    static STOP: AtomicBool = AtomicBool::new(false);
    static SAMPLES: Mutex<Vec<f64>> = Mutex::new(Vec::new());
    static UPCALLS: AtomicUsize = AtomicUsize::new(0);

    fn compute() {
        use_vector_registers();
        let mut samples = Vec::with_capacity(COUNT + WARM_UP);
        // Only who was interrupted sees that, and asks for the next event.
        let mut before = clock::counter();
        arm();
        while !STOP.load(Relaxed) {
            let now = clock::counter();
            let upcall = event::last_upcall();
            if upcall > before && upcall < now {
                samples.push((now - upcall) as f64);
                if UPCALLS.fetch_add(1, Relaxed) >= COUNT + WARM_UP {
                    STOP.store(true, Relaxed);
                } else {
                    arm();
                }
            }
            before = now;
        }
        SAMPLES.lock().expect("nobody panics").extend(samples.into_iter().skip(WARM_UP / 2));
    }

    fn tip() {
        static IS_UP: AtomicBool = AtomicBool::new(false);
        let is_up = !IS_UP.fetch_xor(true, Relaxed);
        // SAFETY: the handler is set after the thread was made known, and that is never freed.
        let thread = unsafe { &*TIPPED.load(Relaxed) };
        thread.set_priority(Priority::new(if is_up { 42 } else { 40 }));
    }

    thread::current().set_priority(Priority::new(50));
    let [fixed, tipped] = [41, 40].map(|priority| {
        let builder = thread::Builder::new().priority(Priority::new(priority));
        builder.spawn(compute).expect("there is memory for two threads")
    });
    TIPPED.store(Box::into_raw(Box::new(tipped.thread().clone())), Relaxed);
    event::set_handler(LINE, Some(tip));
    fixed.join().expect("it only computes");
    tipped.join().expect("it only computes");
    tell("preempt", &SAMPLES.lock().expect("nobody panics"));
}

/// Has the line raised soon.
fn arm() {
    call::timer_set(LINE, Some(clock::now() + PERIOD)).expect("the line exists");
}

/// Puts something into every vector register, as wide as the machine has them, so that there is something to
/// save.
fn use_vector_registers() {
    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    const AVX512F: u32 = 1 << 16;
    const AVX_STATE: u64 = 6;
    const AVX512_STATE: u64 = 0xe6;
    let has_avx = __cpuid(1).ecx & OSXSAVE_AND_AVX == OSXSAVE_AND_AVX;
    // SAFETY: OSXSAVE says that the instruction may be used; 0 is the register that always exists.
    let enabled = if has_avx { unsafe { _xgetbv(0) } } else { 0 };
    if enabled & AVX512_STATE == AVX512_STATE && __cpuid_count(7, 0).ebx & AVX512F != 0 {
        // SAFETY: the processor and its operating system have these registers; nobody relies on them here.
        unsafe {
            asm!(
                "vpternlogd zmm0, zmm0, zmm0, 255",
                "vpternlogd zmm15, zmm15, zmm15, 255",
                "vpternlogd zmm16, zmm16, zmm16, 255",
                "vpternlogd zmm31, zmm31, zmm31, 255",
                "kxnorw k1, k1, k1",
                out("xmm0") _, out("xmm15") _,
                options(nomem, nostack, preserves_flags),
            );
        }
    } else if enabled & AVX_STATE == AVX_STATE {
        // SAFETY: as above.
        unsafe {
            asm!(
                "vpcmpeqd xmm0, xmm0, xmm0",
                "vinsertf128 ymm0, ymm0, xmm0, 1",
                "vinsertf128 ymm15, ymm0, xmm0, 1",
                out("xmm0") _, out("xmm15") _,
                options(nomem, nostack, preserves_flags),
            );
        }
    }
}

/// A thread that waits for an event, alone and with a thousand less important threads that compute.
pub(crate) fn to_a_handler() {
    /// Turns of both kinds.
    const TURNS: usize = 10;
    const COMPUTING: usize = 1000;
    /// Events of a sample.
    const TOGETHER: usize = 20;
    static STOP: AtomicBool = AtomicBool::new(false);
    thread::current().set_priority(Priority::new(50));
    let mut listener = event::Listener::bind(&[LINE]).expect("the line is free");
    let mut sample = |name| {
        let mut samples = Vec::with_capacity(WARM_UP + COUNT / TURNS);
        for _ in 0..WARM_UP + COUNT / TURNS {
            arm();
            listener.wait(None).expect("there is no deadline");
            samples.push((clock::counter() - event::last_upcall()) as f64);
        }
        // The counter goes in steps, so one event more or less of a step would decide; hence means, of those in
        // the middle.
        let means = samples[WARM_UP..].chunks_exact_mut(TOGETHER).map(|events| {
            events.sort_unstable_by(f64::total_cmp);
            let middle = &events[TOGETHER / 4..TOGETHER * 3 / 4];
            middle.iter().sum::<f64>() / middle.len() as f64
        });
        tell(name, &means.collect::<Vec<_>>());
    };
    for _ in 0..TURNS {
        sample("alone");
        STOP.store(false, Relaxed);
        let threads: Vec<_> = (0..COMPUTING)
            .map(|_| {
                let builder = thread::Builder::new().stack_size(thread::MINIMUM_STACK);
                let compute = || {
                    while !STOP.load(Relaxed) {
                        core::hint::black_box(0);
                    }
                };
                builder.spawn(compute).expect("there is memory for all threads")
            })
            .collect();
        sample("loaded");
        STOP.store(true, Relaxed);
        for thread in threads {
            thread.join().expect("it only computes");
        }
    }
}
