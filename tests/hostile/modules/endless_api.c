// what: an endless loop of the host's functions
// answer: --call-timeout-ms
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    for (;;) mark_find_by_id(ctx->db, 1);
}
