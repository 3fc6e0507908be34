/* Threads until memory is out, if it ever is: then EAGAIN, and as many again when they are gone. */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 400

static sem_t go;
static pthread_t threads[MOST];

static void *wait_there(void *argument)
{
    sem_wait(&go);
    return argument;
}

static int fill(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    int made = 0, error = 0;
    while (made < MOST && (error = pthread_create(&threads[made], &attributes, wait_there, NULL)) == 0)
        made++;
    pthread_attr_destroy(&attributes);
    if (error != 0 && error != EAGAIN)
        printf("error %d\n", error);
    for (int i = 0; i < made; i++)
        sem_post(&go);
    for (int i = 0; i < made; i++)
        if (pthread_join(threads[i], NULL) != 0)
            puts("not joined");
    return made;
}

int main(void)
{
    sem_init(&go, 0, 0);
    int first = fill(), second = fill();
    printf("%s\n", first > 20 && second > first - 5 ? "as many again" : "fewer");
    /* Memory that was given back is there for other things. */
    void *block = malloc(8 << 20);
    printf("%s\n", block != NULL ? "and a block" : "but no block");
    free(block);
    return 0;
}
