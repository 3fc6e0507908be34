/* Memory in pages, and files in memory. */

#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static int is_zero(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i])
            return 0;
    return 1;
}

static void anonymous(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *memory = mmap(NULL, 10 * PAGE + 1, PROT_READ | PROT_WRITE, flags, -1, 0);
    printf("aligned %d zero %d\n", (uintptr_t)memory % PAGE == 0, is_zero(memory, 11 * PAGE));
    memset(memory, 1, 11 * PAGE);
    SAY(munmap(memory + 2 * PAGE, PAGE));
    SAY(munmap(memory + 2 * PAGE, PAGE));
    printf("%d %d\n", memory[2 * PAGE - 1], memory[3 * PAGE]);
    SAY(munmap(memory, PAGE));
    SAY(munmap(memory + PAGE, 10 * PAGE));
    SAY(munmap(memory + 1, PAGE));
    SAY(munmap(memory, 0));
    SAY((long)mmap(NULL, 0, PROT_READ, flags, -1, 0));
    SAY((long)mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    SAY((long)mmap(NULL, SIZE_MAX / 2, PROT_READ, flags, -1, 0));
    SAY((long)mmap(NULL, SIZE_MAX - 5, PROT_READ, flags, -1, 0));
    /* Again and again: what is given back is there again. */
    int all = 1;
    for (int i = 0; i < 200; i++) {
        memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
        all &= memory != MAP_FAILED && is_zero(memory, 64 * PAGE);
        memset(memory, 0x55, 64 * PAGE);
        for (int part = 0; part < 64; part += 16)
            all &= munmap(memory + part * PAGE, 16 * PAGE) == 0;
    }
    printf("all %d\n", all);
    memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(memory, 7, 4 * PAGE);
    char *middle = memory + PAGE;
    printf("fixed %d", mmap(middle, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0) == middle);
    printf(" %d %d %d\n", memory[0], memory[PAGE], memory[2 * PAGE]);
    SAY(madvise(memory, PAGE, MADV_SEQUENTIAL));
    SAY(msync(memory, PAGE, MS_SYNC));
    SAY(msync(memory, PAGE, MS_SYNC | MS_ASYNC));
    SAY(madvise(memory + 1, PAGE, MADV_NORMAL));
    SAY(munmap(memory, 4 * PAGE));
    memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    memset(memory, 7, 4 * PAGE);
    SAY(madvise(memory + PAGE, PAGE, MADV_DONTNEED));
    printf("%d %d %d\n", memory[0], memory[PAGE], memory[2 * PAGE]);
    SAY(mprotect(memory, PAGE, PROT_READ));
    printf("%d\n", memory[5]);
    SAY(mprotect(memory, PAGE, PROT_NONE));
    SAY(mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
    memory[5] = 9;
    SAY(mprotect(memory, PAGE, 1 << 20));
    memory = mremap(memory, 4 * PAGE, 100 * PAGE, MREMAP_MAYMOVE);
    printf("%d %d %d\n", memory[5], memory[4 * PAGE - 1], is_zero(memory + 4 * PAGE, 96 * PAGE));
    char *same = mremap(memory, 100 * PAGE, PAGE, 0);
    printf("%d %d\n", same == memory, memory[5]);
    SAY((long)mremap(memory, PAGE, 0, MREMAP_MAYMOVE));
    SAY(munmap(memory, PAGE));
}

static void files(void)
{
    int file = open("work/m", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 3000; i++)
        if (write(file, &i, sizeof i) != sizeof i)
            return;
    int *numbers = mmap(NULL, 12000, PROT_READ, MAP_SHARED, file, 0);
    printf("%d %d %d\n", numbers[0], numbers[2999], numbers[3000]);
    SAY(munmap(numbers, 12000));
    numbers = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, PAGE);
    printf("%d\n", numbers[0]);
    numbers[0] = -1;
    int found;
    if (pread(file, &found, sizeof found, PAGE) == sizeof found)
        printf("file %d, memory %d\n", found, numbers[0]);
    SAY(munmap(numbers, 3 * PAGE));
    SAY((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 100));
    SAY((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0));
    SAY((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE, file, 0));
    int directory = open("work", O_RDONLY);
    SAY((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, directory, 0));
    close(directory);
    close(file);
    file = open("work/m", O_WRONLY);
    SAY((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0));
    close(file);
}

int main(void)
{
    anonymous();
    files();
    return 0;
}
