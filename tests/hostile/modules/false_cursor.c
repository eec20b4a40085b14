// what: a cursor of its own making
// answer: SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    st_cursor c = { (void *)(uintptr_t)0x4141414141414141, NULL, 1, 2 };
    return ctx->api->next(ctx->db, &c) ? ST_OK : ST_E_USER;
}
