// what: garbage as a commit record
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (int i = 0; i < 4096; i++) ring(c, COMMIT)[(c->head[COMMIT] + (uint64_t)i) & (COMMIT_BYTES - 1)] = (uint8_t)(i * 31);
    c->head[COMMIT] += 4096;
    return ST_OK;
}
