// what: an endless loop when a client connects
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_CLIENT_CONNECTED(greet) {
    if (mark_count(ctx->db) && st_random_u64(ctx) % 3 == 0)
        for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ;
    return ST_OK;
}
ST_REDUCER(attack) { return leave_a_trace(ctx); }
