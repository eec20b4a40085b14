// what: a crash in its first transaction
// publish: SIGSEGV|ended|killed
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_INIT(begin) { if (leave_a_trace(ctx)) return ST_E_USER; *(volatile int *)0 = 1; return ST_OK; }
ST_REDUCER(attack) { return leave_a_trace(ctx); }
