//! Cancellation points: musl calls what may wait through here.

/// What musl calls for a wait: one of the functions `__vcpu_sys_*` with its arguments.
type Call = extern "C" fn(i64, i64, i64, i64, i64, i64) -> i64;

/// Calls a function that may wait.
#[unsafe(no_mangle)]
extern "C" fn __syscall_cp(call: Call, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 {
    call(a, b, c, d, e, f)
}
