// what: calls that it claims to have read
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->tail[CALL] += (uint64_t)1 << 40;
    return ST_OK;
}
