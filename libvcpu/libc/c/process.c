/* What musl's code asks of all threads of a process, or of another process. */

#include <errno.h>
#include "libc.h"
#include "pthread_impl.h"

/* What is changed this way belongs to the process, and not to each thread as on Linux. */
void __synccall(void (*change)(void *), void *context)
{
    change(context);
}

/* faccessat would have another process look with other rights. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    return -ENOSYS;
}
