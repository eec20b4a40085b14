// what: garbage as log lines
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    uint8_t junk[500];
    for (int n = 0; n < 100; n++) { for (int i = 0; i < 500; i++) junk[i] = (uint8_t)(i * n + 7); put_record(c, LOG, junk, sizeof junk); }
    return ST_OK;
}
