// what: the environment and the host's secrets behind the stack
// answer: nothing there|SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    const char *p = (const char *)(((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095));
    for (uint32_t pages = 0; pages < 4096 && readable(p); pages++, p += 4096)
        for (uint32_t i = 0; i + 24 < 4096; i++)
            if (!memcmp(p + i, "CANARY" "_IN_THE_ENVIRONMENT", 24)) return st_fail(ctx, "found %.60s", p + i);
    return st_fail(ctx, "nothing there");
}
