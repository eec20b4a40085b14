// what: a thread of its own that uses the host's functions
// answer: SIGSEGV|the kernel answered|ended with|--call-timeout-ms
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static void run(void)
{
    for (volatile int i = 0; i < 1000; i++) ;
    *(volatile int *)0 = 1;
    for (;;) ;
}
static __attribute__((noinline)) long start_thread(void (*run)(void), void *stack_top)
{
#if defined(__x86_64__)
    long ret;
    ((void **)stack_top)[-1] = (void *)(uintptr_t)run;
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n pop %%rax\n jmp *%%rax\n 1:" : "=a"(ret) : "a"((long)NR_clone), "D"(0x10f00L), "S"((long)(uintptr_t)((void **)stack_top - 1)), "d"(0L) : "rcx", "r11", "memory");
    return ret;
#else
    (void)run, (void)stack_top;
    return -38;
#endif
}
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    long p = KERNEL(mmap, 0, 1 << 20, 3, 0x22, -1, 0);
    if (p < 0) return st_fail(ctx, "the kernel answered %ld", p);
    long tid = start_thread(run, (void *)(p + (1 << 20)));
    for (volatile long i = 0; i < 400000000; i++) ;
    return st_fail(ctx, "the kernel answered %ld", tid);
}
