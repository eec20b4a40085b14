// what: a row pointer that is no row's
// answer: SIGSEGV|pointer|invalid
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    mark *m = (mark *)(uintptr_t)3;
    return mark_insert(ctx->db, m);
}
