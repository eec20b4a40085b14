// what: a message to every other client
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (uint32_t slot = 0; slot < 64; slot++) {
        struct { uint8_t kind, flags; uint16_t zero; uint32_t slot, generation, zero2; uint64_t offset, call; uint8_t text[64]; } f = { 1, 1, 0, slot, 1, 0, 0, 0, { 6, 1, 2, 3 } };
        put_record(c, FRAME, &f, sizeof f);
    }
    return ST_OK;
}
