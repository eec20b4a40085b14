// what: an endless loop
// answer: --call-timeout-ms
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ;
    return ST_OK;
}
