// what: a read through a null pointer
// answer: SIGSEGV.*null pointer
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    return *(volatile int *)8 ? ST_OK : ST_E_USER;
}
