// what: all the scratch memory there is
// answer: --call-memory
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    for (;;) memset(st_alloc(ctx, 1 << 20), 1, 1 << 20);
}
