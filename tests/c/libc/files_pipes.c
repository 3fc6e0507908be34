/* Pipes between threads, and waiting for several descriptors. */

#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static char bytes[300000];

/* The compiler is not to see that it is wrong. */
static volatile unsigned too_many = 1u << 31;

static void *write_all(void *argument)
{
    int to = *(int *)argument;
    size_t done = 0;
    while (done < sizeof bytes)
        done += write(to, bytes + done, sizeof bytes - done);
    close(to);
    return NULL;
}

static void *write_late(void *argument)
{
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    if (write(*(int *)argument, "late", 4) != 4)
        printf("not written\n");
    return NULL;
}

static void *close_late(void *argument)
{
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    close(*(int *)argument);
    return NULL;
}

static void pipes(void)
{
    int ends[2];
    char room[100] = "";
    SAY(pipe(ends));
    SAY(write(ends[1], "hello", 5));
    int ready = 0;
    SAY(ioctl(ends[0], FIONREAD, &ready));
    printf("%d\n", ready);
    SAY(read(ends[0], room, 3));
    SAY(read(ends[0], room + 3, 90));
    printf("%s\n", room);
    SAY(read(ends[1], room, 1));
    SAY(write(ends[0], room, 1));
    SAY(lseek(ends[0], 0, SEEK_SET));
    SAY(pread(ends[0], room, 1, 0));
    SAY(isatty(ends[0]));
    SAY(fsync(ends[0]));
    SAY(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    SAY(read(ends[0], room, 1));
    SAY(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    long sum = 0, count;
    while ((count = write(ends[1], bytes, 4096)) > 0)
        sum += count;
    printf("full at %ld errno %d\n", sum, errno);
    SAY(write(ends[1], bytes, 1));
    SAY(read(ends[0], bytes, 10000));
    SAY(write(ends[1], bytes, 8000));
    SAY(close(ends[1]));
    sum = 0;
    while ((count = read(ends[0], bytes, sizeof bytes)) > 0)
        sum += count;
    printf("left %ld, then %ld\n", sum, count);
    close(ends[0]);
    SAY(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    printf("%d %d\n", fcntl(ends[0], F_GETFD), (fcntl(ends[1], F_GETFL) & O_NONBLOCK) != 0);
    SAY(pipe2((int[2]){0}, 12345));
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    SAY(write(ends[1], "x", 1));
    close(ends[1]);

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251);
    pipe(ends);
    pthread_t thread;
    pthread_create(&thread, NULL, write_all, &ends[1]);
    char some[777];
    size_t at = 0;
    int right = 1;
    while ((count = read(ends[0], some, sizeof some)) > 0)
        for (long i = 0; i < count; i++)
            right &= some[i] == (char)(at++ % 251);
    printf("all %d, %zu\n", right, at);
    pthread_join(thread, NULL);
    close(ends[0]);
}

static void waiting(void)
{
    int ends[2];
    pipe(ends);
    int file = open("work/p", O_RDWR | O_CREAT, 0600);
    struct pollfd all[4] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {file, POLLIN | POLLOUT, 0}, {-1, POLLIN, 9}};
    SAY(poll(all, 4, 0));
    printf("%x %x %x %x\n", all[0].revents, all[1].revents, all[2].revents, all[3].revents);
    SAY(poll(all, 1, 0));
    SAY(poll(all, 1, 30));
    all[3].fd = 999;
    SAY(poll(all + 3, 1, -1));
    printf("%x\n", all[3].revents);
    SAY(poll(NULL, 0, 10));
    SAY(poll(all, too_many, 10));
    pthread_t thread;
    pthread_create(&thread, NULL, write_late, &ends[1]);
    SAY(poll(all, 1, -1));
    printf("%x\n", all[0].revents);
    pthread_join(thread, NULL);
    SAY(ppoll(all, 1, &(struct timespec){1, 0}, NULL));
    SAY(ppoll(all, 1, &(struct timespec){1, 1000000000}, NULL));

    fd_set to_read, to_write;
    FD_ZERO(&to_read);
    FD_ZERO(&to_write);
    FD_SET(ends[0], &to_read);
    FD_SET(file, &to_read);
    FD_SET(ends[1], &to_write);
    SAY(select(file + 1, &to_read, &to_write, NULL, NULL));
    printf("%d %d %d\n", FD_ISSET(ends[0], &to_read), FD_ISSET(file, &to_read), FD_ISSET(ends[1], &to_write));
    char room[10];
    read(ends[0], room, 10);
    FD_ZERO(&to_read);
    FD_SET(ends[0], &to_read);
    SAY(select(ends[0] + 1, &to_read, NULL, NULL, &(struct timeval){0, 20000}));
    printf("%d\n", FD_ISSET(ends[0], &to_read));
    SAY(select(0, NULL, NULL, NULL, &(struct timeval){0, 1000}));
    SAY(select(-1, NULL, NULL, NULL, NULL));
    FD_ZERO(&to_read);
    FD_SET(50, &to_read);
    SAY(select(51, &to_read, NULL, NULL, NULL));
    FD_ZERO(&to_read);
    FD_SET(ends[0], &to_read);
    SAY(pselect(ends[0] + 1, &to_read, NULL, NULL, &(struct timespec){0, 1000000}, NULL));
    pthread_create(&thread, NULL, close_late, &ends[1]);
    SAY(poll(all, 1, -1));
    printf("%x\n", all[0].revents);
    pthread_join(thread, NULL);
    SAY(read(ends[0], room, 10));
    close(ends[0]);
    pipe(ends);
    close(ends[0]);
    all[0] = (struct pollfd){ends[1], POLLOUT, 0};
    SAY(poll(all, 1, 0));
    printf("%x\n", all[0].revents);
    close(ends[1]);
}

static void input(void)
{
    struct pollfd standard[2] = {{0, POLLIN, 0}, {1, POLLOUT, 0}};
    SAY(poll(standard, 2, -1));
    printf("%d %d\n", (standard[0].revents & POLLIN) != 0, (standard[1].revents & POLLOUT) != 0);
    char room[10];
    SAY(read(0, room, 10));
    SAY(read(0, room, 10));
    SAY(getchar());
    SAY(isatty(0));
    SAY(write(1, "", 0));
}

int main(void)
{
    pipes();
    waiting();
    input();
    return 0;
}
