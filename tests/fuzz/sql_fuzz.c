/* sql_fuzz.c - untrusted SQL against a small database: parse, check, run, roll back; and as a subscription.
 * First byte: who asks. clang -fsanitize=fuzzer. */
#include "host/query/query.h"

static const char *const setup[] = {
    "INSERT INTO goods (id, sku, price, live, f, ts, who, w) VALUES (1,'pen',3,true,1.5,'2025-01-01T00:00:00Z',"
    "0x0000000000000000000000000000000000000000000000000000000000000000,7)",
    "INSERT INTO goods (id, sku, price, live, f, ts, who, w) VALUES (2,'ink',9,false,-0.5,'2025-01-02T00:00:00Z',"
    "0x0000000000000000000000000000000000000000000000000000000000000001,1e70)",
    "INSERT INTO bag (a, by) VALUES (1, 0x),(2, 0xABCD)",
};

static Engine *engine;
static Subs *subs;

static void run(Str text, const Caller *caller)
{
    SqlResult r;
    Error err;
    txn_begin(engine);
    if (sql_execute(&r, engine, text, caller, &err) == S_OK) {
        uint32_t n;
        const TableChange *changes = txn_changes(engine, &n);
        subs_evaluate(subs, n, changes, 0, NULL);
        sql_result_done(&r);
    } else {
        ASSERT(utf8_valid(str_of(err.text)));
    }
    txn_rollback(engine);
}

static void start(void)
{
    ModuleBuilder *b = module_builder_new();
    const BuilderColumn goods[] = {
        {.name = STR("id"), .type = type_scalar(TYPE_U64), .flags = COLUMN_PK | COLUMN_AUTO_INC},
        {.name = STR("sku"), .type = type_scalar(TYPE_STRING), .flags = COLUMN_INDEX},
        {.name = STR("price"), .type = type_scalar(TYPE_I32), .flags = COLUMN_INDEX},
        {.name = STR("live"), .type = type_scalar(TYPE_BOOL)},
        {.name = STR("f"), .type = type_scalar(TYPE_F64)},
        {.name = STR("ts"), .type = type_scalar(TYPE_TIMESTAMP)},
        {.name = STR("who"), .type = type_scalar(TYPE_IDENTITY), .flags = COLUMN_UNIQUE},
        {.name = STR("w"), .type = type_scalar(TYPE_U256)},
    };
    const BuilderColumn bag[] = {{.name = STR("a"), .type = type_scalar(TYPE_I8)}, {.name = STR("by"), .type = type_scalar(TYPE_BYTES)}};
    module_builder_table(b, STR("goods"), ACCESS_PUBLIC, false, COUNT_OF(goods), goods);
    module_builder_table(b, STR("bag"), ACCESS_PUBLIC, false, COUNT_OF(bag), bag);
    module_builder_table(b, STR("secret"), ACCESS_PRIVATE, false, COUNT_OF(bag), bag);
    Buf bsatn = {0};
    Error err;
    ModuleDef *def;
    static const uint32_t ids[] = {5001, 5002, 5003};
    if (module_builder_finish(b, &bsatn, &err) != S_OK || module_def_from_bsatn(&def, buf_bytes(&bsatn), &err) != S_OK)
        BUG("%s", err.text);
    SchemaImage image = {def, 1, ids};
    engine = engine_new(&(EngineLimits){0});
    engine_set_schema(engine, &image);
    subs = subs_new(engine);
    Caller owner = {.is_owner = true};
    subs_client_add(subs, (ClientRef){0, 1}, &owner, 0, NULL);
    Str all = STR("SELECT * FROM *");
    if (subs_subscribe(subs, (ClientRef){0, 1}, 1000, 1, &all, NULL, &err) != S_OK)
        BUG("%s", err.text);
    for (size_t i = 0; i < COUNT_OF(setup); i++) {
        SqlResult r;
        txn_begin(engine);
        if (sql_execute(&r, engine, str_of(setup[i]), &owner, &err) != S_OK)
            BUG("%s", err.text);
        txn_commit(engine);
        sql_result_done(&r);
    }
    buf_done(&bsatn);
    module_def_unref(def);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!engine)
        start();
    if (size == 0)
        return 0;
    Caller caller = {.is_owner = (data[0] & 1) == 0, .identity = {(uint8_t)(data[0] & 2)}};
    Str text = {(const char *)data + 1, size - 1};
    run(text, &caller);
    ClientRef client = {1, 2};
    Error err;
    Buf out = {0};
    subs_client_add(subs, client, &caller, 0, NULL);
    Str twice[] = {text, text};
    if (subs_subscribe(subs, client, 1, 2, twice, &out, &err) == S_OK) {
        ASSERT(subs_query_count(subs) <= 6);
        run(STR("UPDATE goods SET price = 4 WHERE live"), &(Caller){.is_owner = true});
        run(STR("DELETE FROM bag"), &(Caller){.is_owner = true});
    } else {
        ASSERT(utf8_valid(str_of(err.text)));
    }
    subs_client_remove(subs, client);
    ASSERT(subs_query_count(subs) == 3);
    buf_done(&out);
    return 0;
}
