/* Threads from creation to join, mutexes and condition variables. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 8
#define ROUNDS 2000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int sum, turn;

static void *count(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        sum += (int)(long)argument;
        pthread_mutex_unlock(&mutex);
    }
    return (char *)argument + 100;
}

static void *take_turns(void *argument)
{
    long self = (long)argument;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != self)
            pthread_cond_wait(&condition, &mutex);
        turn = (turn + 1) % 3;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *leave(void *argument)
{
    errno = 77;
    pthread_exit(argument);
}

static void *sleep_long(void *argument)
{
    struct timespec time = {0, 50000000};
    nanosleep(&time, NULL);
    return argument;
}

/* The program ends with the last thread, and what it has written is not lost. */
static void *outlive(void *argument)
{
    void *result;
    printf("join main: %d", pthread_join(*(pthread_t *)argument, &result));
    printf(" %s\n", (char *)result);
    return argument;
}

static _Thread_local int local = 5;

static void *own(void *argument)
{
    local += *(int *)argument;
    *(int *)argument = local;
    return pthread_equal(pthread_self(), pthread_self()) ? &local : NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        printf("%d", pthread_create(&threads[i], NULL, count, (void *)i));
    for (int i = 0; i < THREADS; i++) {
        void *result;
        printf(" %d", pthread_join(threads[i], &result));
        printf(":%ld", (long)result);
    }
    printf("\nsum %d\n", sum);

    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, take_turns, (void *)i);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("turn %d\n", turn);

    void *result;
    errno = 3;
    pthread_create(&threads[0], NULL, leave, "gone");
    pthread_join(threads[0], &result);
    printf("%s, errno %d\n", (char *)result, errno);

    int value = 7;
    pthread_create(&threads[0], NULL, own, &value);
    pthread_join(threads[0], NULL);
    printf("%d %d\n", value, local);

    pthread_t self = pthread_self();
    printf("self: %d\n", pthread_join(self, NULL) == EDEADLK);

    /* Many, one after the other: what each leaves is used again. */
    int failed = 0;
    for (int i = 0; i < 3000; i++) {
        failed += pthread_create(&threads[0], NULL, i % 2 ? leave : own, &value) != 0;
        failed += pthread_join(threads[0], NULL) != 0;
    }
    printf("%d failed\n", failed);
    for (int i = 0; i < 1000; i++) {
        failed += pthread_create(&threads[0], NULL, i % 2 ? leave : own, &value) != 0;
        failed += pthread_detach(threads[0]) != 0;
    }
    printf("%d failed\n", failed);

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    int state = -1;
    pthread_attr_getdetachstate(&attributes, &state);
    printf("%d %d", state, pthread_attr_setdetachstate(&attributes, 7));
    printf(" %d", pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    printf(" %d", pthread_attr_setstacksize(&attributes, 1 << 20));
    printf(" %d", pthread_attr_setstacksize(&attributes, 17));
    size_t size = 0;
    pthread_attr_getstacksize(&attributes, &size);
    printf(" %zu", size);
    printf(" %d\n", pthread_create(&threads[0], &attributes, sleep_long, NULL));
    pthread_attr_destroy(&attributes);

    static pthread_t first;
    first = pthread_self();
    pthread_create(&threads[0], NULL, outlive, &first);
    pthread_exit("the main thread ends, the program later");
}
