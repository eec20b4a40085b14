// what: text at an address that is nobody's
// answer: SIGSEGV|pointer|note
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    mark m = { .id = 667, .note = { (const char *)(uintptr_t)0x10, 1 << 20 } };
    return mark_insert(ctx->db, &m);
}
