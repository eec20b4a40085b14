// what: another call to blame, then a crash
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->current_call += 1000;
    c->guilty_call = 12345678;
    *(volatile int *)0 = 1;
    return ST_OK;
}
