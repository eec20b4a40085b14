// what: a frame ring that goes backwards
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    c->head[FRAME] -= 64;
    return ST_OK;
}
