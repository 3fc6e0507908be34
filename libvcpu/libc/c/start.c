/* From the kernel to a C program's main: what musl keeps of the process and of each thread. */

#include "libc.h"
#include "pthread_impl.h"
#include <stdlib.h>
#include <unistd.h>

extern int main(int, char **, char **);
char **__vcpu_environment(void);
void __vcpu_set_canary(void);

/* Of the main thread; other threads begin with a copy and get a number of their own. */
_Thread_local struct pthread vcpu_thread __asm__("__vcpu_thread") = {
    .tid = 1,
    .locale = &libc.global_locale,
};


/* C++ wants an address that is this program's. */
void *__dso_handle;

_Noreturn void __stack_chk_fail(void)
{
    static const char text[] = "stack smashing detected: a function wrote beyond its array\n";
    syscall(SYS_write, 2, text, sizeof text - 1);
    abort();
}

/* Runs before every other constructor, and calls nothing that checks its stack. */
static __attribute__((optimize("no-stack-protector"))) void init(void)
{
    __environ = __vcpu_environment();
    libc.page_size = 4096;
    libc.need_locks = 1;
    __vcpu_set_canary();
}

__attribute__((section(".init_array.00000"), used)) static void (*const init_first)(void) = init;

_Noreturn void __vcpu_run_main(int count, char **arguments)
{
    if (count > 0) {
        __progname = __progname_full = arguments[0];
        for (char *at = arguments[0]; *at; at++)
            if (*at == '/')
                __progname = at + 1;
    }
    exit(main(count, arguments, __environ));
}
