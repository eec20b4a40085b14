// what: the memory that only the host may write
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    for (uintptr_t p = (uintptr_t)c - (16u << 20); p < (uintptr_t)c + (16u << 20); p += 4096)
        if ((p < (uintptr_t)c || p >= (uintptr_t)c + (9u << 20)) && readable((const void *)p)) *(volatile uint8_t *)p = 0xff;
    return ST_OK;
}
