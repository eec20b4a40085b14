// what: an index that is none
// answer: column|record
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint16_t cols[2] = { 999, 3 };
    uint32_t key = 1;
    const void *eq[2] = { &key, &key };
    st_cursor c = ctx->api->scan(ctx->db, 0, 2, cols, 2, eq, NULL, NULL);
    return ctx->api->next(ctx->db, &c) ? ST_OK : ST_E_USER;
}
