// what: a terabyte at once
// answer: --call-memory
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    memset(st_alloc(ctx, (size_t)1 << 40), 1, 100);
    return ST_OK;
}
