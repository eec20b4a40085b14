/* query_random_test.c - random transactions, subscribes and unsubscribes: what each client keeps from its deltas is what
 * a fresh evaluation says, each time. SEED=n repeats a run; ROUNDS=n makes it longer. */
#include "tests/unit/query_kit.h"

enum { CLIENTS = 12, SETS = 4, BAG_MAX = 4000 };

static uint64_t random_state;
static uint32_t pick(uint32_t n)
{
    random_state += 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash_u64(random_state) % n);
}

typedef struct Bag {
    uint32_t n;
    struct {
        char *row;
        int count;
    } items[BAG_MAX];
} Bag;
typedef struct Model {
    bool live;
    ClientRef ref;
    Caller caller;
    uint16_t ncols;
    bool has_set[SETS];
    Bag bag;
} Model;
static Model models[CLIENTS];

static void bag_add(void *arg, Str table, const char *row, int sign)
{
    Bag *b = arg;
    char text[400];
    snprintf(text, sizeof text, "%.*s%s", STR_FMT(table), row);
    for (uint32_t i = 0; i < b->n; i++) {
        if (strcmp(b->items[i].row, text) == 0) {
            b->items[i].count += sign;
            if (b->items[i].count == 0) {
                free(b->items[i].row);
                b->items[i] = b->items[--b->n];
            }
            return;
        }
    }
    assert_true(b->n < BAG_MAX);
    b->items[b->n].row = x_strdup(text);
    b->items[b->n++].count = sign;
}
static void bag_subtract(void *arg, Str table, const char *row, int sign) { bag_add(arg, table, row, -sign); }

static Engine *db(void)
{
    ModuleBuilder *b = module_builder_new();
    KIT_TABLE(b, "u", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK}, {"g", T(U32), COLUMN_INDEX}, {"n", T(I32), 0}, {"s", T(STRING), 0});
    KIT_TABLE(b, "m", ACCESS_PUBLIC, false, {"a", T(U32), COLUMN_INDEX}, {"b", T(U32), 0}, {"c", T(U32), 0});
    KIT_TABLE(b, "acct", ACCESS_PUBLIC, false, {"who", T(IDENTITY), COLUMN_PK}, {"lvl", T(U32), 0}, {"live", T(BOOL), 0});
    return kit_engine(b);
}

static void random_query(Buf *out)
{
    static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};
    switch (pick(12)) {
    case 0: buf_printf(out, "SELECT * FROM u"); break;
    case 1: buf_printf(out, "SELECT * FROM u WHERE id = %u", pick(12)); break;
    case 2: buf_printf(out, "SELECT * FROM u WHERE g = %u AND n %s %u", pick(4), ops[pick(6)], pick(5)); break;
    case 3: buf_printf(out, "SELECT * FROM u WHERE n %s %u OR s = 'v%u'", ops[pick(6)], pick(5), pick(3)); break;
    case 4: buf_printf(out, "SELECT t.* FROM u t WHERE NOT (t.n = %u AND t.g %s %u)", pick(5), ops[pick(6)], pick(4)); break;
    case 5: buf_printf(out, "SELECT * FROM m"); break;
    case 6: buf_printf(out, "SELECT * FROM m WHERE a %s b", ops[pick(6)]); break;
    case 7: buf_printf(out, "SELECT * FROM m WHERE a = %u", pick(4)); break;
    case 8: buf_printf(out, "SELECT * FROM acct WHERE who = :sender"); break;
    case 9: buf_printf(out, "SELECT * FROM acct WHERE live = (lvl %s %u)", ops[pick(6)], pick(4)); break;
    case 10: buf_printf(out, "SELECT * FROM u WHERE s = 'v%u' AND g >= %u AND g < %u", pick(3), pick(3), pick(5)); break;
    default: buf_printf(out, "SELECT * FROM *"); break;
    }
}

static void random_write(Engine *e)
{
    char text[300];
    switch (pick(9)) {
    case 0:
    case 1:
        snprintf(text, sizeof text, "INSERT INTO u (id, g, n, s) VALUES (%u, %u, %u, 'v%u')", pick(12), pick(4), pick(5), pick(3));
        break;
    case 2: snprintf(text, sizeof text, "UPDATE u SET n = %u WHERE id = %u", pick(5), pick(12)); break;
    case 3: snprintf(text, sizeof text, "UPDATE u SET g = %u, s = 'v%u' WHERE n = %u", pick(4), pick(3), pick(5)); break;
    case 4: snprintf(text, sizeof text, "DELETE FROM u WHERE id = %u", pick(12)); break;
    case 5:
        snprintf(text, sizeof text, "INSERT INTO m (a, b, c) VALUES (%u, %u, %u), (%u, %u, %u)", pick(4), pick(3), pick(3), pick(4),
                 pick(3), pick(3));
        break;
    case 6: snprintf(text, sizeof text, "UPDATE m SET b = %u WHERE a = %u", pick(3), pick(4)); break;
    case 7: snprintf(text, sizeof text, "DELETE FROM m WHERE c = %u", pick(3)); break;
    default:
        snprintf(text, sizeof text,
                 pick(2) ? "INSERT INTO acct (who, lvl, live) VALUES (0x%064x, %u, %s)"
                         : "DELETE FROM acct WHERE who = 0x%064x OR (lvl = %u AND %s)",
                 pick(CLIENTS), pick(4), pick(2) ? "true" : "false");
    }
    SqlResult r;
    Error err;
    if (sql_execute(&r, e, str_of(text), &kit_owner, &err) == S_OK) /* a conflict leaves the rows before it: fine here */
        sql_result_done(&r);
}

static void deliver(Engine *e, const Update *u)
{
    assert_int_equal(u->nfailures, 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        Buf bytes = {0};
        uint32_t nsets;
        if (models[i].live && kit_message(u, models[i].ref, &bytes, &nsets)) {
            assert_true(nsets > 0);
            kit_each_update_row(e, buf_bytes(&bytes), nsets, models[i].ncols, NULL, bag_add, &models[i].bag);
        }
        buf_done(&bytes);
    }
}

/* What a client would be told if it asked for everything now. */
static void compare_fresh(Engine *e, Subs *fresh, const Model *m, const Str queries[SETS][3], const uint32_t *counts)
{
    static Bag rest;
    rest.n = 0;
    for (uint32_t i = 0; i < m->bag.n; i++) {
        rest.items[i].row = x_strdup(m->bag.items[i].row);
        rest.items[i].count = m->bag.items[i].count;
        assert_true(m->bag.items[i].count > 0);
    }
    rest.n = m->bag.n;
    TableShape shapes[3];
    const SchemaImage *image = engine_schema(e);
    for (uint32_t i = 0; i < 3; i++)
        shapes[i] = (TableShape){image->ids[i], m->ncols ? m->ncols : 100};
    subs_client_add(fresh, m->ref, &m->caller, 3, shapes);
    for (uint32_t s = 0; s < SETS; s++) {
        if (!m->has_set[s])
            continue;
        Buf snapshot = {0};
        MUST(subs_subscribe(fresh, m->ref, s, counts[s], queries[s], &snapshot, err));
        kit_each_snapshot_row(e, buf_bytes(&snapshot), m->ncols, bag_subtract, &rest);
        buf_done(&snapshot);
    }
    subs_client_remove(fresh, m->ref);
    if (rest.n)
        fail_msg("client %u keeps %d of %s that it should not (or misses it)", m->ref.slot, rest.items[0].count, rest.items[0].row);
}

static void deltas_add_up_to_a_fresh_evaluation(void **state)
{
    (void)state;
    const char *seed = getenv("SEED"), *rounds = getenv("ROUNDS");
    uint64_t start = seed ? strtoull(seed, NULL, 0) : (uint64_t)clock_wall_us();
    uint32_t n = rounds ? (uint32_t)strtoul(rounds, NULL, 0) : 600;
    print_message("SEED=%llu\n", (unsigned long long)start);
    random_state = start;
    Engine *e = db();
    Subs *s = subs_new(e), *fresh = subs_new(e);
    static Str queries[CLIENTS][SETS][3];
    static uint32_t counts[CLIENTS][SETS];
    Arena texts = {0};
    for (uint32_t round = 0; round < n; round++) {
        uint32_t i = pick(CLIENTS), set = pick(SETS);
        Model *m = &models[i];
        switch (pick(6)) {
        case 0:
            if (m->live && pick(3) == 0) {
                subs_client_remove(s, m->ref);
                while (m->bag.n)
                    free(m->bag.items[--m->bag.n].row);
                memset(m->has_set, 0, sizeof m->has_set);
                m->live = false;
            }
            break;
        case 1:
        case 2: {
            if (!m->live) {
                m->live = true;
                m->ref = (ClientRef){i, round};
                m->caller = (Caller){.identity = {(uint8_t)i}};
                m->ncols = pick(3) ? 0 : (uint16_t)(1 + pick(3));
                TableShape shapes[3];
                for (uint32_t t = 0; t < 3; t++)
                    shapes[t] = (TableShape){engine_schema(e)->ids[t], m->ncols};
                subs_client_add(s, m->ref, &m->caller, m->ncols ? 3 : 0, shapes);
            }
            Buf snapshot = {0};
            if (m->has_set[set]) {
                MUST(subs_unsubscribe(s, m->ref, set, &snapshot, err));
                kit_each_snapshot_row(e, buf_bytes(&snapshot), m->ncols, bag_subtract, &m->bag);
                m->has_set[set] = false;
            } else {
                counts[i][set] = 1 + pick(3);
                for (uint32_t k = 0; k < counts[i][set]; k++) {
                    Buf text = {0};
                    random_query(&text);
                    queries[i][set][k] = arena_str(&texts, buf_str(&text));
                    buf_done(&text);
                }
                MUST(subs_subscribe(s, m->ref, set, counts[i][set], queries[i][set], &snapshot, err));
                kit_each_snapshot_row(e, buf_bytes(&snapshot), m->ncols, bag_add, &m->bag);
                m->has_set[set] = true;
            }
            buf_done(&snapshot);
            break;
        }
        default: {
            uint32_t nchanges;
            txn_begin(e);
            for (uint32_t k = 1 + pick(4); k > 0; k--)
                random_write(e);
            const TableChange *changes = txn_changes(e, &nchanges);
            if (pick(8) == 0) { /* computed, then given up: nobody may remember */
                subs_evaluate(s, nchanges, changes, 0, NULL);
                txn_rollback(e);
                break;
            }
            deliver(e, subs_evaluate(s, nchanges, changes, 0, NULL));
            txn_commit(e);
        }
        }
        for (uint32_t k = 0; k < CLIENTS; k++)
            if (models[k].live)
                compare_fresh(e, fresh, &models[k], (const Str(*)[3])queries[k], counts[k]);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (models[i].live)
            subs_client_remove(s, models[i].ref);
        while (models[i].bag.n)
            free(models[i].bag.items[--models[i].bag.n].row);
    }
    assert_int_equal(subs_query_count(s), 0);
    assert_int_equal(subs_query_count(fresh), 0);
    arena_done(&texts);
    subs_free(s);
    subs_free(fresh);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deltas_add_up_to_a_fresh_evaluation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
