// what: a jump into nothing
// answer: SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    ((void (*)(void))(uintptr_t)0x1234567)();
    return ST_OK;
}
