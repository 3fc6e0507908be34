//! Futures: [`block_on`] runs one on the calling thread, which waits where the future does.
//!
//! That is all that crates need which are written for `async` and know no executor, such as `embassy-sync`.
//! The wakers work from other threads and from event handler functions.
//!
//! ```no_run
//! let answer = libvcpu::task::block_on(async { 42 });
//! ```

use crate::time::{self, Duration, Instant};
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use vcpu_kernel::sync::{RawSemaphore, TimedOut};

/// Runs a future to its end and gives its value. While the future waits, so does the calling thread.
///
/// # Panics
///
/// If the future waits in an event handler function, or in a section without events.
pub fn block_on<F: Future>(future: F) -> F::Output {
    time::unlimited(block_by(future, None))
}

/// As [`block_on`], but no longer than `timeout`.
///
/// # Errors
///
/// [`TimedOut`] if the future still waits then. It is dropped.
pub fn block_on_timeout<F: Future>(future: F, timeout: Duration) -> Result<F::Output, TimedOut> {
    block_by(future, time::after(timeout))
}

/// As [`block_on`], but until `deadline` at most.
///
/// # Errors
///
/// As [`block_on_timeout`].
pub fn block_on_until<F: Future>(future: F, deadline: Instant) -> Result<F::Output, TimedOut> {
    block_by(future, Some(deadline.as_nanos()))
}

fn block_by<F: Future>(future: F, deadline: Option<u64>) -> Result<F::Output, TimedOut> {
    let signal = Arc::new(Signal(RawSemaphore::new(0, 1)));
    // The first use allocates, which a handler function could not.
    signal.0.permits();
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        signal.0.acquire(deadline)?;
    }
}

/// Has a permit if the future is to be polled again. (Not the thread's own `park`, which the future may use
/// for itself.)
struct Signal(RawSemaphore);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It may have been woken already.
        let _ = self.0.release();
    }
}
