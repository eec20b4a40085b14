// what: a signal handler of its own that goes on for ever
// answer: --call-timeout-ms|ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static void again(int s) { (void)s; for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; }
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } act = { (void *)(uintptr_t)again, 0x04000000, 0, 0 };
    for (int s = 1; s < 65; s++) KERNEL(rt_sigaction, s, &act, 0, 8);
    *(volatile int *)0 = 1;
    return ST_OK;
}
