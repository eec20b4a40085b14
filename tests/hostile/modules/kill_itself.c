// what: the signal that cannot be caught, to itself
// answer: ended with
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    KERNEL(tgkill, KERNEL(getpid, 0), KERNEL(gettid, 0), 9);
    return ST_OK;
}
