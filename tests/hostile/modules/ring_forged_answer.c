// what: answers to calls that were never made
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (uint64_t call = 1; call < 1u << 20; call = call * 2 + 1) {
        struct { uint8_t kind, flags; uint16_t zero; uint32_t slot, generation, zero2; uint64_t offset, call; uint8_t out; } f = { 5, 1, 0, 0, 1, 0, 0, call, 0 };
        put_record(c, FRAME, &f, sizeof f);
    }
    return ST_OK;
}
