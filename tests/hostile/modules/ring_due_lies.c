// what: scheduled rows that are not there
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->due_table = 77;
    c->due_key = 5;
    c->due_next_us = 1;
    c->procedures = 0xffffffff;
    *(volatile int *)0 = 1;
    return ST_OK;
}
