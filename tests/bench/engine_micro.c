/* engine_micro.c - what a find, an update, an insert, a loaded row and a commit of the engine cost.
 * Table: {u32 id primary key; i64 balance}. Usage: engine_micro [rows]; prints nanoseconds per operation. */
#include "host/engine/engine.h"
#include <stdio.h>

typedef struct Account {
    uint32_t id;
    int64_t balance;
} Account;

static ModuleDef *account_module(bool with_index)
{
    ModuleBuilder *b = module_builder_new();
    const BuilderColumn cols[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK},
                                  {.name = STR("balance"), .type = type_scalar(TYPE_I64), .flags = with_index ? COLUMN_INDEX : 0}};
    module_builder_table(b, STR("account"), ACCESS_PUBLIC, false, 2, cols);
    OWN(buf) Buf bsatn = {0};
    Error err;
    ModuleDef *def;
    if (module_builder_finish(b, &bsatn, &err) != S_OK || module_def_from_bsatn(&def, buf_bytes(&bsatn), &err) != S_OK)
        BUG("%s", err.text);
    return def;
}

static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((random_state >> 32) * n) >> 32);
}

static void show(const char *what, uint64_t since, uint64_t n)
{
    printf("%-44s %8.1f ns\n", what, (double)(clock_monotonic_ns() - since) / (double)n);
}

static void run(uint32_t rows, bool with_index)
{
    ModuleDef *def = account_module(with_index);
    uint32_t id = 4096;
    Engine *e = engine_new(NULL);
    engine_set_schema(e, &(SchemaImage){def, 1, &id});
    Table *t = engine_table(e, 0);
    Error err;
    printf("%u rows%s\n", rows, with_index ? ", B+tree on balance" : "");

    Buf in = {0};
    for (uint32_t i = 0; i < rows; i++)
        buf_put_u32(&in, i), buf_put_i64(&in, random_below(1 << 30));
    uint64_t since = clock_monotonic_ns();
    table_load_expect(t, rows);
    Reader r = reader_of(buf_bytes(&in));
    for (uint32_t i = 0; i < rows; i++)
        if (table_load_row(t, &r, &err) != S_OK)
            BUG("%s", err.text);
    show("table_load_row", since, rows);
    printf("%-44s %8.1f bytes\n", "memory per row", (double)engine_bytes_used(e) / rows);

    const uint32_t n = 2000000, hot = MIN(rows, 1000);
    int64_t sum = 0;
    since = clock_monotonic_ns();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = random_below(hot);
        sum += ((const Account *)table_find(t, 0, &key))->balance;
    }
    show("table_find, 1,000 hot rows", since, n);
    since = clock_monotonic_ns();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = random_below(rows);
        sum += ((const Account *)table_find(t, 0, &key))->balance;
    }
    show("table_find, all rows", since, n);

    for (uint32_t range = hot;; range = rows) {
        Buf out = {0};
        since = clock_monotonic_ns();
        for (uint32_t i = 0; i < n / 2; i++) {
            txn_begin(e);
            for (int k = 0; k < 2; k++) {
                uint32_t key = random_below(range);
                Account a = *(const Account *)table_find(t, 0, &key);
                a.balance += k ? 7 : -7;
                if (table_update(t, 0, &a, NULL, &err) != S_OK)
                    BUG("%s", err.text);
            }
            txn_commit(e);
        }
        show(range == hot ? "transfer (2 finds, 2 updates, commit), hot" : "transfer, all rows", since, n / 2);
        since = clock_monotonic_ns();
        for (uint32_t i = 0; i < 2000; i++) {
            txn_begin(e);
            for (int k = 0; k < 500; k++) {
                uint32_t key = random_below(range);
                Account a = *(const Account *)table_find(t, 0, &key);
                a.balance++;
                if (table_update(t, 0, &a, NULL, &err) != S_OK)
                    BUG("%s", err.text);
            }
            if (i % 2)
                txn_rollback(e);
            else
                txn_commit(e);
        }
        show("find + update in transactions of 500", since, 2000 * 500);
        since = clock_monotonic_ns();
        for (uint32_t i = 0; i < n / 4; i++) {
            txn_begin(e);
            uint32_t key = random_below(range), ntables;
            Account a = *(const Account *)table_find(t, 0, &key);
            a.balance++;
            if (table_update(t, 0, &a, NULL, &err) != S_OK)
                BUG("%s", err.text);
            buf_reset(&out);
            txn_write_tables(e, &out, &ntables);
            txn_commit(e);
        }
        show("update with its part of a commit record", since, n / 4);
        buf_done(&out);
        if (range == rows)
            break;
    }
    since = clock_monotonic_ns();
    Cursor c;
    uint64_t seen = 0;
    cursor_all(&c, t);
    for (const Account *a; (a = cursor_next(&c)); seen++)
        sum += a->balance;
    show("full scan, a row", since, seen);
    if (with_index) {
        since = clock_monotonic_ns();
        seen = 0;
        int64_t lo = 0, hi = INT64_MAX;
        uint16_t col = 1;
        cursor_index(&c, t, table_find_index(t, 1, &col), 0, NULL, &lo, &hi);
        for (const Account *a; (a = cursor_next(&c)); seen++)
            sum += a->balance;
        show("range scan, a row", since, seen);
    }
    txn_begin(e);
    since = clock_monotonic_ns();
    for (uint32_t i = 0; i < 200000; i++) {
        Account a = {rows + i, random_below(1 << 30)};
        if (table_insert(t, &a, NULL, &err) != S_OK)
            BUG("%s", err.text);
    }
    show("table_insert", since, 200000);
    since = clock_monotonic_ns();
    txn_commit(e);
    show("commit of an inserted row", since, 200000);
    printf("(%lld)\n\n", (long long)sum);
    engine_free(e);
    module_def_unref(def);
    buf_done(&in);
}

int main(int argc, char **argv)
{
    uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    run(rows, false);
    run(rows, true);
    return 0;
}
