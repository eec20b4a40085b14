// what: memory between calls
// publish: writable
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static int calls;
ST_REDUCER(attack) { return ++calls ? leave_a_trace(ctx) : ST_E_USER; }
