// what: a format that asks for two gigabytes
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    st_str s = st_format(ctx, "%*d%*d", 2000000000, 1, 2000000000, 2);
    return s.len ? ST_OK : ST_E_USER;
}
