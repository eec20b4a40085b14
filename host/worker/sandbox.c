/* sandbox.c - the steps of sandbox.h, and the handlers that let a crash explain itself. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "host/worker/sandbox.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CONTEXT_PC(uc) ((uintptr_t)(uc)->uc_mcontext.gregs[REG_RIP])
#define CONTEXT_SP(uc) ((uintptr_t)(uc)->uc_mcontext.gregs[REG_RSP])
#define CONTEXT_SET_RESULT(uc, v) ((uc)->uc_mcontext.gregs[REG_RAX] = (v))
#elif defined(__aarch64__)
#define CONTEXT_PC(uc) ((uintptr_t)(uc)->uc_mcontext.pc)
#define CONTEXT_SP(uc) ((uintptr_t)(uc)->uc_mcontext.sp)
#define CONTEXT_SET_RESULT(uc, v) ((uc)->uc_mcontext.regs[0] = (unsigned long)(v))
#else
#error "workers run on x86-64 and aarch64"
#endif

#if SANITIZED
/* The worker's environment is empty, so its options are here; tests/run.sh looks for the reports. */
#define REPORTS "log_path=/tmp/spacetimedb-worker-report"
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return REPORTS ":detect_leaks=0:handle_segv=0:handle_abort=0:allocator_may_return_null=1"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return REPORTS ":print_stacktrace=1"; }
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return REPORTS ":handle_segv=0:handle_abort=0"; }
#endif

/* A line on descriptor 2 for whoever started us; used where a full log is too much. */
static void warn_line(const char *text)
{
    char line[ERROR_TEXT_BYTES + 64];
    int n = snprintf(line, sizeof line, "spacetimedb-worker: %s\n", text);
    ssize_t ignored = write(2, line, MIN((size_t)n, sizeof line - 1));
    (void)ignored;
}

/* ---- the process: user, parent, limits ------------------------------------------------------------ */

static void oom_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* best effort: no /proc, or not permitted */
    ssize_t ignored = write(fd, "1000", 4);
    (void)ignored;
    close(fd);
}

static Status drop_user(const WorkerConfig *config, Error *err)
{
    uid_t uid = config->uid;
    gid_t gid = config->gid;
    if (geteuid() != 0 && getuid() != 0) {
        if ((uid && uid != geteuid()) || (gid && gid != getegid()))
            return FAIL(err, S_INVALID, "cannot become user %u, group %u: the host runs as user %u", uid, gid, geteuid());
        return S_OK;
    }
    if (uid == 0 || gid == 0) {
        if (config->allow_unsandboxed) {
            warn_line("runs as root: no user for workers is configured");
            return S_OK;
        }
        return FAIL(err, S_UNAVAILABLE, "the host runs as root, and no user and group for workers are configured");
    }
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return FAIL(err, S_UNAVAILABLE, "cannot become user %u, group %u: %s", uid, gid, strerror(errno));
    uid_t r, e, s;
    if (getresuid(&r, &e, &s) != 0 || r != uid || e != uid || s != uid || setuid(0) == 0)
        return FAIL(err, S_UNAVAILABLE, "becoming user %u had no effect", uid);
    return S_OK;
}

static Status limit(int resource, const char *name, uint64_t value, Error *err)
{
    struct rlimit old, l = {.rlim_cur = value, .rlim_max = value};
    if (getrlimit(resource, &old) == 0 && old.rlim_max < value) /* a stricter limit of the operator stays */
        l.rlim_cur = l.rlim_max = old.rlim_max;
    if (setrlimit(resource, &l) != 0)
        return FAIL(err, S_UNAVAILABLE, "setting RLIMIT_%s to %llu: %s", name, (unsigned long long)l.rlim_max, strerror(errno));
    return S_OK;
}

Status sandbox_process(const WorkerConfig *config, Error *err)
{
    oom_first(); /* before the uid drop: /proc/self belongs to root as soon as we are not dumpable */
    TRY(drop_user(config, err));
    /* After the uid drop, which clears it. If the parent died before this line, nobody would tell us. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return FAIL(err, S_UNAVAILABLE, "PR_SET_PDEATHSIG: %s", strerror(errno));
    if (config->parent_pid && (uint32_t)getppid() != config->parent_pid)
        return FAIL(err, S_UNAVAILABLE, "the host (process %u) has gone", config->parent_pid);
    if (SANITIZED)
        return S_OK;
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return FAIL(err, S_UNAVAILABLE, "PR_SET_DUMPABLE: %s", strerror(errno));
    TRY(limit(RLIMIT_CORE, "CORE", 0, err));
    TRY(limit(RLIMIT_NOFILE, "NOFILE", 32, err));
    /* Threads; processes seccomp forbids. It counts everything that the user runs, so it bounds a user that is the worker's own. */
    if (config->uid)
        TRY(limit(RLIMIT_NPROC, "NPROC", 128 + 2 * (uint64_t)config->procedures_max, err));
    TRY(limit(RLIMIT_FSIZE, "FSIZE", 0, err));
    TRY(limit(RLIMIT_MEMLOCK, "MEMLOCK", 0, err));
    TRY(limit(RLIMIT_MSGQUEUE, "MSGQUEUE", 0, err));
    if (config->data_bytes_max)
        TRY(limit(RLIMIT_DATA, "DATA", config->data_bytes_max, err));
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    clearenv();
    umask(077);
    return S_OK;
}

/* ---- last words ------------------------------------------------------------------------------------ */

static RingWriter *words_log;
static const uint32_t *words_dropped;
static const char *syscall_names[512];
static volatile sig_atomic_t self_testing, self_test_traps;
static uint8_t crash_stack[64 << 10] __attribute__((aligned(64)));

void sandbox_last_words(RingWriter *log, const uint32_t *dropped) { words_log = log, words_dropped = dropped; }

static atomic_flag log_busy = ATOMIC_FLAG_INIT;

void sandbox_log_lock(void)
{
    while (atomic_flag_test_and_set_explicit(&log_busy, memory_order_acquire))
        sched_yield();
}
void sandbox_log_unlock(void) { atomic_flag_clear_explicit(&log_busy, memory_order_release); }

/* The process is dying: nobody gets it after us. False: the crash is inside of what it guards. */
static bool log_lock_for_good(void)
{
    for (int i = 0; i < 1000; i++) {
        if (!atomic_flag_test_and_set_explicit(&log_busy, memory_order_acquire))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return false;
}

static _Thread_local uint64_t thread_call; /* 0: the executor */
static _Thread_local _Atomic uint64_t *thread_guilty;
static _Thread_local stack_t thread_stack_before; /* a sanitizer's */

void sandbox_thread(uint64_t call_seq, void *stack, size_t stack_bytes, _Atomic uint64_t *guilty)
{
    thread_call = call_seq;
    thread_guilty = guilty;
    sigset_t cancel; /* it is for the executor */
    sigemptyset(&cancel);
    sigaddset(&cancel, WORKER_CANCEL_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &cancel, NULL);
    stack_t alternate = {.ss_sp = stack, .ss_size = stack_bytes};
    if (sigaltstack(&alternate, &thread_stack_before) != 0)
        BUG("sigaltstack: %s", strerror(errno));
}

void sandbox_thread_end(void)
{
    if (sigaltstack(&thread_stack_before, NULL) != 0)
        BUG("sigaltstack: %s", strerror(errno));
}

/* Runs in a signal handler, over memory that may be damaged: no allocation, no lock. */
static void last_words(const char *text)
{
    if (thread_call)
        atomic_store(thread_guilty, thread_call);
    warn_line(text);
    if (!log_lock_for_good())
        return;
    RingWriter *w = words_log;
    words_log = NULL; /* a second fault in here must not come back */
    size_t len = strlen(text);
    if (!w || ring_backlog_bytes(w) || ring_room_bytes(w) < len + 128)
        return;
    uint8_t head[1 + 8 + 4 + 4 + 4 + 4 + 4];
    head[0] = LOG_LEVEL_PANIC;
    store_i64(head + 1, clock_wall_us());
    store_u32(head + 9, 0);
    store_u32(head + 13, words_dropped ? *words_dropped : 0);
    store_u32(head + 17, 0);
    store_u32(head + 21, 0);
    store_u32(head + 25, (uint32_t)len);
    ring_write(w, 2, (Bytes[]){{head, sizeof head}, {(const uint8_t *)text, len}});
    ring_publish(w);
}

static CodeMap *_Atomic code_maps;

void sandbox_code_add(CodeMap *map)
{
    atomic_store(&map->next, atomic_load(&code_maps));
    atomic_store(&code_maps, map);
}

void sandbox_code_remove(CodeMap *map)
{
    for (CodeMap *_Atomic *at = &code_maps; atomic_load(at); at = &atomic_load(at)->next)
        if (atomic_load(at) == map) {
            atomic_store(at, atomic_load(&map->next));
            return;
        }
}

/* The function of a module that is there; exported ones the dynamic linker knows. */
static const ElfFunction *function_at(uintptr_t base, uintptr_t pc)
{
    for (const CodeMap *m = atomic_load(&code_maps); m; m = atomic_load(&m->next))
        if (m->base == base)
            return elf_function_at(m->functions, m->nfunctions, pc - base);
    return NULL;
}

/* "offset 0x1234 of chat-1a2b.so (near send_message+0x12)": the text may reach clients, so no paths. */
static void describe_pc(char *out, size_t size, uintptr_t pc)
{
    Dl_info info;
    if (pc == 0)
        snprintf(out, size, "a call through a null function pointer");
    else if (!dladdr((void *)pc, &info) || !info.dli_fname) /* NOLINT: an address, never used as a pointer */
        snprintf(out, size, "address 0x%lx, outside of every library", (unsigned long)pc);
    else {
        const char *slash = strrchr(info.dli_fname, '/');
        int n =
            snprintf(out, size, "offset 0x%lx of %s", (unsigned long)(pc - (uintptr_t)info.dli_fbase), slash ? slash + 1 : info.dli_fname);
        const ElfFunction *f = function_at((uintptr_t)info.dli_fbase, pc);
        if (f && n > 0 && (size_t)n < size)
            snprintf(out + n, size - (size_t)n, " (in %s+0x%lx)", f->name, (unsigned long)(pc - (uintptr_t)info.dli_fbase - f->address));
        else if (info.dli_sname && n > 0 && (size_t)n < size)
            snprintf(out + n, size - (size_t)n, " (near %s+0x%lx)", info.dli_sname, (unsigned long)(pc - (uintptr_t)info.dli_saddr));
    }
}

/* By the default action, so that the host sees the signal in the exit status. */
static void die_of(int sig)
{
    signal(sig, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + sig);
}

static void on_crash(int sig, siginfo_t *si, void *context)
{
    ucontext_t *uc = context;
    char where[400], text[800];
    uintptr_t address = (uintptr_t)si->si_addr, sp = CONTEXT_SP(uc);
    describe_pc(where, sizeof where, CONTEXT_PC(uc));
    const char *name = sig == SIGSEGV  ? "SIGSEGV"
                       : sig == SIGBUS ? "SIGBUS"
                       : sig == SIGFPE ? "SIGFPE"
                       : sig == SIGILL ? "SIGILL"
                                       : "SIGABRT";
    if (sig == SIGSEGV && si->si_code > 0 && address - (sp - (64 << 10)) < (128 << 10))
        snprintf(text, sizeof text, "stack overflow (%s at address 0x%lx) at %s: endless recursion or a very large local variable?", name,
                 (unsigned long)address, where);
    else if ((sig == SIGSEGV || sig == SIGBUS) && si->si_code > 0)
        snprintf(text, sizeof text, "%s: invalid access to address 0x%lx%s at %s", name, (unsigned long)address,
                 address < 4096 ? " (null pointer)" : "", where);
    else if (sig == SIGFPE)
        snprintf(text, sizeof text, "SIGFPE: %s at %s", si->si_code == FPE_INTDIV ? "integer division by zero" : "arithmetic error", where);
    else
        snprintf(text, sizeof text, "%s at %s", name, where);
    last_words(text);
    die_of(sig);
}

static void on_sigsys(int sig, siginfo_t *si, void *context)
{
    if (self_testing) {
        self_test_traps++;
        CONTEXT_SET_RESULT((ucontext_t *)context, -EPERM);
        return;
    }
    char where[400], text[800];
    describe_pc(where, sizeof where, (uintptr_t)si->si_call_addr);
    unsigned nr = (unsigned)si->si_syscall;
    const char *name = nr < COUNT_OF(syscall_names) && syscall_names[nr] ? syscall_names[nr] : "?";
    snprintf(text, sizeof text, "system call %s (%u) is not allowed in a worker; called at %s", name, nr, where);
    last_words(text);
    die_of(sig);
}

static void (*cancel_call)(void *user);
static void *cancel_user;
static pid_t executor_tid;

void sandbox_on_cancel(void (*cancel)(void *user), void *user)
{
    cancel_user = user;
    cancel_call = cancel;
    executor_tid = (pid_t)syscall(SYS_gettid);
}

/* Only the module's own code is left in the middle: libc and the host's functions may hold what nobody else would release. */
static void on_cancel(int sig, siginfo_t *si, void *context)
{
    (void)sig, (void)si;
    uintptr_t pc = CONTEXT_PC((ucontext_t *)context);
    if (!cancel_call || thread_call || (pid_t)syscall(SYS_gettid) != executor_tid)
        return;
    for (const CodeMap *m = atomic_load(&code_maps); m; m = atomic_load(&m->next))
        if (pc >= m->text && pc < m->text_end)
            cancel_call(cancel_user);
}

static Status handlers(Error *err)
{
    stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};
    if (sigaltstack(&stack, NULL) != 0)
        return FAIL(err, S_UNAVAILABLE, "sigaltstack: %s", strerror(errno));
    for (unsigned i = 0; i < COUNT_OF(syscall_names); i++)
        syscall_names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)i);
    struct sigaction act = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&act.sa_mask);
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < COUNT_OF(crashes); i++)
        if (sigaction(crashes[i], &act, NULL) != 0)
            return FAIL(err, S_UNAVAILABLE, "sigaction: %s", strerror(errno));
    act.sa_sigaction = on_sigsys;
    if (sigaction(SIGSYS, &act, NULL) != 0)
        return FAIL(err, S_UNAVAILABLE, "sigaction: %s", strerror(errno));
    struct sigaction cancel = {.sa_sigaction = on_cancel, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigemptyset(&cancel.sa_mask);
    if (sigaction(WORKER_CANCEL_SIGNAL, &cancel, NULL) != 0)
        return FAIL(err, S_UNAVAILABLE, "sigaction: %s", strerror(errno));
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return S_OK;
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

static int int_cmp(const void *x, const void *y) { return (*(const int *)x > *(const int *)y) - (*(const int *)x < *(const int *)y); }

static Status close_others(const int *keep, size_t nkeep, Error *err)
{
    int sorted[16];
    if (nkeep > COUNT_OF(sorted))
        return FAIL(err, S_INTERNAL, "too many descriptors to keep");
    memcpy(sorted, keep, nkeep * sizeof *keep);
    qsort(sorted, nkeep, sizeof *sorted, int_cmp);
    unsigned from = 3;
    for (size_t i = 0; i <= nkeep; i++) {
        unsigned to = i < nkeep ? (unsigned)sorted[i] : UINT32_MAX;
        if (to > from && syscall(SYS_close_range, from, i < nkeep ? to - 1 : to, 0) != 0)
            return FAIL(err, S_UNAVAILABLE, "close_range: %s (Linux 5.9 or later is needed)", strerror(errno));
        from = MAX(from, to + 1);
    }
    return S_OK;
}

/* ---- Landlock -------------------------------------------------------------------------------------- */

/* Our own declarations: the system's header may be older than the kernel. */
struct ll_ruleset {
    uint64_t fs, net, scoped;
};
struct ll_path {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));
enum {
    LL_FS_EXECUTE = 1 << 0,
    LL_FS_READ_FILE = 1 << 2,
    LL_FS_ABI1 = (1 << 13) - 1,
    LL_FS_REFER = 1 << 13,     /* 2 */
    LL_FS_TRUNCATE = 1 << 14,  /* 3 */
    LL_FS_IOCTL_DEV = 1 << 15, /* 5 */
    LL_NET_TCP = 3,            /* 4: bind and connect */
    LL_SCOPES = 3,             /* 6: abstract sockets and signals */
    LL_CREATE_VERSION = 1,
    LL_RULE_PATH = 1,
};

static Status landlock(const WorkerConfig *config, Error *err)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_CREATE_VERSION);
    if (abi < 1)
        return FAIL(err, S_UNAVAILABLE, "this kernel has no Landlock (%s; Linux 5.13 or later with lsm=landlock is needed)",
                    strerror(errno));
    struct ll_ruleset rules = {.fs = LL_FS_ABI1};
    rules.fs |= (abi >= 2 ? LL_FS_REFER : 0) | (abi >= 3 ? LL_FS_TRUNCATE : 0) | (abi >= 5 ? LL_FS_IOCTL_DEV : 0);
    rules.net = abi >= 4 ? LL_NET_TCP : 0;
    rules.scoped = abi >= 6 ? LL_SCOPES : 0;
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (fd < 0)
        return FAIL(err, S_UNAVAILABLE, "landlock_create_ruleset (ABI %ld): %s", abi, strerror(errno));
    Status st = S_OK;
    if (config->module_dir[0]) {
        struct ll_path path = {.access = LL_FS_EXECUTE | LL_FS_READ_FILE};
        path.fd = open(config->module_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (path.fd < 0)
            st = FAIL(err, S_INVALID, "the module directory %s: %s", config->module_dir, strerror(errno));
        else if (syscall(SYS_landlock_add_rule, fd, LL_RULE_PATH, &path, 0) != 0)
            st = FAIL(err, S_UNAVAILABLE, "landlock_add_rule for %s: %s", config->module_dir, strerror(errno));
        if (path.fd >= 0)
            close(path.fd);
    }
    if (st == S_OK && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        st = FAIL(err, S_UNAVAILABLE, "landlock_restrict_self: %s", strerror(errno));
    close(fd);
    return st;
}

/* ---- seccomp --------------------------------------------------------------------------------------- */

/* Needed by malloc, dlopen, stdio into memory, qsort (sysinfo), threads, the rings, and a clean end. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getppid),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sysinfo),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(pkey_alloc),
    SCMP_SYS(pkey_free),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrusage),
};
static const int advice_allowed[] = {MADV_NORMAL, MADV_RANDOM,   MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
                                     MADV_FREE,   MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP};

static int rules_add(scmp_filter_ctx f)
{
    int rc = 0;
#define INT_IS(arg, value) SCMP_A##arg(SCMP_CMP_MASKED_EQ, 0xffffffff, (scmp_datum_t)(uint32_t)(value))
#define ALLOW(...) (rc = rc ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, __VA_ARGS__))
    for (size_t i = 0; i < COUNT_OF(allowed); i++)
        ALLOW(allowed[i], 0);
    /* private memory, never writable and executable at once */
    static const unsigned long writes_or_runs[] = {0, PROT_WRITE, PROT_EXEC};
    for (size_t i = 0; i < COUNT_OF(writes_or_runs); i++) {
        ALLOW(SCMP_SYS(mmap), 2, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, writes_or_runs[i]),
              SCMP_A3(SCMP_CMP_MASKED_EQ, 0x0f /* MAP_TYPE */, MAP_PRIVATE));
        ALLOW(SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, writes_or_runs[i]));
        ALLOW(SCMP_SYS(pkey_mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, writes_or_runs[i]));
    }
    for (size_t i = 0; i < COUNT_OF(advice_allowed); i++)
        ALLOW(SCMP_SYS(madvise), 1, INT_IS(2, advice_allowed[i]));
    /* files: read only; which ones, Landlock says */
    ALLOW(SCMP_SYS(openat), 1,
          SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY) | O_PATH, 0));
    ALLOW(SCMP_SYS(fcntl), 1, INT_IS(1, F_GETFD));
    ALLOW(SCMP_SYS(fcntl), 1, INT_IS(1, F_GETFL));
    /* threads, no processes; signals to ourselves only (abort) */
    ALLOW(SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000 /* CLONE_THREAD */, 0x10000));
    ALLOW(SCMP_SYS(tgkill), 1, INT_IS(0, getpid()));
    ALLOW(SCMP_SYS(prlimit64), 2, INT_IS(0, 0), SCMP_A2(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0)); /* reading, own */
#undef ALLOW
#undef INT_IS
    rc = rc ? rc : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0); /* pthread_create falls back */
    rc = rc ? rc : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0);  /* stdio asks for a terminal */
    return rc;
}

static Status filter_system_calls(Error *err)
{
    if (prctl(PR_GET_SECCOMP) < 0)
        return FAIL(err, S_UNAVAILABLE, "this kernel has no seccomp (CONFIG_SECCOMP_FILTER is needed)");
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
    if (!f)
        return FAIL(err, S_UNAVAILABLE, "libseccomp cannot make a filter");
    int rc = rules_add(f);
    rc = rc ? rc : seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    rc = rc ? rc : seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    rc = rc ? rc : seccomp_load(f);
    seccomp_release(f);
    return rc ? FAIL(err, S_UNAVAILABLE, "the seccomp filter was refused: %s", strerror(-rc)) : S_OK;
}

/* ---- self-test ------------------------------------------------------------------------------------- */

static Status self_test(Error *err)
{
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return FAIL(err, S_UNAVAILABLE, "self-test: Landlock is in place, yet / can be opened");
    }
    self_testing = 1;
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool file = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR) >= 0;
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool killed = syscall(SYS_kill, getpid(), 0) == 0;
    self_testing = 0;
    if (sock >= 0 || file || shared != MAP_FAILED || killed || self_test_traps != 4)
        return FAIL(err, S_UNAVAILABLE, "self-test: seccomp is in place, yet %s",
                    sock >= 0              ? "a socket can be made"
                    : file                 ? "a file can be opened for writing"
                    : shared != MAP_FAILED ? "shared memory can be made"
                    : killed               ? "signals can be sent"
                                           : "forbidden system calls are not reported");
    return S_OK;
}

Status sandbox_confine(const WorkerConfig *config, const int *keep, size_t nkeep, Error *err)
{
    TRY(close_others(keep, nkeep, err));
    TRY(handlers(err));
    /* Modules may need libm; loaded now, it is found by name later, without the file system. */
    if (!dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL))
        return FAIL(err, S_UNAVAILABLE, "cannot load libm.so.6: %s", dlerror());
    if (SANITIZED)
        return S_OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL(err, S_UNAVAILABLE, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    Error why;
    Status st = landlock(config, &why);
    if (st == S_INVALID) { /* a wrong configuration is no lack of the kernel */
        *err = why;
        return st;
    }
    bool confined = st == S_OK;
    if (st == S_OK || config->allow_unsandboxed) {
        if (st != S_OK)
            warn_line(why.text);
        st = filter_system_calls(&why);
        if (st == S_OK && confined)
            st = self_test(&why);
    }
    if (st == S_OK)
        return S_OK;
    if (config->allow_unsandboxed) {
        warn_line(why.text);
        return S_OK;
    }
    return FAIL(err, S_UNAVAILABLE, "%s. Modules cannot be isolated here, so none is run; the operator may override this.", why.text);
}
