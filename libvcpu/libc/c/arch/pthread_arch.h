/* Where musl's code finds what it keeps of the calling thread: a thread-local variable of ours. */

extern __thread char __vcpu_thread[] __attribute__((visibility("hidden")));

static inline uintptr_t __get_tp(void)
{
    return (uintptr_t)__vcpu_thread;
}

#define MC_PC gregs[REG_RIP]
