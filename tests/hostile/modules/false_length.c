// what: text of an impossible length
// answer: note|length|SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    mark m = { .id = 667, .note = { "x", (size_t)1 << 45 } };
    return mark_insert(ctx->db, &m);
}
