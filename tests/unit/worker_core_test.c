/* worker_core_test.c - the worker's core: what each record leads to, byte by byte where clients see it.
 *
 * A bank with a handful of reducers is the module; outputs are kept in the order in which they came. With BENCH=1 in
 * the environment the last test prints the cost of a transfer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "host/worker/core.h"

#undef fail /* cmocka's; st_api has a member of that name */
#define FAIL_TEST(...) (print_error(__VA_ARGS__), _fail(__FILE__, __LINE__))

/* ---- the module ------------------------------------------------------------------------------ */

typedef struct Account {
    uint64_t id;
    int64_t balance;
    st_str owner;
} Account;
typedef struct Wallet {
    uint64_t id;
    int64_t balance;
} Wallet;
enum { T_ACCOUNT, T_NOTE, T_SECRET, T_SHOT, T_WALLET, TABLES };
static const char *const table_names[TABLES] = {"account", "note", "secret", "shot", "wallet"}; /* in order: also their positions */

static int modules_open;
static bool connect_fails, disconnect_fails, init_fails;
static st_reducer_ctx seen; /* the last context */

static void definition(Buf *out, int version)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    const Type *u64 = type_scalar(TYPE_U64), *i64 = type_scalar(TYPE_I64), *str = type_scalar(TYPE_STRING), *u32 = type_scalar(TYPE_U32);
    uint8_t seven[8] = {7};
    BuilderColumn account[4] = {{STR("id"), u64, COLUMN_PK | COLUMN_AUTO_INC, false, {0}},
                                {STR("balance"), i64, COLUMN_INDEX, false, {0}},
                                {STR("owner"), str, 0, false, {0}},
                                {STR("rank"), u64, 0, true, bytes_of(seven, 8)}};
    module_builder_table(b, STR("account"), version == 3 ? ACCESS_PRIVATE : ACCESS_PUBLIC, false, version == 2 ? 4 : 3, account);
    BuilderColumn note[1] = {{STR("text"), str, 0, false, {0}}};
    module_builder_table(b, STR("note"), ACCESS_PUBLIC, false, 1, note);
    module_builder_table(b, STR("secret"), ACCESS_PRIVATE, false, 1, note);
    module_builder_table(b, STR("shot"), ACCESS_PUBLIC, true, 1, note);
    BuilderColumn wallet[2] = {{STR("id"), u64, COLUMN_PK | COLUMN_AUTO_INC, false, {0}}, {STR("balance"), i64, 0, false, {0}}};
    module_builder_table(b, STR("wallet"), ACCESS_PUBLIC, false, 2, wallet);
    Field transfer[3] = {{STR("from"), u64, 0}, {STR("to"), u64, 0}, {STR("amount"), i64, 0}};
    Field text[1] = {{STR("text"), str, 0}};
    Field number[1] = {{STR("n"), version == 2 ? u64 : u32, 0}};
    module_builder_reducer(b, STR("transfer"), type_product(a, 3, transfer), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("open"), type_product(a, 1, text), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("say"), type_product(a, 1, text), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("refuse"), type_product(a, 1, text), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("misuse"), type_product(a, 1, number), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("shoot"), type_product(a, 1, text), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("start"), &type_unit, LIFECYCLE_INIT);
    if (version != 4) {
        module_builder_reducer(b, STR("hello"), &type_unit, LIFECYCLE_CONNECT);
        module_builder_reducer(b, STR("goodbye"), &type_unit, LIFECYCLE_DISCONNECT);
    }
    Error err;
    if (module_builder_finish(b, out, &err) != S_OK)
        FAIL_TEST("%s", err.text);
}

static st_status say(st_reducer_ctx *ctx, uint32_t item, st_str text) { return ctx->api->insert(ctx->db, item, &text, false); }

/* What a module can do wrong, by number. */
static st_status misuse(st_reducer_ctx *ctx, uint64_t n)
{
    const st_api *api = ctx->api;
    Account a = {.id = 1000000}, b = {.id = 1000000, .balance = 9};
    uint64_t key = 1;
    uint16_t col = 1, wrong = 77;
    const void *eq[1] = {&key};
    const char bad[1] = {(char)0xff};
    switch (n) {
    case 0: /* careless: swallows a failure and goes on */
        (void)api->insert(ctx->db, T_ACCOUNT, &a, false);
        if (api->insert(ctx->db, T_ACCOUNT, &b, false) != ST_E_UNIQUE || say(ctx, T_NOTE, ST_S("late")) != ST_E_ABORTED)
            return api->fail(ctx->call, "the writes went on");
        if (api->erase(ctx->db, T_ACCOUNT, 0, NULL, NULL) != 0 || api->update(ctx->db, T_ACCOUNT, 0, &a, true) != ST_E_ABORTED)
            return api->fail(ctx->call, "the writes went on");
        return ST_OK;
    case 1: /* asked for: dooms nothing */
        (void)api->insert(ctx->db, T_ACCOUNT, &a, false);
        return api->insert(ctx->db, T_ACCOUNT, &b, true) == ST_E_UNIQUE ? ST_OK : ST_E_INVALID;
    case 2: return api->insert(ctx->db, 99, &a, true);
    case 3: return api->find(ctx->db, T_ACCOUNT, 1, &key) ? ST_E_USER : ST_OK;
    case 4: api->scan(ctx->db, T_ACCOUNT, 1, &wrong, 1, eq, NULL, NULL); return ST_OK;
    case 5: api->scan(ctx->db, T_NOTE, 1, (const uint16_t[]){0}, 1, (const void *[]){&(st_str){"x", 1}}, NULL, NULL); return ST_OK;
    case 6: return say(ctx, T_NOTE, (st_str){bad, 1});
    case 7: (void)api->alloc(ctx->call, (size_t)1 << 40); return ST_OK;
    case 8: return api->fail(ctx->call, "%*s", 6000, "");
    case 9: return (st_status)99;
    case 10: return api->update(ctx->db, T_ACCOUNT, 0, &(Account){.id = 5000}, false);
    case 11: (void)api->fail(ctx->call, "changed my mind"); return ST_OK;
    case 12: api->log(ctx->call, ST_LOG_WARN, &(const st_log_loc){"bank.c", "misuse", 12}, "bad \xff byte %d", 5); return ST_OK;
    case 13: { /* the scan's keys die before the rows are read */
        for (int64_t i = 0; i < 5; i++)
            if (api->insert(ctx->db, T_ACCOUNT, &(Account){.balance = 40 + i}, false))
                return ST_E_USER;
        int64_t lo = 41, hi = 44;
        st_cursor c = api->scan(ctx->db, T_ACCOUNT, 1, &col, 0, NULL, &lo, &hi);
        lo = hi = 0;
        int64_t sum = 0;
        for (const Account *r; (r = api->next(ctx->db, &c)) != NULL;)
            sum += r->balance;
        st_str s = api->format(ctx->call, "%*d", 300, (int)sum);
        return sum == 41 + 42 + 43 && s.len == 300 && !api->next(ctx->db, &c) ? ST_OK : api->fail(ctx->call, "sum %d", (int)sum);
    }
    case 14: return api->fail(ctx->call, "cut \xff here");
    case 15: return api->insert(ctx->db, T_ACCOUNT, NULL, true);
    case 16: { /* random numbers follow from timestamp and call */
        uint64_t x, y;
        api->random(ctx->call, &x, 8);
        api->random(ctx->call, &y, 8);
        return x != y ? ST_OK : ST_E_USER;
    }
    case 18: return api->insert(ctx->db, T_WALLET, &(Wallet){.balance = 1000000}, false);
    case 17: (void)api->erase_row(ctx->db, T_NOTE, &(st_str){"gone", 4}); return say(ctx, T_NOTE, ST_S("stays"));
    default: return ST_OK;
    }
}

static st_status call_reducer(Module *m, uint32_t id, st_reducer_ctx *ctx, const void *args)
{
    const ReducerDef *r = &m->def->reducers[id];
    seen = *ctx;
    if (str_is(r->name, "transfer")) {
        const struct {
            uint64_t from, to;
            int64_t amount;
        } *t = args;
        const Wallet *from = ctx->api->find(ctx->db, T_WALLET, 0, &t->from), *to = ctx->api->find(ctx->db, T_WALLET, 0, &t->to);
        if (!from || !to)
            return ctx->api->fail(ctx->call, "no such wallet");
        if (from->balance < t->amount)
            return ctx->api->fail(ctx->call, "not enough");
        Wallet a = *from, b = *to;
        a.balance -= t->amount, b.balance += t->amount;
        st_status s = ctx->api->update(ctx->db, T_WALLET, 0, &a, false);
        return s ? s : ctx->api->update(ctx->db, T_WALLET, 0, &b, false);
    }
    if (str_is(r->name, "open"))
        return ctx->api->insert(ctx->db, T_ACCOUNT, &(Account){.balance = 100, .owner = *(const st_str *)args}, false);
    if (str_is(r->name, "say"))
        return say(ctx, T_NOTE, *(const st_str *)args);
    if (str_is(r->name, "shoot"))
        return say(ctx, T_SHOT, *(const st_str *)args);
    if (str_is(r->name, "refuse"))
        return ctx->api->fail(ctx->call, "%.*s", ST_FMT(*(const st_str *)args));
    if (str_is(r->name, "misuse"))
        return misuse(ctx, r->params->fields[0].type->kind == TYPE_U64 ? *(const uint64_t *)args : *(const uint32_t *)args);
    if (str_is(r->name, "start"))
        return init_fails ? ctx->api->fail(ctx->call, "not today") : say(ctx, T_NOTE, ST_S("started"));
    if (str_is(r->name, "hello"))
        return connect_fails ? ctx->api->fail(ctx->call, "go away") : say(ctx, T_SECRET, ST_S("in"));
    return disconnect_fails ? ctx->api->fail(ctx->call, "cannot leave") : say(ctx, T_SECRET, ST_S("out"));
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
static bool keep_outputs = true;
static int64_t now = 5000;
static int in_module_depth;

static void keep(char stream, uint32_t n, const Bytes *parts)
{
    if (!keep_outputs)
        return;
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
static void env_log(void *u, Bytes b)
{
    (void)u;
    keep('l', 1, &b);
}
static void env_in_module(void *u, uint64_t seq)
{
    (void)u;
    in_module_depth += seq ? 1 : -1;
}
static Status env_open(void *u, Str path, Module **ret, Error *err)
{
    (void)u;
    if (path.len != 2 || path.ptr[0] != 'v')
        return FAIL(err, S_NOT_FOUND, "no file %.*s", STR_FMT(path));
    TestModule *m = NEW(TestModule);
    definition(&m->definition, path.ptr[1] - '0');
    TRY(module_def_from_bsatn(&m->m.def, buf_bytes(&m->definition), err));
    m->m.definition = buf_bytes(&m->definition);
    m->m.name = STR("bank"), m->m.version = STR("1.0.0"), m->m.call_reducer = call_reducer, m->m.unload = unload;
    modules_open++;
    *ret = &m->m;
    return S_OK;
}

static Core *core;
static uint64_t next_seq;
static Buf rec;

static void control_begin(ControlKind k)
{
    buf_reset(&rec);
    buf_put_u8(&rec, (uint8_t)k);
}
static bool answered(uint8_t kind, Status *ret, char *ret_text)
{
    for (uint32_t i = 0; i < nouts; i++) {
        const uint8_t *f = outs[i].b.ptr;
        if (outs[i].stream != 'f' || f[0] != FRAME_CONTROL)
            continue;
        assert_int_equal(f[sizeof(FrameHeader)], kind);
        Status s = f[sizeof(FrameHeader) + 1];
        if (s != S_OK && ret_text) {
            uint32_t n = load_u32(f + sizeof(FrameHeader) + 2);
            memcpy(ret_text, f + sizeof(FrameHeader) + 6, n);
            ret_text[n] = 0;
        }
        *ret = s;
        return true;
    }
    return false;
}
static Status control_run(char *ret_text)
{
    Status s = S_OK;
    forget();
    assert_true(core_control(core, buf_bytes(&rec)));
    answered(rec.ptr[0], &s, ret_text);
    return s;
}
/* PREPARE, and the work beside the calls until it is answered. */
static Status prepare_run(char *ret_text)
{
    Status s = control_run(ret_text);
    while (s == S_OK && !answered(CTL_PREPARE, &s, ret_text))
        core_work(core);
    return s;
}
static Status simple_control(ControlKind kind, char *ret_text)
{
    control_begin(kind);
    return control_run(ret_text);
}

static void put_load(ControlKind kind, int version, const char *path, int definition_of)
{
    Buf def = {0};
    definition(&def, definition_of);
    control_begin(kind);
    buf_put_u32(&rec, (uint32_t)version);
    buf_put_str(&rec, str_of(path));
    buf_put_blob(&rec, buf_bytes(&def));
    buf_done(&def);
    uint8_t id[32] = {0xdb};
    buf_put(&rec, id, 32);
    buf_put(&rec, id, 32);
    buf_put_u32(&rec, TABLES);
    for (uint32_t i = 0; i < TABLES; i++) {
        buf_put_str(&rec, str_of(table_names[i]));
        buf_put_u32(&rec, 500 + i);
    }
    buf_put_u32(&rec, 1);
    buf_put_str(&rec, STR("misuse"));
    buf_put_u32(&rec, definition_of == 2 ? (uint32_t)version : 1);
    buf_put_u32(&rec, version > 1);
    if (version > 1) {
        buf_put_u32(&rec, 1);
        buf_put_u32(&rec, 1);
        buf_put_u32(&rec, 500);
        buf_put_u16(&rec, 3);
    }
    if (kind == CTL_PREPARE)
        buf_put_u32(&rec, 0); /* no migration has run */
}

static CoreEnv test_env(void)
{
    return (CoreEnv){.clock_us = env_clock,
                     .random = env_random,
                     .commit = env_commit,
                     .frame = env_frame,
                     .log = env_log,
                     .open_module = env_open,
                     .in_module = env_in_module,
                     .slice_rows = 1};
}

static void start(int version)
{
    CoreEnv env = test_env();
    core = core_new(&env);
    connect_fails = disconnect_fails = init_fails = false;
    next_seq = 0;
    char path[3] = {'v', (char)('0' + version), 0};
    put_load(CTL_LOAD, 1, path, version);
    assert_int_equal(control_run(NULL), S_OK);
    control_begin(CTL_READY);
    buf_put_u64(&rec, 0);
    assert_false(core_accepts_calls(core));
    assert_int_equal(control_run(NULL), S_OK);
    assert_true(core_accepts_calls(core));
}
static void stop(void)
{
    forget();
    assert_int_equal(in_module_depth, 0);
    core_free(core);
    assert_int_equal(modules_open, 0);
    buf_done(&rec);
    rec = (Buf){0};
}

static void call_begin(CallKind kind, uint8_t flags, uint32_t slot, uint32_t version)
{
    next_seq++;
    CallHeader h = {.kind = kind,
                    .flags = flags,
                    .slot = slot,
                    .generation = slot == CLIENT_NONE ? 0 : 10 + slot,
                    .schema_version = version,
                    .call_seq = next_seq,
                    .timestamp_us = 1000 + (int64_t)next_seq};
    buf_reset(&rec);
    buf_put(&rec, &h, sizeof h);
}
static void call_run(void)
{
    forget();
    core_call(core, buf_bytes(&rec));
}
static void connect_client(uint32_t slot, uint8_t flags, uint32_t version)
{
    uint8_t id[48];
    memset(id, (int)slot + 1, sizeof id);
    call_begin(CALL_CONNECT, flags, slot, version);
    buf_put(&rec, id, 48);
    call_run();
}
static void disconnect_client(uint32_t slot, uint8_t as)
{
    uint8_t id[48];
    memset(id, as + 1, sizeof id);
    call_begin(CALL_DISCONNECT, 0, slot, 1);
    buf_put(&rec, id, 48);
    call_run();
}
static void reducer_begin(uint32_t slot, uint8_t flags, const char *name)
{
    call_begin(CALL_REDUCER, flags, slot, 1);
    buf_put_u32(&rec, 77);
    buf_put_str(&rec, str_of(name));
}
static void call_text(uint32_t slot, uint8_t flags, const char *name, const char *text)
{
    reducer_begin(slot, flags, name);
    buf_put_str(&rec, str_of(text));
    call_run();
}
static void call_misuse(uint32_t slot, uint32_t n)
{
    reducer_begin(slot, 0, "misuse");
    buf_put_u32(&rec, n);
    call_run();
}
static void subscribe(uint32_t slot, uint8_t flags, uint32_t set, const char *query)
{
    call_begin(CALL_SUBSCRIBE, flags, slot, 1);
    buf_put_u32(&rec, 70);
    buf_put_u32(&rec, set);
    buf_put_u32(&rec, 1);
    buf_put_str(&rec, str_of(query));
    call_run();
}

/* ---- looking at outputs ---------------------------------------------------------------------- */

static FrameHeader header(uint32_t i)
{
    FrameHeader h;
    assert_true(i < nouts && outs[i].stream == 'f');
    memcpy(&h, outs[i].b.ptr, sizeof h);
    return h;
}
static const char *streams(void)
{
    static char text[64];
    for (uint32_t i = 0; i < nouts; i++)
        text[i] = outs[i].stream;
    text[nouts] = 0;
    return text;
}
/* The payload of output i, in hex with `text` runs readable: printable bytes as they are, others as \xx. */
static const char *shown(uint32_t i)
{
    static char text[4096];
    size_t n = 0;
    for (size_t k = sizeof(FrameHeader); k < outs[i].b.len; k++) {
        uint8_t b = outs[i].b.ptr[k];
        n += (size_t)snprintf(text + n, sizeof text - n, b >= 32 && b < 127 && b != '\\' ? "%c" : "\\%02x", b);
    }
    return text;
}
static CommitHeader commit_of(uint32_t i)
{
    CommitHeader h;
    Error err;
    Reader r = reader_of(buf_bytes(&outs[i].b));
    assert_true(outs[i].stream == 'c');
    assert_int_equal(commit_read_header(&r, &h, &err), S_OK);
    return h;
}
#define OUTPUTS(expected)                                                                                                                  \
    do {                                                                                                                                   \
        if (strcmp(streams(), expected) != 0 && nouts)                                                                                     \
            print_message("last output: %s\n", outs[nouts - 1].stream == 'f' ? shown(nouts - 1) : "a record");                             \
        assert_string_equal(streams(), expected);                                                                                          \
    } while (0)
#define PAYLOAD(i, expected) assert_string_equal(shown(i), expected)
static bool log_says(uint32_t i, uint8_t level, const char *function, const char *message)
{
    Reader r = reader_of(buf_bytes(&outs[i].b));
    uint8_t got = read_u8(&r);
    (void)read_raw(&r, 16);
    Str f = read_str(&r), file = read_str(&r), m = read_str(&r);
    (void)file;
    bool good = !r.bad && !reader_left(&r) && got == level && str_is(f, function) && str_is(m, message);
    if (!good)
        print_message("log: %u %.*s: %.*s\n", got, STR_FMT(f), STR_FMT(m));
    return good;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_load_checks_the_definition_and_the_ids(void **state)
{
    (void)state;
    char text[1100];
    CoreEnv env = test_env();
    core = core_new(&env);
    control_begin(CTL_DESCRIBE);
    buf_put_str(&rec, STR("v1"));
    assert_int_equal(control_run(NULL), S_OK);
    assert_memory_equal(outs[0].b.ptr + 34, "\4\0\0\0bank\5\0\0\0001.0.0", 17);
    put_load(CTL_LOAD, 1, "v1", 2);
    assert_int_equal(control_run(text), S_INVALID);
    assert_string_equal(text, "module v1 declares another definition than the catalog has for it");
    control_begin(CTL_READY);
    buf_put_u64(&rec, 0);
    forget();
    assert_true(core_control(core, buf_bytes(&rec))); /* the failure was answered: silence */
    assert_int_equal(nouts, 0);
    control_begin(CTL_STOP);
    assert_false(core_control(core, buf_bytes(&rec)));
    stop();
    core = core_new(&env);
    put_load(CTL_LOAD, 1, "xx", 1);
    assert_int_equal(control_run(text), S_NOT_FOUND);
    stop();
    core = core_new(&env);
    put_load(CTL_LOAD, 1, "v1", 1);
    assert_int_equal(control_run(NULL), S_OK);
    control_begin(CTL_ROWS);
    buf_put_u32(&rec, 9);
    assert_int_equal(control_run(text), S_INVALID);
    assert_string_equal(text, "load: no table has the id 9");
    stop();
}

static void init_commits_under_call_0_or_says_why_not(void **state)
{
    (void)state;
    start(1);
    uint8_t owner[32];
    memset(owner, 9, 32);
    char text[1100];
    for (int pass = 0; pass < 2; pass++) {
        init_fails = pass == 0;
        control_begin(CTL_INIT);
        buf_put(&rec, owner, 32);
        buf_put_i64(&rec, 123);
        Status s = control_run(text);
        assert_int_equal(s, pass ? S_OK : S_INVALID);
        assert_memory_equal(seen.sender.b, owner, 32);
        assert_false(seen.connection.some);
        assert_int_equal(seen.timestamp.us, 123);
        assert_int_equal(seen.database.b[0], 0xdb);
        assert_int_equal(seen.origin, ST_ORIGIN_LIFECYCLE);
        if (!pass) {
            assert_string_equal(text, "not today");
            OUTPUTS("lf");
        }
    }
    OUTPUTS("fc");
    CommitHeader h = commit_of(1);
    assert_int_equal(h.offset, 1);
    assert_int_equal(h.call_seq, 0);
    assert_int_equal(h.timestamp_us, 123);
    assert_int_equal(header(0).offset, 1);
    stop();
}

static void connecting_runs_the_reducer_and_records_the_client(void **state)
{
    (void)state;
    start(1);
    connect_client(3, 0, 1);
    OUTPUTS("fc");
    PAYLOAD(0, "\\01");
    assert_int_equal(header(0).kind, FRAME_CONNECTED);
    assert_int_equal(header(0).offset, 1);
    assert_int_equal(header(0).slot, 3);
    assert_int_equal(header(0).generation, 13);
    CommitHeader h = commit_of(1);
    assert_int_equal(h.nclients, 1);
    assert_int_equal(h.ntables, 1);
    assert_int_equal(h.call_seq, 1);
    assert_int_equal(outs[1].b.ptr[COMMIT_HEADER_BYTES], 1);

    connect_fails = true;
    connect_client(4, CALL_HTTP, 1);
    OUTPUTS("lf");
    assert_true(log_says(0, 0, "hello", "go away"));
    PAYLOAD(1, "\\00\\07\\00\\00\\00go away");
    assert_int_equal(header(1).offset, 1);
    call_text(4, CALL_HTTP, "say", "x"); /* of a refused client */
    OUTPUTS("f");
    assert_int_equal(outs[0].b.ptr[sizeof(FrameHeader)], REPLY_REJECTED);
    call_text(4, 0, "say", "x");
    OUTPUTS("");
    disconnect_client(4, 4);
    OUTPUTS("f"); /* nothing runs */
    assert_int_equal(header(0).kind, FRAME_DISCONNECTED);

    disconnect_client(3, 3);
    OUTPUTS("fc");
    assert_int_equal(commit_of(1).nclients, 1);
    assert_int_equal(outs[1].b.ptr[COMMIT_HEADER_BYTES], 0);
    assert_int_equal(commit_of(1).ntables, 1);

    disconnect_fails = true; /* an earlier life's: what fails is logged, the client is gone all the same */
    disconnect_client(CLIENT_NONE, 3);
    OUTPUTS("lfc");
    assert_int_equal(commit_of(2).nclients, 1);
    assert_int_equal(commit_of(2).ntables, 0);
    assert_int_equal(seen.sender.b[5], 4);
    assert_true(seen.connection.some);
    disconnect_client(8, 8); /* never heard of */
    OUTPUTS("f");
    stop();

    start(4); /* a module that wants to know nothing */
    connect_client(1, 0, 1);
    OUTPUTS("f");
    disconnect_client(1, 1);
    OUTPUTS("f");
    assert_int_equal(core_offset(core), 0);
    stop();
}

static void a_silent_registration_makes_no_sound(void **state)
{
    (void)state;
    start(1);
    connect_fails = true;
    connect_client(1, CALL_SILENT, 1);
    subscribe(1, CALL_SILENT, 5, "SELECT * FROM note");
    OUTPUTS("");
    connect_fails = false;
    call_text(1, 0, "say", "heard");
    OUTPUTS("fc");
    PAYLOAD(0, "\\06M\\00\\00\\00\\eb\\03\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\01\\00\\00\\00\\05\\00\\00\\00\\01\\"
               "00\\00\\00\\04\\00\\00\\00note"
               "\\01\\00\\00\\00\\00\\00\\09\\00\\09\\00\\00\\00\\05\\00\\00\\00heard\\01\\00\\00\\00\\00\\00\\00\\00\\00");
    disconnect_client(1, 1);
    OUTPUTS("fc");
    stop();
}

static void outcomes_have_the_words_of_the_protocol(void **state)
{
    (void)state;
    start(1);
    connect_client(0, 0, 1);
    connect_client(1, CALL_HTTP, 1);
#define HEAD(seq) "\\06M\\00\\00\\00" seq "\\03\\00\\00\\00\\00\\00\\00"
    call_text(0, 0, "say", "hi");
    OUTPUTS("fc");
    PAYLOAD(0, HEAD("\\eb") "\\00\\00\\00\\00\\00\\00\\00\\00\\00");
    assert_int_equal(header(0).flags, 0);
    assert_int_equal(header(0).offset, 3);
    assert_int_equal(header(0).call_seq, 3);
    call_text(0, 0, "say", "hi"); /* an equal row: nothing changes, no record, the last offset there is */
    OUTPUTS("f");
    assert_int_equal(header(0).offset, 3);
    call_text(0, 0, "refuse", "because");
    OUTPUTS("lf");
    assert_true(log_says(0, 0, "refuse", "because"));
    PAYLOAD(1, HEAD("\\ed") "\\02\\0b\\00\\00\\00\\07\\00\\00\\00because");
    assert_int_equal(header(1).flags, FRAME_NOT_HELD);
    call_text(0, 0, "nothing", "");
    OUTPUTS("lf");
    PAYLOAD(1, HEAD("\\ee") "\\03\\0f\\00\\00\\00no such reducer");
    call_text(0, 0, "start", "");
    PAYLOAD(0, HEAD("\\ef") "\\032\\00\\00\\00can't directly call special Init lifecycle reducer");
    call_text(0, 0, "hello", "");
    assert_non_null(strstr(shown(0), "can't directly call special OnConnect lifecycle reducer"));
    call_text(0, 0, "goodbye", "");
    assert_non_null(strstr(shown(0), "can't directly call special OnDisconnect lifecycle reducer"));
    reducer_begin(0, 0, "misuse");
    buf_put_u16(&rec, 1);
    call_run();
    OUTPUTS("lf");
    assert_true(log_says(0, 0, "misuse", "invalid arguments for reducer misuse: data too short for u32: Expected 4, given 2"));
    assert_non_null(strstr(shown(1), "\\03Q\\00\\00\\00invalid arguments for reducer misuse: data too short for u32: Expected 4, given 2"));
    reducer_begin(0, 0, "misuse");
    buf_put_u32(&rec, 99);
    buf_put_u8(&rec, 0);
    call_run();
    assert_non_null(strstr(shown(1), "invalid arguments for reducer misuse: 1 bytes left over after the last argument"));

    /* the same over HTTP */
    call_text(1, CALL_HTTP, "say", "ho");
    OUTPUTS("fc");
    PAYLOAD(0, "\\00");
    assert_int_equal(seen.origin, ST_ORIGIN_HTTP);
    assert_int_equal(header(0).kind, FRAME_REPLY);
    call_text(1, CALL_HTTP, "refuse", "why");
    PAYLOAD(1, "\\01why");
    call_text(1, CALL_HTTP, "nothing", "");
    PAYLOAD(1, "\\03");
    call_text(1, CALL_HTTP, "start", "");
    PAYLOAD(0, "\\04can't directly call special Init lifecycle reducer");
    reducer_begin(1, CALL_HTTP, "misuse");
    call_run();
    PAYLOAD(1, "\\05invalid arguments for reducer misuse: data too short for u32: Expected 4, given 0");

    call_begin(CALL_PROCEDURE, 0, 0, 1);
    buf_put_u32(&rec, 9);
    buf_put_str(&rec, STR("p"));
    call_run();
    PAYLOAD(1, "\\07\\01\\11\\00\\00\\00No such "
               "procedure\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\09\\00\\00\\00");
    stop();
}

static void a_failed_write_dooms_unless_it_was_tried(void **state)
{
    (void)state;
    start(1);
    connect_client(0, 0, 1);
    uint64_t before = core_offset(core);
    call_misuse(0, 0);
    OUTPUTS("lf");
    assert_non_null(strstr(shown(1), "\\03")); /* InternalError */
    assert_non_null(strstr(shown(1), "table account, column id: value 1000000 is already present"));
    assert_int_equal(core_offset(core), before);
    call_misuse(0, 1);
    OUTPUTS("fc");
    static const struct {
        uint32_t n;
        const char *text;
    } bad[] = {
        {2, "the module used record 99 as a table, which it is not"},
        {3, "table `account`: column 1 is not a unique column"},
        {4, "table `account` has no column 77"},
        {5, "table `note` has no index for this scan"},
        {6, "UTF-8"},
        {7, "the call asked for more than 268435456 bytes of scratch memory"},
        {10, "table account, column id: no row with value 5000"},
        {15, "insert without a row"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        call_misuse(0, bad[i].n);
        OUTPUTS("lf");
        if (!strstr(shown(1), bad[i].text))
            FAIL_TEST("misuse %u: %s", bad[i].n, shown(1));
        assert_int_equal(outs[1].b.ptr[sizeof(FrameHeader) + 13], 3); /* InternalError */
    }
    call_misuse(0, 8); /* only blanks were asked for; at most 4095 bytes of text */
    OUTPUTS("lf");
    call_misuse(0, 9);
    assert_non_null(strstr(shown(1), "reducer `misuse` failed with status 99 and no text"));
    call_misuse(0, 11); /* st_fail without returning it */
    OUTPUTS("f");
    call_misuse(0, 12);
    OUTPUTS("lf");
    assert_true(log_says(0, 1, "misuse", "bad \xef\xbf\xbd byte 5"));
    assert_int_equal(load_i64(outs[0].b.ptr + 1), now);
    assert_int_equal(load_u32(outs[0].b.ptr + 9), 12);
    call_misuse(0, 13);
    OUTPUTS("fc");
    call_misuse(0, 14);
    assert_true(log_says(0, 0, "misuse", "cut \xef\xbf\xbd here"));
    call_misuse(0, 16);
    OUTPUTS("f");
    call_misuse(0, 17);
    OUTPUTS("fc");
    stop();
}

static void the_caller_hears_once_and_others_share_segments(void **state)
{
    (void)state;
    start(1);
    for (uint32_t i = 0; i < 4; i++)
        connect_client(i, 0, 1);
    for (uint32_t i = 0; i < 3; i++) {
        subscribe(i, 0, 40 + i, "SELECT * FROM note");
        OUTPUTS("f");
        PAYLOAD(0, i == 0   ? "\\01F\\00\\00\\00(\\00\\00\\00\\00\\00\\00\\00"
                   : i == 1 ? "\\01F\\00\\00\\00)\\00\\00\\00\\00\\00\\00\\00"
                            : "\\01F\\00\\00\\00*\\00\\00\\00\\00\\00\\00\\00");
    }
    call_text(1, 0, "say", "x");
    OUTPUTS("ffc");
    assert_int_equal(header(0).kind, FRAME_MESSAGE);
    assert_int_equal(header(0).slot, 1);
    assert_non_null(strstr(shown(0), "\\01\\00\\00\\00)\\00\\00\\00\\01\\00\\00\\00\\04\\00\\00\\00note"));
    assert_int_equal(header(1).kind, FRAME_UPDATE);
    assert_int_equal(header(1).offset, header(0).offset);
    Reader r = reader_of(bytes_of(outs[1].b.ptr + sizeof(FrameHeader), outs[1].b.len - sizeof(FrameHeader)));
    for (uint32_t n = read_u32(&r), i = 0; i < n; i++)
        (void)read_blob(&r);
    assert_int_equal(read_u32(&r), 1); /* one group */
    assert_int_equal(read_u32(&r), 1); /* one set each */
    uint32_t npieces = read_u32(&r);
    (void)read_raw(&r, 4 * npieces);
    assert_int_equal(read_u32(&r), 2); /* without the caller */
    assert_int_equal(read_u32(&r), 0);
    (void)read_u32(&r);
    assert_int_equal(read_u32(&r), 2);
    (void)read_u32(&r);
    assert_int_equal(read_u32(&r), 40);
    assert_int_equal(read_u32(&r), 42);
    assert_false(r.bad);
    assert_int_equal(reader_left(&r), 0);

    call_text(3, 0, "shoot", "bang"); /* event rows: nothing to store, so no record */
    OUTPUTS("f");
    subscribe(3, 0, 1, "SELECT * FROM shot");
    call_text(0, 0, "shoot", "bang");
    OUTPUTS("ff");
    assert_int_equal(header(1).offset, core_offset(core));
    subscribe(0, 0, 40, "SELECT * FROM note"); /* the id is taken */
    assert_int_equal(outs[0].b.ptr[sizeof(FrameHeader)], 3);
    assert_int_equal(header(0).flags, FRAME_NOT_HELD);
    subscribe(0, 0, 44, "SELECT * FROM secret");
    PAYLOAD(0, "\\03\\00F\\00\\00\\00,\\00\\00\\00j\\00\\00\\00no such table: `secret`. If the table exists, it may be "
               "marked private., executing: `SELECT * FROM secret`");

    call_begin(CALL_UNSUBSCRIBE, CALL_DROPPED_ROWS, 0, 1);
    buf_put_u32(&rec, 3);
    buf_put_u32(&rec, 40);
    call_run();
    PAYLOAD(0, "\\02\\03\\00\\00\\00("
               "\\00\\00\\00\\00\\01\\00\\00\\00\\04\\00\\00\\00note\\00\\05\\00\\05\\00\\00\\00\\01\\00\\00\\00x");
    call_run();
    assert_int_equal(outs[0].b.ptr[sizeof(FrameHeader)], 3);
    call_begin(CALL_UNSUBSCRIBE, 0, 2, 1);
    buf_put_u32(&rec, 3);
    buf_put_u32(&rec, 42);
    call_run();
    PAYLOAD(0, "\\02\\03\\00\\00\\00*\\00\\00\\00\\01");
    call_text(3, 0, "say", "y"); /* only client 1 is left; it is not the caller */
    OUTPUTS("ffc");
    call_text(1, 0, "say", "z"); /* the caller's group was the only one */
    OUTPUTS("fc");
    stop();
}

static void one_off_queries_and_sql(void **state)
{
    (void)state;
    start(1);
    connect_client(0, 0, 1);
    connect_client(1, CALL_HTTP | CALL_OWNER, 1);
    connect_client(2, CALL_HTTP, 1);
    subscribe(0, 0, 1, "SELECT * FROM note");
    call_text(0, 0, "say", "one");
    static const char *const one_off[] = {"SELECT * FROM note", "SELECT * FROM nope"};
    for (int i = 0; i < 2; i++) {
        call_begin(CALL_ONE_OFF, 0, 0, 1);
        buf_put_u32(&rec, 6);
        buf_put_str(&rec, str_of(one_off[i]));
        call_run();
        OUTPUTS("f");
        if (i == 0)
            PAYLOAD(0, "\\05\\06\\00\\00\\00\\00\\01\\00\\00\\00\\04\\00\\00\\00note\\00\\07\\00\\07\\00\\00\\00\\03\\0"
                       "0\\00\\00one");
        else
            assert_non_null(strstr(shown(0), "\\05\\06\\00\\00\\00\\01"));
    }
    call_begin(CALL_SQL, CALL_HTTP, 1, 1);
    buf_put_str(&rec, STR("INSERT INTO note (text) VALUES ('two')"));
    call_run();
    OUTPUTS("ffc"); /* reply, the subscriber's update, the record */
    assert_int_equal(header(1).kind, FRAME_UPDATE);
    Reader r = reader_of(bytes_of(outs[0].b.ptr + sizeof(FrameHeader), outs[0].b.len - sizeof(FrameHeader)));
    assert_int_equal(read_u8(&r), REPLY_OK);
    (void)read_blob(&r);
    assert_int_equal(read_u64(&r), 0);
    assert_int_equal(read_u64(&r), 1);
    (void)read_raw(&r, 24);
    assert_int_equal(read_blob(&r).len, 0);
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
    call_begin(CALL_SQL, CALL_HTTP, 2, 1);
    buf_put_str(&rec, STR("INSERT INTO note (text) VALUES ('three')"));
    call_run();
    OUTPUTS("f");
    assert_int_equal(outs[0].b.ptr[sizeof(FrameHeader)], REPLY_DENIED);
    call_begin(CALL_SQL, CALL_HTTP, 2, 1);
    buf_put_str(&rec, STR("SELECT nonsense"));
    call_run();
    assert_int_equal(outs[0].b.ptr[sizeof(FrameHeader)], REPLY_SQL_ERROR);
    call_begin(CALL_SQL, CALL_HTTP, 2, 1);
    buf_put_str(&rec, STR("SELECT * FROM note"));
    call_run();
    OUTPUTS("f");
    r = reader_of(bytes_of(outs[0].b.ptr + sizeof(FrameHeader) + 1, outs[0].b.len - sizeof(FrameHeader) - 1));
    Bytes type = read_blob(&r);
    assert_true(type.len && type.ptr[0] == 2); /* a product */
    assert_int_equal(read_u64(&r), 2);
    stop();
}

static void a_publish_swaps_or_leaves_everything(void **state)
{
    (void)state;
    char text[1100];
    start(1);
    connect_client(0, 0, 1);
    connect_client(1, 0, 1);
    call_text(0, 0, "open", "ada");
    subscribe(0, 0, 1, "SELECT * FROM account");
    control_begin(CTL_SWAP);
    assert_int_equal(control_run(text), S_INVALID);
    put_load(CTL_PREPARE, 2, "zz", 2);
    assert_int_equal(prepare_run(text), S_NOT_FOUND);
    put_load(CTL_PREPARE, 2, "v2", 1);
    assert_int_equal(prepare_run(text), S_INVALID);
    assert_int_equal(modules_open, 1);
    assert_true(core_accepts_calls(core));
    put_load(CTL_PREPARE, 2, "v2", 2);
    assert_int_equal(control_run(NULL), S_OK);
    assert_int_equal(nouts, 0); /* not answered before it is done; calls go on */
    assert_true(core_accepts_calls(core));
    call_text(1, 0, "say", "meanwhile");
    OUTPUTS("fc");
    assert_int_equal(simple_control(CTL_PAUSE, text), S_INVALID); /* not prepared yet */
    while (core_work(core))
        ;
    assert_true(core_accepts_calls(core));
    assert_int_equal(simple_control(CTL_RESUME, text), S_INVALID);
    assert_int_equal(simple_control(CTL_EXPORT, text), S_INVALID);
    assert_int_equal(simple_control(CTL_PAUSE, NULL), S_OK);
    assert_false(core_accepts_calls(core));
    assert_int_equal(simple_control(CTL_RESUME, NULL), S_OK);
    assert_true(core_accepts_calls(core));
    assert_int_equal(modules_open, 2);
    put_load(CTL_PREPARE, 2, "v2", 2);
    assert_int_equal(prepare_run(text), S_INVALID);
    control_begin(CTL_ABORT);
    assert_int_equal(control_run(NULL), S_OK);
    assert_int_equal(modules_open, 1);
    call_misuse(0, 99);
    OUTPUTS("f");

    put_load(CTL_PREPARE, 2, "v2", 2);
    assert_int_equal(prepare_run(NULL), S_OK);
    assert_int_equal(simple_control(CTL_SWAP, text), S_INVALID); /* not paused */
    assert_int_equal(simple_control(CTL_PAUSE, NULL), S_OK);
    control_begin(CTL_SWAP);
    assert_int_equal(control_run(NULL), S_OK);
    OUTPUTS("f"); /* nobody's subscription ended */
    assert_int_equal(modules_open, 1);
    call_misuse(0, 99); /* its parameters are others now */
    OUTPUTS("f");
    assert_non_null(strstr(shown(0), "reducer `misuse` changed its parameters by a publish since the client connected"));
    call_text(1, 0, "say", "still here");
    OUTPUTS("fc");
    assert_int_equal(commit_of(1).schema_version, 2);
    call_begin(CALL_ONE_OFF, 0, 0, 1); /* in the shape that the client knows: 8 + 8 + 4 + 3 bytes, no rank */
    buf_put_u32(&rec, 6);
    buf_put_str(&rec, STR("SELECT * FROM account"));
    call_run();
    assert_non_null(strstr(shown(0), "account\\00\\17\\00\\17\\00\\00\\00"));
    subscribe(1, 0, 9, "SELECT * FROM account"); /* also for a set registered after the swap */
    assert_non_null(strstr(shown(0), "account\\00\\17\\00\\17\\00\\00\\00"));
    connect_client(2, 0, 2);
    subscribe(2, 0, 9, "SELECT * FROM account");
    assert_non_null(strstr(shown(0), "account\\00\\1f\\00\\1f\\00\\00\\00"));
    stop();

    start(1); /* the table becomes private: the subscription ends with a reason */
    connect_client(0, 0, 1);
    subscribe(0, 0, 21, "SELECT * FROM account");
    put_load(CTL_PREPARE, 2, "v3", 3);
    assert_int_equal(prepare_run(NULL), S_OK);
    assert_int_equal(simple_control(CTL_SWAP, text), S_INVALID); /* not paused */
    assert_int_equal(simple_control(CTL_PAUSE, NULL), S_OK);
    control_begin(CTL_SWAP);
    assert_int_equal(control_run(NULL), S_OK);
    OUTPUTS("ff");
    assert_int_equal(header(0).slot, 0);
    assert_int_equal(header(0).generation, 10);
    assert_int_equal(header(0).call_seq, 0);
    assert_memory_equal(outs[0].b.ptr + sizeof(FrameHeader), "\3\1\25\0\0\0", 6); /* no request asked for it */
    call_text(0, 0, "open", "bob");
    OUTPUTS("fc");
    stop();
}

static void a_replayed_life_continues_where_the_last_one_ended(void **state)
{
    (void)state;
    start(1);
    connect_client(0, 0, 1);
    Buf records[3] = {{0}};
    static const char *const names[3] = {"ada", "bob", "cy"};
    Buf first = {0};
    buf_put_bytes(&first, buf_bytes(&outs[1].b));
    for (int i = 0; i < 3; i++) {
        call_text(0, 0, "open", names[i]);
        buf_put_bytes(&records[i], buf_bytes(&outs[1].b));
    }
    assert_int_equal(core_offset(core), 4);
    stop();
    CoreEnv env = test_env();
    core = core_new(&env);
    put_load(CTL_LOAD, 1, "v1", 1);
    assert_int_equal(control_run(NULL), S_OK);
    for (int i = -1; i < 3; i++) {
        control_begin(CTL_REPLAY);
        buf_put_bytes(&rec, i < 0 ? buf_bytes(&first) : buf_bytes(&records[i]));
        assert_int_equal(control_run(NULL), S_OK);
    }
    control_begin(CTL_READY);
    buf_put_u64(&rec, 4);
    assert_int_equal(control_run(NULL), S_OK);
    assert_int_equal(load_u64(outs[0].b.ptr + sizeof(FrameHeader) + 2), 4); /* three accounts, one secret */
    connect_client(0, CALL_SILENT, 1);
    call_text(0, 0, "open", "dee");
    OUTPUTS("fc");
    assert_int_equal(commit_of(1).offset, 5);
    assert_int_equal(table_count(engine_table_by_id(core_engine(core), 500)), 4);
    stop();
    core = core_new(&env); /* a gap */
    put_load(CTL_LOAD, 1, "v1", 1);
    assert_int_equal(control_run(NULL), S_OK);
    char text[1100] = "";
    for (int i = 0; i < 3; i += 2) {
        control_begin(CTL_REPLAY);
        buf_put_bytes(&rec, buf_bytes(&records[i]));
        assert_int_equal(control_run(text), i ? S_INVALID : S_OK);
    }
    assert_string_equal(text, "replay: record 4 follows record 2");
    stop();
    buf_done(&first);
    for (int i = 0; i < 3; i++)
        buf_done(&records[i]);
}

static void a_transfer_is_cheap(void **state)
{
    (void)state;
    start(1);
    connect_client(0, 0, 1);
    const uint64_t wallets = 100000;
    keep_outputs = false;
    for (uint64_t i = 0; i < wallets; i++)
        call_misuse(0, 18);
    uint64_t calls = getenv("BENCH") ? 2000000 : 20000, state_ = 1;
    reducer_begin(0, 0, "transfer");
    size_t at = rec.len;
    uint8_t args[24] = {0};
    buf_put(&rec, args, 24);
    for (int subscribed = 0; subscribed < 2; subscribed++) {
        if (subscribed) {
            Buf kept = rec;
            rec = (Buf){0};
            subscribe(0, 0, 1, "SELECT * FROM wallet WHERE id = 3");
            buf_done(&rec);
            rec = kept;
        }
        uint64_t begin = clock_monotonic_ns();
        for (uint64_t i = 0; i < calls; i++) {
            state_ = state_ * 6364136223846793005u + 1442695040888963407u;
            store_u64(rec.ptr + at, 1 + (state_ >> 33) % wallets);
            store_u64(rec.ptr + at + 8, 1 + (state_ >> 13) % wallets);
            store_u64(rec.ptr + at + 16, 1);
            core_call(core, buf_bytes(&rec));
        }
        if (getenv("BENCH"))
            print_message("%s: %.0f ns a transfer\n", subscribed ? "one subscription elsewhere" : "no subscriptions",
                          (double)(clock_monotonic_ns() - begin) / (double)calls);
    }
    keep_outputs = true;
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_checks_the_definition_and_the_ids),
        cmocka_unit_test(init_commits_under_call_0_or_says_why_not),
        cmocka_unit_test(connecting_runs_the_reducer_and_records_the_client),
        cmocka_unit_test(a_silent_registration_makes_no_sound),
        cmocka_unit_test(outcomes_have_the_words_of_the_protocol),
        cmocka_unit_test(a_failed_write_dooms_unless_it_was_tried),
        cmocka_unit_test(the_caller_hears_once_and_others_share_segments),
        cmocka_unit_test(one_off_queries_and_sql),
        cmocka_unit_test(a_publish_swaps_or_leaves_everything),
        cmocka_unit_test(a_replayed_life_continues_where_the_last_one_ended),
        cmocka_unit_test(a_transfer_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
