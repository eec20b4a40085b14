// what: no stack for the crash handler, then an overflow
// answer: SIGSEGV|ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static __attribute__((noinline)) int deeper(volatile char *from) { volatile char here[4096]; here[0] = from ? from[0] : 1; return deeper(here) + here[0]; }
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    struct { void *sp; int flags; size_t size; } none = { 0, 2, 0 };
    KERNEL(sigaltstack, &none, 0);
    return deeper(0) ? ST_OK : ST_E_USER;
}
