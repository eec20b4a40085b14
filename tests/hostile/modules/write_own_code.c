// what: a write into its own code
// answer: SIGSEGV
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uintptr_t code = (uintptr_t)&note;
    __asm__("" : "+r"(code));
    *(volatile uint8_t *)code = 0xcc;
    return ST_OK;
}
