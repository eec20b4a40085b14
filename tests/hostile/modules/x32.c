// what: system calls of the x32 kind
// answer: ended with|system call|the kernel answered -
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return st_fail(ctx, "the kernel answered %ld", kernel(0x40000000 | NR_getpid, 0, 0, 0, 0, 0, 0));
}
