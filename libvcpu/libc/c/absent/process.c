/* What makes other processes, loads code or starts requests behind the program's back: not to be had, and each
   says so by its error. `vcpu cc --strict` leaves this file out. */

#define _GNU_SOURCE

#include <aio.h>
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ABSENT __attribute__((__weak__))

static int fail(void)
{
    errno = ENOSYS;
    return -1;
}

ABSENT pid_t fork(void) { return fail(); }
ABSENT pid_t _Fork(void) { return fail(); }
ABSENT pid_t vfork(void) { return fail(); }
ABSENT int clone(int (*f)(void *), void *stack, int flags, void *argument, ...) { return fail(); }

/* Without a command, it asks whether there is somebody who takes commands. */
ABSENT int system(const char *command) { return command ? fail() : 0; }

ABSENT FILE *popen(const char *command, const char *mode)
{
    fail();
    return NULL;
}

ABSENT int pclose(FILE *file) { return fail(); }

ABSENT int posix_spawn(pid_t *restrict process, const char *restrict path,
                       const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict attributes,
                       char *const *restrict arguments, char *const *restrict environment)
{
    return ENOSYS;
}

ABSENT int posix_spawnp(pid_t *restrict process, const char *restrict file,
                        const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict attributes,
                        char *const *restrict arguments, char *const *restrict environment)
{
    return ENOSYS;
}

ABSENT int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions) { return ENOSYS; }
ABSENT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions) { return ENOSYS; }
ABSENT int posix_spawn_file_actions_addclose(posix_spawn_file_actions_t *actions, int from) { return ENOSYS; }
ABSENT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int from, int to) { return ENOSYS; }
ABSENT int posix_spawnattr_init(posix_spawnattr_t *attributes) { return ENOSYS; }
ABSENT int posix_spawnattr_destroy(posix_spawnattr_t *attributes) { return ENOSYS; }

ABSENT int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer) { return fail(); }

ABSENT void *dlopen(const char *path, int mode) { return NULL; }
ABSENT void *dlsym(void *restrict library, const char *restrict name) { return NULL; }
ABSENT int dlclose(void *library) { return -1; }
ABSENT int dladdr(const void *address, Dl_info *information) { return 0; }
ABSENT char *dlerror(void) { return "there is no dynamic loading on a virtual CPU"; }

ABSENT int aio_read(struct aiocb *request) { return fail(); }
ABSENT int aio_write(struct aiocb *request) { return fail(); }
ABSENT int aio_fsync(int operation, struct aiocb *request) { return fail(); }
ABSENT ssize_t aio_return(struct aiocb *request) { return fail(); }
ABSENT int aio_error(const struct aiocb *request) { return ENOSYS; }
ABSENT int aio_cancel(int descriptor, struct aiocb *request) { return fail(); }
ABSENT int aio_suspend(const struct aiocb *const requests[], int count, const struct timespec *time) { return fail(); }
ABSENT int lio_listio(int mode, struct aiocb *restrict const *restrict requests, int count,
                      struct sigevent *restrict event)
{
    return fail();
}
