// what: a queued signal
// answer: system call \w+ \(\d+\) is not allowed|SIGSYS|the kernel answered -\d+
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return st_fail(ctx, "the kernel answered %ld", KERNEL(rt_sigqueueinfo, KERNEL(getppid, 0), 9, 0));
}
