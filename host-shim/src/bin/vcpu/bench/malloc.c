/* What a program does that lives on the heap: blocks of many sizes, most of them small, that live for a while; some
   grow. Prints the ns of a step: a block given back, and one allocated and touched. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PLACES 4096
#define STEPS 400000

static uint64_t state = 88172645463325252;
static char *blocks[PLACES];

static uint64_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void step(void)
{
    unsigned place = random_bits() % PLACES;
    uint64_t bits = random_bits();
    size_t size = (bits % 16 == 0 ? (bits >> 8) % 32768 : bits % 4 == 0 ? (bits >> 8) % 2048 : (bits >> 8) % 256) + 1;
    free(blocks[place]);
    char *block = malloc(size);
    if (block && bits % 64 == 1)
        block = realloc(block, size *= 2);
    if (!block)
        exit(1);
    block[0] = block[size - 1] = 1;
    blocks[place] = block;
}

int main(void)
{
    double best = 1e18;
    for (int round = 0; round < 5; round++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < STEPS; i++)
            step();
        clock_gettime(CLOCK_MONOTONIC, &end);
        double time = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
        if (time < best)
            best = time;
    }
    printf("%.3f\n", best / STEPS);
    return 0;
}
