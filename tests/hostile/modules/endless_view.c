// what: an endless loop in a view
// answer: it is the view
// call: sql SELECT * FROM spin
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_ANON_VIEW(spin, PUBLIC, mark) {
    for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ;
    return ST_OK;
}
ST_REDUCER(attack) { return leave_a_trace(ctx) ? ST_E_USER : st_fail(ctx, "it is the view that attacks"); }
