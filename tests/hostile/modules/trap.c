// what: an illegal instruction
// answer: SIGILL|SIGTRAP
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    __builtin_trap();
}
