/* storage_test.h - what the storage tests share: one embedded cluster a test program, a small module, a commit source
 * in the process, and a sink that keeps what was loaded. */
#ifndef TESTS_STORAGE_TEST_H
#define TESTS_STORAGE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/storage/storage_int.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static Embedded *cluster;
static char cluster_dir[64];
static Error err_;

#define OK(call)                                                                                                                           \
    do {                                                                                                                                   \
        Status ok_ = (call);                                                                                                               \
        if (ok_ != S_OK)                                                                                                                   \
            fail_msg("%s: %s: %s", #call, status_name(ok_), err_.text);                                                                    \
    } while (0)

static inline void sleep_ms(unsigned ms) { nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL); }

static inline int cluster_up(void **state)
{
    (void)state;
    log_level_max = getenv("VERBOSE") ? LOG_INFO : LOG_ERROR;
    snprintf(cluster_dir, sizeof cluster_dir, "/tmp/stpg-test-%d", (int)getpid());
    Status code = embedded_start(&cluster, cluster_dir, NULL, &err_);
    if (code != S_OK)
        fprintf(stderr, "embedded_start: %s\n", err_.text);
    return code == S_OK ? 0 : -1;
}
static inline int cluster_down(void **state)
{
    (void)state;
    embedded_stop(cluster);
    OWN(free) char *rm = x_sprintf("rm -rf -- %s", cluster_dir);
    return system(rm);
}

static inline PGconn *psql_open(void)
{
    PGconn *pg = PQconnectdb(embedded_conninfo(cluster));
    assert_int_equal(PQstatus(pg), CONNECTION_OK);
    return pg;
}
/* One value as text, in a static buffer. */
static inline const char *psql(const char *fmt, ...)
{
    static char out[4096];
    char sql[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    PGconn *pg = psql_open();
    PGresult *r = PQexec(pg, sql);
    ExecStatusType s = PQresultStatus(r);
    snprintf(out, sizeof out, "%s",
             s == PGRES_TUPLES_OK    ? (PQntuples(r) ? PQgetvalue(r, 0, 0) : "")
             : s == PGRES_COMMAND_OK ? ""
                                     : PQerrorMessage(pg));
    PQclear(r);
    PQfinish(pg);
    return out;
}

/* ---- a module: account(id u32 pk, balance i64 [, email string unique]), note(text string) keyless ---- */

typedef struct TestModule {
    Buf bsatn;
    SchemaImage image;
    uint32_t ids[8];
} TestModule;

static inline void module_finish(TestModule *m, ModuleBuilder *b, uint32_t version)
{
    memset(m, 0, sizeof *m);
    OK(module_builder_finish(b, &m->bsatn, &err_));
    ModuleDef *def;
    OK(module_def_from_bsatn(&def, buf_bytes(&m->bsatn), &err_));
    m->image = (SchemaImage){.def = def, .version = version, .ids = m->ids};
}
static inline void module_new(TestModule *m, uint32_t version, bool extra_column, bool unique_email)
{
    ModuleBuilder *b = module_builder_new();
    OWN(buf) Buf dflt = {0};
    buf_put_str(&dflt, STR("it's new; --\n"));
    BuilderColumn account[] = {
        {.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK | COLUMN_AUTO_INC},
        {.name = STR("balance"), .type = type_scalar(TYPE_I64)},
        {.name = STR("email"), .type = type_scalar(TYPE_STRING), .flags = unique_email ? COLUMN_UNIQUE : 0},
        {.name = STR("remark"),
         .type = type_scalar(TYPE_STRING),
         .has_default = true,
         .default_bsatn = buf_bytes(&dflt),
         .flags = COLUMN_INDEX},
    };
    BuilderColumn note[] = {{.name = STR("text"), .type = type_scalar(TYPE_STRING)}};
    module_builder_table(b, STR("account"), ACCESS_PUBLIC, false, extra_column ? 4 : 3, account);
    module_builder_table(b, STR("note"), ACCESS_PRIVATE, false, 1, note);
    module_finish(m, b, version);
}
static inline void module_done(TestModule *m)
{
    module_def_unref(m->image.def);
    buf_done(&m->bsatn);
}
static inline uint32_t module_id(const TestModule *m, const char *table)
{
    for (uint32_t i = 0; i < m->image.def->ntables; i++)
        if (str_is(m->image.def->tables[i].name, table))
            return m->image.ids[i];
    fail_msg("no table %s", table);
    return 0;
}

/* ---- a source ---- */

typedef struct TestSource {
    CommitSource source;
    pthread_mutex_t mu;
    Buf bytes; /* u32 length + record */
    size_t at;
    bool asleep;
    Buf out; /* what `next` lends */
} TestSource;
static inline bool ts_next(void *u, Bytes *ret)
{
    TestSource *t = u;
    pthread_mutex_lock(&t->mu);
    bool any = t->at < t->bytes.len;
    if (any) {
        uint32_t n = load_u32(t->bytes.ptr + t->at);
        buf_reset(&t->out);
        buf_put(&t->out, t->bytes.ptr + t->at + 4, n);
        t->at += 4 + n;
        if (t->at == t->bytes.len) {
            t->at = 0;
            buf_reset(&t->bytes);
        }
        *ret = buf_bytes(&t->out);
    }
    pthread_mutex_unlock(&t->mu);
    return any;
}
static inline void ts_taken(void *u) { (void)u; }
static inline bool ts_sleep(void *u)
{
    TestSource *t = u;
    pthread_mutex_lock(&t->mu);
    bool sleep = t->asleep = t->at == t->bytes.len;
    pthread_mutex_unlock(&t->mu);
    return sleep;
}
static inline void ts_wake(void *u)
{
    TestSource *t = u;
    pthread_mutex_lock(&t->mu);
    t->asleep = false;
    pthread_mutex_unlock(&t->mu);
}
static inline void source_init(TestSource *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->mu, NULL);
    t->source = (CommitSource){t, ts_next, ts_taken, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), ts_sleep, ts_wake};
}
static inline void source_done(TestSource *t)
{
    close(t->source.bell_fd);
    buf_done(&t->bytes);
    buf_done(&t->out);
}
static inline void source_put(TestSource *t, Bytes record)
{
    pthread_mutex_lock(&t->mu);
    buf_put_blob(&t->bytes, record);
    if (t->asleep) {
        uint64_t one = 1;
        t->asleep = false;
        (void)!write(t->source.bell_fd, &one, 8);
    }
    pthread_mutex_unlock(&t->mu);
}

/* ---- a world: storage with one database attached ---- */

typedef struct World {
    Storage *s;
    TestModule module;
    TestSource source;
    Lease lease;
    uint64_t id, offset;
    uint8_t identity[32];
    _Atomic uint64_t durable, complete, failures, stops;
    Error failure;
    char why[256];
} World;
static inline void on_progress(void *u, uint64_t id, uint64_t complete, uint64_t durable)
{
    (void)id;
    World *w = u;
    atomic_store(&w->complete, complete);
    atomic_store(&w->durable, durable);
}
static inline void on_failure(void *u, uint64_t id, const Error *err)
{
    (void)id;
    World *w = u;
    w->failure = *err;
    atomic_fetch_add(&w->failures, 1);
}
static inline void on_pressure(void *u, uint64_t id, StoragePressure stop, const char *why)
{
    (void)id;
    World *w = u;
    if (stop) {
        snprintf(w->why, sizeof w->why, "%s", why);
        atomic_fetch_add(&w->stops, 1);
    }
}
static inline void storage_up(World *w)
{
    StorageConfig c = {.conninfo = embedded_conninfo(cluster),
                       .sql_dir = "sql",
                       .user = w,
                       .on_progress = on_progress,
                       .on_failure = on_failure,
                       .on_pressure = on_pressure};
    OK(storage_open(&w->s, &c, &err_));
}
static inline void publish_first(World *w, const char *name)
{
    OK(storage_allocate_table_ids(w->s, w->module.image.def->ntables, &w->module.ids[0], &err_));
    for (uint32_t i = 1; i < w->module.image.def->ntables; i++)
        w->module.ids[i] = w->module.ids[0] + i;
    OK(random_fill(w->identity, 32, &err_));
    Publish p = {.new_image = &w->module.image, .program = str_bytes(STR("program one")), .name = str_of(name)};
    memcpy(p.identity, w->identity, 32);
    memcpy(p.program_hash, w->identity, 32);
    bool unknown;
    OK(storage_publish(w->s, &p, &w->id, &unknown, &err_));
    assert_false(unknown);
}
static inline void attach(World *w)
{
    source_init(&w->source);
    OK(storage_attach(w->s, &w->lease, &w->module.image, w->offset, &w->source.source, &err_));
}
static inline void world_up(World *w, const char *name, bool unique_email)
{
    memset(w, 0, sizeof *w);
    storage_up(w);
    module_new(&w->module, 1, false, unique_email);
    publish_first(w, name);
    OK(storage_acquire(w->s, w->id, &w->lease, &err_));
    attach(w);
}
static inline void world_down(World *w)
{
    storage_close(w->s);
    source_done(&w->source);
    module_done(&w->module);
}

/* ---- records ---- */

typedef struct Rec {
    Buf b;
    size_t start, table;
    uint32_t nd, ni, ntables;
    uint16_t nclients, nseq;
} Rec;
static inline void rec_begin(Rec *r)
{
    memset(r, 0, sizeof *r);
    r->start = commit_begin(&r->b);
}
static inline void rec_table(Rec *r, uint32_t id)
{
    r->table = commit_begin_table(&r->b, id);
    r->nd = r->ni = 0;
    r->ntables++;
}
static inline void rec_table_end(Rec *r) { commit_end_table(&r->b, r->table, r->nd, r->ni); }
static inline void rec_del_u32(Rec *r, uint32_t key)
{
    buf_put_u32(&r->b, key);
    r->nd++;
}
static inline void rec_account(Rec *r, uint32_t id, int64_t balance, const char *email)
{
    buf_put_u32(&r->b, id);
    buf_put_i64(&r->b, balance);
    buf_put_str(&r->b, str_of(email));
    r->ni++;
}
static inline void rec_send(World *w, Rec *r)
{
    CommitHeader h = {.offset = ++w->offset,
                      .call_seq = w->offset,
                      .timestamp_us = 1,
                      .schema_version = w->module.image.version,
                      .nclients = r->nclients,
                      .nsequences = r->nseq,
                      .ntables = r->ntables};
    commit_end(&r->b, r->start, &h);
    source_put(&w->source, buf_bytes(&r->b));
    buf_done(&r->b);
}
static inline void put_account(World *w, bool existed, uint32_t id, int64_t balance, const char *email)
{
    Rec r;
    rec_begin(&r);
    rec_table(&r, module_id(&w->module, "account"));
    if (existed)
        rec_del_u32(&r, id);
    rec_account(&r, id, balance, email);
    rec_table_end(&r);
    rec_send(w, &r);
}
static inline void del_account(World *w, uint32_t id)
{
    Rec r;
    rec_begin(&r);
    rec_table(&r, module_id(&w->module, "account"));
    rec_del_u32(&r, id);
    rec_table_end(&r);
    rec_send(w, &r);
}
static inline bool wait_durable(World *w, uint64_t offset, unsigned ms)
{
    for (unsigned i = 0; i < ms && atomic_load(&w->durable) < offset && !atomic_load(&w->failures); i++)
        sleep_ms(1);
    return atomic_load(&w->durable) >= offset;
}

/* ---- a sink that counts and keeps bytes ---- */

typedef struct TestSink {
    Buf rows[8];
    uint32_t nrows[8], ids[8], n;
    uint64_t replayed, clients, sequences;
    Buf program;
    CommitSequence seq;
    CommitClient client;
    uint32_t version;
} TestSink;
static inline Status sk_schema(void *u, const SchemaImage *i, Bytes program, Error *e)
{
    (void)e;
    TestSink *k = u;
    k->version = i->version;
    k->n = i->def->ntables;
    for (uint32_t t = 0; t < k->n; t++)
        k->ids[t] = i->ids[t];
    buf_put_bytes(&k->program, program);
    return S_OK;
}
static inline Status sk_expect(void *u, uint32_t t, uint64_t n, Error *e)
{
    (void)u;
    (void)t;
    (void)n;
    (void)e;
    return S_OK;
}
static inline Status sk_rows(void *u, uint32_t id, uint32_t n, Bytes rows, Error *e)
{
    (void)e;
    TestSink *k = u;
    for (uint32_t t = 0; t < k->n; t++)
        if (k->ids[t] == id) {
            buf_put_bytes(&k->rows[t], rows);
            k->nrows[t] += n;
        }
    return S_OK;
}
static inline Status sk_seq(void *u, const CommitSequence *q, Error *e)
{
    (void)e;
    ((TestSink *)u)->sequences++;
    ((TestSink *)u)->seq = *q;
    return S_OK;
}
static inline Status sk_client(void *u, const CommitClient *c, Error *e)
{
    (void)e;
    ((TestSink *)u)->clients++;
    ((TestSink *)u)->client = *c;
    return S_OK;
}
static inline Status sk_replay(void *u, Bytes r, Error *e)
{
    (void)r;
    (void)e;
    ((TestSink *)u)->replayed++;
    return S_OK;
}
static inline LoadSink sink_of(TestSink *k)
{
    memset(k, 0, sizeof *k);
    return (LoadSink){k, sk_schema, sk_expect, sk_rows, sk_seq, sk_client, sk_replay};
}
static inline void sink_done(TestSink *k)
{
    for (int i = 0; i < 8; i++)
        buf_done(&k->rows[i]);
    buf_done(&k->program);
}

#endif
