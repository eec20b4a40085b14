// what: a crash when a client leaves
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_CLIENT_DISCONNECTED(bye) {
    if (mark_find_by_id(ctx->db, 3)) return ST_OK;
    if (mark_find_by_id(ctx->db, 1)) *(volatile int *)0 = 1;
    return ST_OK;
}
ST_REDUCER(attack) { mark m = { .id = 3, .note = ST_S("enough") }; return mark_insert(ctx->db, &m); }
