// what: the bells, without end
// answer: rung|--call-timeout-ms|system call|ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint64_t one = 1;
    for (int i = 0; i < 3000000; i++) KERNEL(write, 5 + i % 3, &one, 8);
    return st_fail(ctx, "rung");
}
