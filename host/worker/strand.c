#include "host/worker/strand.h"

#include <pthread.h>
#include <time.h>

struct Strand {
    StrandStart start;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool go, asked, ended;
};

static void wait_for_go(Strand *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->go)
        pthread_cond_wait(&s->changed, &s->lock);
    s->go = false;
    pthread_mutex_unlock(&s->lock);
}

static void *strand_main(void *arg)
{
    Strand *s = arg;
    uint8_t crash_stack[STRAND_CRASH_STACK_BYTES] __attribute__((aligned(64)));
    if (s->start.begin)
        s->start.begin(s->start.user, s->start.mark, crash_stack, sizeof crash_stack);
    wait_for_go(s);
    s->start.run(s->start.arg);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->start.end)
        s->start.end(s->start.user);
    return NULL;
}

Status strand_start(Strand **ret, const StrandStart *start, Error *err)
{
    Strand *s = NEW(Strand);
    s->start = *start;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (SANITIZED ? 4 : 1) * STRAND_STACK_BYTES + STRAND_GUARD_BYTES);
    pthread_attr_setguardsize(&attr, STRAND_GUARD_BYTES);
    int rc = pthread_create(&s->thread, &attr, strand_main, s);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        pthread_mutex_destroy(&s->lock);
        pthread_cond_destroy(&s->changed);
        free(s);
        return FAIL(err, S_UNAVAILABLE, "no thread to be had: %s", strerror(rc));
    }
    *ret = s;
    return S_OK;
}

void strand_ask(Strand *s)
{
    pthread_mutex_lock(&s->lock);
    s->asked = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    wait_for_go(s);
}

static void wait_until_still(Strand *s)
{
    while (!s->asked && !s->ended)
        pthread_cond_wait(&s->changed, &s->lock);
}

void strand_await(Strand *s)
{
    pthread_mutex_lock(&s->lock);
    wait_until_still(s);
    s->asked = false;
    pthread_mutex_unlock(&s->lock);
}

void strand_go(Strand *s)
{
    pthread_mutex_lock(&s->lock);
    s->go = true;
    pthread_cond_broadcast(&s->changed);
    if (s->start.lockstep)
        wait_until_still(s);
    pthread_mutex_unlock(&s->lock);
}

uint64_t strand_cpu_ns(Strand *s)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(s->thread, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0; /* it is about to end */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void strand_join(Strand *s)
{
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}
