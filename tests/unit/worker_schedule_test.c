/* worker_schedule_test.c - scheduled tables in the worker's core, over a clock that only the test moves (functions.md 4, behaviours 30-48). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "host/worker/core.h"

#undef fail /* cmocka's; st_api has a member of that name */
#define FAIL_TEST(...) (print_error(__VA_ARGS__), _fail(__FILE__, __LINE__))
#define MS 1000ll
#define START 1700000000000000ll

/* ---- the module: timers, what they did, reducers that do as they are told ---------------------- */

typedef struct TimerRow {
    uint64_t id;
    st_schedule_at at;
    uint32_t what, note;
} TimerRow;
typedef struct RunRow {
    uint64_t id, timer;
    int64_t stamp;
    uint32_t what, note;
} RunRow;
enum { T_RUN, T_TIMER, TABLES }; /* by name */
enum What { JUST_RUN, FAILS_, TAKES_250_MS, SEES_ITSELF, REARMS, RE_INSERTS, CHANGES_NOTE, BECOMES_INTERVAL, ENDS_ITSELF, TOO_BIG };

static int64_t now_us;
static st_reducer_ctx seen;
static bool with_schedule = true;

static void definition(Buf *out, bool scheduled)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    const Type *u64 = type_scalar(TYPE_U64), *u32 = type_scalar(TYPE_U32), *i64 = type_scalar(TYPE_I64);
    BuilderColumn timer[4] = {{STR("id"), u64, COLUMN_PK | COLUMN_AUTO_INC, false, {0}},
                              {STR("at"), type_scalar(TYPE_SCHEDULE_AT), 0, false, {0}},
                              {STR("what"), u32, 0, false, {0}},
                              {STR("note"), u32, 0, false, {0}}};
    BuilderColumn run[5] = {{STR("id"), u64, COLUMN_PK | COLUMN_AUTO_INC, false, {0}},
                            {STR("timer"), u64, 0, false, {0}},
                            {STR("stamp"), i64, 0, false, {0}},
                            {STR("what"), u32, 0, false, {0}},
                            {STR("note"), u32, 0, false, {0}}};
    module_builder_table(b, STR("run"), ACCESS_PUBLIC, false, 5, run);
    uint32_t t = module_builder_table(b, STR("timer"), ACCESS_PUBLIC, false, 4, timer);
    Field row[1] = {{STR("row"), module_builder_row(b, t), 0}};
    Field put[5] = {{STR("id"), u64, 0},
                    {STR("at"), type_scalar(TYPE_SCHEDULE_AT), 0},
                    {STR("what"), u32, 0},
                    {STR("note"), u32, 0},
                    {STR("then_fail"), u32, 0}};
    Field id[1] = {{STR("id"), u64, 0}};
    if (scheduled)
        module_builder_schedule(b, t, 1, STR("fire"));
    module_builder_reducer(b, STR("fire"), type_product(a, 1, row), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("put"), type_product(a, 5, put), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("cancel"), type_product(a, 1, id), LIFECYCLE_NONE);
    Error err;
    if (module_builder_finish(b, out, &err) != S_OK)
        FAIL_TEST("%s", err.text);
}

static st_status fire(st_reducer_ctx *ctx, const TimerRow *row)
{
    const st_api *api = ctx->api;
    RunRow run = {.timer = row->id, .stamp = ctx->timestamp.us, .what = row->what, .note = row->note};
    TimerRow mine = *row;
    st_status s = api->insert(ctx->db, T_RUN, &run, false);
    switch (row->what) {
    case FAILS_: return api->fail(ctx->call, "not today");
    case TAKES_250_MS: now_us += 250 * MS; return s;
    case SEES_ITSELF: return api->find(ctx->db, T_TIMER, 0, &row->id) ? s : api->fail(ctx->call, "my row is gone");
    case REARMS:
        mine.at = st_at(st_timestamp_add(ctx->timestamp, st_millis(100))), mine.what = JUST_RUN;
        return api->update(ctx->db, T_TIMER, 0, &mine, false);
    case RE_INSERTS:
        mine.id = 0, mine.at = st_at(st_timestamp_add(ctx->timestamp, st_millis(100))), mine.what = JUST_RUN;
        return api->insert(ctx->db, T_TIMER, &mine, false);
    case CHANGES_NOTE: mine.note++; return api->update(ctx->db, T_TIMER, 0, &mine, false);
    case BECOMES_INTERVAL: mine.at = st_every(st_millis(100)), mine.what = JUST_RUN; return api->update(ctx->db, T_TIMER, 0, &mine, false);
    case ENDS_ITSELF: api->erase(ctx->db, T_TIMER, 1, (const uint16_t[]){0}, (const void *[]){&row->id}); return s;
    default: return s;
    }
}

static st_status call_reducer(Module *m, uint32_t id, st_reducer_ctx *ctx, const void *args)
{
    const ReducerDef *r = &m->def->reducers[id];
    seen = *ctx;
    if (str_is(r->name, "fire"))
        return fire(ctx, args);
    if (str_is(r->name, "cancel"))
        return ctx->api->erase(ctx->db, T_TIMER, 1, (const uint16_t[]){0}, (const void *[]){args})
                   ? ST_OK
                   : ctx->api->fail(ctx->call, "no such timer");
    const struct {
        uint64_t id;
        st_schedule_at at;
        uint32_t what, note, then_fail;
    } *put = args;
    TimerRow row = {put->id, put->at, put->what, put->note};
    bool there = put->id && ctx->api->find(ctx->db, T_TIMER, 0, &put->id);
    st_status s = there ? ctx->api->update(ctx->db, T_TIMER, 0, &row, true) : ctx->api->insert(ctx->db, T_TIMER, &row, true);
    return s ? s : put->then_fail ? ctx->api->fail(ctx->call, "asked to fail") : ST_OK;
}

static void unload(Module *m)
{
    module_def_unref(m->def);
    free((void *)m->definition.ptr);
    free(m);
}

/* ---- the surroundings -------------------------------------------------------------------------- */

static Core *core;
static Buf record, log_text, reply;
static uint64_t next_seq;
static uint32_t commits;
static CoreDue marked;
static bool marking;

static int64_t env_clock(void *u) { return (void)u, now_us; }
static void env_random(void *u, void *out, size_t len)
{
    (void)u;
    memset(out, 4, len);
}
static void env_commit(void *u, Bytes b)
{
    (void)u, (void)b;
    commits++;
}
static void env_frame(void *u, uint32_t n, const Bytes *parts)
{
    (void)u;
    buf_reset(&reply);
    for (uint32_t i = 0; i < n; i++)
        buf_put_bytes(&reply, parts[i]);
}
static void env_log(void *u, Bytes b)
{
    (void)u;
    buf_put_bytes(&log_text, b);
}
static void env_in_module(void *u, uint64_t seq) { (void)u, (void)seq; }
static void env_due(void *u, const CoreDue *due)
{
    (void)u;
    marking = due;
    if (due)
        marked = *due;
}
static Status env_open(void *u, Str path, Module **ret, Error *err)
{
    (void)u;
    Buf def = {0};
    definition(&def, path.ptr[0] == 's');
    Module *m = NEW(Module);
    TRY(module_def_from_bsatn(&m->def, buf_bytes(&def), err));
    m->definition = buf_bytes(&def);
    m->name = STR("timers"), m->version = STR("1.0.0"), m->call_reducer = call_reducer, m->unload = unload;
    *ret = m;
    return S_OK;
}

static void control(ControlKind kind)
{
    assert_true(core_control(core, buf_bytes(&record)));
    const uint8_t *f = reply.ptr;
    if (reply.len > sizeof(FrameHeader) + 1 && f[0] == FRAME_CONTROL && f[sizeof(FrameHeader)] == kind &&
        f[sizeof(FrameHeader) + 1] != S_OK)
        FAIL_TEST("control %d: %.*s", kind, (int)(reply.len - sizeof(FrameHeader) - 6), (const char *)f + sizeof(FrameHeader) + 6);
}
static void begin(ControlKind kind)
{
    buf_reset(&record);
    buf_reset(&reply);
    buf_put_u8(&record, (uint8_t)kind);
}
static void put_load(ControlKind kind, uint32_t version, bool scheduled)
{
    Buf def = {0};
    uint8_t id[32] = {0xdb};
    definition(&def, scheduled);
    begin(kind);
    buf_put_u32(&record, version);
    buf_put_str(&record, scheduled ? STR("s") : STR("p"));
    buf_put_blob(&record, buf_bytes(&def));
    buf_done(&def);
    buf_put(&record, id, 32);
    buf_put(&record, id, 32);
    buf_put_u32(&record, TABLES);
    buf_put_str(&record, STR("run"));
    buf_put_u32(&record, 500);
    buf_put_str(&record, STR("timer"));
    buf_put_u32(&record, 501);
    buf_put_u32(&record, 0);
    buf_put_u32(&record, 0);
}

/* A worker with rows of `timer`, loaded as from PostgreSQL. */
static void load(uint32_t n, const TimerRow *rows)
{
    const CoreEnv env = {.clock_us = env_clock,
                         .random = env_random,
                         .commit = env_commit,
                         .frame = env_frame,
                         .log = env_log,
                         .open_module = env_open,
                         .in_module = env_in_module,
                         .due = env_due};
    core = core_new(&env);
    put_load(CTL_LOAD, 1, with_schedule);
    control(CTL_LOAD);
    if (n) {
        begin(CTL_ROWS);
        buf_put_u32(&record, 501);
        buf_put_u32(&record, n);
        for (uint32_t i = 0; i < n; i++) {
            buf_put_u64(&record, rows[i].id);
            buf_put_u8(&record, rows[i].at.tag);
            buf_put_i64(&record, rows[i].at.us);
            buf_put_u32(&record, rows[i].what);
            buf_put_u32(&record, rows[i].note);
        }
        control(CTL_ROWS);
    }
    begin(CTL_READY);
    buf_put_u64(&record, 0);
    control(CTL_READY);
    next_seq = 0;
    CallHeader h = {.kind = CALL_CONNECT, .call_seq = ++next_seq, .schema_version = 1, .generation = 1, .flags = CALL_HTTP};
    uint8_t who[48] = {7};
    Buf call = {0};
    buf_put(&call, &h, sizeof h);
    buf_put(&call, who, sizeof who);
    core_call(core, buf_bytes(&call));
    buf_done(&call);
}

static int setup(void **state)
{
    (void)state;
    now_us = START;
    buf_reset(&log_text);
    commits = 0;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    if (core)
        core_free(TAKE(core));
    return 0;
}

static ReplyOutcome call(const char *name, uint32_t nparts, const Bytes *parts)
{
    CallHeader h = {
        .kind = CALL_REDUCER, .call_seq = ++next_seq, .schema_version = 1, .generation = 1, .flags = CALL_HTTP, .timestamp_us = now_us};
    Buf b = {0};
    buf_put(&b, &h, sizeof h);
    buf_put_u32(&b, 0);
    buf_put_str(&b, str_of(name));
    for (uint32_t i = 0; i < nparts; i++)
        buf_put_bytes(&b, parts[i]);
    core_call(core, buf_bytes(&b));
    buf_done(&b);
    assert_int_equal(reply.ptr[0], FRAME_REPLY);
    return reply.ptr[sizeof(FrameHeader)];
}
static Str reply_text(void) { return (Str){(const char *)reply.ptr + sizeof(FrameHeader) + 1, reply.len - sizeof(FrameHeader) - 1}; }

static ReplyOutcome put_row(uint64_t id, st_schedule_at at, uint32_t what, uint32_t note, bool then_fail)
{
    Buf b = {0};
    buf_put_u64(&b, id);
    buf_put_u8(&b, at.tag);
    buf_put_i64(&b, at.us);
    buf_put_u32(&b, what);
    buf_put_u32(&b, note);
    buf_put_u32(&b, then_fail);
    Bytes part = buf_bytes(&b);
    ReplyOutcome r = call("put", 1, &part);
    buf_done(&b);
    return r;
}
#define PUT(at, what) assert_int_equal(put_row(0, at, what, 0, false), REPLY_OK)
static void cancel(uint64_t id)
{
    Bytes part = {(const uint8_t *)&id, 8};
    assert_int_equal(call("cancel", 1, &part), REPLY_OK);
}
static st_schedule_at in_ms(int64_t ms) { return st_at((st_timestamp){now_us + ms * MS}); }
static st_schedule_at every_ms(int64_t ms) { return st_every(st_millis(ms)); }

/* Time passes: what falls due runs at its time, as a worker that sleeps until then would do. */
static void pass(int64_t ms)
{
    int64_t until = now_us + ms * MS;
    for (uint32_t guard = 0; core_due_us(core) <= until; guard++) {
        now_us = MAX(now_us, core_due_us(core));
        assert_true(core_due(core));
        assert_false(marking);
        assert_true(guard < 100000);
    }
    now_us = MAX(now_us, until);
}

static uint64_t rows_of(uint32_t table) { return table_count(engine_table(core_engine(core), table)); }
static const RunRow *run_at(uint64_t n) /* from 0, in order */
{
    Cursor cur;
    cursor_all(&cur, engine_table(core_engine(core), T_RUN));
    const RunRow *r;
    do
        r = cursor_next(&cur);
    while (r && n--);
    assert_non_null(r);
    return r;
}

/* ---- one shot ---------------------------------------------------------------------------------- */

static void a_time_is_kept_once(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(100), SEES_ITSELF); /* 30, 41 */
    assert_int_equal(core_due_us(core), START + 100 * MS);
    pass(99);
    assert_int_equal(rows_of(T_RUN), 0);
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_true(run_at(0)->stamp >= START + 100 * MS);
    assert_int_equal(rows_of(T_TIMER), 0);
    assert_int_equal(core_due_us(core), INT64_MAX);
    assert_int_equal(seen.origin, ST_ORIGIN_SCHEDULED);
    assert_false(seen.connection.some);
    assert_int_equal(seen.sender.b[0], 0xdb); /* the database itself */
    assert_int_equal(commits, 2);             /* the row went in its reducer's own transaction (45) */
    assert_int_equal(marked.table, 501);
    assert_int_equal(marked.key, 1);
}

static void a_time_in_the_past_runs_at_once(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(-5000), JUST_RUN); /* 31 */
    assert_int_equal(core_due_us(core), now_us);
    pass(0);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_int_equal(run_at(0)->stamp, now_us);
}

static void deleting_the_row_cancels(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(100), JUST_RUN); /* 34 */
    PUT(in_ms(50), JUST_RUN);
    cancel(1);
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_int_equal(run_at(0)->timer, 2);
}

static void the_function_sees_the_row_as_it_is_then(void **state)
{
    (void)state;
    load(0, NULL);
    st_schedule_at at = in_ms(100);
    PUT(at, JUST_RUN); /* 35 */
    pass(50);
    assert_int_equal(put_row(1, at, JUST_RUN, 77, false), REPLY_OK);
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_int_equal(run_at(0)->note, 77);
}

static void what_is_rolled_back_moves_nothing(void **state)
{
    (void)state;
    load(0, NULL);
    assert_int_equal(put_row(0, in_ms(10), JUST_RUN, 0, true), REPLY_USER_ERROR); /* 36 */
    assert_int_equal(core_due_us(core), INT64_MAX);
    PUT(in_ms(100), JUST_RUN); /* 37 */
    assert_int_equal(put_row(2, in_ms(10), JUST_RUN, 5, true), REPLY_USER_ERROR);
    pass(50);
    assert_int_equal(rows_of(T_RUN), 0);
    pass(60);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_int_equal(run_at(0)->note, 0);
    assert_int_equal(run_at(0)->stamp, START + 100 * MS);
}

static void a_time_may_be_moved(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(100), JUST_RUN);
    assert_int_equal(put_row(1, in_ms(300), JUST_RUN, 0, false), REPLY_OK);
    pass(200);
    assert_int_equal(rows_of(T_RUN), 0);
    assert_int_equal(put_row(1, in_ms(10), JUST_RUN, 0, false), REPLY_OK);
    pass(10);
    assert_int_equal(rows_of(T_RUN), 1);
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 1);
}

static void a_failure_takes_the_row_along(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(10), FAILS_); /* 38 */
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 0);
    assert_int_equal(rows_of(T_TIMER), 0);
    assert_non_null(memmem(log_text.ptr, log_text.len, "not today", 9));
    assert_int_equal(commits, 2);
}

static void a_row_that_its_function_moves_stays(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(10), REARMS);
    PUT(in_ms(20), RE_INSERTS); /* 42 */
    PUT(in_ms(30), CHANGES_NOTE);
    PUT(in_ms(40), ENDS_ITSELF);
    pass(50);
    assert_int_equal(rows_of(T_RUN), 4);
    assert_int_equal(rows_of(T_TIMER), 2); /* the moved one and the new one */
    pass(1000);
    assert_int_equal(rows_of(T_RUN), 6);
    assert_int_equal(run_at(4)->stamp, START + 110 * MS);
    assert_int_equal(run_at(4)->timer, 1);
    assert_int_equal(run_at(5)->stamp, START + 120 * MS);
    assert_int_equal(rows_of(T_TIMER), 0);
    PUT(in_ms(10), BECOMES_INTERVAL);
    pass(250);
    assert_int_equal(rows_of(T_RUN), 9);
    assert_int_equal(rows_of(T_TIMER), 1);
}

/* ---- intervals --------------------------------------------------------------------------------- */

static void an_interval_keeps_its_phase(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(every_ms(100), TAKES_250_MS); /* 32 */
    pass(2000);
    assert_true(rows_of(T_RUN) >= 6);
    for (uint64_t i = 0; i < rows_of(T_RUN); i++) {
        assert_int_equal((run_at(i)->stamp - START) % (100 * MS), 0);
        if (i)
            assert_int_equal(run_at(i)->stamp - run_at(i - 1)->stamp, 300 * MS); /* no overlap, missed ticks are skipped */
    }
    assert_int_equal(rows_of(T_TIMER), 1);
}

static void an_interval_does_not_drift(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(every_ms(100), JUST_RUN);   /* 33 */
    for (int i = 0; i < 100; i++) { /* each time a little late */
        now_us = core_due_us(core) + i % 7;
        assert_true(core_due(core));
        assert_false(core_due(core));
    }
    assert_int_equal(rows_of(T_RUN), 100);
    assert_int_equal(core_due_us(core), START + 101 * 100 * MS);
    now_us += 1000000 * MS; /* the machine slept */
    pass(0);
    assert_int_equal(rows_of(T_RUN), 101); /* once, not ten thousand times */
    assert_int_equal((core_due_us(core) - START) % (100 * MS), 0);
}

static void a_failure_does_not_stop_an_interval(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(every_ms(100), FAILS_); /* 39 */
    pass(350);
    assert_int_equal(rows_of(T_TIMER), 1);
    assert_int_equal(core_due_us(core), START + 400 * MS);
    PUT(every_ms(-40), JUST_RUN); /* a negative one counts as positive */
    assert_int_equal(core_due_us(core), START + 390 * MS);
}

static void what_would_never_or_always_run_is_refused(void **state)
{
    (void)state;
    load(0, NULL);
    assert_int_equal(put_row(0, every_ms(0), JUST_RUN, 0, false), REPLY_USER_ERROR); /* 48 */
    assert_non_null(memmem(reply_text().ptr, reply_text().len, "interval of 0", 13));
    assert_int_equal(put_row(0, in_ms(3ll * 365 * 86400 * 1000), JUST_RUN, 0, false), REPLY_USER_ERROR); /* 47 */
    assert_non_null(memmem(reply_text().ptr, reply_text().len, "two years", 9));
    assert_int_equal(put_row(0, every_ms(1ll << 36), JUST_RUN, 0, false), REPLY_USER_ERROR);
    PUT(st_at((st_timestamp){INT64_MIN}), JUST_RUN); /* long past: now */
    pass(0);
    assert_int_equal(rows_of(T_RUN), 1);
    PUT(in_ms((1ll << 36) - 1), JUST_RUN);
    PUT(every_ms((1ll << 36) - 1), JUST_RUN);
    assert_int_equal(rows_of(T_TIMER), 2);
    assert_int_equal(core_due_us(core), START + ((1ll << 36) - 1) * MS);
}

/* ---- lives of the worker ------------------------------------------------------------------------ */

static void after_a_restart_the_rows_say_what_is_due(void **state)
{
    (void)state;
    const TimerRow rows[] = {{1, {1, START - 100}, JUST_RUN, 1},      {2, {1, START - 300}, JUST_RUN, 2},
                             {3, {1, START - 200}, JUST_RUN, 3},      {4, {0, 100 * MS}, JUST_RUN, 4},
                             {5, {1, START + 500 * MS}, JUST_RUN, 5}, {6, {0, 0}, JUST_RUN, 6},
                             {7, {0, INT64_MIN}, JUST_RUN, 7}};
    load(7, rows);
    pass(0); /* 43: overdue ones, in the order in which they were due */
    assert_int_equal(rows_of(T_RUN), 3);
    pass(150); /* 44: an interval counts from the start */
    assert_int_equal(rows_of(T_RUN), 4);
    assert_int_equal(run_at(3)->stamp, START + 100 * MS);
    pass(350);
    assert_int_equal(run_at(rows_of(T_RUN) - 1)->note == 5 || run_at(rows_of(T_RUN) - 2)->note == 5, true);
    assert_int_equal(rows_of(T_TIMER), 3); /* 4, 6 and 7 */
    for (uint64_t i = 0; i < rows_of(T_RUN); i++)
        assert_true(run_at(i)->note <= 5);
}

static void overdue_rows_run_in_due_order(void **state)
{
    (void)state;
    const TimerRow rows[] = {{1, {1, 3000}, JUST_RUN, 1}, {2, {1, 1000}, JUST_RUN, 2}, {3, {1, 2000}, JUST_RUN, 3}};
    load(3, rows);
    pass(0);
    assert_int_equal(run_at(0)->note, 1); /* all are due now: the order of the table */
    assert_int_equal(rows_of(T_RUN), 3);
}

static void a_row_that_killed_the_worker_is_not_run_again(void **state)
{
    (void)state;
    const TimerRow rows[] = {{1, {1, START - 1}, JUST_RUN, 1}, {2, {0, 100 * MS}, JUST_RUN, 2}, {3, {1, START + 5}, JUST_RUN, 3}};
    load(3, rows);
    const CoreDue deaths[] = {{501, 1, 1, START - 1}, {501, 2, 0, 100 * MS}, {501, 3, 1, START + 4},
                              {501, 99, 1, 5},        {77, 1, 1, 1},         {500, 1, 1, 1}};
    for (size_t i = 0; i < COUNT_OF(deaths); i++) {
        begin(CTL_DUE_DIED);
        buf_put_u32(&record, deaths[i].table);
        buf_put_u64(&record, deaths[i].key);
        buf_put_u8(&record, deaths[i].tag);
        buf_put_i64(&record, deaths[i].us);
        control(CTL_DUE_DIED);
    }
    assert_int_equal(rows_of(T_TIMER), 2); /* the interval goes on; the third row has another time than the one that died */
    assert_int_equal(commits, 1);
    pass(1);
    assert_int_equal(rows_of(T_RUN), 1);
    assert_int_equal(run_at(0)->note, 3);
}

static void a_host_may_hold_them_back(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(in_ms(10), JUST_RUN);
    core_hold(core, true);
    now_us += 100 * MS;
    assert_false(core_due(core));
    assert_int_equal(core_due_us(core), START + 10 * MS); /* it is still to come: the database must not sleep over it */
    core_hold(core, false);
    pass(0);
    assert_int_equal(rows_of(T_RUN), 1);
}

static void swap_to(uint32_t version, bool scheduled)
{
    put_load(CTL_PREPARE, version, scheduled);
    buf_put_u32(&record, 0);
    control(CTL_PREPARE);
    while (core_work(core) || reply.len == 0)
        ;
    begin(CTL_PAUSE);
    control(CTL_PAUSE);
    now_us += 1000 * MS;
    assert_false(core_due(core)); /* nothing starts meanwhile */
    now_us -= 1000 * MS;
    begin(CTL_SWAP);
    control(CTL_SWAP);
}

static void a_publish_keeps_the_phase(void **state)
{
    (void)state;
    load(0, NULL);
    PUT(every_ms(100), JUST_RUN);
    PUT(in_ms(130), JUST_RUN);
    pass(30);
    swap_to(2, true);
    assert_int_equal(core_due_us(core), START + 100 * MS);
    pass(100);
    assert_int_equal(rows_of(T_RUN), 2);
}

/* ---- many -------------------------------------------------------------------------------------- */

static void ten_thousand_run_in_order(void **state)
{
    (void)state;
    load(0, NULL);
    uint64_t rng = 9;
    for (int i = 0; i < 10000; i++) {
        rng = hash_u64(rng);
        int64_t ms = (int64_t)(rng % 1000);
        assert_int_equal(put_row(0, st_at((st_timestamp){START + ms * MS}), JUST_RUN, (uint32_t)ms, false), REPLY_OK);
    }
    for (uint64_t id = 1; id <= 10000; id += 3) { /* every third is moved or cancelled */
        rng = hash_u64(rng);
        if (rng & 1)
            cancel(id);
        else
            assert_int_equal(put_row(id, st_at((st_timestamp){START + 500 * MS}), JUST_RUN, 500, false), REPLY_OK);
    }
    uint64_t waiting = rows_of(T_TIMER);
    pass(1000);
    assert_int_equal(rows_of(T_TIMER), 0);
    assert_int_equal(rows_of(T_RUN), waiting);
    Cursor cur;
    cursor_all(&cur, engine_table(core_engine(core), T_RUN));
    uint32_t last = 0;
    for (const RunRow *r; (r = cursor_next(&cur)) != NULL; last = r->note)
        assert_true(r->note >= last && r->stamp == START + r->note * MS);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_time_is_kept_once),
        TEST(a_time_in_the_past_runs_at_once),
        TEST(deleting_the_row_cancels),
        TEST(the_function_sees_the_row_as_it_is_then),
        TEST(what_is_rolled_back_moves_nothing),
        TEST(a_time_may_be_moved),
        TEST(a_failure_takes_the_row_along),
        TEST(a_row_that_its_function_moves_stays),
        TEST(an_interval_keeps_its_phase),
        TEST(an_interval_does_not_drift),
        TEST(a_failure_does_not_stop_an_interval),
        TEST(what_would_never_or_always_run_is_refused),
        TEST(after_a_restart_the_rows_say_what_is_due),
        TEST(overdue_rows_run_in_due_order),
        TEST(a_row_that_killed_the_worker_is_not_run_again),
        TEST(a_host_may_hold_them_back),
        TEST(a_publish_keeps_the_phase),
        TEST(ten_thousand_run_in_order),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&record);
    buf_done(&log_text);
    buf_done(&reply);
    return failed;
}
