// what: to be stopped for ever
// answer: --call-timeout-ms|ended with|.
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    KERNEL(tgkill, KERNEL(getpid, 0), KERNEL(gettid, 0), 19);
    return ST_OK;
}
