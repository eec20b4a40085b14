// what: its own return address
// answer: SIGSEGV|SIGABRT|SIGILL|SIGBUS
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    volatile uintptr_t *p = (volatile uintptr_t *)__builtin_frame_address(0);
    for (int i = 0; i < 64; i++) p[i] = 0x4141414141414141;
    return ST_OK;
}
