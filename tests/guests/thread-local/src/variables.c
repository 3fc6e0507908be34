/* Variables of which each thread has its own: initialised, zero, and with a large alignment. */

#include <stdint.h>

__thread int initialised = 42;
__thread int zero;
__thread uint8_t aligned[64] __attribute__((aligned(64)));
__thread char text[] = "template";

/* Adds to both numbers and gives their sum. */
int add(int number)
{
    initialised += number;
    zero += number;
    return initialised + zero;
}

/* Whether what was never written is as it was in the beginning, and aligned as it should be. */
int is_well(void)
{
    static const char expected[] = "template";
    for (unsigned index = 0; index < sizeof expected; index++)
        if (text[index] != expected[index])
            return 0;
    for (unsigned index = 0; index < sizeof aligned; index++)
        if (aligned[index] != 0)
            return 0;
    return (uintptr_t)aligned % 64 == 0;
}

/* Where the calling thread has a variable. */
int *place(void)
{
    return &zero;
}
