/* villain.c - what a module must not get away with. Every attack first writes a row, which must not survive. */
#include "spacetimedb.h"

ST_MODULE(villain, "1.0.0");

ST_TABLE(mark, PUBLIC,
    (uint32_t, id, PK),
    (st_str,   note));

ST_TABLE(heap, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (st_bytes, fill));

static st_status put(st_reducer_ctx *ctx, uint32_t id, const char *note)
{
    mark m = { .id = id, .note = { note, strlen(note) } };
    return mark_insert(ctx->db, &m);
}

ST_REDUCER(note, (uint32_t, id)) {
    return put(ctx, id, "acknowledged");
}

static long raw(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long ret;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return ret;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

/* A system call by number: a call that comes back reports what it got. */
ST_REDUCER(enter_kernel, (int64_t, number), (int64_t, a), (int64_t, b), (int64_t, c), (st_str, path)) {
    put(ctx, 666, "from an attack");
    if (path.len)
        *(b ? &b : &a) = (int64_t)(intptr_t)path.ptr;
    return st_fail(ctx, "the kernel answered %ld", raw(number, a, b, c, 0));
}

ST_REDUCER(shoot_host, (int64_t, number_getppid), (int64_t, number_kill)) {
    put(ctx, 666, "from an attack");
    return st_fail(ctx, "the kernel answered %ld", raw(number_kill, raw(number_getppid, 0, 0, 0, 0), 9, 0, 0));
}

ST_REDUCER(null_pointer) {
    put(ctx, 666, "from an attack");
    *(volatile int *)0 = 1;
    return ST_OK;
}

ST_REDUCER(wild_jump) {
    put(ctx, 666, "from an attack");
    ((void (*)(void))(uintptr_t)0x1234567)();
    return ST_OK;
}

static __attribute__((noinline)) int deeper(volatile char *from)
{
    volatile char here[4096];
    here[0] = from ? from[0] : 1;
    return deeper(here) + here[0];
}

ST_REDUCER(deep_stack) {
    put(ctx, 666, "from an attack");
    return deeper(0) ? ST_OK : ST_E_USER;
}

ST_REDUCER(divide, (int32_t, by)) {
    put(ctx, 666, "from an attack");
    volatile int ten = 10;
    return ten / by ? ST_OK : ST_E_USER;
}

ST_REDUCER(trap) {
    put(ctx, 666, "from an attack");
    __builtin_trap();
}

ST_REDUCER(spin) {
    put(ctx, 666, "from an attack");
    for (volatile int i = 0;; i = i + 1)
        ;
    return ST_OK;
}

ST_REDUCER(spin_in_host) {
    put(ctx, 666, "from an attack");
    for (;;)
        mark_find_by_id(ctx->db, 1);
    return ST_OK;
}

ST_REDUCER(hoard) {
    put(ctx, 666, "from an attack");
    for (;;)
        memset(st_alloc(ctx, 1 << 20), 1, 1 << 20);
    return ST_OK;
}

ST_REDUCER(hoard_at_once) {
    put(ctx, 666, "from an attack");
    memset(st_alloc(ctx, (size_t)1 << 40), 1, 100);
    return ST_OK;
}

ST_REDUCER(hoard_rows) {
    put(ctx, 666, "from an attack");
    uint8_t *fill = st_alloc(ctx, 1 << 20);
    for (;;) {
        heap row = { .fill = { fill, 1 << 20 } };
        st_status status = heap_insert(ctx->db, &row);
        if (status)
            return status;
    }
}

ST_REDUCER(false_pointer) {
    mark m = { .id = 667, .note = { (const char *)(uintptr_t)0x10, 1 << 20 } };
    return mark_insert(ctx->db, &m);
}

ST_REDUCER(false_length) {
    mark m = { .id = 667, .note = { "x", (size_t)1 << 45 } };
    return mark_insert(ctx->db, &m);
}

ST_REDUCER(ignore_failure) {
    mark m = { .id = 1, .note = ST_S("taken") };
    st_status refused = mark_insert(ctx->db, &m);
    (void)refused;
    put(ctx, 666, "after a failure");
    return ST_OK;
}

ST_REDUCER(chatter, (uint32_t, lines)) {
    for (uint32_t i = 0; i < lines; i++)
        st_log_info(ctx, "line %u of a very talkative module that has nothing to say", i);
    return ST_OK;
}
