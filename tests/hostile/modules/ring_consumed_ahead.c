// what: calls that it claims to have answered
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->consumed_call = ~(uint64_t)0 >> 1;
    return ST_OK;
}
