// what: the call's handle
// answer: SIGSEGV|ended with the module|SIGABRT|.
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    volatile uint64_t *p = (volatile uint64_t *)ctx->call;
    for (int i = 0; i < 64; i++) p[i] = 0x4242424242424242;
    return leave_a_trace(ctx);
}
