// what: a division by zero
// answer: division by zero|SIGFPE
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    volatile int ten = 10, zero = 0;
    if (leave_a_trace(ctx)) return ST_E_USER;
    return ten / zero ? ST_OK : ST_E_USER;
}
