// what: a record of four gigabytes that never ends
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    uint32_t header[2] = { 0xfffffff0, 1 };
    for (int i = 0; i < 8; i++) ring(c, COMMIT)[(c->head[COMMIT] + (uint64_t)i) & (COMMIT_BYTES - 1)] = ((uint8_t *)header)[i];
    c->head[COMMIT] += 65536;
    return ST_OK;
}
