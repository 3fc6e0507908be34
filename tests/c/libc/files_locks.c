/* Advisory locks. One program is one process: by fcntl it never is in its own way, by flock it is. */

#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static struct flock range(int type, long start, long length)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

int main(void)
{
    int one = open("work/l", O_RDWR | O_CREAT, 0600), other = open("work/l", O_RDWR);
    struct flock lock = range(F_WRLCK, 10, 5);
    SAY(fcntl(one, F_SETLK, &lock));
    SAY(fcntl(other, F_SETLK, &lock));
    lock = range(F_RDLCK, 0, 0);
    SAY(fcntl(other, F_SETLKW, &lock));
    lock = range(F_WRLCK, 0, 0);
    SAY(fcntl(other, F_GETLK, &lock));
    printf("type %d\n", lock.l_type == F_UNLCK);
    lock = range(F_UNLCK, 0, 0);
    SAY(fcntl(one, F_SETLK, &lock));
    lock = range(F_WRLCK, -1, 5);
    SAY(fcntl(one, F_SETLK, &lock));
    lock = range(99, 0, 5);
    SAY(fcntl(one, F_SETLK, &lock));
    lock = range(F_WRLCK, 0, 5);
    lock.l_whence = 77;
    SAY(fcntl(one, F_SETLK, &lock));
    lock = range(F_WRLCK, 20, -5);
    lock.l_whence = SEEK_CUR;
    SAY(fcntl(one, F_SETLK, &lock));
    int reader = open("work/l", O_RDONLY);
    lock = range(F_WRLCK, 0, 5);
    SAY(fcntl(reader, F_SETLK, &lock));
    lock = range(F_RDLCK, 0, 5);
    SAY(fcntl(reader, F_SETLK, &lock));
    SAY(close(reader));

    SAY(flock(one, LOCK_SH));
    SAY(flock(other, LOCK_SH | LOCK_NB));
    SAY(flock(other, LOCK_EX | LOCK_NB));
    SAY(flock(one, LOCK_UN));
    SAY(flock(other, LOCK_EX | LOCK_NB));
    SAY(flock(one, LOCK_SH | LOCK_NB));
    int same = dup(other);
    SAY(flock(same, LOCK_UN));
    SAY(flock(one, LOCK_EX));
    SAY(close(one));
    SAY(flock(other, LOCK_EX));
    SAY(flock(other, 0));
    SAY(flock(999, LOCK_EX));
    SAY(lockf(other, F_LOCK, 10));
    SAY(lockf(other, F_TEST, 10));
    SAY(lockf(other, F_ULOCK, 10));
    return 0;
}
