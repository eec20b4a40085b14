// what: a shell
// answer: system call \w+ \(\d+\) is not allowed|SIGSYS|the kernel answered -\d+
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return st_fail(ctx, "the kernel answered %ld", KERNEL(execve, "/bin/sh", ((long[]){ (long)"sh", (long)"-c", (long)("touch " CANARY_DIR "/shell"), 0 }), ((long[]){ 0 })));
}
