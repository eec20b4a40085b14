// what: memory from the kernel
// answer: the kernel answered -12|ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    for (;;) { long p = KERNEL(mmap, 0, 64 << 20, 3, 0x22, -1, 0); if (p < 0) return st_fail(ctx, "the kernel answered %ld", p); for (long i = 0; i < 64 << 20; i += 4096) ((volatile char *)p)[i] = 1; }
}
