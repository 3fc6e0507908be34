/* The end of threads: cancellation, what is cleaned up, values of keys, streams, attributes and names. */

#include "show.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static sem_t ready, never;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void say(void *text)
{
    printf("cleans up: %s\n", (char *)text);
}

static void unlock(void *argument)
{
    printf("unlocks: %d\n", pthread_mutex_unlock(argument));
}

static void *in_sleep(void *argument)
{
    pthread_cleanup_push(say, "outer");
    pthread_cleanup_push(say, "inner");
    sem_post(&ready);
    sleep(1000);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return argument;
}

static void *in_semaphore(void *argument)
{
    sem_post(&ready);
    sem_wait(&never);
    return argument;
}

static void *in_condition(void *argument)
{
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, &mutex);
    sem_post(&ready);
    for (;;)
        pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(0);
    return argument;
}

static void *in_join(void *argument)
{
    sem_post(&ready);
    pthread_join(*(pthread_t *)argument, NULL);
    return argument;
}

static int ends[2];

static void *in_pipe(void *argument)
{
    char byte;
    sem_post(&ready);
    if (read(ends[0], &byte, 1) < 0)
        puts("never here");
    return argument;
}

static void *in_poll(void *argument)
{
    struct pollfd wanted = {ends[0], POLLIN, 0};
    sem_post(&ready);
    poll(&wanted, 1, -1);
    return argument;
}

static void *in_mutex(void *argument)
{
    sem_post(&ready);
    pthread_mutex_lock(&mutex);
    puts("has the mutex");
    pthread_mutex_unlock(&mutex);
    pthread_testcancel();
    puts("never here");
    return argument;
}

static void *disabled(void *argument)
{
    int old = -1;
    SHOW(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
    SHOW(old);
    sem_post(&ready);
    usleep(30000);
    pthread_testcancel();
    puts("was not cancelled");
    SHOW(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old));
    SHOW(old);
    pthread_testcancel();
    puts("never here");
    return argument;
}

static void *computing(void *argument)
{
    sem_post(&ready);
    for (;;) {
        sched_yield();
        pthread_testcancel();
    }
    return argument;
}

static void *itself(void *argument)
{
    int old = -1;
    SHOW(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old));
    SHOW(old);
    SHOW(pthread_setcanceltype(77, NULL));
    SHOW(pthread_setcancelstate(77, NULL));
    pthread_cancel(pthread_self());
    puts("never here");
    return argument;
}

static void cancel(const char *name, void *(*function)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, function, argument);
    sem_wait(&ready);
    usleep(10000);
    int answer = pthread_cancel(thread);
    if (function == in_mutex) {
        usleep(10000);
        puts("unlock");
        pthread_mutex_unlock(&mutex);
    }
    int joined = pthread_join(thread, &result);
    printf("%s: %d %d %s\n", name, answer, joined, result == PTHREAD_CANCELED ? "cancelled" : "returned");
}

static pthread_key_t key, other;
static int destroyed;

static void destroy(void *value)
{
    printf("destroys %ld, key has %ld\n", (long)value, (long)pthread_getspecific(key));
    destroyed++;
    if ((long)value > 1)
        pthread_setspecific(key, (char *)value - 1);
}

static void *use_keys(void *argument)
{
    SHOW(pthread_getspecific(key) == NULL);
    SHOW(pthread_setspecific(key, argument));
    SHOW(pthread_setspecific(other, argument));
    SHOW(pthread_getspecific(key) == argument);
    if ((long)argument == 2)
        pthread_exit(NULL);
    return NULL;
}

static void keys(void)
{
    SHOW(pthread_key_create(&key, destroy));
    SHOW(pthread_key_create(&other, NULL));
    pthread_t thread;
    for (long i = 1; i <= 2; i++) {
        pthread_create(&thread, NULL, use_keys, (void *)i);
        pthread_join(thread, NULL);
    }
    /* It never ends by itself: POSIX has it end after PTHREAD_DESTRUCTOR_ITERATIONS. */
    pthread_create(&thread, NULL, use_keys, (void *)1000);
    pthread_join(thread, NULL);
    SHOW(destroyed);
    SHOW(pthread_setspecific(key, &key));
    SHOW(pthread_key_delete(key));
    SHOW(pthread_key_create(&key, NULL));
    SHOW(pthread_getspecific(key) == NULL);
    SHOW(pthread_key_delete(key));
    SHOW(pthread_key_delete(key));
    SHOW(pthread_setspecific(key, &key));
    SHOW(pthread_key_delete(other));
    pthread_key_t some[100];
    int failed = 0;
    for (int i = 0; i < 100; i++)
        failed += pthread_key_create(&some[i], NULL);
    for (int i = 0; i < 100; i++)
        failed += pthread_setspecific(some[i], (void *)(intptr_t)(i + 1));
    for (int i = 0; i < 100; i++)
        failed += (intptr_t)pthread_getspecific(some[i]) != i + 1;
    for (int i = 0; i < 100; i++)
        failed += pthread_key_delete(some[i]);
    SHOW(failed);
    /* More than there can be. */
    int made = 0;
    pthread_key_t all[5000];
    while (made < 5000 && pthread_key_create(&all[made], NULL) == 0)
        made++;
    SHOW(made >= PTHREAD_KEYS_MAX - 8);
    SHOW(pthread_key_create(&key, NULL));
    for (int i = 0; i < made; i++)
        pthread_key_delete(all[i]);
}

static void *use_stream(void *argument)
{
    flockfile(stdout);
    flockfile(stdout);
    puts("has the stream");
    funlockfile(stdout);
    funlockfile(stdout);
    return argument;
}

static void *own_attributes(void *argument)
{
    pthread_attr_t attributes;
    void *stack = NULL;
    size_t size = 0;
    int state = -1;
    char here;
    SHOW(pthread_getattr_np(pthread_self(), &attributes));
    SHOW(pthread_attr_getstack(&attributes, &stack, &size));
    SHOW(size >= 1 << 18);
    SHOW(&here > (char *)stack && &here < (char *)stack + size);
    SHOW(pthread_attr_getdetachstate(&attributes, &state));
    SHOW(state);
    pthread_attr_destroy(&attributes);
    return argument;
}

static void attributes(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int value = -1;
    struct sched_param parameters = {0};
    pthread_attr_init(&attributes);
    SHOW(pthread_attr_getinheritsched(&attributes, &value));
    SHOW(value);
    SHOW(pthread_attr_setinheritsched(&attributes, 77));
    SHOW(pthread_attr_getschedpolicy(&attributes, &value));
    SHOW(value);
    SHOW(pthread_attr_getschedparam(&attributes, &parameters));
    SHOW(parameters.sched_priority);
    SHOW(pthread_attr_getscope(&attributes, &value));
    SHOW(value);
    SHOW(pthread_attr_setscope(&attributes, PTHREAD_SCOPE_SYSTEM));
    SHOW(pthread_attr_setscope(&attributes, PTHREAD_SCOPE_PROCESS) == ENOTSUP);
    SHOW(pthread_attr_setscope(&attributes, 77));
    SHOW(pthread_attr_setguardsize(&attributes, 4096));
    SHOW(pthread_attr_setstacksize(&attributes, 1 << 18));
    int made_own_attributes = pthread_create(&thread, &attributes, own_attributes, NULL);
    SHOW(pthread_join(thread, NULL));
    SHOW(made_own_attributes);
    SHOW(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED));
    SHOW(pthread_attr_setschedpolicy(&attributes, SCHED_OTHER));
    int made_use_stream = pthread_create(&thread, &attributes, use_stream, NULL);
    SHOW(pthread_join(thread, NULL));
    SHOW(made_use_stream);
    /* More memory than there is. */
    SHOW(pthread_attr_setstacksize(&attributes, (size_t)1 << 46));
    SHOW(pthread_create(&thread, &attributes, use_stream, NULL));
    pthread_attr_destroy(&attributes);

    SHOW(pthread_getschedparam(pthread_self(), &value, &parameters));
    SHOW(value == SCHED_OTHER && parameters.sched_priority == 0);
    SHOW(pthread_setschedparam(pthread_self(), SCHED_OTHER, &parameters));
    SHOW(pthread_setschedprio(pthread_self(), 0));
    parameters.sched_priority = 7777;
    SHOW(pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters));
    SHOW(pthread_setschedparam(pthread_self(), 77, &parameters));
    SHOW(sched_get_priority_min(SCHED_FIFO) < sched_get_priority_max(SCHED_FIFO) - 30);
    SHOW(sched_get_priority_max(SCHED_OTHER));
    SHOW(sched_get_priority_max(77));
    SHOW(sched_yield());

    char name[16];
    SHOW(pthread_setname_np(pthread_self(), "fifteen letters"));
    SHOW(pthread_getname_np(pthread_self(), name, sizeof name));
    puts(name);
    SHOW(pthread_setname_np(pthread_self(), "sixteen letters!"));
    SHOW(pthread_getname_np(pthread_self(), name, 3));
    clockid_t clock;
    struct timespec time;
    SHOW(pthread_getcpuclockid(pthread_self(), &clock));
    SHOW(clock_gettime(clock, &time));
    SHOW(pthread_setconcurrency(-1));
    SHOW(pthread_atfork(NULL, NULL, NULL));
}

static void *timed(void *argument)
{
    usleep(100000);
    return argument;
}

int main(void)
{
    sem_init(&ready, 0, 0);
    sem_init(&never, 0, 0);
    cancel("sleep", in_sleep, NULL);
    cancel("semaphore", in_semaphore, NULL);
    cancel("condition", in_condition, NULL);
    SHOW(pipe(ends));
    cancel("pipe", in_pipe, NULL);
    cancel("poll", in_poll, NULL);
    /* Nothing of the pipe is left locked. */
    char byte = 0;
    SHOW(write(ends[1], "x", 1));
    SHOW(read(ends[0], &byte, 1));
    SHOW(pthread_mutex_trylock(&mutex));
    cancel("mutex", in_mutex, NULL);
    cancel("disabled", disabled, NULL);
    cancel("computing", computing, NULL);
    pthread_t sleeper;
    void *result;
    pthread_create(&sleeper, NULL, in_sleep, NULL);
    sem_wait(&ready);
    cancel("join", in_join, &sleeper);
    pthread_cancel(sleeper);
    SHOW(pthread_join(sleeper, &result));
    SHOW(result == PTHREAD_CANCELED);
    pthread_create(&sleeper, NULL, itself, NULL);
    SHOW(pthread_join(sleeper, &result));
    SHOW(result == PTHREAD_CANCELED);

    keys();
    attributes();

    struct timespec past = {1, 0};
    pthread_create(&sleeper, NULL, timed, &past);
    SHOW(pthread_tryjoin_np(sleeper, &result));
    SHOW(pthread_timedjoin_np(sleeper, &result, &past));
    SHOW(pthread_join(sleeper, &result));
    SHOW(result == &past);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_create(&sleeper, &attributes, timed, NULL);
    SHOW(pthread_join(sleeper, NULL));
    SHOW(pthread_detach(sleeper));
    usleep(200000);
    puts("end");
    return 0;
}
