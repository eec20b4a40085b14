/* main.c - spacetimedb-worker: one database's tables and module, in a sandbox, between rings.
 *
 * Started by the host as records.h says. The loop:
 *   control records first, then at most one call, again and again; what the calls wrote becomes visible together
 *   when the call ring is empty, or after PUBLISH_CALLS calls or PUBLISH_BYTES of output.
 * Publication is frame ring, commit ring, consumed_call, tail of the call ring, in this order, each only when the one
 * before it is complete. While something is left in a backlog no call starts (design-rule 8). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "host/worker/core.h"
#include "host/worker/loader.h"
#include "host/worker/ring.h"
#include "host/worker/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { PUBLISH_CALLS = 32, PUBLISH_BYTES = 256 << 10 };
enum { LOG_LINES_BURST = 2000, LOG_LINES_PER_SECOND = 1000 };
enum { POLL_MS_MAX = 1000 };   /* with something due by the clock, which may be set */
enum { BACKLOG_POLL_MS = 20 }; /* the host rings when it has made room; this is the net below */

typedef struct Worker {
    RingArea area;
    RingReader call, control;
    RingWriter commit, frame, log;
    Core *core;
    _Atomic uint64_t since_ns; /* when the running call began: ours, nobody else writes it; 0: none runs */
    uint64_t last_call;        /* call_seq of the last call done */
    uint32_t calls_pending;    /* calls whose outputs are not all published */
    size_t bytes_pending;
    bool outputs_pending;
    bool armed;           /* something not yet visible has scheduled a function */
    uint32_t log_dropped; /* lines lost since the last one that got through */
    uint32_t log_tokens;
    uint64_t log_refill_ns;
    int64_t due_next_us; /* as told to the host */
} Worker;

/* Before the rings exist, and when they are of no use. */
static _Noreturn void die(int code, const char *text)
{
    char line[ERROR_TEXT_BYTES + 64];
    int n = snprintf(line, sizeof line, "spacetimedb-worker: %s\n", text);
    ssize_t ignored = write(2, line, MIN((size_t)n, sizeof line - 1));
    (void)ignored;
    _exit(code);
}

/* ---- the core's environment ------------------------------------------------------------------------ */

static int64_t env_clock_us(void *user)
{
    (void)user;
    return clock_wall_us();
}

static void env_random(void *user, void *out, size_t len)
{
    (void)user;
    Error err;
    if (random_fill(out, len, &err) != S_OK)
        BUG("%s", err.text);
}

static void env_commit(void *user, Bytes record)
{
    Worker *w = user;
    ring_write(&w->commit, 1, &record);
    w->bytes_pending += record.len;
    w->outputs_pending = true;
}

static void env_frame(void *user, uint32_t nparts, const Bytes *parts)
{
    Worker *w = user;
    ring_write(&w->frame, nparts, parts);
    for (uint32_t i = 0; i < nparts; i++)
        w->bytes_pending += parts[i].len;
    w->outputs_pending = true;
}

static bool log_token(Worker *w)
{
    if (w->log_tokens == 0) {
        uint64_t now = clock_monotonic_ns(), gained = (now - w->log_refill_ns) * LOG_LINES_PER_SECOND / 1000000000;
        if (gained == 0)
            return false;
        w->log_tokens = (uint32_t)MIN(gained, (uint64_t)LOG_LINES_BURST);
        w->log_refill_ns = now;
    }
    w->log_tokens--;
    return true;
}

/* Lossy: a line that comes too fast or finds no room is counted, and the next one tells how many were lost. Visible at once: the thread that
 * wrote it may be about to crash. */
static void log_write(Worker *w, Bytes record)
{
    enum { DROPPED_AT = 1 + 8 + 4 }; /* records.h, RING_LOG */
    if (record.len < DROPPED_AT + 4 || !log_token(w) || ring_room_bytes(&w->log) < record.len + 64 + SANDBOX_LAST_WORDS_BYTES) {
        w->log_dropped += w->log_dropped < UINT32_MAX;
        return;
    }
    uint8_t dropped[4];
    store_u32(dropped, load_u32(record.ptr + DROPPED_AT) + w->log_dropped);
    ring_write(&w->log, 3, (Bytes[]){{record.ptr, DROPPED_AT}, {dropped, 4}, {record.ptr + DROPPED_AT + 4, record.len - DROPPED_AT - 4}});
    w->log_dropped = 0;
    ring_publish(&w->log);
}

static void env_log(void *user, Bytes record)
{
    sandbox_log_lock();
    log_write(user, record);
    sandbox_log_unlock();
}

static void env_wake(void *user) { bell_ring(&((Worker *)user)->area, BELL_WORKER, false); }

static void env_thread_begin(void *user, uint64_t call_seq, void *stack, size_t stack_bytes)
{
    sandbox_thread(call_seq, stack, stack_bytes, &((Worker *)user)->area.worker_cursors->guilty_call);
}

static Status env_open_module(void *user, Str path, Module **ret, Error *err)
{
    (void)user;
    return loader_open(path, ret, err);
}

static void env_in_module(void *user, uint64_t call_seq)
{
    Worker *w = user;
    RingCursors *c = w->area.worker_cursors;
    uint64_t since_ns = call_seq ? clock_monotonic_ns() : 0;
    if (call_seq)
        atomic_store_explicit(&c->current_since_ns, since_ns, memory_order_relaxed);
    atomic_store_explicit(&w->since_ns, since_ns, memory_order_relaxed);
    atomic_store_explicit(&c->current_call, call_seq, memory_order_release);
}

static void cancel_running(void *user) /* in a signal handler, while module code ran */
{
    const Worker *w = user;
    if (w->core)
        core_cancel_here(w->core);
}

static void env_due(void *user, const CoreDue *due)
{
    RingCursors *c = ((Worker *)user)->area.worker_cursors;
    if (due) {
        atomic_store_explicit(&c->due_tag, due->tag, memory_order_relaxed);
        atomic_store_explicit(&c->due_key, due->key, memory_order_relaxed);
        atomic_store_explicit(&c->due_us, due->us, memory_order_relaxed);
    }
    atomic_store_explicit(&c->due_table, due ? due->table : 0, memory_order_release);
}

static void env_runaway(void *user, uint64_t call_seq)
{
    RingCursors *c = ((Worker *)user)->area.worker_cursors;
    atomic_store_explicit(&c->guilty_call, call_seq, memory_order_relaxed);
    atomic_store_explicit(&c->runaway, 1, memory_order_release);
}

static void env_thread_end(void *user)
{
    (void)user;
    sandbox_thread_end();
}

/* ---- publication ------------------------------------------------------------------------------------ */

/* True: everything that the worker has produced is visible. */
static bool publish(Worker *w)
{
    bool commits = w->commit.head != w->commit.published || ring_backlog_bytes(&w->commit);
    bool done = ring_publish(&w->frame);
    /* A commit record without its frames would be a transaction that some clients never hear of. */
    commits = commits && done;
    if (commits)
        done = ring_publish(&w->commit);
    if (done) {
        atomic_store_explicit(&w->area.worker_cursors->consumed_call, w->last_call, memory_order_release);
        ring_release(&w->call);
        w->calls_pending = 0;
        w->bytes_pending = 0;
        w->outputs_pending = false;
        (void)core_has_armed(w->core);
        w->armed = false;
    }
    /* With commit records it is storage that wakes net, once it has counted them; frames alone, log lines, room for calls and
     * parts that wait for room ring for net themselves (rule 10). */
    if (commits)
        bell_ring(&w->area, BELL_STORAGE, true);
    if (!commits || !done)
        bell_ring(&w->area, BELL_NET, true);
    return done;
}

static bool has_backlog(const Worker *w) { return ring_backlog_bytes(&w->frame) || ring_backlog_bytes(&w->commit); }

/* Until the next scheduled function; -1: none waits. Not longer than a minute at a time, since the wall clock may be set. */
static int due_in_ms(const Worker *w)
{
    int64_t due_us = core_due_us(w->core), now_us = clock_wall_us();
    if (due_us == INT64_MAX || has_backlog(w) || !core_may_run_due(w->core))
        return -1;
    return due_us <= now_us ? 0 : (int)MIN((due_us - now_us + 999) / 1000, (int64_t)60000);
}

static int ms_until_wanted(const Worker *w)
{
    int64_t due_us = core_wake_us(w->core);
    if (due_us == INT64_MAX)
        return -1;
    int64_t left_us = due_us - clock_wall_us();
    return left_us <= 0 ? 0 : (int)MIN(left_us / 1000 + 1, (int64_t)POLL_MS_MAX);
}

/* Nothing to do: sleep until the bell rings, unless something came while we lay down. */
static void sleep_for_bell(Worker *w, bool want_calls)
{
    bool blocked = w->outputs_pending;
    bell_sleep_begin(&w->area, BELL_WORKER, false);
    bool idle = ring_is_empty(&w->control) && !(want_calls && (!ring_is_empty(&w->call) || core_is_wanted(w->core))) && !w->control.bad &&
                !w->call.bad;
    if (blocked) { /* the host may have made room meanwhile */
        uint64_t before = w->frame.head + w->commit.head;
        idle = !publish(w) && w->frame.head + w->commit.head == before && idle;
    }
    if (idle) {
        struct pollfd p = {.fd = w->area.bells[BELL_WORKER], .events = POLLIN};
        int due_ms = due_in_ms(w), wanted_ms = ms_until_wanted(w), wait_ms = blocked ? BACKLOG_POLL_MS : -1;
        for (const int *ms = (const int[]){due_ms, wanted_ms, -2}; *ms != -2; ms++)
            wait_ms = *ms < 0 ? wait_ms : wait_ms < 0 ? *ms : MIN(wait_ms, *ms);
        if (poll(&p, 1, wait_ms) < 0 && errno != EINTR)
            die(WORKER_EXIT_PROTOCOL, "waiting for the host failed");
    }
    bell_sleep_end(&w->area, BELL_WORKER, false);
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static void check_rings(const Worker *w)
{
    if (w->control.bad)
        die(WORKER_EXIT_PROTOCOL, "the control ring is damaged");
    if (w->call.bad)
        die(WORKER_EXIT_PROTOCOL, "the call ring is damaged");
}

/* False: the host said stop. */
static bool control_turn(Worker *w)
{
    Bytes record;
    while (ring_read(&w->control, &record)) {
        if (!core_control(w->core, record))
            return false;
        /* A bulk load sends as fast as we take: free its memory in steps, and wake it when it may be waiting. */
        if (w->control.tail - w->control.published >= w->control.size / 4) {
            ring_release(&w->control);
            bell_ring(&w->area, BELL_NET, true);
            bell_ring(&w->area, BELL_STORAGE, true);
        }
        if (w->bytes_pending >= PUBLISH_BYTES || has_backlog(w))
            publish(w);
    }
    if (w->control.tail != w->control.published) {
        ring_release(&w->control);
        bell_ring(&w->area, BELL_NET, true);
        bell_ring(&w->area, BELL_STORAGE, true);
    }
    return true;
}

/* One call, if there is one and it may start. */
static bool call_turn(Worker *w)
{
    Bytes record;
    if (!core_accepts_calls(w->core) || has_backlog(w) || !ring_read(&w->call, &record))
        return false;
    CallHeader head;
    if (record.len < sizeof head)
        die(WORKER_EXIT_PROTOCOL, "a call record is too short");
    memcpy(&head, record.ptr, sizeof head);
    if (head.kind == CALL_ANSWER) { /* no call: a procedure that waits goes on */
        core_answer(w->core, record);
        return true;
    }
    core_call(w->core, record);
    w->last_call = head.call_seq;
    w->calls_pending++;
    return true;
}

/* One scheduled function, if one is due: they take turns with the clients' calls, so that neither starves. */
static bool due_turn(Worker *w)
{
    core_hold(w->core, atomic_load_explicit(&w->area.host_cursors->hold, memory_order_acquire));
    /* What was done is out before a function runs that nobody called: if it kills us, the call that scheduled it is not made again, to schedule it
     * again. */
    if (core_has_armed(w->core))
        w->armed = true;
    if (w->armed && core_may_run_due(w->core) && core_due_us(w->core) <= clock_wall_us())
        publish(w);
    bool ran = !has_backlog(w) && core_due(w->core);
    w->calls_pending += ran;
    int64_t next_us = core_due_us(w->core);
    if (next_us != w->due_next_us)
        atomic_store_explicit(&w->area.worker_cursors->due_next_us, w->due_next_us = next_us, memory_order_release);
    return ran;
}

static void run(Worker *w)
{
    for (;;) {
        if (!ring_is_empty(&w->control) && !control_turn(w))
            return;
        bool called = call_turn(w);
        called = due_turn(w) || called;
        check_rings(w);
        /* the third: parts of a long call were read; the rest needs their room */
        bool pending = w->calls_pending || w->outputs_pending || (!called && w->call.tail != w->call.published);
        if (pending && (!called || w->calls_pending >= PUBLISH_CALLS || w->bytes_pending >= PUBLISH_BYTES))
            publish(w);
        /* Work beside the calls: a slice after each batch of calls, or whenever there are none. */
        bool more = false;
        if (!w->calls_pending && !has_backlog(w)) {
            more = core_work(w->core);
            if (w->outputs_pending)
                publish(w);
            uint32_t procedures = core_procedures(w->core);
            if (atomic_load_explicit(&w->area.worker_cursors->procedures, memory_order_relaxed) != procedures)
                atomic_store_explicit(&w->area.worker_cursors->procedures, procedures, memory_order_relaxed);
        }
        if (!called && !more && ring_is_empty(&w->control))
            sleep_for_bell(w, core_accepts_calls(w->core) && !has_backlog(w));
    }
}

/* CTL_STOP: nothing of ours may be left behind. When the host stops reading we die with it. */
static void drain(Worker *w)
{
    while (!publish(w))
        poll(NULL, 0, 1);
}

static void config_read(WorkerConfig *ret)
{
    size_t got = 0;
    while (got < sizeof *ret) {
        ssize_t n = read(WORKER_FD_CONFIG, (uint8_t *)ret + got, sizeof *ret - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die(WORKER_EXIT_USAGE, "this program is started by spacetimedb only (no configuration on descriptor 8)");
        got += (size_t)n;
    }
    close(WORKER_FD_CONFIG);
    if (ret->magic != WORKER_CONFIG_MAGIC || memchr(ret->module_dir, 0, sizeof ret->module_dir) == NULL)
        die(WORKER_EXIT_USAGE, "the configuration on descriptor 8 is from another version of spacetimedb");
}

int main(void)
{
    static Worker worker;
    Worker *w = &worker;
    WorkerConfig config;
    Error err;
    config_read(&config);
    if (sandbox_process(&config, &err) != S_OK)
        die(WORKER_EXIT_SANDBOX, err.text);

    RingSizes sizes;
    _Static_assert(sizeof sizes.bytes == sizeof config.ring_bytes, "one size for each ring");
    memcpy(sizes.bytes, config.ring_bytes, sizeof sizes.bytes);
    static const int bells[BELL_COUNT] = {WORKER_FD_BELLS, WORKER_FD_BELLS + 1, WORKER_FD_BELLS + 2};
    if (ring_area_attach(&w->area, WORKER_FD_HOST_AREA, WORKER_FD_WORKER_AREA, bells, &sizes, &err) != S_OK)
        die(WORKER_EXIT_PROTOCOL, err.text);
    ring_reader_init(&w->call, &w->area, RING_CALL, false, RING_RECORD_BYTES_MAX);
    ring_reader_init(&w->control, &w->area, RING_CONTROL, false, RING_RECORD_BYTES_MAX);
    ring_writer_init(&w->commit, &w->area, RING_COMMIT, false);
    ring_writer_init(&w->frame, &w->area, RING_FRAME, false);
    ring_writer_init(&w->log, &w->area, RING_LOG, false);
    sandbox_on_cancel(cancel_running, w);
    w->log_tokens = LOG_LINES_BURST;
    w->log_refill_ns = clock_monotonic_ns();
    sandbox_last_words(&w->log, &w->log_dropped);
    if (sandbox_confine(&config, bells, BELL_COUNT, &err) != S_OK)
        die(WORKER_EXIT_SANDBOX, err.text);

    CoreEnv env = {
        .user = w,
        .clock_us = env_clock_us,
        .random = env_random,
        .commit = env_commit,
        .frame = env_frame,
        .log = env_log,
        .open_module = env_open_module,
        .in_module = env_in_module,
        .due = env_due,
        .procedures_max = config.procedures_max,
        .limits = {.database_bytes_max = config.database_bytes_max,
                   .txn_bytes_max = config.txn_bytes_max,
                   .txn_rows_max = config.txn_rows_max},
        .call_bytes_max = config.call_bytes_max,
        .cancel = &w->area.host_cursors->cancel_since_ns,
        .since = &w->since_ns,
        .call_ms_max = config.call_ms_max,
        .view_ms_max = config.view_ms_max,
        .procedure_ms_max = config.procedure_ms_max,
        .runaway = env_runaway,
        .wake = env_wake,
        .thread_begin = env_thread_begin,
        .thread_end = env_thread_end,
    };
    w->core = core_new(&env);
    run(w);
    drain(w);
    _exit(0); /* memory goes with the process: taking a large database apart row by row would only delay the host */
}
