// what: a write to an address that is nobody's
// answer: SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    *(volatile int *)0x123456789000 = 1;
    return ST_OK;
}
