/* What threads wait for besides mutexes: condition variables, reader-writer locks, barriers, semaphores, what is done
   once, spin locks. */

#include "show.h"

#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* For functions that set errno. */
#define TELL(expression)                                                                                             \
    do {                                                                                                             \
        errno = 0;                                                                                                   \
        int answer = (expression);                                                                                   \
        printf("%s: %d, errno %d\n", #expression, answer, answer ? errno : 0);                                       \
    } while (0)

static pthread_t threads[8];

static void start(int count, void *(*function)(void *))
{
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, function, (void *)i);
}

static long end(int count)
{
    long sum = 0;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    return sum;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int waiting, released, left;

static void *wait_once(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&mutex);
    waiting++;
    while (released == 0)
        pthread_cond_wait(&condition, &mutex);
    released--;
    left++;
    pthread_mutex_unlock(&mutex);
    return (void *)1;
}

static void until(const int *value, int wanted)
{
    for (;;) {
        pthread_mutex_lock(&mutex);
        int now = *value;
        pthread_mutex_unlock(&mutex);
        if (now == wanted)
            return;
        usleep(200);
    }
}

static void conditions(void)
{
    start(5, wait_once);
    until(&waiting, 5);
    pthread_mutex_lock(&mutex);
    released = 1;
    SHOW(pthread_cond_signal(&condition));
    pthread_mutex_unlock(&mutex);
    until(&left, 1);
    pthread_mutex_lock(&mutex);
    released = 4;
    SHOW(pthread_cond_broadcast(&condition));
    pthread_mutex_unlock(&mutex);
    SHOW(end(5));

    pthread_mutex_lock(&mutex);
    struct timespec soon = after(CLOCK_REALTIME, 20), past = {1, 0}, bad = {0, -1};
    SHOW(pthread_cond_timedwait(&condition, &mutex, &soon));
    SHOW(pthread_cond_timedwait(&condition, &mutex, &past));
    SHOW(pthread_cond_timedwait(&condition, &mutex, &bad));
    SHOW(pthread_mutex_trylock(&mutex));
    pthread_mutex_unlock(&mutex);
    SHOW(pthread_cond_destroy(&condition));

    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    clockid_t clock = -1;
    SHOW(pthread_condattr_getclock(&attributes, &clock));
    SHOW(clock);
    SHOW(pthread_condattr_setclock(&attributes, CLOCK_PROCESS_CPUTIME_ID));
    SHOW(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    SHOW(pthread_cond_init(&condition, &attributes));
    pthread_condattr_destroy(&attributes);
    pthread_mutex_lock(&mutex);
    struct timespec begin = after(CLOCK_MONOTONIC, 0);
    soon = after(CLOCK_MONOTONIC, 30);
    SHOW(pthread_cond_timedwait(&condition, &mutex, &soon));
    struct timespec now = after(CLOCK_MONOTONIC, 0);
    long waited = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
    printf("waited %s\n", waited < 29 ? "too short" : waited > 5000 ? "too long" : "well");
    pthread_mutex_unlock(&mutex);
    SHOW(pthread_cond_signal(&condition));
    SHOW(pthread_cond_destroy(&condition));

    pthread_mutexattr_t of_mutex;
    pthread_mutex_t checked;
    pthread_mutexattr_init(&of_mutex);
    pthread_mutexattr_settype(&of_mutex, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &of_mutex);
    pthread_cond_init(&condition, NULL);
    SHOW(pthread_cond_wait(&condition, &checked));
}

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static int readers, most_readers, value;

static void *try_all(void *argument)
{
    struct timespec soon = after(CLOCK_REALTIME, 20), bad = {0, 1000000000};
    printf("another: tryrd %d", pthread_rwlock_tryrdlock(&lock));
    printf(" trywr %d", pthread_rwlock_trywrlock(&lock));
    printf(" timedwr %d", pthread_rwlock_timedwrlock(&lock, &soon));
    printf(" bad %d\n", pthread_rwlock_timedwrlock(&lock, &bad));
    return argument;
}

static void *read_value(void *argument)
{
    (void)argument;
    long sum = 0;
    for (int i = 0; i < 50; i++) {
        pthread_rwlock_rdlock(&lock);
        int seen = value;
        pthread_mutex_lock(&mutex);
        if (++readers > most_readers)
            most_readers = readers;
        pthread_mutex_unlock(&mutex);
        usleep(20);
        sum += seen != value;
        pthread_mutex_lock(&mutex);
        readers--;
        pthread_mutex_unlock(&mutex);
        pthread_rwlock_unlock(&lock);
    }
    return (void *)sum;
}

static void *write_value(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        pthread_rwlock_wrlock(&lock);
        value++;
        usleep(20);
        value++;
        pthread_rwlock_unlock(&lock);
    }
    return NULL;
}

static void locks(void)
{
    SHOW(pthread_rwlock_wrlock(&lock));
    SHOW(pthread_rwlock_wrlock(&lock));
    SHOW(pthread_rwlock_rdlock(&lock));
    SHOW(pthread_rwlock_tryrdlock(&lock));
    start(1, try_all);
    end(1);
    SHOW(pthread_rwlock_unlock(&lock));
    SHOW(pthread_rwlock_rdlock(&lock));
    SHOW(pthread_rwlock_tryrdlock(&lock));
    SHOW(pthread_rwlock_trywrlock(&lock));
    SHOW(pthread_rwlock_unlock(&lock));
    SHOW(pthread_rwlock_unlock(&lock));
    start(4, read_value);
    pthread_t writer;
    pthread_create(&writer, NULL, write_value, NULL);
    SHOW(end(4));
    pthread_join(writer, NULL);
    SHOW(value);
    SHOW(most_readers > 1);
    SHOW(pthread_rwlock_destroy(&lock));
    SHOW(pthread_rwlock_init(&lock, NULL));
    struct timespec soon = after(CLOCK_REALTIME, 20);
    SHOW(pthread_rwlock_timedrdlock(&lock, &soon));
    SHOW(pthread_rwlock_unlock(&lock));
    SHOW(pthread_rwlock_destroy(&lock));
}

static pthread_barrier_t barrier;
static int arrived, serial;

static void *arrive(void *argument)
{
    long wrong = 0;
    for (int i = 1; i <= 100; i++) {
        __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_fetch_add(&serial, 1, __ATOMIC_SEQ_CST);
        wrong += __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 4 * i;
        pthread_barrier_wait(&barrier);
    }
    (void)argument;
    return (void *)wrong;
}

static void barriers(void)
{
    SHOW(pthread_barrier_init(&barrier, NULL, 0));
    SHOW(pthread_barrier_init(&barrier, NULL, 4));
    start(4, arrive);
    SHOW(end(4));
    SHOW(arrived);
    SHOW(serial);
    SHOW(pthread_barrier_destroy(&barrier));
    SHOW(pthread_barrier_init(&barrier, NULL, 1));
    SHOW(pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
    SHOW(pthread_barrier_destroy(&barrier));
}

static sem_t semaphore, done;

static void *take(void *argument)
{
    (void)argument;
    long taken = 0;
    for (int i = 0; i < 100; i++)
        taken += sem_wait(&semaphore) == 0;
    sem_post(&done);
    return (void *)taken;
}

static void semaphores(void)
{
    int free = -1;
    TELL(sem_init(&semaphore, 0, (unsigned)SEM_VALUE_MAX + 1));
    TELL(sem_init(&semaphore, 0, SEM_VALUE_MAX));
    TELL(sem_post(&semaphore));
    TELL(sem_getvalue(&semaphore, &free));
    SHOW(free == SEM_VALUE_MAX);
    TELL(sem_destroy(&semaphore));
    TELL(sem_init(&semaphore, 1, 2));
    TELL(sem_trywait(&semaphore));
    TELL(sem_wait(&semaphore));
    TELL(sem_trywait(&semaphore));
    struct timespec soon = after(CLOCK_REALTIME, 20), past = {1, 0}, bad = {0, 1000000000};
    TELL(sem_timedwait(&semaphore, &soon));
    TELL(sem_timedwait(&semaphore, &past));
    TELL(sem_timedwait(&semaphore, &bad));
    TELL(sem_init(&done, 0, 0));
    start(3, take);
    for (int i = 0; i < 300; i++)
        sem_post(&semaphore);
    for (int i = 0; i < 3; i++)
        TELL(sem_wait(&done));
    SHOW(end(3));
    TELL(sem_getvalue(&semaphore, &free));
    SHOW(free);
    TELL(sem_destroy(&semaphore));

    sem_unlink("/vcpu_threads_wait");
    TELL(sem_open("/vcpu_threads_wait", 0) == SEM_FAILED);
    sem_t *one = sem_open("/vcpu_threads_wait", O_CREAT | O_EXCL, 0600, 3);
    SHOW(one != SEM_FAILED);
    TELL(sem_open("/vcpu_threads_wait", O_CREAT | O_EXCL, 0600, 3) == SEM_FAILED);
    sem_t *other = sem_open("/vcpu_threads_wait", O_CREAT, 0600, 9);
    SHOW(one == other);
    TELL(sem_getvalue(other, &free));
    SHOW(free);
    TELL(sem_close(other));
    TELL(sem_unlink("/vcpu_threads_wait"));
    TELL(sem_unlink("/vcpu_threads_wait"));
    TELL(sem_wait(one));
    TELL(sem_close(one));
}

static pthread_once_t once = PTHREAD_ONCE_INIT, broken = PTHREAD_ONCE_INIT;
static int calls, attempts;

static void slow(void)
{
    usleep(20000);
    calls++;
}

static void *call_once_slowly(void *argument)
{
    (void)argument;
    pthread_once(&once, slow);
    return (void *)(long)calls;
}

static void cancelled(void)
{
    if (attempts++ == 0) {
        pthread_cancel(pthread_self());
        pthread_testcancel();
    }
}

static void *call_cancelled(void *argument)
{
    pthread_once(&broken, cancelled);
    return argument;
}

static pthread_spinlock_t spin;
static long spun;

static void *count(void *argument)
{
    for (int i = 0; i < 2000; i++) {
        pthread_spin_lock(&spin);
        spun++;
        pthread_spin_unlock(&spin);
    }
    return argument;
}

int main(void)
{
    conditions();
    locks();
    barriers();
    semaphores();
    start(4, call_once_slowly);
    SHOW(end(4));
    SHOW(calls);
    start(1, call_cancelled);
    void *result;
    pthread_join(threads[0], &result);
    SHOW(result == PTHREAD_CANCELED);
    SHOW(pthread_once(&broken, cancelled));
    SHOW(attempts);
    SHOW(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
    start(4, count);
    end(4);
    SHOW(spun);
    SHOW(pthread_spin_lock(&spin));
    SHOW(pthread_spin_trylock(&spin));
    SHOW(pthread_spin_unlock(&spin));
    SHOW(pthread_spin_trylock(&spin));
    SHOW(pthread_spin_unlock(&spin));
    SHOW(pthread_spin_destroy(&spin));
    return 0;
}
