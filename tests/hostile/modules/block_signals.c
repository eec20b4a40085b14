// what: all signals blocked, then a crash
// answer: SIGSEGV|ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint64_t all = ~(uint64_t)0;
    KERNEL(rt_sigprocmask, 0, &all, 0, 8);
    *(volatile int *)0 = 1;
    return ST_OK;
}
