/* main.c - spacetimedb-host: reads the command line, wires the rooms together, runs the loop, stops in order. */
#include "host/base/fault.h"
#include "host/host.h"
#include "host/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- work on other threads ---- */

struct Post {
    struct Post *next;
    void (*fn)(void *arg);
    void *arg;
};

void host_post(Host *h, void (*fn)(void *arg), void *arg)
{
    struct Post *p = NEW(struct Post);
    *p = (struct Post){NULL, fn, arg};
    pthread_mutex_lock(&h->lock);
    *h->posts_tail = p;
    h->posts_tail = &p->next;
    pthread_mutex_unlock(&h->lock);
    uv_async_send(&h->wake);
}

typedef struct Waiting {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
} Waiting;

static void run_waiting(void *arg)
{
    Waiting *w = arg;
    w->fn(w->arg);
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->done_cond);
    pthread_mutex_unlock(&w->lock);
}

void host_on_loop(Host *h, void (*fn)(void *arg), void *arg)
{
    if (pthread_equal(pthread_self(), h->loop_thread)) { /* stopping: the loop itself runs what is left */
        fn(arg);
        return;
    }
    Waiting w = {.fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .done_cond = PTHREAD_COND_INITIALIZER};
    host_post(h, run_waiting, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.done_cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.done_cond);
}

typedef struct Job {
    uv_work_t work;
    void (*run)(void *arg);
    void (*after)(void *arg);
    void *arg;
} Job;

static void job_run(uv_work_t *work)
{
    Job *j = work->data;
    j->run(j->arg);
}
static void job_after(uv_work_t *work, int status)
{
    (void)status;
    Job *j = work->data;
    j->after(j->arg);
    free(j);
}

void host_job(Host *h, void (*run)(void *arg), void (*after)(void *arg), void *arg)
{
    Job *j = NEW(Job);
    *j = (Job){.run = run, .after = after, .arg = arg};
    j->work.data = j;
    uv_queue_work(&h->loop, &j->work, job_run, job_after);
}

/* ---- storage's callbacks ---- */

static Database *by_id(Host *h, uint64_t id)
{
    pthread_mutex_lock(&h->lock);
    Database *db = h->databases;
    while (db && db->id != id)
        db = db->next;
    pthread_mutex_unlock(&h->lock);
    return db;
}

static void on_progress(void *user, uint64_t id, uint64_t complete, uint64_t durable)
{
    Host *h = user;
    Database *db = by_id(h, id);
    if (!db)
        return;
    atomic_store_explicit(&db->complete, complete, memory_order_release);
    atomic_store_explicit(&db->durable, durable, memory_order_release);
    atomic_store_explicit(&db->progressed, true, memory_order_release);
    uv_async_send(&h->wake);
}

typedef struct Notice {
    Host *host;
    uint64_t id;
    StoragePressure pressure;
    Error err;
} Notice;

static void failure_on_loop(void *arg)
{
    Notice *n = arg;
    Database *db = by_id(n->host, n->id);
    if (db && (db->state == DB_OPEN || db->state == DB_RECOVERING)) {
        log_error("database %s: storage: %s", db->name, n->err.text);
        database_fail(db, &n->err);
    } else if (db && (db->state == DB_OPENING || db->state == DB_CLOSING)) {
        db->failure = n->err; /* database_watch looks at it */
    }
    free(n);
}

static void on_failure(void *user, uint64_t id, const Error *err)
{
    Notice *n = NEW(Notice);
    *n = (Notice){.host = user, .id = id, .err = *err};
    host_post(user, failure_on_loop, n);
}

static void pressure_on_loop(void *arg)
{
    Notice *n = arg;
    Database *db = by_id(n->host, n->id);
    if (db)
        database_set_pressure(db, n->pressure, n->err.text);
    free(n);
}

static void on_pressure(void *user, uint64_t id, StoragePressure level, const char *why)
{
    Notice *n = NEW(Notice);
    *n = (Notice){.host = user, .id = id, .pressure = level};
    snprintf(n->err.text, sizeof n->err.text, "%s", why ? why : "");
    host_post(user, pressure_on_loop, n);
}

/* ---- the loop ---- */

static void on_wake(uv_async_t *async)
{
    Host *h = async->data;
    pthread_mutex_lock(&h->lock);
    struct Post *p = h->posts;
    h->posts = NULL;
    h->posts_tail = &h->posts;
    pthread_mutex_unlock(&h->lock);
    while (p) {
        struct Post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
    for (Database *db = h->databases; db; db = db->next) {
        bool progressed = atomic_exchange_explicit(&db->progressed, false, memory_order_acq_rel);
        if (progressed || db->frames_left)
            database_drain(db); /* first the frames, then the offset that lets them go */
        if (progressed && db->channel)
            net_channel_progress(db->channel, atomic_load(&db->complete), atomic_load(&db->durable));
        if (progressed)
            procedures_progress(db);
    }
}

/* Right after the sockets were read: everything they brought goes to the workers at once. */
static void on_check(uv_check_t *check)
{
    Host *h = check->data;
    for (Database *db = h->databases; db; db = db->next)
        if (db->calls_unpublished)
            database_flush_calls(db);
}

static void close_work(Operation *op) { op_close(op->db); }
static void close_after(Operation *op)
{
    Database *db = op->db;
    if (db->state == DB_CLOSING && !db->waiters) {
        db->state = DB_CLOSED;
        log_info("database %s: closed, nobody uses it", db->name);
    } else if (db->state == DB_CLOSING) {
        db->state = DB_OPENING; /* somebody asked for it meanwhile; the opening waits behind this */
    }
}

/* The embedded cluster's disk must not fill up: PostgreSQL would stop in the middle of its work (rule 43). */
static void watch_disk(Host *h)
{
    struct statvfs fs;
    if (statvfs(h->config.data_dir, &fs) != 0)
        return;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool was_low = h->disk_low[0], low = left < h->config.disk_reserve_bytes;
    if (low)
        snprintf(h->disk_low, sizeof h->disk_low, "the disk of %.100s has %llu MB left, less than the reserve of %llu MB (--disk-reserve)",
                 h->config.data_dir, (unsigned long long)(left >> 20), (unsigned long long)(h->config.disk_reserve_bytes >> 20));
    else
        h->disk_low[0] = 0;
    if (low && !was_low)
        log_error("calls are refused: %s", h->disk_low);
    else if (!low && was_low)
        log_info("the disk has room again: calls are taken");
}

/* ---- databases with schedules: opened although nobody asks (rule 31) ---- */

typedef struct Scheduled {
    Host *host;
    Arena arena;
    uint32_t n;
    DatabaseInfo *list;
    Error err;
} Scheduled;

static void find_scheduled(void *arg)
{
    Scheduled *s = arg;
    if (storage_databases(s->host->storage, &s->arena, NULL, NULL, NULL, &s->n, &s->list, &s->err) != S_OK)
        ASSERT(s->n == 0 && s->err.code != S_OK);
}

static void know_scheduled(void *arg)
{
    Scheduled *s = arg;
    for (uint32_t i = 0; i < s->n; i++) {
        const DatabaseInfo *info = &s->list[i];
        if (!info->scheduled)
            continue;
        Database *db = database_get(s->host, info->identity);
        char name[72];
        snprintf(name, sizeof name, "%.*s", info->nnames ? (int)info->names[0].len : 0, info->nnames ? info->names[0].ptr : "");
        database_identify(db, info->id, info->owner, name);
        db->wake_us = 0;
    }
    if (s->err.code != S_OK) {
        log_warn("cannot find the databases with schedules yet: %s", s->err.text);
        s->host->schedules_known = false; /* the tick asks again */
    }
    arena_done(&s->arena);
    free(s);
}

static void wake_databases(Host *h)
{
    int64_t now_us = clock_wall_us();
    if (!h->schedules_known && !h->stopping) {
        h->schedules_known = true;
        Scheduled *s = NEW(Scheduled);
        s->host = h;
        host_job(h, find_scheduled, know_scheduled, s);
    }
    for (Database *db = h->databases; db; db = db->next)
        database_wake_when_due(db, now_us);
}

/* Rule 17: a call that runs too long is told so, and each function that it asks of the host ends it; module code that asks for nothing is interrupted;
 * and when neither helps the worker goes. */
static void watch_call(Host *h, Database *db, uint64_t now)
{
    enum { GRACE_MS = 500 };
    Link *link = db->link;
    const RingCursors *w = link->area.worker_cursors;
    uint64_t call = atomic_load(&w->current_call), since = atomic_load(&w->current_since_ns);
    bool late = call && since < now && now - since > (uint64_t)h->config.call_ms_max * 1000000u && atomic_load(&w->current_call) == call;
    if (!late) {
        link->cancelled_ns = 0;
        return;
    }
    if (!link->cancelled_ns || atomic_load(&link->area.host_cursors->cancel_since_ns) != since) {
        if (!link->cancelled_ns) /* a worker that tells lies about when its call began gets no second grace */
            link->cancelled_ns = now;
        atomic_store(&link->area.host_cursors->cancel_since_ns, since);
    }
    if (now - link->cancelled_ns <= (uint64_t)GRACE_MS * 1000000u) {
        link_interrupt(link);
        return;
    }
    logs_system(db->logs, 0, "A call ran longer than %u ms (--call-timeout-ms) and could not be ended: its worker is replaced",
                h->config.call_ms_max);
    log_error("database %s: a call ran longer than %u ms: the worker is killed", db->name, h->config.call_ms_max);
    snprintf(link->kill_reason, sizeof link->kill_reason, "it ran longer than %u ms (--call-timeout-ms)", h->config.call_ms_max);
    link_kill(link);
}

static void on_tick(uv_timer_t *timer)
{
    Host *h = timer->data;
    if (h->embedded && h->ticks++ % (1000 / HOST_TICK_MS) == 0)
        watch_disk(h);
    wake_databases(h);
    uint64_t now = clock_monotonic_ns(), idle_ns = (uint64_t)h->config.idle_close_ms * 1000000u;
    int64_t wall_us = clock_wall_us();
    for (Database *db = h->databases; db; db = db->next) {
        if (db->state != DB_OPEN || !db->link)
            continue;
        database_drain(db); /* log lines ring no bell; a worker that rings without content is only looked at here */
        database_tick(db);
        database_flush_calls(db);
        if (!db->link)
            continue;
        const RingCursors *w = db->link->area.worker_cursors;
        watch_call(h, db, now);
        if (atomic_load(&w->runaway) && !db->link->killed) {
            logs_system(db->logs, 0, "A procedure computed longer than %u ms (--procedure-cpu-ms): its worker is replaced",
                        h->config.procedure_ms_max);
            log_error("database %s: a procedure computed longer than %u ms: the worker is killed", db->name, h->config.procedure_ms_max);
            snprintf(db->link->kill_reason, sizeof db->link->kill_reason, "it computed longer than %u ms (--procedure-cpu-ms)",
                     h->config.procedure_ms_max);
            link_kill(db->link);
        }
        int64_t due_us = atomic_load(&w->due_next_us);
        bool soon = due_us < wall_us + (int64_t)(idle_ns / 1000); /* it would have to open again at once */
        if (atomic_load(&w->procedures))                          /* a procedure holds it open as a client does (rule 31) */
            db->idle_since_ns = MAX(db->idle_since_ns, now);
        if (db->refs == 0 && !db->operating && !soon && now - db->idle_since_ns > idle_ns) {
            database_plan_wake(db, due_us);
            db->state = DB_CLOSING;
            database_unwatch(db);
            database_operate(db, close_work, close_after, NULL);
        }
    }
}

/* ---- stopping ---- */

static uv_signal_t stop_signals[2];

static void net_stopped(void *ctx)
{
    Host *h = ctx;
    uv_stop(&h->loop);
}

static void on_stop_signal(uv_signal_t *signal, int number)
{
    Host *h = signal->data;
    if (h->stopping)
        return;
    h->stopping = true;
    log_info("stopping (%s): storing what is complete", number == SIGINT ? "interrupted" : "terminated");
    net_stop(h->net, net_stopped, h);
}

static bool any_operating(const Host *h)
{
    for (const Database *db = h->databases; db; db = db->next)
        if (db->operating)
            return true;
    return false;
}

static void stop_databases(Host *h)
{
    while (any_operating(h)) /* a publish or an opening ends whole, one way or the other */
        uv_run(&h->loop, UV_RUN_ONCE);
    for (Database *db = h->databases; db; db = db->next) {
        database_unwatch(db);
        if (db->link || db->attached)
            op_close(db);
    }
}

/* ---- configuration ---- */

static const char usage[] =
    "Usage: spacetimedb-host start [OPTIONS]\n"
    "\n"
    "  --data-dir DIR            everything the host keeps (default ~/.local/share/spacetime/data, root: /var/lib/spacetimedb)\n"
    "  -l, --listen-addr ADDR    HOST:PORT (default 127.0.0.1:3000; port 0: any free one)\n"
    "  --pg CONNINFO             an existing PostgreSQL (libpq connection string); default: an embedded cluster in DIR/pg\n"
    "  --key-dir DIR             where the token keys id_ecdsa, id_ecdsa.pub are (default the data directory)\n"
    "  --call-timeout-ms N       a call in module code is ended after this (default 10000)\n"
    "  --worker-memory BYTES     memory of one database's worker, 0: any (default 4294967296)\n"
    "  --database-memory BYTES   of that for rows and indexes, 0: any (default three quarters)\n"
    "  --transaction-rows N      row versions that a transaction may write, 0: any (default 10000000)\n"
    "  --transaction-bytes BYTES their size, 0: any (default 1073741824)\n"
    "  --call-memory BYTES       scratch memory of one call (default 268435456)\n"
    "  --log-rate N              log lines of a module in a second, ten times as many at once, 0: any (default 1000)\n"
    "  --log-bytes BYTES         size of a log file before it is rotated (default 16777216)\n"
    "  --log-files N             rotated log files that are kept of each database (default 3)\n"
    "  --connections-per-client N     WebSockets of one identity to one database, 0: any (default 4096)\n"
    "  --connections-per-database N   WebSockets to one database, 0: any (default 16384)\n"
    "  --subscriptions-per-connection N   query sets of one WebSocket (default 10000)\n"
    "  --disk-reserve BYTES      with less free on the data directory's disk, calls are refused (default 268435456)\n"
    "  --idle-close-ms N         an unused database is closed after this (default 300000)\n"
    "  --procedures-max N        procedures of one database that run at once (default 16)\n"
    "  --procedure-cpu-ms N      processor time that one may take at a stretch, 0: any (default 60000)\n"
    "  --view-timeout-ms N       a view that takes longer ends its subscriptions, 0: any (default 1000)\n"
    "  --egress on|off           may procedures make HTTP requests (default on)\n"
    "  --egress-allow CIDR,...   special addresses (loopback, private, link-local) that they may reach all the same\n"
    "  --publish-from WHERE      who may create databases: loopback (default) or anywhere\n"
    "  --publish-owners LIST     who may create databases, from anywhere: identities, or @FILE with them\n"
    "  --allow-unsandboxed       run modules even where the kernel lacks Landlock or seccomp\n"
    "  --version, --help\n";

static Status parse_number(const char *text, uint64_t max, uint64_t *ret, Error *err)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end || end == text || n > max || text[0] == '-')
        return FAIL(err, S_INVALID, "`%s` is not a number from 0 to %llu", text, (unsigned long long)max);
    *ret = n;
    return S_OK;
}

static Status number_of(const char *option, uint64_t min, uint64_t max, uint64_t *ret, Error *err)
{
    if (parse_number(optarg, max, ret, err) != S_OK)
        return CONTEXT(err, "%s", option);
    if (*ret < min)
        return FAIL(err, S_INVALID, "%s: `%s` is less than %llu", option, optarg, (unsigned long long)min);
    return S_OK;
}

/* What the engine may take, and what the process may: beside the rows there is code, scratch memory, and what is on its way. */
static Status settle_memory(HostConfig *c, Error *err)
{
    bool given = c->database_bytes_max != UINT64_MAX;
    if (!given)
        c->database_bytes_max = c->worker_bytes_max / 4 * 3;
    if (given && c->database_bytes_max && c->worker_bytes_max && c->database_bytes_max > c->worker_bytes_max / 8 * 7)
        return FAIL(err, S_INVALID,
                    "--database-memory %llu leaves its worker too little of --worker-memory %llu: give it seven eighths of that at most",
                    (unsigned long long)c->database_bytes_max, (unsigned long long)c->worker_bytes_max);
    return S_OK;
}

static Status parse_listen(HostConfig *c, const char *text, Error *err)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon)
        return FAIL(err, S_INVALID, "--listen-addr `%s`: expected HOST:PORT, as in 127.0.0.1:3000", text);
    if (parse_number(colon + 1, 65535, &port, err) != S_OK)
        return CONTEXT(err, "--listen-addr `%s`", text);
    c->listen_port = (uint16_t)port;
    snprintf(c->listen_host, sizeof c->listen_host, "%.*s", (int)(colon - text), text);
    return S_OK;
}

static void sibling(char *out, size_t size, const char *relative)
{
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    snprintf(out, size, "%s/%s", self, relative);
}

static void default_config(HostConfig *c)
{
    *c = (HostConfig){
        .listen_host = "127.0.0.1",
        .listen_port = 3000,
        .call_ms_max = 10000,
        .idle_close_ms = 300000,
        .worker_bytes_max = (uint64_t)4 << 30,
        .lag_bound_ms = 1000,
        .disk_reserve_bytes = (uint64_t)256 << 20,
        .procedures_max = 16,
        .procedure_ms_max = 60000,
        .view_ms_max = 1000,
        .database_bytes_max = UINT64_MAX, /* not given */
        .txn_bytes_max = (uint64_t)1 << 30,
        .txn_rows_max = 10000000,
        .call_bytes_max = (uint64_t)256 << 20,
        .client_connections_max = 4096,
        .database_connections_max = 16384,
        .subscriptions_max = 10000,
        .logs = {.file_bytes = 16 << 20, .files = 3, .lines_per_second = 1000},
        .publish_loopback_only = true,
    };
    const char *data_home = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        snprintf(c->data_dir, sizeof c->data_dir, "/var/lib/spacetimedb");
    else if (data_home && data_home[0])
        snprintf(c->data_dir, sizeof c->data_dir, "%s/spacetime/data", data_home);
    else
        snprintf(c->data_dir, sizeof c->data_dir, "%s/.local/share/spacetime/data", home ? home : ".");
    sibling(c->worker_path, sizeof c->worker_path, "spacetimedb-worker");
    sibling(c->sql_dir, sizeof c->sql_dir, "../../sql");
    if (access(c->sql_dir, R_OK) != 0) /* build/asan/bin */
        sibling(c->sql_dir, sizeof c->sql_dir, "../../../sql");
    if (access(c->sql_dir, R_OK) != 0)
        sibling(c->sql_dir, sizeof c->sql_dir, "../share/spacetime-pg/sql");
}

static Status parse_options(HostConfig *c, int argc, char **argv, Error *err)
{
    enum {
        DATA_DIR = 256,
        PG,
        KEY_DIR,
        CALL_MS,
        WORKER_MEMORY,
        DISK_RESERVE,
        IDLE_MS,
        PROCEDURES,
        PROCEDURE_CPU,
        VIEW_TIMEOUT,
        DATABASE_MEMORY,
        TXN_ROWS,
        TXN_BYTES,
        CALL_MEMORY,
        LOG_RATE,
        LOG_BYTES,
        LOG_FILES,
        CLIENT_CONNECTIONS,
        DATABASE_CONNECTIONS,
        SUBSCRIPTIONS,
        EGRESS,
        EGRESS_ALLOW,
        PUBLISH_FROM,
        PUBLISH_OWNERS,
        UNSANDBOXED,
        VERSION,
        HELP
    };
    static const struct option options[] = {
        {"data-dir", required_argument, NULL, DATA_DIR},
        {"listen-addr", required_argument, NULL, 'l'},
        {"pg", required_argument, NULL, PG},
        {"key-dir", required_argument, NULL, KEY_DIR},
        {"jwt-key-dir", required_argument, NULL, KEY_DIR},
        {"call-timeout-ms", required_argument, NULL, CALL_MS},
        {"worker-memory", required_argument, NULL, WORKER_MEMORY},
        {"idle-close-ms", required_argument, NULL, IDLE_MS},
        {"disk-reserve", required_argument, NULL, DISK_RESERVE},
        {"procedures-max", required_argument, NULL, PROCEDURES},
        {"procedure-cpu-ms", required_argument, NULL, PROCEDURE_CPU},
        {"view-timeout-ms", required_argument, NULL, VIEW_TIMEOUT},
        {"database-memory", required_argument, NULL, DATABASE_MEMORY},
        {"transaction-rows", required_argument, NULL, TXN_ROWS},
        {"transaction-bytes", required_argument, NULL, TXN_BYTES},
        {"call-memory", required_argument, NULL, CALL_MEMORY},
        {"log-rate", required_argument, NULL, LOG_RATE},
        {"log-bytes", required_argument, NULL, LOG_BYTES},
        {"log-files", required_argument, NULL, LOG_FILES},
        {"connections-per-client", required_argument, NULL, CLIENT_CONNECTIONS},
        {"connections-per-database", required_argument, NULL, DATABASE_CONNECTIONS},
        {"subscriptions-per-connection", required_argument, NULL, SUBSCRIPTIONS},
        {"egress", required_argument, NULL, EGRESS},
        {"egress-allow", required_argument, NULL, EGRESS_ALLOW},
        {"publish-from", required_argument, NULL, PUBLISH_FROM},
        {"publish-owners", required_argument, NULL, PUBLISH_OWNERS},
        {"allow-unsandboxed", no_argument, NULL, UNSANDBOXED},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    uint64_t n = 0;
    for (int o; (o = getopt_long(argc, argv, "l:", options, NULL)) != -1;) {
        switch (o) {
        case DATA_DIR: snprintf(c->data_dir, sizeof c->data_dir, "%s", optarg); break;
        case 'l': TRY(parse_listen(c, optarg, err)); break;
        case PG: snprintf(c->conninfo, sizeof c->conninfo, "%s", optarg); break;
        case KEY_DIR: snprintf(c->key_dir, sizeof c->key_dir, "%s", optarg); break;
        case CALL_MS:
            TRY(parse_number(optarg, UINT32_MAX, &n, err));
            c->call_ms_max = (uint32_t)n;
            break;
        case IDLE_MS:
            TRY(parse_number(optarg, UINT32_MAX, &n, err));
            c->idle_close_ms = (uint32_t)n;
            break;
        case WORKER_MEMORY: TRY(parse_number(optarg, UINT64_MAX >> 1, &c->worker_bytes_max, err)); break;
        case DISK_RESERVE: TRY(parse_number(optarg, UINT64_MAX >> 1, &c->disk_reserve_bytes, err)); break;
        case PROCEDURES:
            TRY(parse_number(optarg, PROCEDURES_MAX_MAX, &n, err));
            c->procedures_max = (uint32_t)n;
            break;
        case PROCEDURE_CPU:
            TRY(parse_number(optarg, UINT32_MAX, &n, err));
            c->procedure_ms_max = (uint32_t)n;
            break;
        case DATABASE_MEMORY: TRY(number_of("--database-memory", 0, UINT64_MAX - 1, &c->database_bytes_max, err)); break;
        case TXN_ROWS: TRY(number_of("--transaction-rows", 0, UINT64_MAX, &c->txn_rows_max, err)); break;
        case TXN_BYTES: TRY(number_of("--transaction-bytes", 0, UINT64_MAX, &c->txn_bytes_max, err)); break;
        case CALL_MEMORY: TRY(number_of("--call-memory", 1 << 20, (uint64_t)1 << 40, &c->call_bytes_max, err)); break;
        case LOG_BYTES: TRY(number_of("--log-bytes", 4096, (uint64_t)1 << 30, &c->logs.file_bytes, err)); break;
        case LOG_RATE:
            TRY(number_of("--log-rate", 0, 1000000, &n, err));
            c->logs.lines_per_second = (uint32_t)n;
            break;
        case LOG_FILES:
            TRY(number_of("--log-files", 0, LOGS_FILES_MAX, &n, err));
            c->logs.files = (uint32_t)n;
            break;
        case CLIENT_CONNECTIONS:
            TRY(number_of("--connections-per-client", 0, UINT32_MAX, &n, err));
            c->client_connections_max = (uint32_t)n;
            break;
        case DATABASE_CONNECTIONS:
            TRY(number_of("--connections-per-database", 0, UINT32_MAX, &n, err));
            c->database_connections_max = (uint32_t)n;
            break;
        case SUBSCRIPTIONS:
            TRY(number_of("--subscriptions-per-connection", 1, 1000000, &n, err));
            c->subscriptions_max = (uint32_t)n;
            break;
        case VIEW_TIMEOUT:
            TRY(parse_number(optarg, UINT32_MAX, &n, err));
            c->view_ms_max = (uint32_t)n;
            break;
        case EGRESS:
            if (strcmp(optarg, "on") != 0 && strcmp(optarg, "off") != 0)
                return FAIL(err, S_INVALID, "--egress `%s`: expected on or off", optarg);
            c->egress.off = strcmp(optarg, "off") == 0;
            break;
        case EGRESS_ALLOW:
            if (egress_allow(&c->egress, optarg, err) != S_OK)
                return CONTEXT(err, "--egress-allow");
            break;
        case PUBLISH_FROM:
            if (strcmp(optarg, "loopback") != 0 && strcmp(optarg, "anywhere") != 0)
                return FAIL(err, S_INVALID, "--publish-from `%s`: expected loopback or anywhere", optarg);
            c->publish_loopback_only = strcmp(optarg, "loopback") == 0;
            break;
        case PUBLISH_OWNERS:
            if (strlen(optarg) >= sizeof c->publish_owners)
                return FAIL(err, S_INVALID, "--publish-owners: the list is longer than %zu bytes: put it into a file, @FILE",
                            sizeof c->publish_owners - 1);
            if (owners_check(optarg, err) != S_OK)
                return CONTEXT(err, "--publish-owners");
            snprintf(c->publish_owners, sizeof c->publish_owners, "%s", optarg);
            break;
        case UNSANDBOXED: c->allow_unsandboxed = true; break;
        case VERSION: printf("spacetimedb-host %s\n", SPACETIME_VERSION); exit(0);
        case HELP: fputs(usage, stdout); exit(0);
        default: return FAIL(err, S_INVALID, "see spacetimedb-host --help");
        }
    }
    if (optind < argc && strcmp(argv[optind], "start") == 0)
        optind++;
    if (optind < argc)
        return FAIL(err, S_INVALID, "unexpected argument `%s`", argv[optind]);
    return settle_memory(c, err);
}

static Status make_data_dir(HostConfig *c, Error *err)
{
    for (char *p = c->data_dir + 1;; p++) {
        char was = *p;
        if (was != '/' && was != 0)
            continue;
        *p = 0;
        if (mkdir(c->data_dir, geteuid() == 0 ? 0711 : 0700) != 0 && errno != EEXIST)
            return FAIL(err, S_IO, "cannot make the data directory %s: %s", c->data_dir, strerror(errno));
        *p = was;
        if (!was)
            break;
    }
    char absolute[PATH_MAX];
    if (!realpath(c->data_dir, absolute) || strlen(absolute) >= sizeof c->data_dir)
        return FAIL(err, S_IO, "data directory %s: %s", c->data_dir, strerror(errno ? errno : ENAMETOOLONG));
    memcpy(c->data_dir, absolute, strlen(absolute) + 1);
    char sub[600];
    snprintf(sub, sizeof sub, "%s/modules", c->data_dir);
    mkdir(sub, 0711);
    if (!c->key_dir[0])
        snprintf(c->key_dir, sizeof c->key_dir, "%s", c->data_dir);
    mkdir(c->key_dir, 0700);
    /* one host for one data directory */
    snprintf(sub, sizeof sub, "%s/spacetime.pid", c->data_dir);
    int fd = open(sub, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(err, S_IO, "cannot open %s: %s", sub, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char pid[32] = "";
        if (read(fd, pid, sizeof pid - 1) < 0)
            pid[0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        close(fd);
        return FAIL(err, S_BUSY, "another host (process %s) uses the data directory %s: stop it, or give this one its own --data-dir", pid,
                    c->data_dir);
    }
    if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", getpid()) < 0)
        log_warn("cannot write %s", sub);
    return S_OK; /* the lock lives as long as the process */
}

static void note(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
}

static void init_handles(Host *h)
{
    uv_loop_init(&h->loop);
    pthread_mutex_init(&h->lock, NULL);
    h->posts_tail = &h->posts;
    h->loop_thread = pthread_self();
    h->started_us = clock_wall_us();
    uv_async_init(&h->loop, &h->wake, on_wake);
    uv_check_init(&h->loop, &h->check);
    uv_timer_init(&h->loop, &h->tick);
    h->wake.data = h->check.data = h->tick.data = h;
    uv_check_start(&h->check, on_check);
    uv_timer_start(&h->tick, on_tick, HOST_TICK_MS, HOST_TICK_MS);
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&h->loop, &stop_signals[i]);
        stop_signals[i].data = h;
        uv_signal_start(&stop_signals[i], on_stop_signal, i ? SIGTERM : SIGINT);
    }
}

static Status run(Host *h, Error *err)
{
    HostConfig *c = &h->config;
    TRY(make_data_dir(c, err));
    modules_clear(h);
    printf("spacetimedb-host version: %s\n", SPACETIME_VERSION);
    printf("database running in data directory %s\n", c->data_dir);
    fflush(stdout);
    const char *conninfo = c->conninfo;
    if (!conninfo[0]) {
        TRY(embedded_start(&h->embedded, c->data_dir, note, err));
        conninfo = embedded_conninfo(h->embedded);
    }
    printf("PostgreSQL: psql \"%s\"\n", conninfo);
    fflush(stdout);
    init_handles(h);
    containment_probe(h, &h->containment);
    containment_log(&h->containment);
    StorageConfig storage = {
        .conninfo = conninfo,
        .sql_dir = c->sql_dir,
        .lag_bound_ms = c->lag_bound_ms,
        .user = h,
        .on_progress = on_progress,
        .on_failure = on_failure,
        .on_pressure = on_pressure,
    };
    TRY(egress_start(&h->egress, &c->egress, err));
    TRY(storage_open(&h->storage, &storage, err));
    NetConfig net = {
        .loop = &h->loop,
        .listen_host = c->listen_host,
        .listen_port = c->listen_port,
        .key_dir = c->key_dir,
        .backend = database_backend(h),
    };
    if (h->embedded)
        watch_disk(h);
    TRY(net_start(&h->net, &net, err));
    printf("Starting SpacetimeDB listening on %s:%u\n", c->listen_host, net_port(h->net));
    fflush(stdout);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    return S_OK;
}

/* A shell's soft limit is 1,024: a client, a worker or a connection to PostgreSQL each take descriptors. */
static void raise_file_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == l.rlim_max)
        return;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0)
        log_warn("cannot raise the limit of open files: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    setenv("UV_THREADPOOL_SIZE", "16", 0); /* operations wait for PostgreSQL and for workers */
    static Host host;
    Error err = {0};
    default_config(&host.config);
    Status status = parse_options(&host.config, argc, argv, &err);
    if (status != S_OK) {
        fprintf(stderr, "error: %s\n", err.text);
        return 2;
    }
    const char *faults = getenv("SPACETIMEDB_FAULTS"); /* a test rig's */
    if (faults) {
        log_warn("fault points are armed from %s: this host is made to fail", faults);
        fault_file(faults);
    }
    status = run(&host, &err);
    if (status != S_OK)
        fprintf(stderr, "Error: %s\n", err.text);
    if (host.storage) {
        stop_databases(&host);
        storage_close(host.storage);
    }
    egress_stop(host.egress);
    if (host.embedded)
        embedded_stop(host.embedded);
    if (status == S_OK)
        log_info("stopped");
    return status == S_OK ? 0 : 1;
}
