// what: garbage as a frame
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    uint8_t junk[200];
    for (int i = 0; i < 200; i++) junk[i] = (uint8_t)(i * 73 + 5);
    put_record(c, FRAME, junk, sizeof junk);
    return ST_OK;
}
