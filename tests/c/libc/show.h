/* How the programs of this directory print what they find, and moments that they wait for. */

#ifndef SHOW_H
#define SHOW_H

#include <errno.h>
#include <stdio.h>
#include <time.h>

/* Prints a number. */
#define SHOW(expression) printf("%s: %d\n", #expression, (int)(expression))

/* Prints a value and, if it says so, the error's number. */
#define SAY(call) do { \
    errno = 0; \
    long value = (long)(call); \
    printf("%s = %ld", #call, value); \
    printf(value == -1 ? " errno %d\n" : "\n", errno); \
} while (0)

/* So many milliseconds from now. */
static inline struct timespec after(clockid_t clock, long milliseconds)
{
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_nsec += milliseconds % 1000 * 1000000;
    time.tv_sec += milliseconds / 1000 + time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

#endif
