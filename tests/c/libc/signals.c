/* Signals that a program sends to itself, its timer's, and its faults. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t taken;

static void count(int signal)
{
    taken = taken * 100 + signal;
}

static void nested(int signal)
{
    taken++;
    if (taken < 3)
        raise(signal);
}

static void look(int signal, siginfo_t *information, void *context)
{
    ucontext_t *registers = context;
    int is_here = (uintptr_t)information->si_addr == (uintptr_t)registers->uc_mcontext.gregs[REG_RIP];
    printf("signal %d, code %d, its own address %d\n", signal, information->si_code, is_here);
    /* Behind the instruction. */
    registers->uc_mcontext.gregs[REG_RIP] += 2;
}

static sigjmp_buf place;
static char other_stack[65536];

static void leave(int signal)
{
    char here;
    int on_other = &here >= other_stack && &here < other_stack + sizeof other_stack;
    siglongjmp(place, signal * 2 + on_other);
}

static void print_mask(const char *what)
{
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    printf("%s:", what);
    for (int signal = 1; signal < 32; signal++)
        if (sigismember(&set, signal))
            printf(" %d", signal);
    printf("\n");
}

static void *other(void *argument)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    print_mask("other thread");
    int signal = 0;
    int result = sigwait(&set, &signal);
    printf("sigwait %d %d\n", result, signal);
    return argument;
}

static void *sleeper(void *argument)
{
    struct timespec time = {1000, 0}, rest = {0, 0};
    int result = nanosleep(&time, &rest);
    printf("nanosleep %d %s, something left %d\n", result, result ? strerror(errno) : "", rest.tv_sec > 900);
    return argument;
}

int main(void)
{
    struct sigaction action = {.sa_handler = count}, old;
    printf("sigaction %d\n", sigaction(SIGUSR1, &action, NULL));
    printf("raise %d, taken %d\n", raise(SIGUSR1), (int)taken);
    taken = 0;
    kill(getpid(), SIGUSR1);
    printf("kill: taken %d\n", (int)taken);
    sigaction(SIGUSR1, NULL, &old);
    printf("old handler %d\n", old.sa_handler == count);

    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGKILL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    print_mask("blocked");
    taken = 0;
    raise(SIGUSR1);
    sigpending(&pending);
    printf("blocked: taken %d, pending %d\n", (int)taken, sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("unblocked: taken %d\n", (int)taken);

    taken = 0;
    action.sa_handler = nested;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("nested %d\n", (int)taken);
    action.sa_handler = count;
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    printf("reset %d\n", old.sa_handler == SIG_DFL);
    signal(SIGUSR1, SIG_IGN);
    printf("ignored %d\n", raise(SIGUSR1));
    printf("winch %d\n", raise(SIGWINCH));
    int result = kill(getpid(), 99);
    printf("no such signal: %d %s\n", result, strerror(errno));
    result = sigaction(SIGKILL, &action, NULL);
    printf("SIGKILL: %d %s\n", result, strerror(errno));
    printf("kill 0: %d\n", kill(getpid(), 0));
    printf("pthread_kill 0: %d\n", pthread_kill(pthread_self(), 0));

    /* Threads. */
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, other, NULL);
    usleep(20000);
    result = pthread_kill(thread, SIGUSR2);
    pthread_join(thread, NULL);
    printf("pthread_kill %d\n", result);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR2, count);
    pthread_create(&thread, NULL, sleeper, NULL);
    usleep(20000);
    taken = 0;
    pthread_kill(thread, SIGUSR2);
    pthread_join(thread, NULL);
    printf("taken %d\n", (int)taken);

    /* Timer and waiting. */
    taken = 0;
    action.sa_handler = count;
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_value = {0, 30000}}, before;
    printf("setitimer %d\n", setitimer(ITIMER_REAL, &timer, NULL));
    result = pause();
    printf("pause %d %s, taken %d\n", result, strerror(errno), (int)taken);
    alarm(100);
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, &before);
    printf("before %d\n", before.it_value.tv_sec >= 98 && before.it_value.tv_sec <= 100);
    printf("alarm %u\n", alarm(0));
    taken = 0;
    sigemptyset(&set);
    timer.it_value.tv_usec = 10000;
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    sigemptyset(&set);
    result = sigsuspend(&set);
    printf("sigsuspend %d %s, taken %d\n", result, strerror(errno), (int)taken);
    print_mask("after sigsuspend");
    sigaddset(&set, SIGALRM);
    struct timespec time = {0, 10000000};
    siginfo_t information;
    result = sigtimedwait(&set, NULL, &time);
    printf("sigtimedwait %d %s\n", result, strerror(errno));
    raise(SIGALRM);
    result = sigtimedwait(&set, &information, &time);
    printf("sigtimedwait %d, signal %d\n", result, information.si_signo);
    sigprocmask(SIG_UNBLOCK, &set, NULL);

    /* A signal that waits already ends a wait that lets it in. */
    taken = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    sigemptyset(&set);
    result = pselect(0, NULL, NULL, NULL, NULL, &set);
    printf("pselect %d %s, taken %d\n", result, strerror(errno), (int)taken);
    raise(SIGUSR2);
    result = ppoll(NULL, 0, NULL, &set);
    printf("ppoll %d %s, taken %d\n", result, strerror(errno), (int)taken);
    print_mask("after ppoll");

    /* Faults. */
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = look;
    sigaction(SIGILL, &action, NULL);
    __asm__ volatile("ud2");
    printf("after ud2\n");
    double kept = 1.5;
    __asm__ volatile("movsd %0, %%xmm7\n\tud2\n\tmovsd %%xmm7, %0" : "+m"(kept) : : "xmm7");
    printf("vector register %g\n", kept);
    action.sa_flags = 0;
    action.sa_handler = leave;
    sigaction(SIGSEGV, &action, NULL);
    int jumped = sigsetjmp(place, 1);
    if (!jumped)
        *(volatile int *)8 = 1;
    printf("segv %d\n", jumped);
    print_mask("after siglongjmp");
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    printf("sigaltstack %d\n", sigaltstack(&stack, NULL));
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    jumped = sigsetjmp(place, 1);
    if (!jumped)
        *(volatile int *)8 = 1;
    printf("segv on another stack %d\n", jumped);
    volatile int zero = 0;
    jumped = sigsetjmp(place, 1);
    if (!jumped)
        zero = 1 / zero;
    printf("division %d\n", jumped);
    jumped = sigsetjmp(place, 1);
    if (!jumped)
        raise(SIGFPE);
    printf("raised %d\n", jumped);
    return 0;
}
