// what: a local variable that leaps over a guard page
// answer: SIGSEGV|stack overflow
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static __attribute__((noinline, optimize("no-stack-clash-protection"))) int leap(uint32_t mib)
{
    volatile char *far = (volatile char *)__builtin_alloca((size_t)mib << 20);
    far[0] = 1;
    return far[0];
}
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return leap(64) ? ST_OK : ST_E_USER;
}
