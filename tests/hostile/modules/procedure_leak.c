// what: a transaction that it leaves open
// answer: it is the procedure
// call: procedure attack_p left it open
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_PROCEDURE(attack_p, uint32_t) {
    ST_WITH_TX(ctx, tx) { mark m = { .id = 667, .note = ST_S("left open") }; *ret = 0; if (mark_insert(tx->db, &m)) break; return st_fail(ctx, "left it open"); }
    return ST_OK;
}
ST_REDUCER(attack) { return leave_a_trace(ctx) ? ST_E_USER : st_fail(ctx, "it is the procedure that attacks"); }
