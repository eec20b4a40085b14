/* strand.h - what a procedure runs on: a thread that takes turns with the executor.
 *
 * A strand runs module code by itself. When it needs something that only the executor may touch it asks: the executor hears of it by
 * means of the core's own (a queue and a wake-up), serves it while the strand waits, and lets it go on. With go and await around a piece
 * of its code the strand works on what is the executor's, one at a time: that is how a transaction is lent.
 *
 *   strand                    executor
 *   strand_ask ------------>  strand_await      it has asked and stands still: what both know may be read and written
 *              <------------  strand_go         it goes on by itself; then await: until it asks the next time
 *   returns from `run`        strand_join
 *
 * In lockstep strand_go returns only when the strand stands still again: one thread at a time, so a seed repeats a run. */
#ifndef HOST_WORKER_STRAND_H
#define HOST_WORKER_STRAND_H

#include "host/base/base.h"

enum { STRAND_STACK_BYTES = 2 << 20, STRAND_GUARD_BYTES = 1 << 20, STRAND_CRASH_STACK_BYTES = 64 << 10 };

typedef struct Strand Strand;
typedef struct StrandStart {
    void (*run)(void *arg); /* on the strand, from the first strand_go on */
    void *arg;
    bool lockstep;
    /* On the strand, before anything else; NULL: nothing. `stack` is memory for a signal stack that lives as long as the strand. */
    void (*begin)(void *user, uint64_t mark, void *stack, size_t stack_bytes);
    void (*end)(void *user); /* after everything else; NULL: nothing */
    void *user;
    uint64_t mark;
} StrandStart;

/* S_UNAVAILABLE: no thread is to be had. */
MUST_CHECK Status strand_start(Strand **ret, const StrandStart *start, Error *err);
void strand_ask(Strand *s);        /* [strand] stand still until strand_go */
void strand_await(Strand *s);      /* [executor] until it has asked (or ended) */
void strand_go(Strand *s);         /* [executor] after strand_await, or for the first time */
uint64_t strand_cpu_ns(Strand *s); /* [executor] processor time that it has used */
void strand_join(Strand *s);       /* [executor] wait until `run` has returned, and free it */

#endif
