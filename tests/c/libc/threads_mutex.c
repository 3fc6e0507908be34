/* Mutexes of every type: who may lock and unlock, what waits, and what is told of owners that have ended. */

#include "show.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex;

static void make(int type, int robust, int protocol)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    int got = -1;
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutexattr_gettype(&attributes, &got);
    printf("type %d", got);
    pthread_mutexattr_getrobust(&attributes, &got);
    printf(" robust %d", got);
    pthread_mutexattr_getprotocol(&attributes, &got);
    printf(" protocol %d\n", got);
    SHOW(pthread_mutex_init(&mutex, &attributes));
    pthread_mutexattr_destroy(&attributes);
}

static void *lock_and_end(void *argument)
{
    pthread_mutex_lock(&mutex);
    return argument;
}

static void *lock_and_exit(void *argument)
{
    pthread_mutex_lock(&mutex);
    pthread_exit(argument);
}

static void *try(void *argument)
{
    struct timespec soon = after(CLOCK_REALTIME, 20), before = {1, 0}, bad = {1, 1000000000};
    printf("another: try %d", pthread_mutex_trylock(&mutex));
    printf(" timed %d", pthread_mutex_timedlock(&mutex, &soon));
    printf(" late %d", pthread_mutex_timedlock(&mutex, &before));
    printf(" bad %d\n", pthread_mutex_timedlock(&mutex, &bad));
    return argument;
}

static void *unlock(void *argument)
{
    printf("another unlocks: %d\n", pthread_mutex_unlock(&mutex));
    return argument;
}

static void run(void *(*function)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, function, NULL);
    pthread_join(thread, NULL);
}

static int inside, most, total;

static void *compete(void *argument)
{
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&mutex);
        inside++;
        if (inside > most)
            most = inside;
        if (i % 64 == 0)
            usleep(50);
        total++;
        inside--;
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}

int main(void)
{
    struct timespec soon;

    make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_trylock(&mutex));
    SHOW(pthread_mutex_destroy(&mutex));
    run(try);
    soon = after(CLOCK_REALTIME, 20);
    SHOW(pthread_mutex_timedlock(&mutex, &soon));
    SHOW(pthread_mutex_unlock(&mutex));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, compete, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("%d at once, %d in all\n", most, total);
    SHOW(pthread_mutex_consistent(&mutex));
    SHOW(pthread_mutex_destroy(&mutex));

    make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_trylock(&mutex));
    soon = after(CLOCK_REALTIME, 20);
    SHOW(pthread_mutex_timedlock(&mutex, &soon));
    run(unlock);
    run(try);
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_destroy(&mutex));

    make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_trylock(&mutex));
    run(unlock);
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_unlock(&mutex));
    run(try);
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_destroy(&mutex));

    make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    run(lock_and_end);
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_consistent(&mutex));
    SHOW(pthread_mutex_consistent(&mutex));
    SHOW(pthread_mutex_unlock(&mutex));
    run(lock_and_exit);
    SHOW(pthread_mutex_trylock(&mutex));
    SHOW(pthread_mutex_unlock(&mutex));
    SHOW(pthread_mutex_lock(&mutex));
    SHOW(pthread_mutex_trylock(&mutex));
    SHOW(pthread_mutex_destroy(&mutex));

    pthread_mutexattr_t attributes;
    SHOW(pthread_mutexattr_init(&attributes));
    SHOW(pthread_mutexattr_settype(&attributes, 77));
    SHOW(pthread_mutexattr_setrobust(&attributes, 77));
    SHOW(pthread_mutexattr_setprotocol(&attributes, 77));
    SHOW(pthread_mutexattr_setpshared(&attributes, 77));
    SHOW(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    int got = -1;
    SHOW(pthread_mutexattr_getpshared(&attributes, &got));
    SHOW(got);
    SHOW(pthread_mutexattr_destroy(&attributes));

    /* Many: what was destroyed is used again. */
    int failed = 0;
    for (int i = 0; i < 100000; i++) {
        failed += pthread_mutex_init(&mutex, NULL) + pthread_mutex_lock(&mutex);
        failed += pthread_mutex_unlock(&mutex) + pthread_mutex_destroy(&mutex);
    }
    SHOW(failed);

    /* Ordinary memory that is zero is a mutex, and one that was moved while nobody had it still is. */
    static pthread_mutex_t zero = PTHREAD_MUTEX_INITIALIZER;
    SHOW(pthread_mutex_lock(&zero));
    SHOW(pthread_mutex_trylock(&zero));
    SHOW(pthread_mutex_unlock(&zero));
    return 0;
}
