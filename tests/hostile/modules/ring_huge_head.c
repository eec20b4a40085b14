// what: a commit ring that claims to hold 2^60 bytes
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->head[COMMIT] += (uint64_t)1 << 60;
    return ST_OK;
}
