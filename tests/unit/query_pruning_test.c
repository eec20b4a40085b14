/* query_pruning_test.c - a changed row finds its queries without asking the others; what that costs is printed. */
#include "tests/unit/query_kit.h"

static Engine *db(void)
{
    ModuleBuilder *b = module_builder_new();
    KIT_TABLE(b, "u", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK}, {"name", T(STRING), 0}, {"n", T(I32), 0});
    return kit_engine(b);
}

static ClientRef client(Subs *s, uint32_t slot)
{
    Caller c = {0};
    ClientRef ref = {slot, 1};
    subs_client_add(s, ref, &c, 0, NULL);
    return ref;
}

static void subscribe(Subs *s, ClientRef c, uint32_t set, const char *text)
{
    Str q = str_of(text);
    MUST(subs_subscribe(s, c, set, 1, &q, NULL, err));
}

/* Sets n of one row; returns the nanoseconds of subs_evaluate. */
static uint64_t touch(Engine *e, Subs *s, uint64_t id, const Update **ret)
{
    static int32_t n = 0;
    struct {
        uint64_t id;
        Str name;
        int32_t n;
    } row = {id, STR("name"), ++n};
    const void *stored;
    uint32_t count;
    txn_begin(e);
    MUST(table_update(engine_table(e, 0), 0, &row, &stored, err));
    const TableChange *changes = txn_changes(e, &count);
    uint64_t start = clock_monotonic_ns();
    const Update *u = subs_evaluate(s, count, changes, 0, NULL);
    uint64_t ns = clock_monotonic_ns() - start;
    txn_commit(e);
    if (ret)
        *ret = u;
    return ns;
}

static void fill(Engine *e, uint64_t rows)
{
    txn_begin(e);
    for (uint64_t i = 1; i <= rows; i++) {
        struct {
            uint64_t id;
            Str name;
            int32_t n;
        } row = {i, STR("name"), 0};
        const void *stored;
        MUST(table_insert(engine_table(e, 0), &row, &stored, err));
    }
    txn_commit(e);
}

static void snapshot_of(Subs *s, uint32_t slot, Buf *out)
{
    Str q = STR("SELECT * FROM u WHERE n >= 0");
    buf_reset(out);
    MUST(subs_subscribe(s, client(s, slot), 1, 1, &q, out, err));
}

static void one_snapshot_encoding_serves_all_until_the_table_changes(void **state)
{
    (void)state;
    Engine *e = db();
    fill(e, 1000);
    Subs *s = subs_new(e);
    Buf first = {0}, next = {0};
    snapshot_of(s, 0, &first);
    for (uint32_t slot = 1; slot < 50; slot++) {
        snapshot_of(s, slot, &next);
        assert_true(bytes_eq(buf_bytes(&first), buf_bytes(&next)));
    }
    assert_int_equal(subs_snapshots_shared(s), 48); /* the second kept what the others got */
    touch(e, s, 7, NULL);
    snapshot_of(s, 50, &next);
    assert_false(bytes_eq(buf_bytes(&first), buf_bytes(&next)));
    assert_int_equal(subs_snapshots_shared(s), 48);
    snapshot_of(s, 51, &first);
    assert_true(bytes_eq(buf_bytes(&first), buf_bytes(&next)));
    assert_int_equal(subs_snapshots_shared(s), 49);
    buf_done(&first);
    buf_done(&next);
    subs_free(s);
    engine_free(e);
}

static void one_of_a_thousand_equalities_is_evaluated(void **state)
{
    (void)state;
    Engine *e = db();
    Subs *s = subs_new(e);
    char text[100];
    fill(e, 1000);
    for (uint32_t k = 1; k <= 1000; k++) {
        snprintf(text, sizeof text, k % 2 ? "SELECT * FROM u WHERE id = %u" : "SELECT * FROM u WHERE (%u = u.id) AND n > -1", k);
        subscribe(s, client(s, k), 1, text);
    }
    const Update *u;
    uint64_t before = subs_evaluations(s);
    touch(e, s, 7, &u);
    assert_int_equal(subs_evaluations(s) - before, 1);
    assert_int_equal(u->ngroups, 1);
    assert_int_equal(u->groups[0].nrecipients, 1);
    assert_int_equal(u->groups[0].recipients[0].slot, 7);
    subscribe(s, client(s, 2000), 1, "SELECT * FROM u WHERE name = 'name' AND n >= 0");
    subscribe(s, client(s, 2001), 1, "SELECT * FROM u WHERE name = 'other'");
    subscribe(s, client(s, 2002), 1, "SELECT * FROM u WHERE n < 0");
    before = subs_evaluations(s);
    touch(e, s, 8, &u);
    assert_int_equal(subs_evaluations(s) - before, 3); /* id = 8, the name, and the range that nothing prunes */
    assert_int_equal(u->ngroups, 2);
    subs_free(s);
    engine_free(e);
}

static void a_query_that_can_match_nothing_is_never_evaluated(void **state)
{
    (void)state;
    Engine *e = db();
    Subs *s = subs_new(e);
    fill(e, 10);
    subscribe(s, client(s, 1), 1, "SELECT * FROM u WHERE false AND n = 1");
    touch(e, s, 8, NULL);
    assert_int_equal(subs_evaluations(s), 0);
    subs_free(s);
    engine_free(e);
}

static uint64_t median_touch(Engine *e, Subs *s, uint64_t rows)
{
    enum { ROUNDS = 4001 };
    static uint64_t ns[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++)
        ns[i] = touch(e, s, 1 + hash_u64(i + 1) % rows, NULL);
    for (uint32_t i = 1; i < ROUNDS; i++) /* insertion sort of nearly equal numbers */
        for (uint32_t k = i; k > 0 && ns[k] < ns[k - 1]; k--) {
            uint64_t t = ns[k];
            ns[k] = ns[k - 1];
            ns[k - 1] = t;
        }
    return ns[ROUNDS / 2];
}

static void many_equalities_cost_little_more_than_one(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    Engine *e = db();
    fill(e, MANY);
    Subs *one = subs_new(e), *many = subs_new(e);
    char text[100];
    subscribe(one, client(one, 1), 1, "SELECT * FROM u WHERE id = 1");
    for (uint32_t k = 0; k < 1000; k++)
        client(many, k);
    uint64_t start = clock_monotonic_ns();
    for (uint32_t k = 1; k <= MANY; k++) {
        snprintf(text, sizeof text, "SELECT * FROM u WHERE id = %u", k);
        subscribe(many, (ClientRef){k % 1000, 1}, k, text);
    }
    print_message("subscribe: %llu ns each\n", (unsigned long long)((clock_monotonic_ns() - start) / MANY));
    print_message("one changed row, 1 subscription on another row: %llu ns\n", (unsigned long long)median_touch(e, one, 1000));
    print_message("one changed row, 1 subscription on it: %llu ns\n", (unsigned long long)median_touch(e, one, 1));
    print_message("one changed row, 100,000 equality subscriptions, one on it: %llu ns\n", (unsigned long long)median_touch(e, many, MANY));
    print_message("the same row again and again: %llu ns\n", (unsigned long long)median_touch(e, many, 1));
    subs_free(one);
    subs_free(many);
    engine_free(e);
}

static void a_thousand_listeners_cost_no_more_than_the_encoding(void **state)
{
    (void)state;
    Engine *e = db();
    Subs *s = subs_new(e);
    fill(e, 100);
    subscribe(s, client(s, 0), 1, "SELECT * FROM u");
    uint64_t one = median_touch(e, s, 100);
    for (uint32_t i = 1; i < 1000; i++)
        subscribe(s, client(s, i), 1, "SELECT * FROM u");
    uint64_t thousand = median_touch(e, s, 100);
    const Update *u;
    touch(e, s, 1, &u);
    assert_int_equal(u->groups[0].nrecipients, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        subscribe(s, (ClientRef){i, 1}, 2, "SELECT * FROM u WHERE n >= 0");
    uint64_t two_sets = median_touch(e, s, 100);
    touch(e, s, 1, &u);
    assert_int_equal(u->ngroups, 1);
    assert_int_equal(u->groups[0].nsets, 2);
    print_message("one query: 1 listener %llu ns, 1,000 listeners %llu ns; 1,000 listeners of two affected sets %llu ns\n",
                  (unsigned long long)one, (unsigned long long)thousand, (unsigned long long)two_sets);
    subs_free(s);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_snapshot_encoding_serves_all_until_the_table_changes),
        cmocka_unit_test(one_of_a_thousand_equalities_is_evaluated),
        cmocka_unit_test(a_query_that_can_match_nothing_is_never_evaluated),
        cmocka_unit_test(many_equalities_cost_little_more_than_one),
        cmocka_unit_test(a_thousand_listeners_cost_no_more_than_the_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
