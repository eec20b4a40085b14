// what: code that runs while its symbols are resolved
// publish: system call|SIGSYS|ifunc|resolver|indirect|ended|killed
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static int real(void) { return 1; }
static void *pick(void) { KERNEL(kill, KERNEL(getppid, 0), 9); return (void *)(uintptr_t)real; }
__attribute__((visibility("default"))) int picked(void) __attribute__((ifunc("pick")));
ST_REDUCER(attack) { return picked() ? leave_a_trace(ctx) : ST_E_USER; }
