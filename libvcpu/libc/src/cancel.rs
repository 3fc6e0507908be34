//! Cancellation points: musl calls what may wait through here.

use crate::errno::EINTR;
use crate::signal;

/// What musl calls for a wait: one of the functions `__vcpu_sys_*` with its arguments.
type Call = extern "C" fn(i64, i64, i64, i64, i64, i64) -> i64;

/// Calls a function that may wait.
#[unsafe(no_mangle)]
extern "C" fn __syscall_cp(call: Call, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 {
    loop {
        let result = call(a, b, c, d, e, f);
        if !signal::is_due() {
            return result;
        }
        let again = signal::deliver();
        if result != -EINTR || !again || !is_restarted(call) {
            return result;
        }
    }
}

/// Whether a signal whose handler wants that makes the call again.
fn is_restarted(call: Call) -> bool {
    unsafe extern "C" {
        fn __vcpu_sys_read();
        fn __vcpu_sys_readv();
        fn __vcpu_sys_write();
        fn __vcpu_sys_writev();
        fn __vcpu_sys_fcntl();
        fn __vcpu_sys_flock();
    }
    let calls: [unsafe extern "C" fn(); 6] = [
        __vcpu_sys_read,
        __vcpu_sys_readv,
        __vcpu_sys_write,
        __vcpu_sys_writev,
        __vcpu_sys_fcntl,
        __vcpu_sys_flock,
    ];
    calls.iter().any(|restarted| *restarted as usize == call as usize)
}
