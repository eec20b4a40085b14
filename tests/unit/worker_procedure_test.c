/* worker_procedure_test.c - procedures in the worker's core, one thread at a time (strand.h, lockstep), so that every output has its place.
 *
 * The module has one table, `note`, whose rows are a text and a number, a reducer `say`, and procedures whose bodies are the test's: `job`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "host/base/fault.h"
#include "host/worker/core_int.h"

#undef fail
#define FAIL_TEST(...) (print_error(__VA_ARGS__), _fail(__FILE__, __LINE__))

/* ---- the module ------------------------------------------------------------------------------ */

enum { T_NOTE };
typedef struct Answer {
    uint64_t n;
    st_str text;
} Answer;

static st_status (*job)(st_proc_ctx *ctx, st_str text, Answer *ret);
static int modules_open, job_runs;
static st_proc_ctx seen;

static void definition(Buf *out, int version)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    const Type *u64 = type_scalar(TYPE_U64), *str = type_scalar(TYPE_STRING);
    BuilderColumn note[3] = {{STR("text"), str, COLUMN_PK, false, {0}},
                             {STR("nth"), u64, 0, false, {0}},
                             {STR("more"), u64, 0, true, bytes_of((uint8_t[8]){0}, 8)}};
    module_builder_table(b, STR("note"), ACCESS_PUBLIC, false, version > 1 ? 3 : 2, note);
    Field text[1] = {{STR("text"), str, 0}};
    Field answer[2] = {{STR("n"), version == 3 ? str : u64, 0}, {STR("text"), str, 0}};
    module_builder_reducer(b, STR("say"), type_product(a, 1, text), LIFECYCLE_NONE);
    module_builder_procedure(b, STR("job"), type_product(a, 1, text), module_builder_named(b, STR("Answer"), type_product(a, 2, answer)));
    module_builder_procedure(b, STR("idle"), &type_unit, &type_unit);
    Error err;
    if (module_builder_finish(b, out, &err) != S_OK)
        FAIL_TEST("%s", err.text);
}

typedef struct Note {
    st_str text;
    uint64_t nth, more;
} Note;
static uint64_t nth;
static st_status insert(st_reducer_ctx *tx, const char *text)
{
    return tx->api->insert(tx->db, T_NOTE, &(Note){{text, strlen(text)}, ++nth, 0}, false);
}

static st_status call_reducer(Module *m, uint32_t id, st_reducer_ctx *ctx, const void *args)
{
    (void)m, (void)id;
    return ctx->api->insert(ctx->db, T_NOTE, &(Note){*(const st_str *)args, ++nth, 0}, false);
}

static st_status run_procedure(Module *m, uint32_t id, st_proc_ctx *ctx, const void *args, void *ret)
{
    job_runs++;
    seen = *ctx;
    return str_is(m->def->procedures[id].name, "job") ? job(ctx, *(const st_str *)args, ret) : ST_OK;
}

typedef struct TestModule {
    Module m;
    Buf definition;
} TestModule;
static void unload(Module *m)
{
    modules_open--;
    module_def_unref(m->def);
    buf_done(&((TestModule *)m)->definition);
    free(m);
}

/* ---- the surroundings ------------------------------------------------------------------------ */

typedef struct Out {
    char stream;
    Buf b;
} Out;
static Out outs[4096];
static uint32_t nouts;
static int64_t now;
static int depth;
static uint64_t marked;

static void keep(char stream, uint32_t n, const Bytes *parts)
{
    Out *o = &outs[nouts++];
    *o = (Out){stream, {0}};
    for (uint32_t i = 0; i < n; i++)
        buf_put_bytes(&o->b, parts[i]);
}
static void forget(void)
{
    while (nouts)
        buf_done(&outs[--nouts].b);
}
static int64_t env_clock(void *u)
{
    (void)u;
    return now;
}
static void env_random(void *u, void *out, size_t len)
{
    (void)u;
    memset(out, 4, len);
}
static void env_commit(void *u, Bytes b)
{
    (void)u;
    keep('c', 1, &b);
}
static void env_frame(void *u, uint32_t n, const Bytes *parts)
{
    (void)u;
    keep('f', n, parts);
}
static void env_logged(void *u, Bytes b)
{
    (void)u;
    keep('l', 1, &b);
}
static void env_in_module(void *u, uint64_t seq)
{
    (void)u;
    depth += seq ? 1 : -1;
    if (seq)
        marked = seq;
}
static Status env_open(void *u, Str path, Module **ret, Error *err)
{
    (void)u;
    TestModule *m = NEW(TestModule);
    definition(&m->definition, path.ptr[1] - '0');
    TRY(module_def_from_bsatn(&m->m.def, buf_bytes(&m->definition), err));
    m->m.definition = buf_bytes(&m->definition);
    m->m.name = STR("notes"), m->m.version = STR("1.0.0"), m->m.unload = unload;
    m->m.call_reducer = call_reducer, m->m.call_procedure = run_procedure;
    modules_open++;
    *ret = &m->m;
    return S_OK;
}

static Core *core;
static uint64_t next_seq;
static Buf rec;

static Status control(ControlKind kind, int version, char *ret_text)
{
    forget();
    buf_reset(&rec);
    buf_put_u8(&rec, (uint8_t)kind);
    if (kind == CTL_LOAD || kind == CTL_PREPARE) {
        OWN(buf) Buf def = {0};
        definition(&def, version);
        buf_put_u32(&rec, (uint32_t)version);
        buf_put_str(&rec, str_of((const char[3]){'v', (char)('0' + version), 0}));
        buf_put_blob(&rec, buf_bytes(&def));
        uint8_t id[32] = {0xdb};
        buf_put(&rec, id, 32);
        buf_put(&rec, id, 32);
        buf_put_u32(&rec, 1);
        buf_put_str(&rec, STR("note"));
        buf_put_u32(&rec, 500);
        buf_put_u32(&rec, 1);
        buf_put_str(&rec, STR("job"));
        buf_put_u32(&rec, version == 3 ? 3 : 0);
        buf_put_u32(&rec, 0);
        if (kind == CTL_PREPARE)
            buf_put_u32(&rec, 0);
    }
    if (kind == CTL_READY)
        buf_put_u64(&rec, 0);
    assert_true(core_control(core, buf_bytes(&rec)));
    for (bool again = true; again && kind == CTL_PREPARE;)
        again = core_work(core);
    for (uint32_t i = 0; i < nouts; i++) {
        const uint8_t *f = outs[i].b.ptr;
        if (outs[i].stream != 'f' || f[0] != FRAME_CONTROL)
            continue;
        Status s = f[sizeof(FrameHeader) + 1];
        if (s != S_OK && ret_text) {
            uint32_t n = load_u32(f + sizeof(FrameHeader) + 2);
            memcpy(ret_text, f + sizeof(FrameHeader) + 6, n);
            ret_text[n] = 0;
        }
        return s;
    }
    return S_OK;
}

static void call_begin(CallKind kind, uint8_t flags, uint32_t slot)
{
    CallHeader h = {.kind = kind,
                    .flags = flags,
                    .slot = slot,
                    .generation = 10 + slot,
                    .schema_version = 1,
                    .call_seq = ++next_seq,
                    .timestamp_us = now - 7};
    buf_reset(&rec);
    buf_put(&rec, &h, sizeof h);
}
static void call_run(void)
{
    forget();
    core_call(core, buf_bytes(&rec));
}
static void work(void)
{
    while (core_work(core))
        ;
}
static void call_named(CallKind kind, uint8_t flags, uint32_t slot, const char *name, const char *text)
{
    call_begin(kind, flags, slot);
    buf_put_u32(&rec, 77);
    buf_put_str(&rec, str_of(name));
    if (text)
        buf_put_str(&rec, str_of(text));
    call_run();
}
static void call_job(uint8_t flags, st_status (*body)(st_proc_ctx *, st_str, Answer *), const char *text)
{
    job = body;
    job_runs = 0;
    call_named(CALL_PROCEDURE, flags, flags & CALL_HTTP ? 1 : 0, "job", text);
    work();
}

static void start(uint32_t most)
{
    CoreEnv env = {.clock_us = env_clock,
                   .random = env_random,
                   .commit = env_commit,
                   .frame = env_frame,
                   .log = env_logged,
                   .open_module = env_open,
                   .in_module = env_in_module,
                   .slice_rows = 1,
                   .procedures_max = most,
                   .lockstep = true};
    now = 1000000;
    next_seq = 0;
    depth = 0;
    core = core_new(&env);
    assert_int_equal(control(CTL_LOAD, 1, NULL), S_OK);
    assert_int_equal(control(CTL_READY, 0, NULL), S_OK);
    for (uint32_t slot = 0; slot < 2; slot++) {
        uint8_t id[48];
        memset(id, (int)slot + 1, sizeof id);
        call_begin(CALL_CONNECT, slot ? CALL_HTTP : 0, slot);
        buf_put(&rec, id, 48);
        call_run();
    }
}
static void stop(void)
{
    forget();
    assert_int_equal(depth, 0);
    core_free(core);
    assert_int_equal(modules_open, 0);
    buf_done(&rec);
    rec = (Buf){0};
    fault_line((Str){0});
}

static const char *streams(void)
{
    static char text[64];
    for (uint32_t i = 0; i < nouts; i++)
        text[i] = outs[i].stream;
    text[nouts] = 0;
    return text;
}
static FrameHeader header(uint32_t i)
{
    FrameHeader h;
    assert_true(i < nouts && outs[i].stream == 'f');
    memcpy(&h, outs[i].b.ptr, sizeof h);
    return h;
}
static const char *shown(uint32_t i)
{
    static char text[4096];
    size_t n = 0;
    for (size_t k = outs[i].stream == 'f' ? sizeof(FrameHeader) : 0; k < outs[i].b.len && n < sizeof text - 8; k++) {
        uint8_t b = outs[i].b.ptr[k];
        n += (size_t)snprintf(text + n, sizeof text - n, b >= 32 && b < 127 && b != '\\' ? "%c" : "\\%02x", b);
    }
    return text;
}
static void logged(uint32_t i, const char *function, const char *part)
{
    Reader r = reader_of(buf_bytes(&outs[i].b));
    assert_int_equal(outs[i].stream, 'l');
    (void)read_raw(&r, 17);
    Str f = read_str(&r), file = read_str(&r), m = read_str(&r);
    (void)file;
    assert_false(r.bad);
    if (!str_is(f, function) || !memmem(m.ptr, m.len, part, strlen(part)))
        FAIL_TEST("logged %.*s: %.*s", STR_FMT(f), STR_FMT(m));
}
static uint64_t notes(void) { return table_count(engine_table(core_engine(core), 0)); }
#define OUTPUTS(expected) assert_string_equal(streams(), expected)

/* ---- results ---------------------------------------------------------------------------------- */

static st_status doubles(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    ret->n = 42;
    ret->text = ctx->api->format(ctx->call, "%.*s%.*s", ST_FMT(text), ST_FMT(text));
    return ST_OK;
}
static st_status wrong_value(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)ctx, (void)text;
    ret->text = (st_str){"\xff", 1};
    return ST_OK;
}
static st_status refuses(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)ret;
    return ctx->api->fail(ctx->call, "no %.*s", ST_FMT(text));
}
static st_status eats_memory(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)text, (void)ret;
    (void)ctx->api->alloc(ctx->call, (size_t)1 << 40);
    return ST_OK;
}

static void a_result_goes_to_its_caller(void **state)
{
    (void)state;
    start(4);
    call_named(CALL_PROCEDURE, 0, 0, "job", "ab");
    OUTPUTS(""); /* nothing before its call is known to be consumed */
    job = doubles;
    work();
    OUTPUTS("f");
    FrameHeader h = header(0);
    assert_int_equal(h.kind, FRAME_MESSAGE);
    assert_int_equal(h.flags, FRAME_DURABLE);
    assert_int_equal(h.slot, 0);
    assert_int_equal(h.generation, 10);
    assert_int_equal(h.call_seq, next_seq);
    assert_string_equal(shown(0), "\\07\\00\\10\\00\\00\\00*\\00\\00\\00\\00\\00\\00\\00\\04\\00\\00\\00abab@B\\0f\\00\\00\\00\\00\\00"
                                  "\\07\\00\\00\\00\\00\\00\\00\\00M\\00\\00\\00");
    assert_int_equal(seen.timestamp.us, now);
    assert_int_equal(seen.sender.b[0], 1);
    assert_true(seen.connection.some);
    assert_int_equal(seen.origin, ST_ORIGIN_CLIENT);
    assert_int_equal(core_procedures(core), 0);
    call_job(CALL_HTTP, doubles, "x");
    OUTPUTS("f");
    assert_int_equal(header(0).kind, FRAME_REPLY);
    assert_string_equal(shown(0), "\\00*\\00\\00\\00\\00\\00\\00\\00\\02\\00\\00\\00xx");
    assert_int_equal(seen.origin, ST_ORIGIN_HTTP);
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "idle", NULL);
    work();
    assert_string_equal(shown(0), "\\00");
    stop();
}

static void refusals_and_failures_have_their_words(void **state)
{
    (void)state;
    start(2);
    call_named(CALL_PROCEDURE, 0, 0, "nope", "x");
    OUTPUTS("lf");
    logged(0, "", "no such procedure: `nope`");
    assert_string_equal(
        shown(1), "\\07\\01\\11\\00\\00\\00No such procedure\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00M\\00\\00\\00");
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "say", "x");
    assert_string_equal(shown(1), "\\03");
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", NULL);
    OUTPUTS("lf");
    logged(0, "job", "invalid arguments for procedure job: ");
    assert_int_equal(outs[1].b.ptr[sizeof(FrameHeader)], REPLY_BAD_ARGUMENTS);
    call_job(CALL_HTTP, refuses, "way");
    OUTPUTS("lf");
    logged(0, "job", "no way");
    assert_string_equal(shown(1), "\\02no way");
    call_job(CALL_HTTP, wrong_value, "");
    logged(0, "job", "returned a value that is none of its type");
    call_job(CALL_HTTP, eats_memory, "");
    logged(0, "job", "268435456 bytes of scratch memory");
    stop();
}

/* ---- transactions ------------------------------------------------------------------------------ */

static int bodies;
static st_status last_tx;
static void in_tx(st_proc_ctx *ctx, const char *text)
{
    ST_WITH_TX(ctx, tx)
    {
        bodies++;
        if (insert(tx, text) || bodies == 99)
            break;
    }
    last_tx = ctx->tx_status;
}
static st_status one(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    in_tx(ctx, "one");
    ret->text = text;
    return ctx->tx_status;
}
static st_status two_second_fails(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    in_tx(ctx, "first");
    in_tx(ctx, "first");
    ret->n = (uint64_t)last_tx;
    return text.len ? ctx->tx_status : ST_OK;
}
static st_status swallows(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)text;
    ST_WITH_TX(ctx, tx)
    { /* a failure that nobody looked at dooms */
        (void)insert(tx, "first");
        (void)insert(tx, "other");
    }
    ret->n = (uint64_t)ctx->tx_status;
    return ST_OK;
}
static st_status rearms(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)ret;
    ST_WITH_TX(ctx, tx)
    {
        if (bodies++ == 1 && text.len)
            fault_line(STR("worker.tx_commit error"));
        if (insert(tx, text.len ? "twice" : "again"))
            break;
    }
    last_tx = ctx->tx_status;
    return ST_OK;
}
static st_status nests(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    st_http_response r;
    (void)text;
    ST_WITH_TX(ctx, tx)
    {
        int inner = 0;
        ST_WITH_TX(ctx, other)
        inner += other != NULL;
        ret->n = (uint64_t)(ctx->tx_status * 10000 + ctx->api->http(ctx, &(st_http_request){.url = ST_S("http://x/")}, &r) * 100 +
                            ctx->api->sleep_until(ctx, (st_timestamp){now + 1})) +
                 (uint64_t)inner * 1000000;
        if (insert(tx, "outer"))
            break;
    }
    return ctx->tx_status;
}
static st_status leaves_open(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)text, (void)ret;
    st_reducer_ctx *tx = ctx->api->tx_begin(ctx);
    return insert(tx, "open");
}
static st_status jumps_out(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)text, (void)ret;
    ST_WITH_TX(ctx, tx)
    {
        if (insert(tx, "jump"))
            break;
        (void)tx->api->alloc(tx->call, (size_t)1 << 40);
    }
    return ST_OK;
}
static st_status keeps_the_handle(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    (void)text;
    st_reducer_ctx *kept = NULL;
    ST_WITH_TX(ctx, tx)
    kept = tx;
    ret->n = kept->api->count(kept->db, T_NOTE) + (kept->api->find(kept->db, T_NOTE, 0, &(st_str){"first", 5}) != NULL);
    return insert(kept, "late") ? ST_OK : ST_E_USER;
}

static uint64_t result_n(uint32_t i) { return load_u64(outs[i].b.ptr + sizeof(FrameHeader) + (header(i).kind == FRAME_REPLY ? 1 : 6)); }

static void transactions_commit_one_by_one(void **state)
{
    (void)state;
    start(4);
    call_begin(CALL_SUBSCRIBE, 0, 0);
    buf_put_u32(&rec, 1);
    buf_put_u32(&rec, 2);
    buf_put_u32(&rec, 1);
    buf_put_str(&rec, STR("SELECT * FROM note"));
    call_run();
    call_job(0, one, "r");
    OUTPUTS("fcf"); /* the update, its record, and then the result, which names the record's offset */
    assert_int_equal(header(0).kind, FRAME_UPDATE);
    assert_int_equal(header(0).call_seq, 0);
    assert_int_equal(header(0).offset, 1);
    assert_int_equal(header(2).offset, 1);
    assert_int_equal(marked, next_seq); /* whoever has the engine for too long is known by its call */
    assert_int_equal(notes(), 1);
    call_job(CALL_HTTP, two_second_fails, "");
    OUTPUTS("fcf");
    assert_int_equal(result_n(2), ST_E_UNIQUE);
    assert_int_equal(notes(), 2);
    call_named(CALL_REDUCER, 0, 0, "say", "between");
    call_job(CALL_HTTP, two_second_fails, "x"); /* now both fail, and it returns that as its own failure */
    OUTPUTS("lf");
    logged(0, "job", "is already present");
    call_job(CALL_HTTP, swallows, "");
    OUTPUTS("f");
    assert_int_equal(result_n(0), ST_E_UNIQUE);
    assert_int_equal(notes(), 3);
    stop();
}

static void a_commit_that_fails_runs_the_body_once_more(void **state)
{
    (void)state;
    start(4);
    bodies = 0;
    fault_line(STR("worker.tx_commit error"));
    call_job(CALL_HTTP, rearms, "");
    assert_int_equal(bodies, 2);
    assert_int_equal(last_tx, ST_OK);
    assert_int_equal(notes(), 1);
    OUTPUTS("cf");
    bodies = 0;
    call_named(CALL_REDUCER, 0, 0, "say", "x");
    fault_line(STR("worker.tx_commit error"));
    last_tx = (st_status)77;
    call_job(CALL_HTTP, rearms, "twice");
    assert_int_equal(bodies, 2);
    assert_int_equal(last_tx, 77); /* the procedure ended there */
    assert_int_equal(notes(), 2);
    OUTPUTS("lf");
    logged(0, "job", "fault worker.tx_commit");
    stop();
}

static void nothing_waits_inside_a_transaction(void **state)
{
    (void)state;
    start(4);
    call_job(CALL_HTTP, nests, "");
    assert_int_equal(result_n(1), 171717);
    assert_int_equal(notes(), 1);
    stop();
}

static void what_is_left_open_is_rolled_back(void **state)
{
    (void)state;
    start(4);
    call_job(CALL_HTTP, leaves_open, "");
    OUTPUTS("lf");
    logged(0, "job", "ended with a transaction open: it was rolled back");
    assert_int_equal(notes(), 0);
    call_job(CALL_HTTP, jumps_out, "");
    OUTPUTS("llf");
    logged(1, "job", "268435456 bytes");
    assert_int_equal(notes(), 0);
    call_named(CALL_REDUCER, 0, 0, "say", "first");
    call_job(CALL_HTTP, keeps_the_handle, "");
    OUTPUTS("f");
    assert_int_equal(result_n(0), 0);
    assert_int_equal(notes(), 1);
    stop();
}

/* ---- waiting ------------------------------------------------------------------------------------- */

static st_http_response response;
static st_status asked;
static st_status asks(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    in_tx(ctx, "before");
    st_http_header headers[2] = {{ST_S("A"), {(const uint8_t *)"1", 1}}, {ST_S("a"), {NULL, 0}}};
    st_http_request q = {.url = text, .headers = headers, .header_count = 2, .body = {(const uint8_t *)"hi", 2}, .timeout = {1500}};
    asked = ctx->api->http(ctx, &q, &response);
    ret->n = response.status;
    ret->text = asked ? response.error : (st_str){(const char *)response.body.ptr, response.body.len};
    if (asked == ST_OK && response.header_count)
        in_tx(ctx, "after");
    return ST_OK;
}
static st_status sleeps(st_proc_ctx *ctx, st_str text, Answer *ret)
{
    st_status s = ctx->api->sleep_until(ctx, (st_timestamp){text.len ? now + 5000 : -1});
    ret->n = (uint64_t)ctx->timestamp.us;
    if (s == ST_OK)
        in_tx(ctx, "slept");
    ret->text = text;
    return ctx->tx_status;
}

static void answer(uint64_t request, Buf *payload)
{
    CallHeader h = {.kind = CALL_ANSWER, .slot = CLIENT_NONE};
    forget();
    buf_reset(&rec);
    buf_put(&rec, &h, sizeof h);
    buf_put_u64(&rec, request);
    buf_put_bytes(&rec, buf_bytes(payload));
    buf_done(payload);
    *payload = (Buf){0};
    core_answer(core, buf_bytes(&rec));
    work();
}

static void a_request_leaves_and_its_answer_comes_back(void **state)
{
    (void)state;
    start(4);
    call_job(CALL_HTTP, asks, "http://x/");
    OUTPUTS("cf");
    assert_int_equal(header(1).kind, FRAME_HTTP);
    assert_int_equal(header(1).offset, 1);
    assert_int_equal(header(1).call_seq, 0);
    assert_string_equal(shown(1),
                        "\\01\\00\\00\\00\\00\\00\\00\\00\\02\\00\\00\\00\\03\\00\\00\\00GET\\09\\00\\00\\00http://x/\\02\\00\\00\\00"
                        "\\01\\00\\00\\00A\\01\\00\\00\\001\\01\\00\\00\\00a\\00\\00\\00\\00\\02\\00\\00\\00hi");
    assert_false(core_work(core));
    assert_int_equal(core_procedures(core), 1);
    call_named(CALL_REDUCER, 0, 0, "say", "meanwhile"); /* nobody waits for it */
    assert_int_equal(notes(), 2);
    Buf b = {0};
    buf_put_u8(&b, 1);
    answer(7, &b); /* not its request */
    assert_int_equal(core_procedures(core), 1);
    buf_put_u8(&b, 1);
    buf_put_u16(&b, 404);
    buf_put_u32(&b, 1);
    buf_put_str(&b, STR("k"));
    buf_put_blob(&b, str_bytes(STR("v")));
    buf_put_blob(&b, str_bytes(STR("gone")));
    answer(1, &b);
    OUTPUTS("cf");
    assert_int_equal(asked, ST_OK);
    assert_int_equal(result_n(1), 404);
    assert_int_equal(header(1).offset, 3);
    assert_int_equal(notes(), 3);
    call_job(CALL_HTTP, asks, "http://y/");
    buf_put_u8(&b, 0);
    buf_put_str(&b, STR("no route"));
    answer(2, &b);
    OUTPUTS("f");
    assert_int_equal(asked, ST_E_HTTP);
    assert_non_null(strstr(shown(0), "no route"));
    call_job(CALL_HTTP, asks, "http://y/ z");
    assert_non_null(strstr(shown(0), "the URL is malformed"));
    call_job(CALL_HTTP, asks, "http://z/"); /* a damaged answer */
    buf_put_u8(&b, 1);
    buf_put_u16(&b, 200);
    buf_put_u32(&b, 0xffffff);
    answer(3, &b);
    assert_int_equal(asked, ST_E_HTTP);
    stop();
}

static void sleepers_wake_when_they_are_due(void **state)
{
    (void)state;
    start(4);
    call_job(CALL_HTTP, sleeps, "");
    OUTPUTS("cf");
    assert_int_equal(result_n(1), now);
    assert_true(core_wake_us(core) == INT64_MAX);
    call_named(CALL_REDUCER, 0, 0, "say", "x");
    call_job(CALL_HTTP, sleeps, "t");
    OUTPUTS("");
    assert_int_equal(core_wake_us(core), now + 5000);
    now += 4999;
    work();
    OUTPUTS("");
    now += 2;
    work();
    OUTPUTS("lf"); /* "slept" is there already */
    assert_true(core_wake_us(core) == INT64_MAX);
    stop();
}

static void at_most_so_many_at_once(void **state)
{
    (void)state;
    start(2);
    job = sleeps;
    for (int i = 0; i < 2; i++)
        call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", "t");
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", "t");
    OUTPUTS("lf");
    assert_int_equal(outs[1].b.ptr[sizeof(FrameHeader)], REPLY_BUSY);
    logged(0, "job", "2 procedures of this database run already, the most that may at once (--procedures-max)");
    assert_false(procedure_start(core, 1, NULL, NULL, NULL));
    work();
    now += 6000;
    work();
    assert_int_equal(core_procedures(core), 0);
    stop();
}

/* ---- schedules and publishes -------------------------------------------------------------------- */

static int ended;
static bool ended_well;
static void on_ended(Core *c, void *arg, bool good)
{
    assert_ptr_equal(c, core);
    assert_ptr_equal(arg, &ended);
    ended++;
    ended_well = good;
}

static void one_is_started_for_nobody(void **state)
{
    (void)state;
    start(2);
    char text[] = "tick";
    st_str args = {text, 4};
    ended = 0;
    job = one;
    forget();
    assert_true(procedure_start(core, 0, &args, on_ended, &ended));
    memset(text, 'x', 4);
    work();
    OUTPUTS("c");
    assert_int_equal(ended, 1);
    assert_true(ended_well);
    assert_int_equal(seen.sender.b[0], 0xdb);
    assert_false(seen.connection.some);
    assert_int_equal(seen.origin, ST_ORIGIN_SCHEDULED);
    job = refuses;
    args.ptr = "tick";
    forget();
    assert_true(procedure_start(core, 0, &args, on_ended, &ended));
    work();
    OUTPUTS("l");
    logged(0, "job", "no tick");
    assert_int_equal(ended, 2);
    assert_false(ended_well);
    stop();
}

static void an_old_version_lives_until_its_last_procedure_ends(void **state)
{
    (void)state;
    start(4);
    call_job(CALL_HTTP, sleeps, "t");
    char text[900];
    if (control(CTL_PREPARE, 2, text) != S_OK)
        FAIL_TEST("%s", text);
    assert_int_equal(control(CTL_PAUSE, 0, NULL), S_OK);
    now += 6000;
    assert_false(core_work(core)); /* paused: nobody gets a transaction */
    assert_int_equal(control(CTL_SWAP, 0, NULL), S_OK);
    assert_int_equal(modules_open, 2);
    forget();
    work();
    OUTPUTS("lf");
    logged(0, "job", "the module was replaced by a publish while the procedure ran");
    assert_int_equal(modules_open, 1);
    assert_int_equal(notes(), 0);
    call_job(CALL_HTTP, sleeps, "");
    assert_int_equal(notes(), 1);
    /* version 3 returns something else: who knows an older one is told */
    assert_int_equal(control(CTL_PREPARE, 3, text), S_OK);
    assert_int_equal(control(CTL_PAUSE, 0, NULL), S_OK);
    assert_int_equal(control(CTL_SWAP, 0, NULL), S_OK);
    call_job(CALL_HTTP, sleeps, "");
    OUTPUTS("f");
    assert_non_null(strstr(shown(0), "procedure `job` changed its parameters or its result by a publish"));
    stop();
}

static void those_that_wait_end_with_the_core(void **state)
{
    (void)state;
    start(8);
    job = sleeps;
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", "t");
    work();
    job = asks;
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", "http://x/");
    work();
    call_named(CALL_PROCEDURE, CALL_HTTP, 1, "job", "http://x/"); /* not begun */
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_goes_to_its_caller),
        cmocka_unit_test(refusals_and_failures_have_their_words),
        cmocka_unit_test(transactions_commit_one_by_one),
        cmocka_unit_test(a_commit_that_fails_runs_the_body_once_more),
        cmocka_unit_test(nothing_waits_inside_a_transaction),
        cmocka_unit_test(what_is_left_open_is_rolled_back),
        cmocka_unit_test(a_request_leaves_and_its_answer_comes_back),
        cmocka_unit_test(sleepers_wake_when_they_are_due),
        cmocka_unit_test(at_most_so_many_at_once),
        cmocka_unit_test(one_is_started_for_nobody),
        cmocka_unit_test(an_old_version_lives_until_its_last_procedure_ends),
        cmocka_unit_test(those_that_wait_end_with_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
