/* attack.h - what the attacking modules share: rows that must survive them, system calls without libc, and a way to the worker's own memory.
 *
 * A module begins with lines that hostile_test.mjs reads:
 *   what:     what it attacks, for people
 *   publish:  what the refusal of the file says; absent: it is taken
 *   answer:   what the answer to reducer `attack` says; `ok`: it succeeds, and nothing comes of it
 *   log:      what its log says afterwards
 *   call:     what else is done: `sql QUERY`, which fails; `procedure NAME ANSWER`; `stranger ANSWER`: somebody else's call */
#ifndef ATTACK_H
#define ATTACK_H

#include "spacetimedb.h"

ST_TABLE(mark, PUBLIC, (uint32_t, id, PK), (st_str, note));
ST_REDUCER(note, (uint32_t, id)) {
    mark m = { .id = id, .note = ST_S("acknowledged") };
    return mark_insert(ctx->db, &m);
}

static inline st_status leave_a_trace(st_reducer_ctx *ctx)
{
    mark m = { .id = 666, .note = ST_S("from an attack") };
    return mark_insert(ctx->db, &m);
}

#if defined(__x86_64__)
static inline long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return ret;
}
enum {
    NR_read = 0, NR_write = 1, NR_open = 2, NR_close = 3, NR_mmap = 9, NR_mprotect = 10, NR_rt_sigaction = 13, NR_rt_sigprocmask = 14, NR_ioctl = 16, NR_dup = 32,
    NR_getpid = 39, NR_socket = 41, NR_connect = 42, NR_clone = 56, NR_fork = 57, NR_vfork = 58, NR_execve = 59, NR_exit = 60, NR_kill = 62, NR_chdir = 80, NR_rename = 82,
    NR_mkdir = 83, NR_unlink = 87, NR_chmod = 90, NR_ptrace = 101, NR_setuid = 105, NR_getppid = 110, NR_setpgid = 109, NR_sigaltstack = 131, NR_mknod = 133, NR_mount = 165,
    NR_setrlimit = 160, NR_gettid = 186, NR_tkill = 200, NR_clock_gettime = 228, NR_exit_group = 231, NR_tgkill = 234, NR_madvise = 28, NR_inotify_init = 253, NR_openat = 257,
    NR_unshare = 272, NR_rt_sigqueueinfo = 129, NR_fallocate = 285, NR_perf_event_open = 298, NR_process_vm_readv = 310, NR_process_vm_writev = 311, NR_seccomp = 317,
    NR_memfd_create = 319, NR_bpf = 321, NR_userfaultfd = 323, NR_prctl = 157, NR_add_key = 248, NR_pidfd_open = 434, NR_io_uring_setup = 425, NR_prlimit64 = 302, NR_futex = 202,
    NR_getdents64 = 217, NR_arch_prctl = 158, NR_sendto = 44, NR_nanosleep = 35, NR_pidfd_getfd = 438
};
#elif defined(__aarch64__)
static inline long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
enum {
    NR_read = 63, NR_write = 64, NR_open = 1024, NR_close = 57, NR_mmap = 222, NR_mprotect = 226, NR_rt_sigaction = 134, NR_rt_sigprocmask = 135, NR_ioctl = 29, NR_dup = 23,
    NR_getpid = 172, NR_socket = 198, NR_connect = 203, NR_clone = 220, NR_fork = 1079, NR_vfork = 1071, NR_execve = 221, NR_exit = 93, NR_kill = 129, NR_chdir = 49, NR_rename = 276,
    NR_mkdir = 34, NR_unlink = 35, NR_chmod = 53, NR_ptrace = 117, NR_setuid = 146, NR_getppid = 173, NR_setpgid = 154, NR_sigaltstack = 132, NR_mknod = 33, NR_mount = 40,
    NR_setrlimit = 164, NR_gettid = 178, NR_tkill = 130, NR_clock_gettime = 113, NR_exit_group = 94, NR_tgkill = 131, NR_madvise = 233, NR_inotify_init = 26, NR_openat = 56,
    NR_unshare = 97, NR_rt_sigqueueinfo = 138, NR_fallocate = 47, NR_perf_event_open = 241, NR_process_vm_readv = 270, NR_process_vm_writev = 271, NR_seccomp = 277,
    NR_memfd_create = 279, NR_bpf = 280, NR_userfaultfd = 282, NR_prctl = 167, NR_add_key = 217, NR_pidfd_open = 434, NR_io_uring_setup = 425, NR_prlimit64 = 261, NR_futex = 98,
    NR_getdents64 = 61, NR_arch_prctl = 1158, NR_sendto = 206, NR_nanosleep = 101, NR_pidfd_getfd = 438
};
#endif
#define KERNEL(name, ...) KERNEL_(NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define KERNEL_(number, a, b, c, d, e, f, ...) kernel(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Is there memory at this address? The kernel tells without a fault: EFAULT or EINVAL. */
static inline bool readable(const void *p)
{
    enum { NO_SUCH_HOW = 99, FAULT = -14 };
    return KERNEL(rt_sigprocmask, NO_SUCH_HOW, p, 0, 8) != FAULT;
}

/* What the worker tells the host of itself begins its shared memory (host/worker/ring.h, RingCursors), and the rings that it writes follow. */
typedef struct cursors {
    uint64_t head[5] __attribute__((aligned(64)));
    uint64_t tail[5] __attribute__((aligned(64)));
    uint32_t asleep[3] __attribute__((aligned(64)));
    uint64_t current_call __attribute__((aligned(64)));
    uint64_t current_since_ns, consumed_call;
    uint32_t due_table, due_tag;
    uint64_t due_key;
    int64_t due_us, due_next_us;
    uint32_t hold;
    uint64_t guilty_call;
    uint32_t procedures, runaway;
} cursors;
enum { CALL, CONTROL, COMMIT, FRAME, LOG, COMMIT_BYTES = 4 << 20, FRAME_BYTES = 4 << 20, LOG_BYTES = 256 << 10 };
static inline uint8_t *ring(cursors *c, int id) { return (uint8_t *)c + 4096 + (id > COMMIT ? COMMIT_BYTES : 0) + (id > FRAME ? FRAME_BYTES : 0); }

static inline bool looks_like_cursors(const cursors *c, int64_t now_ns)
{
    int64_t age = now_ns - (int64_t)c->current_since_ns;
    return c->current_call && c->current_call < 1u << 30 && age >= 0 && age < (int64_t)5000000000 && c->tail[CALL] && c->tail[CALL] < (uint64_t)1 << 40;
}

/* Follow pointers from the call's handle until the page with the cursors turns up. */
static inline cursors *find_cursors(st_reducer_ctx *ctx)
{
    enum { QUEUE = 1 << 16, WORDS = 512 };
    const uintptr_t **queue = (const uintptr_t **)st_alloc(ctx, QUEUE * sizeof *queue);
    uint32_t from = 0, to = 0;
    struct { int64_t s, ns; } now;
    KERNEL(clock_gettime, 1, &now);
    queue[to++] = (const uintptr_t *)((uintptr_t)ctx->call & ~(uintptr_t)7);
    while (from < to) {
        const uintptr_t *p = queue[from++];
        for (uint32_t i = 0; i < WORDS; i++) {
            if ((((uintptr_t)(p + i)) & 4095) == 0 && !readable(p + i))
                break;
            uintptr_t v = p[i];
            if (v < 0x10000 || v >> 47 || (v & 7) || !readable((const void *)v))
                continue;
            if ((v & 4095) == 0 && readable((const void *)(v + 4096)) && looks_like_cursors((const cursors *)v, now.s * 1000000000 + now.ns))
                return (cursors *)v;
            bool known = false;
            for (uint32_t k = to > 64 ? to - 64 : 0; k < to && !known; k++)
                known = queue[k] == (const uintptr_t *)v;
            if (!known && to < QUEUE)
                queue[to++] = (const uintptr_t *)v;
        }
    }
    return NULL;
}
#define CURSORS_OR_FAIL(c) cursors *c = find_cursors(ctx); if (!c) return st_fail(ctx, "the cursors were not found")

/* A record at the head of a ring, as the ring's own code frames it: u32 length, u32 flags, bytes padded to 8. */
static inline void put_record(cursors *c, int id, const void *bytes, uint32_t len)
{
    uint32_t size = id == LOG ? LOG_BYTES : FRAME_BYTES, header[2] = { len, 0 };
    uint64_t head = c->head[id];
    for (uint32_t i = 0; i < 8; i++) ring(c, id)[(head + i) & (size - 1)] = ((uint8_t *)header)[i];
    for (uint32_t i = 0; i < len; i++) ring(c, id)[(head + 8 + i) & (size - 1)] = ((const uint8_t *)bytes)[i];
    __atomic_store_n(&c->head[id], head + 8 + (len + 7) / 8 * 8, __ATOMIC_RELEASE);
}

#endif
