// what: a watchdog that is told lies
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (;;) c->current_since_ns = ~(uint64_t)0 >> 1;
}
