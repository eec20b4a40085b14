/* query_views_test.c - results of views follow what they have read, and nothing else is run; compared with a computation from scratch. */
#include "host/query/views.h"
#include "tests/unit/query_kit.h"

enum { OWNERS = 5, IDS = 40, AS = 12 };
typedef struct Row {
    uint32_t id;
    uint8_t owner[32];
    uint32_t a, b;
} Row;
enum { V_ANY, V_BY_A, V_COUNT, V_MINE, V_QUERY, V_QUERY_MINE, V_RANGE, V_WHOLE, VIEWS }; /* in the order of their names */

static const char *const names[VIEWS] = {"any", "by_a", "count", "mine", "query", "query_mine", "range", "whole"};

typedef struct World {
    Engine *e;
    Views *v;
    Subs *s;
    SchemaImage image;
    int64_t now_us;
    uint32_t failing; /* this view fails: position + 1 */
    uint32_t lo, hi;  /* of the range */
    uint64_t random;
} World;

static uint64_t below(World *w, uint64_t n) { return hash_u64(w->random += 0x9e3779b97f4a7c15u) % n; }
static Table *table(World *w) { return engine_table(w->e, 0); }
static void owner_of(uint8_t out[32], uint64_t n) { memset(memset(out, 0, 32), (int)n, n ? 32 : 0); }

/* ---- the views, over whatever is there ---- */

static Status emit_all(World *w, Cursor *c, Error *err)
{
    for (const void *row; (row = cursor_next(c)) != NULL;)
        TRY(views_emit(w->v, row, err));
    return S_OK;
}

static Status run(void *user, uint32_t view, const uint8_t sender[32], Error *err)
{
    World *w = user;
    const uint16_t owner_col = 1, a_col = 2;
    Cursor c;
    if (w->failing == view + 1)
        return FAIL(err, S_INVALID, "it will not");
    switch (view) {
    case V_ANY: { /* one row, found by key: option */
        uint32_t id = 7;
        const void *key = &id;
        views_read_key(w->v, table(w), 1, &(uint16_t){0}, &key);
        const void *row = table_find(table(w), 0, &id);
        return row ? views_emit(w->v, row, err) : S_OK;
    }
    case V_BY_A: { /* a chain: what is read next depends on what was found */
        uint32_t a = sender[0] % AS;
        for (int hop = 0; hop < 3; hop++) {
            const void *key = &a;
            uint32_t next = a;
            views_read_key(w->v, table(w), 1, &a_col, &key);
            cursor_index(&c, table(w), table_find_index(table(w), 1, &a_col), 1, &key, NULL, NULL);
            for (const Row *row; (row = cursor_next(&c)) != NULL; next = row->b % AS)
                TRY(views_emit(w->v, row, err));
            if (next == a)
                return S_OK;
            a = next;
        }
        return S_OK;
    }
    case V_COUNT: {
        views_read_table(w->v, table(w));
        uint64_t n = table_count(table(w));
        return views_emit(w->v, &n, err);
    }
    case V_MINE: {
        const void *key = sender;
        views_read_key(w->v, table(w), 1, &owner_col, &key);
        cursor_index(&c, table(w), table_find_index(table(w), 1, &owner_col), 1, &key, NULL, NULL);
        return emit_all(w, &c, err);
    }
    case V_QUERY: return views_query(w->v, STR("SELECT * FROM t WHERE b >= 50 AND a <> 3"), err);
    case V_QUERY_MINE: return views_query(w->v, STR("SELECT * FROM t WHERE owner = :sender AND b < 30"), err);
    case V_RANGE:
        views_read_range(w->v, table(w), 0, &a_col, NULL, &w->lo, w->hi == UINT32_MAX ? NULL : &w->hi);
        cursor_index(&c, table(w), table_find_index(table(w), 1, &a_col), 0, NULL, &w->lo, w->hi == UINT32_MAX ? NULL : &w->hi);
        return emit_all(w, &c, err);
    default:
        views_read_table(w->v, table(w));
        cursor_all(&c, table(w));
        for (const Row *row; (row = cursor_next(&c)) != NULL;)
            if (row->b % 2)
                TRY(views_emit(w->v, row, err));
        return S_OK;
    }
}

/* The same by looking at every row. */
static bool belongs(World *w, uint32_t view, const uint8_t sender[32], const Row *row)
{
    switch (view) {
    case V_ANY: return row->id == 7;
    case V_MINE: return memcmp(row->owner, sender, 32) == 0;
    case V_QUERY: return row->b >= 50 && row->a != 3;
    case V_QUERY_MINE: return memcmp(row->owner, sender, 32) == 0 && row->b < 30;
    case V_RANGE: return row->a >= w->lo && row->a < w->hi;
    case V_WHOLE: return row->b % 2;
    default: return false;
    }
}

static int64_t clock_of(void *user) { return ((World *)user)->now_us; }

static void define(ModuleBuilder *b, bool fewer)
{
    Arena *a = module_builder_arena(b);
    uint32_t t = KIT_TABLE(b, "t", ACCESS_PUBLIC, false, {"id", T(U32), COLUMN_PK}, {"owner", T(IDENTITY), COLUMN_INDEX},
                           {"a", T(U32), COLUMN_INDEX}, {"b", T(U32), 0});
    const Type *row = module_builder_row(b, t), *rows = type_array(a, row);
    const Type *query = type_product(a, 1, &(Field){.name = STR("__query__"), .type = row});
    const Type *n = module_builder_named(b, STR("total"), type_product(a, 1, &(Field){.name = STR("n"), .type = T(U64)}));
    module_builder_view(b, STR("any"), true, true, type_option(a, row));
    module_builder_view(b, STR("by_a"), true, false, rows);
    module_builder_view(b, STR("count"), true, true, type_array(a, n));
    if (fewer)
        return;
    module_builder_view(b, STR("mine"), true, false, rows);
    module_builder_view(b, STR("query"), true, true, query);
    module_builder_view(b, STR("query_mine"), true, false, query);
    module_builder_view(b, STR("range"), true, true, rows);
    module_builder_view(b, STR("whole"), true, true, rows);
    module_builder_view_key(b, STR("mine"), STR("id"));
    module_builder_view_key(b, STR("range"), STR("id"));
}

static void setup(World *w, uint64_t seed)
{
    ModuleBuilder *b = module_builder_new();
    define(b, false);
    *w = (World){.random = seed, .lo = 3, .hi = 6, .image = kit_image(b, 1)};
    const EngineLimits none = {0};
    w->e = engine_new(&none);
    engine_set_schema(w->e, &w->image);
    w->s = subs_new(w->e);
    const ViewsEnv env = {w, run, clock_of};
    w->v = views_new(w->e, NULL, &env);
    views_set_schema(w->v, &w->image);
    subs_use_views(w->s, w->v);
}

static void teardown(World *w)
{
    Error err;
    if (engine_check(w->e, &err) != S_OK || engine_check(views_engine(w->v), &err) != S_OK)
        fail_msg("%s", err.text);
    subs_free(w->s);
    views_free(w->v);
    engine_free(w->e);
    kit_image_done(&w->image);
}

static ClientRef client(World *w, uint64_t owner)
{
    Caller caller = {.views = w->v};
    owner_of(caller.identity, owner);
    ClientRef ref = {(uint32_t)owner, 1};
    subs_client_add(w->s, ref, &caller, 0, NULL);
    return ref;
}

static Status subscribe(World *w, uint64_t owner, uint32_t set, const char *view, Error *err)
{
    char text[100];
    snprintf(text, sizeof text, "SELECT * FROM %s", view);
    Str q = str_of(text);
    return subs_subscribe(w->s, (ClientRef){(uint32_t)owner, 1}, set, 1, &q, NULL, err);
}

/* The transaction ends: views, subscriptions, commit. */
static const Update *leave(World *w)
{
    uint32_t n;
    const TableChange *changes = txn_changes(w->e, &n);
    ViewsEvaluation seen = {0};
    if (n && views_follow(w->v))
        seen = views_evaluate(w->v, n, changes);
    const Update *u = subs_evaluate(w->s, seen.nchanges, seen.changes, seen.nfailures, seen.failures);
    txn_commit(w->e);
    views_commit(w->v);
    return u;
}

static void write_something(World *w)
{
    for (uint64_t n = 1 + below(w, 4); n; n--) {
        Row row = {.id = (uint32_t)below(w, IDS), .a = (uint32_t)below(w, AS), .b = (uint32_t)below(w, 100)};
        const void *stored, *old = table_find(table(w), 0, &row.id);
        owner_of(row.owner, below(w, OWNERS));
        if (old && below(w, 3) == 0) {
            MUST(table_delete(table(w), old, err));
        } else if (old) {
            if (below(w, 2)) /* only a column that many have not read */
                row.a = ((const Row *)old)->a, memcpy(row.owner, ((const Row *)old)->owner, 32);
            MUST(table_update(table(w), 0, &row, &stored, err));
        } else {
            MUST(table_insert(table(w), &row, &stored, err));
        }
    }
}

/* Rows of the view's table for this owner against all rows of t. */
static void compare(World *w, uint32_t view, uint64_t owner, uint64_t round)
{
    const ViewDef *def = &w->image.def->views[view];
    Table *t = engine_table_by_name(views_engine(w->v), def->name);
    uint8_t sender[32];
    owner_of(sender, owner);
    uint64_t stored = 0, expected = 0;
    Cursor c;
    cursor_all(&c, t);
    for (const Row *row; (row = cursor_next(&c)) != NULL;) {
        if (!def->is_anonymous && memcmp((const uint8_t *)row + sizeof(Row), sender, 32) != 0)
            continue;
        stored++;
        if (view == V_COUNT) {
            assert_int_equal(*(const uint64_t *)(const void *)row, table_count(table(w)));
            continue;
        }
        const Row *base = table_find(table(w), 0, &row->id);
        if (!base || memcmp(base, row, sizeof(Row)) != 0)
            fail_msg("round %llu: view %.*s has a row %u that table t has not", (unsigned long long)round, STR_FMT(def->name), row->id);
        if (view != V_BY_A)
            assert_true(belongs(w, view, sender, row));
    }
    bool as[AS] = {false}; /* BY_A: the values that its chain passes */
    for (uint32_t hop = 0, a = sender[0] % AS, next = a; view == V_BY_A && hop < 3; hop++, a = next) {
        as[a] = true;
        cursor_index(&c, table(w), table_find_index(table(w), 1, &(uint16_t){2}), 1, &(const void *){&a}, NULL, NULL);
        for (const Row *row; (row = cursor_next(&c)) != NULL;)
            next = row->b % AS;
        if (next == a)
            break;
    }
    cursor_all(&c, table(w));
    for (const Row *row; (row = cursor_next(&c)) != NULL;)
        expected += view == V_BY_A ? as[row->a] : belongs(w, view, sender, row);
    if (view == V_COUNT)
        expected = 1;
    if (stored != expected)
        fail_msg("round %llu: view %.*s has %llu rows, not %llu", (unsigned long long)round, STR_FMT(def->name), (unsigned long long)stored,
                 (unsigned long long)expected);
}

static void random_writes_and_every_view_agrees(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        World w;
        setup(&w, seed);
        for (uint64_t owner = 0; owner < OWNERS; owner++) {
            client(&w, owner);
            for (uint32_t view = 0; view < VIEWS; view++)
                MUST(subscribe(&w, owner, view + 1, names[view], err));
        }
        for (uint64_t round = 0; round < 1500; round++) {
            txn_begin(w.e);
            write_something(&w);
            if (below(&w, 8) == 0)
                txn_rollback(w.e); /* before anything was computed */
            else
                leave(&w);
            if (below(&w, 50) == 0) { /* somebody leaves and comes again */
                uint64_t owner = below(&w, OWNERS);
                uint32_t set = 1 + (uint32_t)below(&w, VIEWS);
                MUST(subs_unsubscribe(w.s, (ClientRef){(uint32_t)owner, 1}, set, NULL, err));
                txn_begin(w.e);
                write_something(&w);
                leave(&w);
                MUST(subscribe(&w, owner, set, names[set - 1], err));
            }
            for (uint32_t view = 0; view < VIEWS; view++)
                for (uint64_t owner = 0; owner < (w.image.def->views[view].is_anonymous ? 1 : OWNERS); owner++)
                    compare(&w, view, owner, round);
        }
        teardown(&w);
    }
}

/* What it costs to write past ten thousand results is printed; that none of them is run is checked. */
static void what_was_not_read_runs_nothing(void **state)
{
    (void)state;
    enum { MANY = 10000, WRITES = 20000 };
    uint64_t took[2];
    for (int many = 0; many < 2; many++) {
        World w;
        setup(&w, 9);
        w.lo = 1000, w.hi = 2000;
        client(&w, 1);
        MUST(subscribe(&w, 1, 1, "range", err));
        MUST(subscribe(&w, 1, 2, "mine", err));
        for (uint32_t i = 0; many && i < MANY; i++) {
            Caller caller = {.views = w.v};
            memcpy(caller.identity, &(uint32_t){i + 1000}, 4);
            subs_client_add(w.s, (ClientRef){i + 10, 1}, &caller, 0, NULL);
            Str q = i % 2 ? STR("SELECT * FROM mine") : STR("SELECT * FROM query_mine");
            MUST(subs_subscribe(w.s, (ClientRef){i + 10, 1}, 1, 1, &q, NULL, err));
        }
        uint64_t runs = views_runs(w.v), start = clock_monotonic_ns();
        for (uint32_t i = 0; i < WRITES; i++) {
            Row row = {.id = i, .a = i % AS, .b = i};
            const void *stored;
            txn_begin(w.e);
            MUST(table_insert(table(&w), &row, &stored, err));
            leave(&w);
        }
        took[many] = clock_monotonic_ns() - start;
        assert_int_equal(views_runs(w.v), runs);
        teardown(&w);
    }
    printf("# a write past %d results of views: %.0f ns; past two: %.0f ns\n", MANY, (double)took[1] / WRITES, (double)took[0] / WRITES);
}

static void a_range_finds_all_that_overlap(void **state)
{
    (void)state;
    World w;
    setup(&w, 3);
    client(&w, 1);
    w.lo = 5, w.hi = UINT32_MAX; /* open above */
    MUST(subscribe(&w, 1, 1, "range", err));
    for (uint32_t i = 0; i < 12; i++) {
        uint64_t runs = views_runs(w.v);
        Row row = {.id = i, .a = i};
        const void *stored;
        txn_begin(w.e);
        MUST(table_insert(table(&w), &row, &stored, err));
        leave(&w);
        assert_int_equal(views_runs(w.v) - runs, i >= 5);
        compare(&w, V_RANGE, 0, i);
    }
    teardown(&w);
}

static void a_failing_view_ends_its_subscriptions_only(void **state)
{
    (void)state;
    World w;
    setup(&w, 4);
    for (uint64_t owner = 0; owner < 3; owner++) {
        client(&w, owner);
        MUST(subscribe(&w, owner, 1, "whole", err));
        MUST(subscribe(&w, owner, 2, "count", err));
        MUST(subscribe(&w, owner, 3, "mine", err));
    }
    w.failing = V_WHOLE + 1;
    txn_begin(w.e);
    write_something(&w);
    const Update *u = leave(&w);
    assert_int_equal(u->nfailures, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(u->failures[i].query_set_id, 1);
        assert_non_null(strstr(u->failures[i].text.ptr, "view `whole`: it will not"));
    }
    assert_int_equal(u->ngroups > 0, true);
    Error err;
    assert_int_equal(subscribe(&w, 0, 1, "whole", &err), S_INVALID);
    w.failing = V_MINE + 1; /* of one sender, in a transaction of another's row: nobody hears of it */
    txn_begin(w.e);
    Row row = {.id = 900};
    const void *stored;
    owner_of(row.owner, 4);
    MUST(table_insert(table(&w), &row, &stored, err));
    assert_int_equal(leave(&w)->nfailures, 0);
    txn_begin(w.e);
    row.id = 901;
    owner_of(row.owner, 1);
    MUST(table_insert(table(&w), &row, &stored, err));
    u = leave(&w);
    assert_int_equal(u->nfailures, 1);
    assert_int_equal(u->failures[0].client.slot, 1);
    w.failing = 0;
    MUST(subscribe(&w, 0, 1, "whole", err));
    MUST(subscribe(&w, 1, 3, "mine", err));
    compare(&w, V_WHOLE, 0, 0);
    compare(&w, V_MINE, 1, 0);
    teardown(&w);
}

static void results_that_nobody_holds_go(void **state)
{
    (void)state;
    World w;
    setup(&w, 5);
    client(&w, 1);
    txn_begin(w.e);
    for (int i = 0; i < 30; i++)
        write_something(&w);
    leave(&w);
    MUST(subscribe(&w, 1, 1, "whole", err));
    Caller stranger = {.views = w.v};
    Buf rows = {0};
    MUST(query_one_off(w.e, STR("SELECT * FROM mine"), &stranger, &rows, err));
    MUST(query_one_off(w.e, STR("SELECT * FROM query"), &stranger, &rows, err));
    uint64_t runs = views_runs(w.v);
    MUST(query_one_off(w.e, STR("SELECT * FROM mine"), &stranger, &rows, err));
    assert_int_equal(views_runs(w.v), runs); /* it is still there */
    assert_int_equal(views_instances(w.v), 3);
    w.now_us = VIEW_UNHELD_US - 1;
    assert_false(views_evict(w.v));
    MUST(query_one_off(w.e, STR("SELECT * FROM query"), &stranger, &rows, err)); /* used again */
    w.now_us = VIEW_UNHELD_US;
    while (views_evict(w.v))
        ;
    assert_int_equal(views_instances(w.v), 2);
    assert_int_equal(table_count(engine_table_by_name(views_engine(w.v), STR("mine"))), 0);
    w.now_us = 3 * VIEW_UNHELD_US;
    while (views_evict(w.v))
        ;
    assert_int_equal(views_instances(w.v), 1); /* what a subscription holds stays */
    compare(&w, V_WHOLE, 0, 0);
    for (uint32_t i = 0; i < VIEW_UNHELD_MAX + 50; i++) { /* and there is room for so many */
        memcpy(stranger.identity, &(uint32_t){i + 77}, 4);
        MUST(query_one_off(w.e, STR("SELECT * FROM mine"), &stranger, &rows, err));
        while (views_evict(w.v))
            ;
    }
    assert_int_equal(views_instances(w.v), VIEW_UNHELD_MAX + 1);
    buf_done(&rows);
    teardown(&w);
}

static void a_publish_carries_results_over(void **state)
{
    (void)state;
    World w;
    setup(&w, 6);
    client(&w, 1);
    txn_begin(w.e);
    for (int i = 0; i < 30; i++)
        write_something(&w);
    leave(&w);
    MUST(subscribe(&w, 1, 1, "by_a", err));
    MUST(subscribe(&w, 1, 2, "count", err));
    MUST(subscribe(&w, 1, 3, "mine", err));
    ModuleBuilder *b = module_builder_new();
    define(b, true);
    SchemaImage image = kit_image(b, 2);
    EngineNext *next;
    MUST(engine_prepare(&next, w.e, &image, err));
    engine_swap(w.e, next);
    views_set_schema(w.v, &image);
    uint32_t n;
    const UpdateFailure *failures;
    uint64_t runs = views_runs(w.v);
    subs_schema_changed(w.s, &n, &failures);
    assert_int_equal(n, 1);
    assert_int_equal(failures[0].query_set_id, 3); /* `mine` is gone */
    assert_int_equal(views_runs(w.v), runs);
    ViewsEvaluation seen = views_refresh_held(w.v);
    assert_int_equal(views_runs(w.v), runs + 2);
    assert_int_equal(seen.nchanges, 0); /* the same rows: nobody need hear of it */
    views_commit(w.v);
    kit_image_done(&w.image);
    w.image = image;
    txn_begin(w.e);
    write_something(&w);
    assert_true(leave(&w)->nfailures == 0);
    compare(&w, V_COUNT, 0, 0);
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_writes_and_every_view_agrees), cmocka_unit_test(what_was_not_read_runs_nothing),
        cmocka_unit_test(a_range_finds_all_that_overlap),      cmocka_unit_test(a_failing_view_ends_its_subscriptions_only),
        cmocka_unit_test(results_that_nobody_holds_go),        cmocka_unit_test(a_publish_carries_results_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
