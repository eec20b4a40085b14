// what: an endless first transaction
// publish: --call-timeout-ms|did not answer|killed|too long|ended
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_INIT(begin) { for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; return leave_a_trace(ctx); }
ST_REDUCER(attack) { return leave_a_trace(ctx); }
