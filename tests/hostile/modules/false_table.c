// what: a table that is none
// answer: record 4294967295
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint32_t row[64] = { 0 };
    return ctx->api->insert(ctx->db, 0xffffffff, row, false);
}
