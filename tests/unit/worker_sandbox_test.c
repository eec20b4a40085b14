/* worker_sandbox_test.c - sandbox.h in child processes: what must fail does, what must work does, and a crash explains
 * itself through the log ring. As root the children become user 65534; as an ordinary user they stay what they are. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/worker/sandbox.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static RingArea area;

typedef struct Outcome {
    int status;
    char text[2048]; /* descriptor 2 of the child */
} Outcome;

/* Runs `body` in a child, inside the sandbox. It returns 0 when all is well. */
static Outcome in_sandbox(int (*body)(void), void (*change)(WorkerConfig *))
{
    Outcome o = {0};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], 2);
        WorkerConfig config = {.magic = WORKER_CONFIG_MAGIC, .parent_pid = (uint32_t)parent, .data_bytes_max = 64 << 20};
        if (geteuid() == 0)
            config.uid = config.gid = 65534;
        snprintf(config.module_dir, sizeof config.module_dir, "%s", dir);
        if (change)
            change(&config);
        Error err;
        if (sandbox_process(&config, &err) != S_OK) {
            dprintf(2, "%s", err.text);
            _exit(WORKER_EXIT_SANDBOX);
        }
        RingArea a;
        static RingWriter log;
        static uint32_t dropped = 3;
        if (ring_area_attach(&a, dup(area.host_fd), dup(area.worker_fd), area.bells, &area.sizes, &err) != S_OK)
            _exit(99);
        ring_writer_init(&log, &a, RING_LOG, false);
        sandbox_last_words(&log, &dropped);
        if (sandbox_confine(&config, area.bells, BELL_COUNT, &err) != S_OK) {
            dprintf(2, "%s", err.text);
            _exit(WORKER_EXIT_SANDBOX);
        }
        _exit(body());
    }
    close(fds[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof o.text - 1 && (got = read(fds[0], o.text + n, sizeof o.text - 1 - n)) > 0;)
        n += (size_t)got;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &o.status, 0), pid);
    return o;
}

/* ---- what must work ---- */

static volatile double sink;
static void *thread_body(void *arg) { return (char *)arg + 1; }
static int ints[4000];
static int int_cmp(const void *x, const void *y) { return (*(const int *)x > *(const int *)y) - (*(const int *)x < *(const int *)y); }

static int works(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/m.so", dir);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        dprintf(2, "dlopen: %s", dlerror());
        return 1;
    }
    double (*f)(double) = (double (*)(double))dlsym(so, "work");
    if (!f || f(0.5) < 0.4)
        return 2;
    dlclose(so);
    so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return 3;
    for (int i = 0; i < 4000; i++)
        ints[i] = (i * 7919) % 4001;
    qsort(ints, 4000, sizeof *ints, int_cmp);
    char *big = malloc(8 << 20);
    memset(big, 1, 8 << 20);
    big = realloc(big, 16 << 20);
    free(big);
    void *volatile much = malloc(200 << 20); /* RLIMIT_DATA */
    if (much)
        return 4;
    char text[100];
    snprintf(text, sizeof text, "%.3f %d %s", 1.5, 3, "x");
    pthread_t t;
    void *result = NULL;
    if (pthread_create(&t, NULL, thread_body, text) != 0 || pthread_join(t, &result) != 0 || result != text + 1)
        return 5;
    uint64_t r;
    Error err;
    if (random_fill(&r, sizeof r, &err) != S_OK || clock_wall_us() < 1 || clock_monotonic_ns() < 1)
        return 6;
    uint64_t one = 1;
    if (write(area.bells[0], &one, 8) != 8 || read(area.bells[0], &one, 8) != 8)
        return 7;
    sink = sqrt(2) + sin(1);
    printf("into stdout\n");
    if (madvise((void *)((uintptr_t)ints & ~4095ul), 4096, MADV_WILLNEED) != 0)
        return 8;
    return 0;
}
static void test_works(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* sandbox.h: such a worker is not confined */
    Outcome o = in_sandbox(works, NULL);
    if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0)
        fail_msg("status %x: %s", o.status, o.text);
}

/* ---- the process as the rules want it ---- */

static int state_checks(void)
{
    struct rlimit l;
    if (getuid() == 0 || geteuid() == 0)
        return 1;
    if (getrlimit(RLIMIT_CORE, &l) != 0 || l.rlim_max != 0 || getrlimit(RLIMIT_FSIZE, &l) != 0 || l.rlim_max != 0 ||
        getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_max > 32 || getrlimit(RLIMIT_DATA, &l) != 0 || l.rlim_max != 64 << 20)
        return 2;
    for (int fd = 3; fd < 64; fd++) {
        bool keep = fd == area.bells[0] || fd == area.bells[1] || fd == area.bells[2];
        if ((fcntl(fd, F_GETFD) >= 0) != keep)
            return 10 + fd;
    }
    char path[128];
    static const char *const closed[] = {"/etc/passwd", "/proc/self/maps", "/proc/self/status", "/dev/null", "/usr/lib", "/"};
    for (size_t i = 0; i < COUNT_OF(closed); i++)
        if (open(closed[i], O_RDONLY) >= 0)
            return 100 + (int)i;
    snprintf(path, sizeof path, "%s/m.so", dir);
    if (open(path, O_RDONLY) < 0)
        return 3;
    extern char **environ;
    return environ && environ[0] ? 4 : 0;
}
static void test_state(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* sandbox.h: such a worker is not confined */
    Outcome o = in_sandbox(state_checks, NULL);
    if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0)
        fail_msg("status %x: %s", o.status, o.text);
}

/* ---- what must not work: death by SIGSYS, by name ---- */

static int bad_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0; }
static int bad_fork(void) { return (int)syscall(SYS_fork); }
static int bad_libc_fork(void) { return fork(); }
static int bad_exec(void) { return execve("/bin/true", (char *[]){"true", NULL}, (char *[]){NULL}); }
static int bad_memfd(void) { return memfd_create("x", 0); }
static int bad_shared(void) { return mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; }
static int bad_punch(void) { return madvise((void *)area.worker_map, 4096, MADV_REMOVE); }
static int bad_kill(void) { return kill(getppid(), 0); }
static int bad_tgkill(void) { return (int)syscall(SYS_tgkill, getppid(), getppid(), 0); }
static int bad_wx(void) { return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; }
static int bad_write_open(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/new", dir);
    return open(path, O_WRONLY | O_CREAT, 0600);
}
static int bad_ptrace(void) { return (int)syscall(SYS_ptrace, 0, 0, 0, 0); }
static int bad_prctl(void) { return prctl(PR_SET_DUMPABLE, 1); }
static int bad_rlimit(void) { return setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 30, 1 << 30}); }
static int bad_unlink(void) { return unlink("/tmp/x"); }
static int bad_setuid(void) { return (int)syscall(SYS_setuid, 0); }
static int bad_number(void) { return (int)syscall(500); }
static int bad_reopen(void) { return (int)syscall(SYS_pidfd_getfd, 3, 0, 0); }

static void test_forbidden(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* sandbox.h: such a worker is not confined */
    static const struct {
        int (*body)(void);
        const char *name;
    } tries[] = {
        {bad_socket, "socket"}, {bad_fork, "fork"},          {bad_libc_fork, "clone"},
        {bad_exec, "execve"},   {bad_memfd, "memfd_create"}, {bad_shared, "mmap"},
        {bad_punch, "madvise"}, {bad_kill, "kill"},          {bad_tgkill, "tgkill"},
        {bad_wx, "mmap"},       {bad_write_open, "openat"},  {bad_ptrace, "ptrace"},
        {bad_prctl, "prctl"},   {bad_rlimit, "prlimit64"},   {bad_unlink, "unlink"},
        {bad_setuid, "setuid"}, {bad_number, "? (500)"},     {bad_reopen, "pidfd_getfd"},
    };
    for (size_t i = 0; i < COUNT_OF(tries); i++) {
        char want[64];
        snprintf(want, sizeof want, "system call %s", tries[i].name);
        Outcome o = in_sandbox(tries[i].body, NULL);
        if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != SIGSYS || !strstr(o.text, want))
            fail_msg("%s: status %x: %s", tries[i].name, o.status, o.text);
    }
}

/* ---- last words ---- */

static volatile bool bottomless = true;
__attribute__((noinline, no_sanitize("undefined", "address", "thread"))) static int recurse(volatile char *up)
{
    volatile char here[4096];
    here[0] = up ? up[0] : 1;
    return bottomless ? recurse(here) + here[0] : 0;
}
static volatile int *volatile nowhere = (volatile int *)8;                          /* volatile: the compiler must not know */
#define AS_IT_STANDS __attribute__((no_sanitize("undefined", "address", "thread"))) /* or the sanitizer explains, not we */
AS_IT_STANDS static int crash_null(void) { return *nowhere; }
static int crash_stack(void) { return recurse(NULL); }
static int crash_abort(void) { abort(); }
AS_IT_STANDS static int crash_divide(void)
{
    volatile int zero = 0, many = 77;
    return many / zero;
}
AS_IT_STANDS static int crash_call(void)
{
    void (*volatile f)(void) = NULL;
    f();
    return 0;
}
static int crash_module(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/m.so", dir);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void (*f)(void) = (void (*)(void))dlsym(so, "crash");
    f();
    return 0;
}

static void test_last_words(void **state)
{
    (void)state;
    static const struct {
        int (*body)(void);
        int sig;
        const char *text;
    } crashes[] = {
        {crash_null, SIGSEGV, "SIGSEGV: invalid access to address 0x8 (null pointer) at offset 0x"},
        {crash_stack, SIGSEGV, "stack overflow"},
        {crash_abort, SIGABRT, "SIGABRT at"},
        {crash_divide, SIGFPE, "integer division by zero"},
        {crash_call, SIGSEGV, "null function pointer"},
        {crash_module, SIGSEGV, " of m.so (near crash+0x"},
        {bad_socket, SIGSYS, "system call socket (41)"},
    };
    RingReader log;
    ring_reader_init(&log, &area, RING_LOG, true, 1 << 20);
    Bytes b;
    while (ring_read(&log, &b)) /* of the tests before */
        ;
    for (size_t i = 0; i < COUNT_OF(crashes); i++) {
#if !defined(__x86_64__)
        if (crashes[i].sig == SIGFPE || crashes[i].sig == SIGSYS)
            continue;
#endif
        if (SANITIZED && crashes[i].sig == SIGSYS)
            continue;
        Outcome o = in_sandbox(crashes[i].body, NULL);
        if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != crashes[i].sig || !strstr(o.text, crashes[i].text))
            fail_msg("expected \"%s\"; status %x: %s", crashes[i].text, o.status, o.text);
        assert_true(ring_read(&log, &b));
        Reader r = reader_of(b);
        assert_int_equal(read_u8(&r), LOG_LEVEL_PANIC);
        assert_true(read_i64(&r) > 1600000000000000);
        assert_int_equal(read_u32(&r), 0);
        assert_int_equal(read_u32(&r), 3);
        (void)read_str(&r);
        (void)read_str(&r);
        Str message = read_str(&r);
        assert_true(!r.bad && reader_left(&r) == 0);
        assert_non_null(memmem(message.ptr, message.len, crashes[i].text, strlen(crashes[i].text)));
        assert_false(ring_read(&log, &b));
        ring_release(&log);
    }
    ring_reader_done(&log);
}

/* ---- refusals ---- */

static int nothing(void) { return 0; }
static void wrong_parent(WorkerConfig *c) { c->parent_pid = 1; }
static void wrong_dir(WorkerConfig *c) { snprintf(c->module_dir, sizeof c->module_dir, "/nowhere/at/all"); }
static void no_user(WorkerConfig *c) { c->uid = c->gid = 0; }
static void no_user_allowed(WorkerConfig *c) { c->uid = c->gid = 0, c->allow_unsandboxed = 1; }
static void other_user(WorkerConfig *c) { c->uid = 1234; }

static void test_refusals(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* sandbox.h: such a worker is not confined */
    Outcome o = in_sandbox(nothing, wrong_parent);
    assert_int_equal(WEXITSTATUS(o.status), WORKER_EXIT_SANDBOX);
    assert_non_null(strstr(o.text, "has gone"));
    o = in_sandbox(nothing, wrong_dir);
    assert_int_equal(WEXITSTATUS(o.status), WORKER_EXIT_SANDBOX);
    assert_non_null(strstr(o.text, "the module directory /nowhere/at/all"));
    if (geteuid() == 0) {
        o = in_sandbox(nothing, no_user);
        assert_int_equal(WEXITSTATUS(o.status), WORKER_EXIT_SANDBOX);
        assert_non_null(strstr(o.text, "runs as root"));
        o = in_sandbox(nothing, no_user_allowed);
        assert_int_equal(o.status, 0);
    } else {
        o = in_sandbox(nothing, other_user);
        assert_int_equal(WEXITSTATUS(o.status), WORKER_EXIT_SANDBOX);
    }
}

static int setup(void **state)
{
    (void)state;
    Error err;
    char command[512];
    snprintf(dir, sizeof dir, "/tmp/sandbox-test-XXXXXX");
    if (!mkdtemp(dir) || chmod(dir, 0755) != 0 || ring_area_create(&area, &ring_sizes_default, &err) != S_OK)
        return -1;
    snprintf(command, sizeof command,
             "printf '#include <math.h>\\ndouble work(double x) { return sin(x) + cbrt(x) * 0; }\\nvoid crash(void) { *(volatile int *)64 "
             "= 1; }\\n'"
             " > %s/m.c && cc -shared -fPIC -O1 %s/m.c -o %s/m.so -lm && chmod 755 %s/m.so",
             dir, dir, dir, dir);
    return system(command);
}
static int teardown(void **state)
{
    (void)state;
    char command[128];
    ring_area_close(&area);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_works),      cmocka_unit_test(test_state),    cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_last_words), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
