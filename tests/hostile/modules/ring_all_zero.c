// what: its whole shared memory, zeroed
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (uint32_t i = 0; i < COMMIT_BYTES + FRAME_BYTES + 4096; i++) ((volatile uint8_t *)c)[i] = 0;
    return ST_OK;
}
