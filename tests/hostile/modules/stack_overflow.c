// what: endless recursion
// answer: stack overflow
// log: stack overflow
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static __attribute__((noinline)) int deeper(volatile char *from)
{
    volatile char here[4096];
    here[0] = from ? from[0] : 1;
    return deeper(here) + here[0];
}
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return deeper(0) ? ST_OK : ST_E_USER;
}
