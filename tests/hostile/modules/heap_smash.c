// what: what stands around its scratch memory
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint8_t *p = (uint8_t *)st_alloc(ctx, 64);
    for (int i = -4096; i < 1 << 16; i++) ((volatile uint8_t *)p)[i] = 0x41;
    return mark_count(ctx->db) ? ST_OK : ST_E_USER;
}
