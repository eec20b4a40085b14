// what: system calls of 32 bits
// answer: ended with|the kernel answered -
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
#if defined(__x86_64__)
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(5L), "b"(0L), "c"(0L) : "memory");
    return st_fail(ctx, "the kernel answered %ld", ret);
#else
    return st_fail(ctx, "the kernel answered -38");
#endif
}
