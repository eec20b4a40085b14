// what: bytes on the stack as code
// answer: SIGSEGV|SIGILL
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    volatile uint8_t code[16] = { 0xc3, 0xc0, 0x03, 0x5f, 0xd6 };
    ((void (*)(void))(uintptr_t)code)();
    return ST_OK;
}
