// what: a write through a null pointer
// answer: SIGSEGV.*null pointer
// log: null pointer
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    *(volatile int *)0 = 1;
    return ST_OK;
}
