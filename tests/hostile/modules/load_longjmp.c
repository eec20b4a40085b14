// what: a jump out of the host
// publish: it uses longjmp
#include "attack.h"

ST_MODULE(attack, "1.0.0");

extern void longjmp(long *, int);
ST_REDUCER(attack) { static const long nowhere[32]; longjmp((long *)nowhere, 1); return leave_a_trace(ctx); }
