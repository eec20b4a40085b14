// what: an error text of a megabyte
// answer: eeee
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    char *p = (char *)st_alloc(ctx, 1 << 20);
    memset(p, 'e', (1 << 20) - 1);
    return st_fail(ctx, "%s", p);
}
