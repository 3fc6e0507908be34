/* Opening, reading, writing, seeking, and what is refused. */

#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char buffer[3 << 20];

/* The compiler is not to see that they are wrong. */
static volatile int too_few = -1, too_many = 2000;

static void opening(void)
{
    int file = open("work/a", O_RDWR | O_CREAT | O_EXCL, 0640);
    struct stat status;
    fstat(file, &status);
    printf("mode %o size %ld links %ld\n", status.st_mode, (long)status.st_size, (long)status.st_nlink);
    SAY(open("work/a", O_RDWR | O_CREAT | O_EXCL, 0640));
    SAY(open("work/none", O_RDONLY));
    SAY(open("work/none/below", O_RDWR | O_CREAT, 0600));
    SAY(open("work/a/below", O_RDONLY));
    SAY(open("", O_RDONLY));
    SAY(open("work", O_WRONLY));
    SAY(open("work", O_RDWR));
    SAY(open("work/a", O_RDONLY | O_DIRECTORY));
    SAY(open("work/a/", O_RDONLY));
    static char longest[PATH_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest, "work/", 5);
    SAY(open(longest, O_RDONLY));
    longest[5 + 300] = 0;
    SAY(open(longest, O_RDONLY));
    SAY(close(file));
    SAY(close(file));
    SAY(close(-1));
    SAY(close(5000));
    SAY(fcntl(file, F_GETFD));
    SAY(dup2(0, 100000));
    int directory = open("work", O_RDONLY);
    SAY(read(directory, buffer, 10));
    SAY(write(directory, buffer, 10));
    SAY(lseek(directory, -1, SEEK_SET));
    file = openat(directory, "a", O_RDONLY | O_CLOEXEC);
    printf("closes on exec %d, access %d\n", fcntl(file, F_GETFD), fcntl(file, F_GETFL) & O_ACCMODE);
    SAY(openat(file, "a", O_RDONLY));
    SAY(openat(999, "a", O_RDONLY));
    SAY(write(file, "x", 1));
    SAY(ftruncate(file, 3));
    close(file);
    close(directory);
    file = open("work/readable", O_RDONLY | O_CREAT, 0600);
    SAY(read(file, buffer, 1));
    SAY(write(file, "x", 1));
    close(file);
    file = creat("work/a", 0600);
    SAY(read(file, buffer, 1));
    close(file);
}

static void moving(void)
{
    int file = open("work/b", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SAY(write(file, "0123456789", 10));
    SAY(write(file, "", 0));
    SAY(lseek(file, -3, SEEK_END));
    memset(buffer, 0, 100);
    SAY(read(file, buffer, 100));
    printf("%s\n", buffer);
    SAY(read(file, buffer, 100));
    SAY(lseek(file, 100, SEEK_SET));
    SAY(read(file, buffer, 100));
    SAY(lseek(file, -1, SEEK_SET));
    SAY(lseek(file, -101, SEEK_CUR));
    SAY(lseek(file, 0, 99));
    SAY(lseek(file, INT64_MAX, SEEK_CUR));
    SAY(lseek(file, 0, SEEK_CUR));
    SAY(pwrite(file, "ab", 2, 4));
    SAY(pread(file, buffer, 4, 3));
    printf("%.4s\n", buffer);
    SAY(pread(file, buffer, 4, -1));
    SAY(pwrite(file, buffer, 4, -1));
    SAY(pread(file, buffer, 4, 1000));
    SAY(lseek(file, 0, SEEK_CUR));
    SAY(ftruncate(file, 5));
    SAY(ftruncate(file, -1));
    SAY(lseek(file, 0, SEEK_END));
    SAY(ftruncate(file, 12));
    SAY(pread(file, buffer, 100, 0));
    for (int i = 0; i < 12; i++)
        printf("%02x", buffer[i]);
    printf("\n");
    struct iovec pieces[12];
    for (int i = 0; i < 12; i++)
        pieces[i] = (struct iovec){"abcdefghijkl" + i, i % 3};
    lseek(file, 0, SEEK_SET);
    SAY(writev(file, pieces, 12));
    SAY(pwritev(file, pieces, 12, 100));
    SAY(lseek(file, 0, SEEK_CUR));
    memset(buffer, 0, 200);
    for (int i = 0; i < 12; i++)
        pieces[i] = (struct iovec){buffer + i * 10, i % 4};
    SAY(preadv(file, pieces, 12, 0));
    for (int i = 0; i < 12; i++)
        printf("[%s]", buffer + i * 10);
    printf("\n");
    lseek(file, 102, SEEK_SET);
    SAY(readv(file, pieces, 12));
    SAY(readv(file, pieces, 0));
    SAY(readv(file, pieces, too_few));
    SAY(readv(file, pieces, too_many));
    pieces[0].iov_len = SIZE_MAX;
    SAY(readv(file, pieces, 2));
    SAY(dup(file) >= 0);
    int same = dup(file);
    lseek(same, 7, SEEK_SET);
    SAY(lseek(file, 0, SEEK_CUR));
    close(same);
    SAY(lseek(file, 0, SEEK_CUR));
    int ready = -1;
    SAY(ioctl(file, FIONREAD, &ready));
    printf("%d bytes are there\n", ready);
    SAY(fsync(file));
    SAY(fdatasync(file));
    SAY(isatty(file));
    SAY(posix_fallocate(file, 0, 5000));
    SAY(lseek(file, 0, SEEK_END));
    SAY(posix_fallocate(file, -1, 10));
    close(file);
}

static void appending(void)
{
    int file = open("work/log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    int other = open("work/log", O_RDWR);
    SAY(write(file, "one ", 4));
    SAY(write(other, "ONE TWO ", 8));
    SAY(write(file, "three ", 6));
    SAY(lseek(file, 0, SEEK_CUR));
    printf("append %d\n", (fcntl(file, F_GETFL) & O_APPEND) != 0);
    SAY(fcntl(other, F_SETFL, O_APPEND));
    SAY(write(other, "four ", 5));
    SAY(fcntl(other, F_SETFL, 0));
    SAY(pwrite(other, "-", 1, 0));
    memset(buffer, 0, 100);
    SAY(pread(other, buffer, 100, 0));
    printf("%s\n", buffer);
    close(file);
    close(other);
}

/* More than one request moves. */
static void much(void)
{
    int file = open("work/large", O_RDWR | O_CREAT, 0600);
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = (char)(i * 7 + i / 1000);
    SAY(write(file, buffer, sizeof buffer));
    lseek(file, 5, SEEK_SET);
    char *copy = malloc(sizeof buffer);
    SAY(read(file, copy, sizeof buffer));
    printf("equal %d\n", memcmp(copy, buffer + 5, sizeof buffer - 5) == 0);
    free(copy);
    close(file);
    FILE *stream = fopen("work/large", "r");
    size_t sum = 0, count;
    while ((count = fread(buffer, 1, 70000, stream)) > 0)
        for (size_t i = 0; i < count; i++)
            sum = sum * 31 + (unsigned char)buffer[i];
    printf("sum %zu, end %d, error %d\n", sum, feof(stream) != 0, ferror(stream));
    SAY(fseek(stream, -10, SEEK_END));
    SAY(ftell(stream));
    printf("next %d\n", getc(stream));
    fclose(stream);
}

static void streams(void)
{
    FILE *stream = fopen("work/text", "w+");
    fprintf(stream, "%s %d\n", "line", 1);
    fputs("line 2", stream);
    rewind(stream);
    char line[100], *text = NULL;
    size_t room = 0;
    printf("%s", fgets(line, sizeof line, stream));
    SAY(getline(&text, &room, stream));
    printf("%s\n", text);
    SAY(getline(&text, &room, stream));
    free(text);
    SAY(fileno(stream) >= 0);
    fclose(stream);
    SAY(fopen("work/none", "r") == NULL);
    SAY(fopen("work/text", "q") == NULL);
    stream = fopen("work/text", "a+");
    fputs("!", stream);
    SAY(ftell(stream));
    fseek(stream, 0, SEEK_SET);
    printf("%c\n", getc(stream));
    fclose(stream);
    stream = fopen("work/text", "r");
    printf("%d\n", fputc('x', stream));
    printf("error %d\n", ferror(stream) != 0);
    stream = freopen("work/log", "r", stream);
    printf("%c\n", getc(stream));
    fclose(stream);
    stream = fopen("/dev/full", "w");
    fputs("x", stream);
    SAY(fclose(stream));
    SAY(remove("work/text"));
    SAY(remove("work/text"));
    stream = tmpfile();
    if (stream)
        fclose(stream);
}

static void special(void)
{
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
    struct stat status;
    fstat(null, &status);
    printf("%d %lx\n", S_ISCHR(status.st_mode), (long)status.st_rdev);
    SAY(stat("/dev/full", &status));
    SAY(write(null, buffer, 100000));
    SAY(read(null, buffer, 100));
    memset(buffer, 1, 100);
    SAY(read(zero, buffer, 99));
    printf("%d %d\n", buffer[98], buffer[99]);
    SAY(write(zero, buffer, 10));
    SAY(write(full, buffer, 10));
    SAY(read(full, buffer, 10));
    SAY(lseek(null, 100, SEEK_SET));
    SAY(access("/dev/null", R_OK | W_OK));
    close(null);
    close(zero);
    close(full);
    int file = open("work/special", O_RDWR | O_CREAT, 0600);
    char name[30];
    sprintf(name, "/dev/fd/%d", file);
    int same = open(name, O_RDWR);
    printf("%d\n", same >= 0 && same != file);
    SAY(open("/dev/fd/999", O_RDONLY));
}

static void numbers(void)
{
    int first = open("work/a", O_RDONLY);
    SAY(fcntl(first, F_DUPFD, 500));
    SAY(fcntl(first, F_DUPFD_CLOEXEC, 500));
    SAY(fcntl(501, F_GETFD));
    SAY(fcntl(501, F_SETFD, 0));
    SAY(fcntl(501, F_GETFD));
    SAY(fcntl(first, F_DUPFD, -1));
    SAY(fcntl(first, 9999));
    SAY(dup2(first, 500));
    SAY(dup2(first, first) == first);
    SAY(dup3(first, first, 0));
    SAY(dup3(first, 502, O_CLOEXEC));
    SAY(fcntl(502, F_GETFD));
    SAY(dup2(999, 500));
    SAY(fcntl(500, F_GETFD));
    SAY(close(500));
    SAY(close(501));
    SAY(close(502));
    close(first);
    int count = 0;
    while (open("work/a", O_RDONLY) >= 0)
        count++;
    printf("too many %d\n", errno == EMFILE && count > 900);
    for (int number = 3; number < 2000; number++)
        close(number);
}

int main(void)
{
    umask(022);
    opening();
    moving();
    appending();
    much();
    streams();
    special();
    numbers();
    return 0;
}
