// what: an overflow of a procedure's stack
// answer: it is the procedure
// call: procedure attack_p stack overflow|SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static __attribute__((noinline)) int deeper(volatile char *from) { volatile char here[4096]; here[0] = from ? from[0] : 1; return deeper(here) + here[0]; }
ST_PROCEDURE(attack_p, uint32_t) { (void)ctx; *ret = (uint32_t)deeper(0); return ST_OK; }
ST_REDUCER(attack) { return leave_a_trace(ctx) ? ST_E_USER : st_fail(ctx, "it is the procedure that attacks"); }
