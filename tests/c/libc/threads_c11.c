/* threads.h. */

#include "show.h"

#include <stdio.h>
#include <threads.h>
#include <time.h>

static mtx_t mutex, recursive;
static cnd_t condition;
static tss_t key;
static once_flag flag = ONCE_FLAG_INIT;
static int calls, sum, turn;

static thread_local int local = 3;

static void once(void)
{
    calls++;
}

/* What a thread has left behind; it may end at any moment, so it does not print. */
static long left;

static void gone(void *value)
{
    left = (long)value;
}

static int work(void *argument)
{
    call_once(&flag, once);
    for (int i = 0; i < 500; i++) {
        mtx_lock(&mutex);
        sum += (int)(long)argument;
        mtx_unlock(&mutex);
    }
    local += (int)(long)argument;
    return -local;
}

static int wait_turn(void *argument)
{
    mtx_lock(&mutex);
    while (turn == 0)
        cnd_wait(&condition, &mutex);
    turn++;
    cnd_signal(&condition);
    mtx_unlock(&mutex);
    tss_set(key, argument);
    thrd_exit(42);
}

static int try(void *argument)
{
    (void)argument;
    struct timespec soon;
    timespec_get(&soon, TIME_UTC);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) {
        soon.tv_nsec -= 1000000000;
        soon.tv_sec++;
    }
    SHOW(mtx_trylock(&mutex) == thrd_busy);
    SHOW(mtx_timedlock(&mutex, &soon) == thrd_timedout);
    return 0;
}

int main(void)
{
    thrd_t threads[4];
    int result = 0;
    SHOW(mtx_init(&mutex, mtx_timed) == thrd_success);
    SHOW(mtx_init(&recursive, mtx_plain | mtx_recursive) == thrd_success);
    SHOW(cnd_init(&condition) == thrd_success);
    SHOW(tss_create(&key, gone) == thrd_success);
    for (long i = 0; i < 4; i++)
        SHOW(thrd_create(&threads[i], work, (void *)i) == thrd_success);
    for (int i = 0; i < 4; i++) {
        SHOW(thrd_join(threads[i], &result) == thrd_success);
        SHOW(result);
    }
    SHOW(sum);
    SHOW(calls);
    SHOW(local);
    thrd_create(&threads[0], wait_turn, (void *)7);
    mtx_lock(&mutex);
    turn = 1;
    SHOW(cnd_broadcast(&condition) == thrd_success);
    struct timespec past = {1, 0}, nap = {0, 1000000};
    while (turn == 1)
        cnd_wait(&condition, &mutex);
    SHOW(cnd_timedwait(&condition, &mutex, &past) == thrd_timedout);
    thrd_create(&threads[1], try, NULL);
    thrd_join(threads[1], NULL);
    mtx_unlock(&mutex);
    SHOW(thrd_join(threads[0], &result) == thrd_success);
    SHOW(result);
    SHOW(left);
    SHOW(mtx_lock(&recursive) == thrd_success);
    SHOW(mtx_trylock(&recursive) == thrd_success);
    SHOW(mtx_unlock(&recursive) == thrd_success);
    SHOW(mtx_unlock(&recursive) == thrd_success);
    SHOW(tss_get(key) == NULL);
    SHOW(tss_set(key, &key) == thrd_success);
    SHOW(tss_get(key) == &key);
    SHOW(thrd_equal(thrd_current(), thrd_current()) != 0);
    SHOW(thrd_sleep(&nap, NULL));
    thrd_yield();
    thrd_create(&threads[0], work, NULL);
    SHOW(thrd_detach(threads[0]) == thrd_success);
    tss_delete(key);
    cnd_destroy(&condition);
    mtx_destroy(&recursive);
    thrd_create(&threads[1], work, NULL);
    thrd_join(threads[1], NULL);
    puts("end");
    return 0;
}
