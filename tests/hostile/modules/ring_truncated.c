// what: a commit record that is cut short
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    uint8_t half[20] = { 'S', 'T', 'C', '1', 200 };
    put_record(c, COMMIT, half, sizeof half);
    return ST_OK;
}
