// what: memory of its thread
// publish: thread-local
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static __thread int calls;
ST_REDUCER(attack) { return ++calls ? leave_a_trace(ctx) : ST_E_USER; }
