// what: code that runs when it is unloaded
// publish: destructors
#include "attack.h"

ST_MODULE(attack, "1.0.0");

__attribute__((destructor)) static void late(void) { KERNEL(openat, -100, "/etc/passwd", 0); }
ST_REDUCER(attack) { return leave_a_trace(ctx); }
