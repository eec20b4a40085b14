// what: the host's table of functions
// answer: SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    volatile uint64_t *p = (volatile uint64_t *)(uintptr_t)ctx->api;
    p[2] = 0x4343434343434343;
    return leave_a_trace(ctx);
}
