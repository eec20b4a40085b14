// what: the direction flag and the control word of the processor
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
#if defined(__x86_64__)
    __asm__ volatile("std" ::: "cc");
    uint16_t word = 0;
    __asm__ volatile("fldcw %0" :: "m"(word));
#endif
    return ST_OK;
}
